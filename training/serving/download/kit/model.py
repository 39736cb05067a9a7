"""The model of this folder: give it a picture, get the answer. Needs numpy, onnxruntime and Pillow alone."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
TOP_SCORES = 5


class Unreadable(Exception):
    """The bytes are no picture, or one that is too large."""


class Model:
    """Loaded once; may be asked from several threads at once."""

    def __init__(self, folder: Path = HERE, threads: int | None = None) -> None:
        self.about: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.labels: list[str] = self.about["labels"]
        options = onnxruntime.SessionOptions()
        if threads:
            options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self._outputs = [one.name for one in self._session.get_outputs()]

    def scores(self, picture: bytes) -> tuple[Any, bool | None]:
        """The score of each label, and whether the model knows such pictures. Raises Unreadable."""
        found = dict(
            zip(self._outputs, self._session.run(None, {"picture": self._pixels(picture)}), strict=True)
        )
        known = found.get("is_known")
        return found["scores"], None if known is None else bool(known)

    def predict(self, picture: bytes) -> dict[str, Any]:
        """The answer of the service. Raises Unreadable."""
        scores, is_known = self.scores(picture)
        best = [int(place) for place in numpy.argsort(-scores, kind="stable")[:TOP_SCORES]]
        answer: dict[str, Any] = {"predicted_label": self.labels[best[0]]}
        if self.about["is_multi_label"]:
            pairs = zip(self.labels, scores, self.about["thresholds"], strict=True)
            answer["predicted_labels"] = [label for label, score, least in pairs if score >= least]
        answer["scores"] = [[self.labels[place], round(float(scores[place]), 6)] for place in best]
        return {**answer, "is_known": is_known, "version": self.about["version"]}

    def _pixels(self, picture: bytes) -> Any:
        """[height, width, 3] uint8, upright RGB. The size is looked at before anything is decoded."""
        try:
            image: Image.Image = Image.open(io.BytesIO(picture))
            if image.width * image.height > self.about["max_megapixels"] * 1e6:
                raise Unreadable("The picture has too many pixels. Shrink it first.")
            least = 2 * self.about["side"]
            image.draft("RGB", (least, least))  # a JPEG decodes faster at a fraction of its size
            return numpy.asarray(as_rgb(ImageOps.exif_transpose(image)), numpy.uint8)
        except Unreadable:
            raise
        except Exception as problem:
            raise Unreadable("The picture cannot be decoded.") from problem


def as_rgb(image: Image.Image) -> Image.Image:
    """Transparency on white, 16 bit scaled to 8."""
    if image.mode.startswith(("I", "F")):
        grey = numpy.asarray(image).astype(numpy.float64)
        is_deep = image.mode.startswith("I;16") or grey.max(initial=0) > 255
        eight_bit = numpy.clip(grey / 257 if is_deep else grey, 0, 255).round().astype(numpy.uint8)
        return Image.fromarray(eight_bit).convert("RGB")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
