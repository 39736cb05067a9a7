"""A trained model as a folder: it describes itself, tests itself and answers without torch.

model.onnx    inputs `images_<R>`: [N, R, R, 3] uint8, one for each resolution R that the model looks at;
              outputs `logits` [N, C] and `features` [N, F], float32. Scaling of pixels is inside.
bundle.json   everything else that a reader needs, with `format_version`
weights.pt    torch's tensors, only for training further
known.npz     features of training pictures and more, to tell what is unknown; bundles made before it existed
              have none and no entry "unknown" in bundle.json, and answer that nobody knows
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.engine.bundle import novelty
from training.engine.bundle.novelty import NoveltyReference, NoveltyScore
from training.engine.config import EngineError
from training.engine.data.images import Pixels, read_square, resize_square
from training.engine.runtime import compile_onnx

FORMAT_VERSION = 1
SELF_TEST_IMAGES = 4
SELF_TEST_TOLERANCE = 0.02  # another processor adds in another order; a wrong model is far beyond this
Source = Image.Image | Path | bytes
Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ImagePrediction:
    """All about one picture: calibrated scores [C], the labels they stand for, and whether it is known."""

    scores: Scores
    predicted_labels: tuple[str, ...]
    novelty_score: NoveltyScore


@dataclass(slots=True)
class Bundle:
    """A loaded model. Every method may be called from several threads at once."""

    path: Path
    labels: tuple[str, ...]
    is_multi_label: bool
    description: dict[str, Any]
    _compiled: Any = field(repr=False)
    known: NoveltyReference | None = field(default=None, repr=False)
    _local: threading.local = field(default_factory=threading.local, repr=False)

    @classmethod
    def load(cls, path: Path, threads: int | None = None) -> Bundle:
        """Read and compile. Raises EngineError for a folder that is no bundle or is of another version."""
        description = read_description(path)
        known = novelty.read_reference(path, description)
        compiled = compile_onnx(path / "model.onnx", _resolutions(description), threads)
        labels = tuple(description["labels"])
        return cls(path, labels, description["is_multi_label"], description, compiled, known)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """From which score on a label counts as predicted; used for several labels an image."""
        return tuple(self.description["thresholds"])

    def predict(self, images: Sequence[Source]) -> Scores:
        """[N, C] calibrated probabilities: rows sum to one, or stand alone for several labels an image.

        Each picture goes through by itself, so its answer does not depend on its neighbours.
        Raises UnreadableImage.
        """
        with ThreadPoolExecutor(2) as pool:
            squares = pool.map(self.read, images)
            rows = [self.predict_square(square) for square in squares]
        return np.stack(rows) if rows else np.zeros((0, len(self.labels)), np.float32)

    def predict_one(self, image: Source) -> Scores:
        """[C] calibrated probabilities of one picture."""
        return self.predict_square(self.read(image))

    def answer(self, image: Source) -> ImagePrediction:
        """Scores, labels, and whether the picture is of the model's world. Raises UnreadableImage."""
        return self.answer_square(self.read(image))

    def read(self, image: Source) -> Pixels:
        """[side, side, 3] uint8, as training saw it. Raises UnreadableImage."""
        return read_square(image, self.description["preprocessing"]["side"])

    def predict_square(self, square: Pixels) -> Scores:
        """[C] calibrated probabilities of pixels that `read` made."""
        return calibrate(self.logits(square)[0], self.description["temperature"], self.is_multi_label)

    def answer_square(self, square: Pixels) -> ImagePrediction:
        """The answer to pixels that `read` made."""
        logits, features = self.logits(square)
        scores = calibrate(logits, self.description["temperature"], self.is_multi_label)
        confidence = float(novelty.confidences(scores, self.thresholds if self.is_multi_label else None))
        novelty_score = self.known.judge(features, confidence) if self.known else NoveltyScore(confidence)
        return ImagePrediction(scores, self.predicted_labels(scores), novelty_score)

    def logits(self, square: Pixels) -> tuple[Scores, Scores]:
        """([C] logits, [F] features) of pixels that `read` made."""
        request = self._request()
        sizes = _resolutions(self.description)
        request.infer({f"images_{size}": resize_square(square, size)[None] for size in sizes})
        logits, features = (request.get_tensor(name).data[0].copy() for name in ("logits", "features"))
        return logits, features

    def predicted_labels(self, scores: Scores) -> tuple[str, ...]:
        """The labels that one row of scores stands for: the best one, or all beyond their thresholds."""
        if not self.is_multi_label:
            return (self.labels[int(scores.argmax())],)
        pairs = zip(self.labels, scores, self.thresholds, strict=True)
        return tuple(label for label, score, threshold in pairs if score >= threshold)

    def self_test(self) -> None:
        """Compare answers to generated pictures with those noted at export. Raises EngineError."""
        expected = np.asarray(self.description["self_test"]["scores"], np.float32)
        side = self.description["preprocessing"]["side"]
        scores = np.stack([self.predict_square(square) for square in self_test_squares(side)])
        if scores.shape != expected.shape or np.abs(scores - expected).max() > SELF_TEST_TOLERANCE:
            raise EngineError("The model does not answer as it did when it was made.", "Train it again.")

    def measure_ms(self, images: Sequence[Source], rounds: int = 20) -> dict[str, float]:
        """{"p50", "p95"} ms for one picture at a time, decoding and resizing included."""
        self.predict_one(images[0])
        times = []
        for turn in range(rounds):
            began = time.monotonic()
            self.predict_one(images[turn % len(images)])
            times.append(1e3 * (time.monotonic() - began))
        return {"p50": float(np.percentile(times, 50)), "p95": float(np.percentile(times, 95))}

    def _request(self) -> Any:
        """This thread's own inference request: requests must not be shared, compiled models may."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        return self._local.request


def read_description(path: Path) -> dict[str, Any]:
    """bundle.json as a dictionary. Raises EngineError when it is missing, broken or of another version."""
    try:
        description: dict[str, Any] = json.loads((path / "bundle.json").read_text("utf-8"))
        version = description["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise EngineError("The model's folder cannot be read.", "Choose another version.") from problem
    if version != FORMAT_VERSION:
        raise EngineError(
            f"The model has format {version}; this program reads format {FORMAT_VERSION}.",
            "Use the program that made it, or train again.",
        )
    return description


def calibrate(logits: Scores, temperature: float, is_multi_label: bool) -> Scores:
    """Probabilities of logits [..., C] at a temperature (Guo et al. 2017)."""
    scaled = logits.astype(np.float64) / temperature
    if is_multi_label:
        return (1 / (1 + np.exp(-scaled))).astype(np.float32)
    odds = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    shares: Scores = (odds / odds.sum(axis=-1, keepdims=True)).astype(np.float32)
    return shares


def self_test_squares(side: int) -> Pixels:
    """[4, side, side, 3] uint8: plain arithmetic patterns, the same everywhere and for ever."""
    image, row, column, channel = np.ogrid[:SELF_TEST_IMAGES, :side, :side, :3]
    waves = (row * (image + 1) * 2 + column * (5 - image) + channel * 60 + image * 37) % 256
    return np.asarray(waves, dtype=np.uint8)


def _resolutions(description: dict[str, Any]) -> list[int]:
    return [int(size) for size in description["preprocessing"]["resolutions"]]
