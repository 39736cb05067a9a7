"""The whole model as one ONNX graph: an upright RGB image of any size in, calibrated scores out.

`pipeline_graph` puts the preprocessing of data/images.py before the network (the visible window, the bicubic
reduction as Pillow computes it, rounding after each direction), and the calibration of bundle.py and the
novelty score of novelty.py behind it. A program then needs only an ONNX runtime and an image decoder.

input    picture     [H, W, 3] uint8, upright RGB
outputs  scores      [C] float32, as the bundle gives them
         confidence  [] float32
         is_known    [] bool, by the model's own limits, and familiarity [] float32, 0 to 1; both only with
                     a novelty reference

Pillow also lets JPEG files be decoded at a fraction of their size and reduces large images by whole factors
first; the graph does not, so that scores differ a little: `parity` of the export says how much.

ONNX's own Resize with antialias cuts at whole pixels only. Measured (benchmarks/mechanisms.py onnx_pipeline,
500 photos): scores differ from the bundle's by 0.034 at most with Resize, 14 of them by more than 0.01; with
the reduction below by 0.007 at most. Its price is 1.8 times the time for a photo, 7 times at 6 megapixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from training.engine.bundle.bundle import network_file, read_description
from training.engine.bundle.novelty import CONFIDENCE_TOLERANCE, NEIGHBOURS, NoveltyReference
from training.engine.bundle.novelty import read_reference as read_known
from training.engine.config import EngineError, NumberFormat
from training.engine.data.images import MAX_STRETCH, MIN_VISIBLE_SHARE

BICUBIC = -0.5  # Pillow's parameter of the cubic kernel (Keys 1981)


@dataclass(slots=True)
class _GraphBuilder:
    """Nodes and constants of a graph under construction."""

    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    count: int = 0

    def constant(self, value: NDArray[Any]) -> str:
        self.count += 1
        name = f"whole_c{self.count}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        self.count += 1
        output = name or f"whole_{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output


def pipeline_graph(folder: Path, number_format: NumberFormat = "float32") -> bytes:
    """The graph of a bundle in a number format. Raises EngineError where it cannot be read."""
    description = read_description(folder)
    file = folder / network_file(description, number_format)
    try:
        model = onnx.load(file)
    except Exception as problem:  # onnx and protobuf raise many kinds, and all mean the same here
        raise EngineError("The model's network cannot be loaded.", "Train it again.") from problem
    drawing, known = _GraphBuilder(), read_known(folder, description)
    # The preprocessing ends in the names of the network's inputs, so its nodes are put in front.
    _draw_pixels(drawing, description["preprocessing"])
    drawing.nodes += model.graph.node
    drawing.constants += model.graph.initializer
    outputs = _draw_scores(drawing, description, known)
    values = helper.make_tensor_value_info
    graph = helper.make_graph(
        drawing.nodes,
        "exeml",
        [values("picture", TensorProto.UINT8, ["height", "width", 3])],
        [values(name, kind, shape) for name, kind, shape in outputs],
        drawing.constants,
    )
    opset = max(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    # Names of labels travel inside the file: a program needs no bundle.json beside it.
    whole.metadata_props.extend(
        onnx.StringStringEntryProto(key=f"label_{number}", value=label)
        for number, label in enumerate(description["labels"])
    )
    onnx.checker.check_model(whole)
    return bytes(whole.SerializeToString())


# --- before the network ---


def _draw_pixels(drawing: _GraphBuilder, preprocessing: dict[str, Any]) -> None:
    """`picture` to the network's inputs `images_<R>` [1, R, R, 3] uint8."""
    side = int(preprocessing["side"])
    shape = drawing.add("Cast", drawing.add("Shape", "picture"), to=TensorProto.FLOAT)
    height, width, _ = _three(drawing, shape)
    seen_w, seen_h = _window(drawing, width, height)
    pixels = drawing.add("Cast", "picture", to=TensorProto.FLOAT)
    across = _weights(drawing, width, seen_w, side)
    down = _weights(drawing, height, seen_h, side)
    square = _resampled(drawing, pixels, across, down)
    for size in preprocessing["resolutions"]:
        smaller = square
        if size != side:
            fixed = drawing.constant(_fixed_weights(side, int(size)))
            smaller = _resampled(drawing, square, fixed, fixed)
        whole = drawing.add("Cast", smaller, to=TensorProto.UINT8)
        first = drawing.constant(np.array([0], np.int64))
        drawing.add("Unsqueeze", whole, first, name=f"images_{size}")


def _three(drawing: _GraphBuilder, vector: str) -> list[str]:
    """The three numbers of a vector, without dimensions."""
    return [
        drawing.add("Gather", vector, drawing.constant(np.array(place, np.int64)), axis=0)
        for place in range(3)
    ]


def _window(drawing: _GraphBuilder, width: str, height: str) -> tuple[str, str]:
    """Width and height of the visible window, as `images.visible_window` has them; it lies in the middle."""
    long, short = drawing.add("Max", width, height), drawing.add("Min", width, height)
    stretched = drawing.add("Mul", short, drawing.number(MAX_STRETCH))
    least = drawing.add("Mul", long, drawing.number(MIN_VISIBLE_SHARE))
    longest = drawing.add("Max", drawing.add("Min", long, stretched), least)
    return drawing.add("Min", width, longest), drawing.add("Min", height, longest)


def _weights(drawing: _GraphBuilder, length: str, seen: str, side: int) -> str:
    """[side, length] float32: the share of each of `length` pixels in each of `side`, as Pillow's bicubic."""
    left = drawing.add("Mul", drawing.add("Sub", length, seen), drawing.number(0.5))
    scale = drawing.add("Div", seen, drawing.number(side))
    support = drawing.add("Max", scale, drawing.number(1))  # reducing widens the kernel, enlarging does not
    places = drawing.constant((np.arange(side, dtype=np.float32) + 0.5)[:, None])
    centres = drawing.add("Add", drawing.add("Mul", places, scale), left)
    zero, one = drawing.number(0), drawing.number(1)
    columns = drawing.add("Add", drawing.add("Range", zero, length, one), drawing.number(0.5))
    distance = drawing.add("Abs", drawing.add("Div", drawing.add("Sub", columns, centres), support))
    kernel = _kernel(drawing, distance)
    last = drawing.constant(np.array([1], np.int64))
    return drawing.add("Div", kernel, drawing.add("ReduceSum", kernel, last, keepdims=1))


def _kernel(drawing: _GraphBuilder, x: str) -> str:
    """The cubic kernel at distances x ≥ 0: ((a+2)x − (a+3))x² + 1 up to 1, ((x−5)x + 8)ax − 4a up to 2."""
    a, square = BICUBIC, drawing.add("Mul", x, x)
    inner = drawing.add("Sub", drawing.add("Mul", x, drawing.number(a + 2)), drawing.number(a + 3))
    near = drawing.add("Add", drawing.add("Mul", inner, square), drawing.number(1))
    outer = drawing.add(
        "Add", drawing.add("Mul", drawing.add("Sub", x, drawing.number(5)), x), drawing.number(8)
    )
    scaled = drawing.add("Mul", drawing.add("Mul", outer, x), drawing.number(a))
    far = drawing.add("Sub", scaled, drawing.number(4 * a))
    beyond = drawing.add("Where", drawing.add("Less", x, drawing.number(2)), far, drawing.number(0))
    return drawing.add("Where", drawing.add("Less", x, drawing.number(1)), near, beyond)


def _fixed_weights(length: int, side: int) -> NDArray[np.float32]:
    """[side, length] for a square that is known now."""
    scale = length / side
    centres = (np.arange(side) + 0.5)[:, None] * scale
    x = np.abs(np.arange(length) + 0.5 - centres) / max(scale, 1)
    a = BICUBIC
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    kernel = np.where(x < 1, near, np.where(x < 2, far, 0))
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True), np.float32)


def _resampled(drawing: _GraphBuilder, pixels: str, across: str, down: str) -> str:
    """[side, side, 3] whole numbers of [H, W, 3]: first the rows, then the columns, each rounded."""
    rows = _rounded(drawing, drawing.add("MatMul", across, pixels))  # [side, W] · [H, W, 3]
    turned = drawing.add("Transpose", rows, perm=[1, 0, 2])  # [side, H, 3]
    columns = _rounded(drawing, drawing.add("MatMul", down, turned))
    return drawing.add("Transpose", columns, perm=[1, 0, 2])


def _rounded(drawing: _GraphBuilder, values: str) -> str:
    half = drawing.add("Floor", drawing.add("Add", values, drawing.number(0.5)))
    return drawing.add("Clip", half, drawing.number(0), drawing.number(255))


# --- behind the network ---


def _draw_scores(
    drawing: _GraphBuilder, description: dict[str, Any], known: NoveltyReference | None
) -> list[tuple[str, int, list[int]]]:
    """The outputs of the graph: (name, type, shape)."""
    count = len(description["labels"])
    flat = drawing.constant(np.array([-1], np.int64))
    logits = drawing.add("Reshape", "logits", flat)
    cool = drawing.add("Div", logits, drawing.number(float(description["temperature"])))
    is_multi = description["is_multi_label"]
    scores = drawing.add("Sigmoid" if is_multi else "Softmax", cool, name="scores")
    relative = scores
    if is_multi:
        thresholds = drawing.constant(np.asarray(description["thresholds"], np.float32))
        relative = drawing.add("Div", scores, thresholds)
    drawing.add("ReduceMax", relative, name="confidence", keepdims=0)
    outputs: list[tuple[str, int, list[int]]] = [
        ("scores", TensorProto.FLOAT, [count]),
        ("confidence", TensorProto.FLOAT, []),
    ]
    if known is None:
        return outputs
    _draw_known(drawing, known, flat)
    return [*outputs, ("is_known", TensorProto.BOOL, []), ("familiarity", TensorProto.FLOAT, [])]


def _draw_known(drawing: _GraphBuilder, known: NoveltyReference, flat: str) -> None:
    """`is_known` and `familiarity` as NoveltyReference.score computes them."""
    places = np.arange(known.first_feature, known.first_feature + known.references.shape[1])
    own = drawing.add("Gather", drawing.add("Reshape", "features", flat), drawing.constant(places), axis=0)
    roots = drawing.add("Sqrt", drawing.add("Relu", own))
    length = drawing.add("Sqrt", drawing.add("ReduceSum", drawing.add("Mul", roots, roots), keepdims=0))
    direction = drawing.add("Div", roots, drawing.add("Max", length, drawing.number(1e-6)))
    cosines = drawing.add("MatMul", drawing.constant(known.references), direction)
    gap = drawing.add("Sub", drawing.number(2), drawing.add("Mul", cosines, drawing.number(2)))
    apart = drawing.add("Sqrt", drawing.add("Relu", gap))
    count = drawing.constant(np.array([min(NEIGHBOURS, len(known.references))], np.int64))
    drawing.nodes.append(
        helper.make_node("TopK", [apart, count], ["whole_nearest", "whole_which"], largest=0, axis=0)
    )
    distance = drawing.add("ReduceMean", "whole_nearest", keepdims=0)
    is_near = drawing.add("LessOrEqual", distance, drawing.number(known.max_distance))
    is_sure = drawing.add("GreaterOrEqual", "confidence", drawing.number(known.min_confidence))
    drawing.add("And", is_near, is_sure, name="is_known")
    tolerant = drawing.add("Add", "confidence", drawing.number(CONFIDENCE_TOLERANCE))
    confident = _share_below(drawing, tolerant, known.confidences)
    near = drawing.add("Sub", drawing.number(1), _share_below(drawing, distance, known.distances))
    drawing.add("Min", confident, near, name="familiarity")


def _share_below(drawing: _GraphBuilder, value: str, quantiles: NDArray[np.float32]) -> str:
    """The interpolated share of quantiles [Q] below a value: each step between two of them counts alike."""
    widths = np.maximum(np.diff(quantiles), 1e-9).astype(np.float32)
    above = drawing.add("Sub", value, drawing.constant(quantiles[:-1].astype(np.float32)))
    steps = drawing.add("Div", above, drawing.constant(widths))
    passed = drawing.add("Clip", steps, drawing.number(0), drawing.number(1))
    return drawing.add("ReduceMean", passed, keepdims=0)
