"""A bundle written in a millisecond and known by heart: it sees the mean colour, nothing else.

It is read by the same engine as every other bundle, so services can be tested without a training.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

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
) -> None:
    """Answers with the name of the colour; its self-test holds."""
    folder.mkdir(parents=True)
    for name, content in _colour_bundle(is_multi_label, tuple(thresholds)).items():
        (folder / name).write_bytes(content)


@cache
def _colour_bundle(is_multi_label: bool, thresholds: tuple[float, ...]) -> dict[str, bytes]:
    """The files: the scores of the self-test come from a network that has to be compiled."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _make_colour_bundle(folder, is_multi_label, thresholds)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _make_colour_bundle(folder: Path, is_multi_label: bool, thresholds: tuple[float, ...]) -> None:
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


def give_bundle(
    version: TrainingVersion,
    *,
    is_multi_label: bool = False,
    thresholds: Sequence[float] = (0.5,) * len(COLOURS),
) -> None:
    """Store a colour bundle where the version's own would lie."""
    folder = Path(default_storage.path(f"{version.folder}/bundle"))
    write_colour_bundle(folder, is_multi_label=is_multi_label, thresholds=thresholds)


def give_int8(version: TrainingVersion, *, is_default: bool = False) -> Bundle:
    """Add an INT8 network with scores of its own to the version's colour bundle, and what was measured."""
    folder = Path(default_storage.path(f"{version.folder}/bundle"))
    onnx.save(_network(contrast=0.9), folder / "model.int8.onnx")
    description = json.loads((folder / "bundle.json").read_text())
    description |= {
        "int8": {"self_test": {"scores": []}},
        "number_format": "int8" if is_default else "float32",
    }
    _describe(folder, description)
    bundle = Bundle.load(folder, number_format="int8")
    scores = [bundle.predict_square(square).tolist() for square in self_test_squares(SIDE)]
    _describe(folder, description | {"int8": {"self_test": {"scores": scores}}})
    version.number_format = description["number_format"]
    version.number_formats = [
        number_format_report("float32", hits=188, ms=40.0),
        number_format_report("int8", hits=187, ms=21.5, agreed=196, p_value=0.625),
        number_format_report("bfloat16", hits=188, ms=26.0, agreed=199),
    ]
    version.save(update_fields=["number_format", "number_formats"])
    return bundle


def number_format_report(name: str, **figures: object) -> dict[str, object]:
    """The engine's NumberFormatReport of 200 validation images, as it is stored."""
    report = {
        "number_format": name,
        "images": 200,
        "hits": 188,
        "lost": 0,
        "won": 0,
        "agreed": 200,
        "p_value": 1.0,
        "known_p_value": 1.0,
        "loss": 0.2,
        "loss_gap": 0.0,
        "loss_gap_error": 0.0,
        "ms": 40.0,
    }
    return report | figures


def _describe(folder: Path, description: dict[str, object]) -> None:
    (folder / "bundle.json").write_text(json.dumps(description))


def _network(contrast: float = 1) -> onnx.ModelProto:
    weights = np.float32(0.05 * contrast) * np.array(list(COLOURS.values()), np.float32).T
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
