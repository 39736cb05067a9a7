"""The model of this folder: an image in, an answer out.

Needs only numpy, onnxruntime, Pillow and pillow-heif.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import onnxruntime
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
        options = onnxruntime.SessionOptions()
        if threads:
            options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def scores(self, image: bytes) -> tuple[Any, bool | None]:
        """The scores of all labels, and is_known (None: not available). Raises InvalidImage."""
        values = self._session.run(None, {"picture": self._pixels(image)})
        outputs = dict(zip(self._outputs, values, strict=True))
        is_known = outputs.get("is_known")
        return outputs["scores"], None if is_known is None else bool(is_known)

    def predict(self, image: bytes) -> dict[str, Any]:
        """The answer as the service's API gives it. Raises InvalidImage."""
        scores, is_known = self.scores(image)
        best = [int(index) for index in numpy.argsort(-scores, kind="stable")[:TOP_SCORES]]
        answer: dict[str, Any] = {"predicted_label": self.labels[best[0]]}
        if self.about["is_multi_label"]:
            pairs = zip(self.labels, scores, self.about["thresholds"], strict=True)
            answer["predicted_labels"] = [label for label, score, threshold in pairs if score >= threshold]
        answer["scores"] = [[self.labels[index], round(float(scores[index]), 6)] for index in best]
        return {**answer, "is_known": is_known, "version": self.about["version"]}

    def _pixels(self, content: bytes) -> Any:
        """[height, width, 3] uint8 of the normalized picture. The size is checked before decoding."""
        try:
            picture = open_picture(content, self.about["max_megapixels"])
            return numpy.asarray(normalize(picture, at_least=2 * self.about["side"]), numpy.uint8)
        except PictureRefused as problem:
            raise InvalidImage(str(problem)) from problem
        except Exception as problem:
            raise InvalidImage("The picture cannot be decoded.") from problem
