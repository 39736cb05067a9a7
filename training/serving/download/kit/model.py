"""The model of this folder: an image in, an answer out. Needs only numpy, onnxruntime and Pillow."""

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
        """[height, width, 3] uint8, upright RGB. The size is checked before decoding."""
        try:
            image: Image.Image = Image.open(io.BytesIO(content))
            if image.width * image.height > self.about["max_megapixels"] * 1e6:
                raise InvalidImage("The picture has too many pixels. Shrink it first.")
            min_side = 2 * self.about["side"]
            image.draft("RGB", (min_side, min_side))  # a JPEG decodes faster at a fraction of its size
            return numpy.asarray(as_rgb(ImageOps.exif_transpose(image)), numpy.uint8)
        except InvalidImage:
            raise
        except Exception as problem:
            raise InvalidImage("The picture cannot be decoded.") from problem


def as_rgb(image: Image.Image) -> Image.Image:
    """The image as 8-bit RGB: transparency on white, 16-bit values scaled."""
    if image.mode.startswith(("I", "F")):
        grey = numpy.asarray(image).astype(numpy.float64)
        is_deep = image.mode.startswith("I;16") or grey.max(initial=0) > 255
        eight_bit = numpy.clip(grey / 257 if is_deep else grey, 0, 255).round().astype(numpy.uint8)
        return Image.fromarray(eight_bit).convert("RGB")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
