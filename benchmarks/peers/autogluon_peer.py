"""AutoGluon's MultiModalPredictor, preset medium_quality, with the same network and weights; batch 32."""

from __future__ import annotations

import tempfile

import common
from autogluon.multimodal import MultiModalPredictor


def main() -> None:
    train, test, seconds = common.arguments()
    with tempfile.TemporaryDirectory() as folder:
        began = common.now()
        predictor = MultiModalPredictor(
            label="label", problem_type="multiclass", path=f"{folder}/model", verbosity=1
        )
        predictor.fit(
            train,
            presets="medium_quality",
            time_limit=round(seconds),
            column_types={"path": "image_path"},
            hyperparameters={
                "model.names": ["timm_image"],
                "model.timm_image.checkpoint_name": common.NETWORK,
                "env.num_gpus": 0,
                "env.num_workers": 2,
                "env.batch_size": 32,
                "env.per_gpu_batch_size": 32,
            },
            seed=0,
        )
        ended = common.now()
        predicted = predictor.predict(test[["path"]])
    common.answer(test.label.tolist(), [str(one) for one in predicted], began, ended, "medium_quality")


if __name__ == "__main__":
    main()
