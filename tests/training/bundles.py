"""A bundle written in a millisecond and known by heart: it sees the mean colour, nothing else.

It is read by the same engine as every other bundle, so services can be tested without a training.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from django.core.files.storage import default_storage
from onnx import TensorProto, helper, numpy_helper
from PIL import Image as Picture

from training.engine.bundle.bundle import FORMAT_VERSION, Bundle, self_test_squares
from training.models import TrainingVersion

SIDE = 32
COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (0.7, 0.7, 0),
    "cyan": (0, 0.7, 0.7),
    "grey": (0.5, 0.5, 0.5),
}


def write_colour_bundle(
    folder: Path, *, is_multi_label: bool = False, thresholds: Sequence[float] = (0.5,) * len(COLOURS)
) -> Bundle:
    """Answers with the name of the colour; its self-test holds."""
    folder.mkdir(parents=True)
    onnx.save(_network(), folder / "model.onnx")
    description = {
        "format_version": FORMAT_VERSION,
        "labels": list(COLOURS),
        "is_multi_label": is_multi_label,
        "thresholds": list(thresholds),
        "temperature": 1.0,
        "preprocessing": {"side": SIDE, "resolutions": [SIDE]},
        "self_test": {"scores": []},
    }
    _describe(folder, description)
    bundle = Bundle.load(folder)
    scores = [bundle.predict_square(square).tolist() for square in self_test_squares(SIDE)]
    _describe(folder, description | {"self_test": {"scores": scores}})
    return Bundle.load(folder)


def give_bundle(
    version: TrainingVersion,
    *,
    is_multi_label: bool = False,
    thresholds: Sequence[float] = (0.5,) * len(COLOURS),
) -> Bundle:
    """Store a colour bundle where the version's own would lie."""
    folder = Path(default_storage.path(f"{version.folder}/bundle"))
    return write_colour_bundle(folder, is_multi_label=is_multi_label, thresholds=thresholds)


def _describe(folder: Path, description: dict[str, object]) -> None:
    (folder / "bundle.json").write_text(json.dumps(description))


def _network() -> onnx.ModelProto:
    weights = 0.05 * np.array(list(COLOURS.values()), np.float32).T
    bias = np.full(len(COLOURS), -4, np.float32)
    nodes = [
        helper.make_node("Cast", [f"images_{SIDE}"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "sides"], ["features"], keepdims=0),
        helper.make_node("Gemm", ["features", "weights", "bias"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1, 2], np.int64), "sides"),
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(bias, "bias"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "mean colour",
        [value(f"images_{SIDE}", TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [
            value("logits", TensorProto.FLOAT, ["N", len(COLOURS)]),
            value("features", TensorProto.FLOAT, ["N", 3]),
        ],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def colour_picture(name: str, *, format: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    """A picture of one colour, as a file."""
    picture = Picture.new("RGB", size, tuple(int(250 * share) for share in COLOURS[name]))
    out = io.BytesIO()
    picture.save(out, format)
    return out.getvalue()
