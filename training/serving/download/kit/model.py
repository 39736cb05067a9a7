"""The model of this folder: an image in, an answer out.

Needs only numpy, onnxruntime, Pillow and pillow-heif.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import onnxruntime
from decision import AnswerSettings, Decision, DecisionRule, ranked
from picture import normalize
from picture_formats import PictureRefused, open_picture

HERE = Path(__file__).resolve().parent
TOP_SCORES = 5


class InvalidImage(Exception):
    """The bytes are no image, or the image is too large."""


class Model:
    """The loaded model; several threads may call it at once."""

    def __init__(self, folder: Path = HERE, threads: int | None = None) -> None:
        self.about: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.labels: list[str] = self.about["labels"]
        thresholds = tuple(self.about["thresholds"])
        self.rule = DecisionRule(tuple(self.labels), self.about["is_multi_label"], thresholds)
        self.settings = AnswerSettings.from_json(self.about.get("settings"))
        options = onnxruntime.SessionOptions()
        if threads:
            options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def outputs(self, image: bytes) -> tuple[Any, bool | None, float | None]:
        """The scores of all labels, is_known by the model's own limits, and familiarity.

        The last two are None where the model cannot tell. Raises InvalidImage.
        """
        values = self._session.run(None, {"picture": self._pixels(image)})
        outputs = dict(zip(self._outputs, values, strict=True))
        is_known, familiarity = outputs.get("is_known"), outputs.get("familiarity")
        return (
            outputs["scores"],
            None if is_known is None else bool(is_known),
            None if familiarity is None else float(familiarity),
        )

    def decide(self, scores: Any, is_known: bool | None, familiarity: float | None) -> Decision:
        """The labels and is_known under the settings of model.json."""
        return self.rule.decide(scores.tolist(), self.settings, is_known, familiarity)

    def predict(self, image: bytes) -> dict[str, Any]:
        """The answer as the service's API gives it. Raises InvalidImage."""
        scores, is_known, familiarity = self.outputs(image)
        decision = self.decide(scores, is_known, familiarity)
        best = ranked(scores.tolist())[:TOP_SCORES]
        named = dict.fromkeys([*(self.labels[index] for index in best), *decision.labels])
        return {
            "predicted_label": self.labels[best[0]],
            "predicted_labels": list(decision.labels),
            "scores": [[self.labels[index], round(float(scores[index]), 6)] for index in best],
            "is_known": decision.is_known,
            "settings": self.rule.stated(self.settings, list(named)),
            "version": self.about["version"],
        }

    def _pixels(self, content: bytes) -> Any:
        """[height, width, 3] uint8 of the normalized picture. The size is checked before decoding."""
        try:
            picture = open_picture(content, self.about["max_megapixels"])
            return numpy.asarray(normalize(picture, at_least=2 * self.about["side"]), numpy.uint8)
        except PictureRefused as problem:
            raise InvalidImage(str(problem)) from problem
        except Exception as problem:
            raise InvalidImage("The picture cannot be decoded.") from problem
