"""Saliency maps: how much each place of an image adds to the logit of a label.

A model here is a sum of linear heads on pooled features, so its logit is *exactly* a sum over places: each
mean is a sum over the places of a map, each maximum comes from one place. As for class activation maps (Zhou
et al. 2016) no gradient is needed, and nothing is left out: places and bias add up to the logit.

A covariance A is a mean of y yᵀ over the places. The iterations that give its square root (covariance.py)
keep root = A Z, so a head W on it is a sum over places as well: of yᵀ Z W y.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.backbones.square_root import EPSILON, newton_schulz, symmetric
from training.engine.bundle.bundle import read_description, self_test_squares
from training.engine.config import EngineError
from training.engine.data.images import Pixels, resize_square, visible_window
from training.engine.runtime import CPU_OPTIONS, openvino

Floats = NDArray[np.float32]
POOLS = {"ReduceMean": "mean", "ReduceMax": "max"}
UNSEEN_LIGHT = 0.45  # of the parts of a picture that the model does not see
MAX_RESIDUAL = 0.01  # of places and bias from the model's logit; more is no rounding error
MAX_NODES = 1000  # that are looked at for the product of a covariance
PASS_THROUGH = ("Reshape", "Squeeze", "Unsqueeze", "Convert")


@dataclass(frozen=True, slots=True)
class Tap:
    """A pooled map: its output of the network, its pooling, and the weights [C, F] of the head on it.

    The pooling is "mean", "max" or "covariance"; this one along `directions` [K, F], with weights [C, K, K].
    """

    output: str
    pool: str
    weight: Floats
    directions: Floats | None = None

    def pooled(self, maps: Floats) -> Floats:
        """[C] what a map [F, h, w] adds to each logit."""
        return np.asarray([self.part(maps, weight).sum() for weight in self.weight], np.float32)

    def part(self, maps: Floats, weight: Floats) -> Floats:
        """[h, w] what each place of a map [F, h, w] adds, for the weights of one label."""
        flat = maps.reshape(len(maps), -1)
        added: NDArray[Any]
        if self.directions is not None:
            added = _covariance_part(self.directions @ flat, weight)
        elif self.pool == "mean":
            added = weight @ flat / flat.shape[1]
        else:
            place = flat.argmax(1)
            highest = weight * flat[np.arange(len(flat)), place]
            added = np.bincount(place, highest, minlength=flat.shape[1])
        return np.asarray(added.reshape(maps.shape[1:]), np.float32)


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
            options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", **CPU_OPTIONS}
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
        return [tap.part(maps, tap.weight[label]) for maps, tap in self._maps(square)]

    def evidence(self, square: Pixels, label: int, side: int) -> Floats:
        """[side, side], 0 to 1: the evidence for the label *beyond the mean of all labels*, 1 at its maximum.

        Maps of different sizes are added by bilinear interpolation, and smoothed.
        """
        total = np.zeros((side, side), np.float32)
        for maps, tap in self._maps(square):
            mean_weight = tap.weight.mean(0) if len(tap.weight) > 1 else 0
            part = tap.part(maps, tap.weight[label] - mean_weight)
            total += _upsampled(part, side) * (part.size / side**2)
        return _smoothed(np.maximum(total, 0))

    def _rest(self, squares: Pixels) -> Floats:
        """[C] the heads' biases: logits minus all places. Raises EngineError where they differ by image."""
        rests = []
        for square in squares:
            pooled = [tap.pooled(maps) for maps, tap in self._maps(square)]
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
        pool, source, directions = _pooling_of(pooled.get_node())
        channels = int(source.get_partial_shape()[1].get_length())
        width = channels if directions is None else len(directions) * (len(directions) + 1) // 2
        name = f"map_of_{source.get_node().get_friendly_name()}"
        if name not in source.get_names():  # mean and maximum share a map
            source.get_tensor().add_names({name})
            model.add_outputs(source)
        columns = weight[:, first : first + width]
        taps.append(Tap(name, pool, columns if directions is None else symmetric(columns), directions))
        first += width
    if first != weight.shape[1]:  # pooled along other axes
        raise _not_explainable()
    return taps


def _pooling_of(node: Any) -> tuple[str, Any, Floats | None]:
    """The pooling whose result a node is, the map that it pools, and directions. Raises EngineError."""
    while node.get_type_name() in PASS_THROUGH:
        node = node.input_value(0).get_node()
    if pool := POOLS.get(node.get_type_name()):
        return pool, node.input_value(0), None
    # A covariance: the nearest product with a constant projects the map on the directions.
    waiting = [node]
    for node in waiting:
        if node.get_type_name() == "MatMul" and (found := _constant_value(node.input_value(0))) is not None:
            source = node.input_value(1)
            while source.get_node().get_type_name() in PASS_THROUGH:
                source = source.get_node().input_value(0)
            return "covariance", source, found
        if len(waiting) > MAX_NODES:
            break
        waiting += [value.get_node() for value in node.input_values()]
    raise _not_explainable()


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


def _covariance_part(projected: Floats, weight: Floats) -> Floats:
    """[P] what each place adds to weight · pooled covariance, of projected channels [K, P]; weight [K, K]."""
    places = (projected - projected.mean(axis=1, keepdims=True)).astype(np.float64)
    root, inverse, trace = newton_schulz(places @ places.T / places.shape[1])
    total = np.sqrt(np.square(root).sum() + EPSILON)
    added = (places * (inverse @ weight @ places)).sum(axis=0)
    return np.asarray(added / (places.shape[1] * trace * total), np.float32)


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
