"""fastai: one frozen epoch, then as many unfrozen ones of `fit_one_cycle` as fit.

Its usual augmentation, 224 pixels. All rows train; the few that fastai wants for validation decide nothing.
"""

from __future__ import annotations

import common
import torch
from fastai.vision.all import (
    CategoryBlock,
    ColReader,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    Resize,
    aug_transforms,
    vision_learner,
)

BATCH = 32
PROBED = 4  # steps whose time foretells an epoch's
SHARE = 0.97  # of what is left is planned for


def step_seconds(learn) -> float:
    """Time of one unfrozen training step; the weights stay."""
    images, labels = learn.dls.train.one_batch()
    took = []
    for _ in range(PROBED):
        began = common.now()
        learn.loss_func(learn.model(images), labels).backward()
        learn.model.zero_grad()
        took.append(common.now() - began)
    return min(took)


def main() -> None:
    train, test, seconds = common.arguments()
    began = common.now()
    torch.manual_seed(0)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=sorted(train.label.unique()))),
        get_x=ColReader("path"),
        get_y=ColReader("label"),
        splitter=IndexSplitter(range(min(8, len(train)))),
        item_tfms=Resize(256),
        batch_tfms=aug_transforms(size=224),
    )
    dls = block.dataloaders(train, bs=BATCH, num_workers=2)
    learn = vision_learner(dls, common.NETWORK, pretrained=True, loss_func=None)
    with learn.no_bar(), learn.no_logging():
        learn.freeze()
        learn.fit_one_cycle(1, 2e-3, pct_start=0.99)
        epoch_s = step_seconds(learn) * len(dls.train)
        epochs = max(1, int(SHARE * (seconds - (common.now() - began)) / epoch_s))
        learn.unfreeze()
        learn.fit_one_cycle(epochs, slice(1e-3 / 100, 1e-3), pct_start=0.3, div=5.0)
        ended = common.now()
        scores, _ = learn.get_preds(dl=dls.test_dl(test))
    predicted = [dls.vocab[i] for i in scores.argmax(dim=1).tolist()]
    common.answer(test.label.tolist(), predicted, began, ended, f"1 + {epochs} epochs")


if __name__ == "__main__":
    main()
