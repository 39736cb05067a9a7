"""A trained model as a folder, which is loaded, tested and run without torch.

model.onnx    inputs `images_<R>`: [N, R, R, 3] uint8, one for each input resolution R of the model; outputs
`logits` [N, C] and `features` [N, F], float32. Scaling of pixels is inside. bundle.json   everything else
that a reader needs, with `format_version` weights.pt    torch's tensors, only to continue the training
model.int8.onnx   the same network with 8-bit weights and activations (quantization.py); described under
"int8" in bundle.json, where "number_format" is the one that answers by default. Bundles from before it
existed, and those that had no time for it, have neither, and answer in float32
known.npz     the novelty reference: features of training images and thresholds. Bundles from before it
existed have neither this file nor the entry "unknown" in bundle.json, and cannot detect unknown images
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.engine.backbones import inference_time
from training.engine.backbones.inference_time import InferenceTime
from training.engine.bundle import novelty
from training.engine.bundle.adaptive_network import AdaptiveNetwork, answers_in_progress
from training.engine.bundle.decision import OWN, AnswerSettings, DecisionRule
from training.engine.bundle.novelty import NoveltyReference, NoveltyScore
from training.engine.config import EngineError, NumberFormat
from training.engine.data.images import Pixels, read_square, resize_square
from training.engine.runtime import compile_onnx

FORMAT_VERSION = 2  # since it: heads that read a covariance; all else is as in format 1
SELF_TEST_IMAGES = 4
# Other processors add in another order, and round 8-bit and 16-bit numbers otherwise; a wrong model differs
# far more.
SELF_TEST_TOLERANCES: dict[NumberFormat, float] = {"float32": 0.02, "int8": 0.15, "bfloat16": 0.15}
Source = Image.Image | Path | bytes
Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ImagePrediction:
    """The prediction for one image: calibrated scores [C], the predicted labels, and its novelty score.

    `is_known` is the verdict under the settings, `novelty_score.is_known` that of the model's own limits.
    """

    scores: Scores
    predicted_labels: tuple[str, ...]
    novelty_score: NoveltyScore
    is_known: bool | None = None


@dataclass(slots=True)
class Bundle:
    """A loaded model. All methods are thread-safe."""

    path: Path
    labels: tuple[str, ...]
    is_multi_label: bool
    description: dict[str, Any]
    _network: AdaptiveNetwork = field(repr=False)
    novelty_reference: NoveltyReference | None = field(default=None, repr=False)
    number_format: NumberFormat = "float32"

    @classmethod
    def load(
        cls,
        path: Path,
        threads: int | None = None,
        streams: int = 1,
        most_at_once: int = 1,
        number_format: NumberFormat | None = None,
    ) -> Bundle:
        """Load and compile a bundle; without `number_format` in the one that it answers with by default.

        `streams`: answers at once, asked for by as many threads, for many images rather than a quick answer.
        `most_at_once`: answers at once of a service, which gives a quick answer while it has one image alone.
        Raises EngineError for a folder that is no bundle of this format, or has no such number_format.
        """
        description = read_description(path)
        number_format = number_format or default_number_format(description)
        reference = novelty.read_reference(path, description)
        file, sizes = path / network_file(description, number_format), _resolutions(description)
        quick = compile_onnx(file, sizes, threads, streams=streams, number_format=number_format)
        parallel = partial(
            compile_onnx, file, sizes, most_at_once, streams=most_at_once, number_format=number_format
        )
        network = AdaptiveNetwork(quick, parallel if most_at_once > 1 else None)
        labels = tuple(description["labels"])
        is_multi_label = description["is_multi_label"]
        return cls(path, labels, is_multi_label, description, network, reference, number_format)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The score of each label from which on it is predicted; for multi-label models."""
        return self.rule.thresholds

    @property
    def rule(self) -> DecisionRule:
        return rule_of(self.description)

    def predict(self, images: Sequence[Source]) -> Scores:
        """[N, C] calibrated probabilities; rows sum to one, unless the model is multi-label.

        Images are predicted one by one, so no prediction depends on the other images.
        Raises UnreadableImage.
        """
        with ThreadPoolExecutor(2) as pool:
            squares = pool.map(self.read, images)
            rows = [self.predict_square(square) for square in squares]
        return np.stack(rows) if rows else np.zeros((0, len(self.labels)), np.float32)

    def predict_one(self, image: Source) -> Scores:
        """[C] calibrated probabilities of one image."""
        return self.predict_square(self.read(image))

    def answer(self, image: Source, settings: AnswerSettings = OWN) -> ImagePrediction:
        """Scores, labels and novelty score of an image. Raises UnreadableImage."""
        with answers_in_progress.counted():
            return self.answer_square(self.read(image), settings)

    def read(self, image: Source) -> Pixels:
        """[side, side, 3] uint8, preprocessed as in training. Raises UnreadableImage."""
        return read_square(image, self.description["preprocessing"]["side"])

    def predict_square(self, square: Pixels) -> Scores:
        """[C] calibrated probabilities of pixels that `read` made."""
        return calibrate(self.logits(square)[0], self.description["temperature"], self.is_multi_label)

    def answer_square(self, square: Pixels, settings: AnswerSettings = OWN) -> ImagePrediction:
        """The prediction for pixels that `read` made."""
        logits, features = self.logits(square)
        scores = calibrate(logits, self.description["temperature"], self.is_multi_label)
        confidence = float(novelty.confidences(scores, self.thresholds if self.is_multi_label else None))
        reference = self.novelty_reference
        score = reference.score(features, confidence) if reference else NoveltyScore(confidence)
        decision = self.rule.decide(scores.tolist(), settings, score.is_known, score.familiarity)
        return ImagePrediction(scores, decision.labels, score, decision.is_known)

    def logits(self, square: Pixels) -> tuple[Scores, Scores]:
        """([C] logits, [F] features) of pixels that `read` made."""
        request = self._network.request()
        sizes = _resolutions(self.description)
        request.infer({f"images_{size}": resize_square(square, size)[None] for size in sizes})
        logits, features = (request.get_tensor(name).data[0].copy() for name in ("logits", "features"))
        return logits, features

    def predicted_labels(self, scores: Scores) -> tuple[str, ...]:
        """The labels that scores [C] predict: the best one, or all that reach their thresholds."""
        return self.rule.decide(scores.tolist()).labels

    def self_test(self) -> None:
        """Compare the scores of generated images with those stored at export. Raises EngineError."""
        description = self.description["int8"] if self.number_format == "int8" else self.description
        expected = np.asarray(description["self_test"]["scores"], np.float32)
        side = self.description["preprocessing"]["side"]
        scores = np.stack([self.predict_square(square) for square in self_test_squares(side)])
        tolerance = SELF_TEST_TOLERANCES[self.number_format]
        if scores.shape != expected.shape or np.abs(scores - expected).max() > tolerance:
            remedy = (
                "Train it again." if self.number_format == "float32" else "Choose the number format float32."
            )
            raise EngineError("The model does not answer as it did when it was made.", remedy)

    def measure_time(self, images: Sequence[Source]) -> InferenceTime:
        """The time for one image at a time, decoding and resizing included."""
        return inference_time.measure(lambda repetition: self._predict(images[repetition % len(images)]))

    def _predict(self, image: Source) -> None:
        self.predict_one(image)


def read_description(path: Path) -> dict[str, Any]:
    """bundle.json as a dictionary. Raises EngineError when it is missing, broken or of another version."""
    try:
        description: dict[str, Any] = json.loads((path / "bundle.json").read_text("utf-8"))
        version = description["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise EngineError("The model's folder cannot be read.", "Choose another version.") from problem
    if version not in range(1, FORMAT_VERSION + 1):
        raise EngineError(
            f"The model has format {version}; this program reads formats 1 to {FORMAT_VERSION}.",
            "Use the program that made it, or train again.",
        )
    return description


def default_number_format(description: dict[str, Any]) -> NumberFormat:
    """The number format that a bundle with this description answers with, unless another one is chosen."""
    number_format: NumberFormat = description.get("number_format", "float32")
    return number_format


def network_file(description: dict[str, Any], number_format: NumberFormat) -> str:
    """The name of the file with the network in this number format. Raises EngineError where there is none."""
    if number_format != "int8":
        return "model.onnx"
    if "int8" not in description:
        raise EngineError("The model has no INT8 network.", "Choose the number format float32.")
    return "model.int8.onnx"


def rule_of(description: dict[str, Any]) -> DecisionRule:
    """The rule from scores to answers of a bundle with this description."""
    thresholds = tuple(float(threshold) for threshold in description["thresholds"])
    return DecisionRule(tuple(description["labels"]), bool(description["is_multi_label"]), thresholds)


def calibrate(logits: Scores, temperature: float, is_multi_label: bool) -> Scores:
    """Probabilities of logits [..., C] at a temperature (Guo et al. 2017)."""
    scaled = logits.astype(np.float64) / temperature
    if is_multi_label:
        return (1 / (1 + np.exp(-scaled))).astype(np.float32)
    odds = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    shares: Scores = (odds / odds.sum(axis=-1, keepdims=True)).astype(np.float32)
    return shares


def self_test_squares(side: int) -> Pixels:
    """[4, side, side, 3] uint8: arithmetic patterns, which are the same on every machine and in every
    release."""
    image, row, column, channel = np.ogrid[:SELF_TEST_IMAGES, :side, :side, :3]
    waves = (row * (image + 1) * 2 + column * (5 - image) + channel * 60 + image * 37) % 256
    return np.asarray(waves, dtype=np.uint8)


def _resolutions(description: dict[str, Any]) -> list[int]:
    return [int(size) for size in description["preprocessing"]["resolutions"]]
