"""Saliency maps: how much each place of an image adds to the logit of a label.

A model here is a sum of linear heads on pooled features, so its logit is *exactly* a sum over places: each
mean is a sum over the places of a map, each maximum comes from one place. As for class activation maps (Zhou
et al. 2016) no gradient is needed, and nothing is left out: places and bias add up to the logit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.bundle.bundle import read_description, self_test_squares
from training.engine.config import EngineError
from training.engine.data.images import Pixels, resize_square, visible_window
from training.engine.runtime import openvino

Floats = NDArray[np.float32]
POOLS = {"ReduceMean": "mean", "ReduceMax": "max"}
UNSEEN_LIGHT = 0.45  # of the parts of a picture that the model does not see
MAX_RESIDUAL = 0.01  # of places and bias from the model's logit; more is no rounding error
PASS_THROUGH = ("Reshape", "Squeeze", "Unsqueeze", "Convert")


@dataclass(frozen=True, slots=True)
class Tap:
    """A pooled map: its output of the network, its pooling, and the weights [C, F] of the head on it."""

    output: str
    pool: str
    weight: Floats


@dataclass(slots=True)
class Explainer:
    """A model whose maps are outputs. Not thread-safe.

    `bias` [C]: the part of a logit that does not depend on the image.
    """

    labels: tuple[str, ...]
    sizes: tuple[int, ...]
    taps: tuple[Tap, ...]
    bias: Floats
    _compiled: Any

    @classmethod
    def load(cls, path: Path, threads: int | None = None) -> Explainer:
        """Load a bundle. Raises EngineError for a network that is not a sum of heads on pooled maps."""
        description = read_description(path)
        sizes = tuple(int(size) for size in description["preprocessing"]["resolutions"])
        try:
            core = openvino().Core()
            model = core.read_model(path / "model.onnx")
            model.reshape({f"images_{size}": [1, size, size, 3] for size in sizes})
            taps = _taps(model, len(description["labels"]))
            options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
            if threads:
                options["INFERENCE_NUM_THREADS"] = threads
            compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as problem:
            raise EngineError("The model's network cannot be loaded.", "Train it again.") from problem
        explainer = cls(tuple(description["labels"]), sizes, taps, np.zeros(0, np.float32), compiled)
        explainer.bias = explainer._rest(self_test_squares(description["preprocessing"]["side"]))
        return explainer

    def parts(self, square: Pixels, label: int) -> list[Floats]:
        """For each pooled map [h, w] how much each place adds to the label's logit.

        All places of all maps and the bias add up to the logit. `square` as `Bundle.read` gives it.
        """
        return [self._part(maps, tap.pool, tap.weight[label]) for maps, tap in self._maps(square)]

    def evidence(self, square: Pixels, label: int, side: int) -> Floats:
        """[side, side], 0 to 1: the evidence for the label *beyond the mean of all labels*, 1 at its maximum.

        Maps of different sizes are added by bilinear interpolation, and smoothed.
        """
        total = np.zeros((side, side), np.float32)
        for maps, tap in self._maps(square):
            mean_weight = tap.weight.mean(0) if len(tap.weight) > 1 else 0
            part = self._part(maps, tap.pool, tap.weight[label] - mean_weight)
            total += _upsampled(part, side) * (part.size / side**2)
        return _smoothed(np.maximum(total, 0))

    def _rest(self, squares: Pixels) -> Floats:
        """[C] the heads' biases: logits minus all places. Raises EngineError where they differ by image."""
        rests = []
        for square in squares:
            pooled = [_pool_map(maps, tap.pool) @ tap.weight.T for maps, tap in self._maps(square)]
            rests.append(self._run(square)[self._compiled.output("logits")][0] - np.sum(pooled, axis=0))
        if np.ptp(rests, axis=0).max() > MAX_RESIDUAL:
            raise _not_explainable()
        return np.asarray(rests[0], np.float32)

    def _maps(self, square: Pixels) -> Iterator[tuple[Floats, Tap]]:
        outputs = self._run(square)
        for tap in self.taps:
            yield outputs[self._compiled.output(tap.output)][0], tap

    def _run(self, square: Pixels) -> Any:
        return self._compiled({f"images_{size}": resize_square(square, size)[None] for size in self.sizes})

    @staticmethod
    def _part(maps: Floats, pool: str, weight: Floats) -> Floats:
        """[h, w] what each place of a map [F, h, w] adds, by its pooling and the weights [F]."""
        if pool == "mean":
            return np.asarray(np.tensordot(weight, maps, 1) / maps[0].size, np.float32)
        flat = maps.reshape(len(maps), -1)
        place = flat.argmax(1)
        part = np.bincount(place, weight * flat[np.arange(len(flat)), place], minlength=flat.shape[1])
        return np.asarray(part.reshape(maps.shape[1:]), np.float32)


def _taps(model: Any, labels: int) -> tuple[Tap, ...]:
    """The pooled maps that the logits are computed from; they are added to the outputs of the model."""
    taps = list[Tap]()
    for head in _heads(model):
        weight = _constant_value(head.input_value(1))
        if weight is not None:
            weight = weight if weight.shape[0] == labels else weight.T
            taps += _taps_of_head(model, head.input_value(0), weight)
    if not taps:
        raise _not_explainable()
    return tuple(taps)


def _heads(model: Any) -> list[Any]:
    """The products nearest to the logits; those within a network may have as many columns."""
    heads, waiting = list[Any](), [model.output("logits").get_node()]
    for node in waiting:
        if node.get_type_name() == "MatMul":
            heads.append(node)
        else:
            waiting += [value.get_node() for value in node.input_values()]
    return heads


def _taps_of_head(model: Any, features: Any, weight: Floats) -> list[Tap]:
    """The pooled maps that a head reads, with their columns of its weights. Raises EngineError."""
    taps, first = list[Tap](), 0
    for pooled in _concatenated_inputs(features):
        node = pooled.get_node()
        while node.get_type_name() in PASS_THROUGH:
            node = node.input_value(0).get_node()
        pool = POOLS.get(node.get_type_name())
        if pool is None:
            raise _not_explainable()
        source = node.input_value(0)
        width = int(source.get_partial_shape()[1].get_length())
        name = f"map_of_{source.get_node().get_friendly_name()}"
        if name not in source.get_names():  # mean and maximum share a map
            source.get_tensor().add_names({name})
            model.add_outputs(source)
        taps.append(Tap(name, pool, weight[:, first : first + width]))
        first += width
    if first != weight.shape[1]:  # pooled along other axes
        raise _not_explainable()
    return taps


def _concatenated_inputs(features: Any) -> list[Any]:
    node = features.get_node()
    while node.get_type_name() in PASS_THROUGH:
        features = node.input_value(0)
        node = features.get_node()
    return list(node.input_values()) if node.get_type_name() == "Concat" else [features]


def _constant_value(value: Any) -> Floats | None:
    node = value.get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return np.asarray(node.data, np.float32) if node.get_type_name() == "Constant" else None


def _pool_map(maps: Floats, pool: str) -> Floats:
    """[F] of a map [F, h, w]."""
    flat = maps.reshape(len(maps), -1)
    return np.asarray(flat.mean(1) if pool == "mean" else flat.max(1), np.float32)


def _not_explainable() -> EngineError:
    return EngineError("This model cannot say where it looks.", "Train it again.")


def _smoothed(total: Floats) -> Floats:
    """[side, side] blurred, so that single places do not stand out, and scaled to a maximum of 1."""
    from PIL import Image, ImageFilter

    scaled = total / max(float(total.max()), 1e-12)
    picture = Image.fromarray((255 * np.sqrt(scaled)).astype(np.uint8))
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(len(total) / 40)), np.float32) / 255
    return np.asarray(soft / max(float(soft.max()), 1e-6), np.float32)


def _upsampled(part: Floats, side: int) -> Floats:
    """[side, side] by bilinear interpolation of [h, w]."""
    from PIL import Image

    picture = Image.fromarray(part.astype(np.float32), mode="F")
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR), np.float32)


def paint_heatmap(picture: Pixels, evidence: Floats, colour: Sequence[int] = (255, 70, 0)) -> Pixels:
    """[h, w, 3] uint8: the upright picture [h, w, 3] in grey, coloured by its `evidence` [side, side].

    The evidence lies on the window that the model sees; what is outside of it is dark.
    """
    from PIL import Image

    height, width = picture.shape[:2]
    left, top, right, bottom = map(round, visible_window(width, height))
    seen = Image.fromarray(evidence).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    strength, light = np.zeros((height, width, 1), np.float32), np.full((height, width, 1), UNSEEN_LIGHT)
    window = np.s_[top:bottom, left:right]
    strength[window] = np.clip(np.asarray(seen), 0, 1)[..., None] ** 0.8 * 0.75
    light[window] = 1
    grey = picture.astype(np.float32).mean(axis=2, keepdims=True) * light
    mixed = grey * (1 - strength) + np.asarray(colour, np.float32) * strength
    return np.asarray(mixed.round(), np.uint8)
