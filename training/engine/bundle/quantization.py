"""The INT8 network of a bundle: post-training quantization of its float32 network by NNCF.

model.int8.onnx has the inputs and outputs of model.onnx and holds pairs of QuantizeLinear and
DequantizeLinear, which OpenVINO and ONNX Runtime turn into 8-bit kernels. Ranges come from training images
alone. Float32 stay the layers that lose most for what they save: the first convolution of each network,
depthwise convolutions and the heads. Measured: docs/engine.md, "INT8".
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from training.engine.bundle.bundle import Bundle, network_file, read_description, self_test_squares
from training.engine.config import EngineError
from training.engine.data.images import Pixels, resize_square

CALIBRATION_IMAGES = 64
COMPARED_IMAGES = 40  # of those, by which the answers of both networks are compared
MIN_AGREEMENT = 0.8  # of their labels; below, the quantized network is of no use
LINEAR = ("Gemm", "MatMul")  # operators of the heads
COVARIANCE = "/covariance/"  # in the names of its nodes; the iterations of a root need all digits
# Seconds of processor time: for the libraries and the layers, and for each billion multiply-adds of an image.
FIXED_S, SECONDS_PER_GMAC = 4.0, 0.17


def add_int8(
    folder: Path, squares: Sequence[Pixels], threads: int, tick: Callable[[], None] = lambda: None
) -> None:
    """Add the INT8 network to the bundle in `folder`, calibrated on squares that `Bundle.read` gives.

    The bundle still answers in float32. `tick` is called between images and may raise, which leaves the
    bundle as it was. Raises EngineError where the network cannot be quantized.
    """
    if not squares:
        raise EngineError("No training image can be read.", "It answers in float32.")
    description = read_description(folder)
    file = folder / network_file({"int8": None}, "int8")
    unfinished = file.with_suffix(".part")
    try:
        unfinished.write_bytes(_quantized(folder / "model.onnx", description, squares, tick))
        entry: dict[str, Any] = {"bytes": unfinished.stat().st_size, "calibration_images": len(squares)}
        os.replace(unfinished, file)
        _write_entry(folder, description | {"int8": entry})
        entry |= _checked(folder, squares[:COMPARED_IMAGES], threads, tick)
        _write_entry(folder, description | {"int8": entry})
    except BaseException:
        unfinished.unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        _write_entry(folder, description)
        raise


def left_out_note(problem: Exception) -> str:
    """The note of a training whose model has no INT8 network."""
    return f"There is no INT8 network. {problem}"


def set_default_number_format(folder: Path, number_format: str) -> None:
    """Let the bundle answer in this number format unless another one is asked for."""
    _write_entry(folder, read_description(folder) | {"number_format": number_format})


def quantization_s(gmacs: float, images: int) -> float:
    """Seconds of quantizing a network of so many billion multiply-adds, on two idle cores."""
    return FIXED_S + SECONDS_PER_GMAC * gmacs * images


def _quantized(
    file: Path, description: dict[str, Any], squares: Sequence[Pixels], tick: Callable[[], None]
) -> bytes:
    """The INT8 network as ONNX. Raises EngineError, and what `tick` raises."""
    sizes = [int(size) for size in description["preprocessing"]["resolutions"]]
    stopped = list[BaseException]()

    def inputs(square: Pixels) -> dict[str, Pixels]:
        try:
            tick()
        except BaseException as reason:
            stopped.append(reason)
            raise
        return {f"images_{size}": resize_square(square, size)[None] for size in sizes}

    try:
        # NNCF draws progress bars on standard output, which programs read here.
        with contextlib.redirect_stdout(io.StringIO()):
            quantized = _quantize(onnx.load(file), squares, inputs)
    except Exception as problem:  # NNCF raises many kinds, and all mean the same here
        if stopped:
            raise
        raise EngineError("The network cannot be quantized.", "It answers in float32.") from problem
    return bytes(quantized.SerializeToString())


def _quantize(model: onnx.ModelProto, squares: Sequence[Pixels], inputs: Callable[[Pixels], Any]) -> Any:
    nncf = _nncf()
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return nncf.quantize(
        model,
        nncf.Dataset(squares, inputs),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(squares),
        ignored_scope=nncf.IgnoredScope(names=float_layers(model), validate=False),
        # Without clipping: deep heads read the largest value of each channel.
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        ),
    )


def float_layers(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes that are not quantized."""
    found, behind = list[str](), set[str]()  # names of values that a convolution has shaped
    for node in model.graph.node:
        is_first = behind.isdisjoint(node.input)
        is_grouped = any(one.name == "group" and one.i > 1 for one in node.attribute)
        is_convolution, is_covariance = node.op_type == "Conv", COVARIANCE in node.name
        if node.op_type in LINEAR or is_covariance or (is_convolution and (is_first or is_grouped)):
            found.append(node.name)
        if is_convolution or not is_first:
            behind.update(node.output)
    return found


def _checked(
    folder: Path, squares: Sequence[Pixels], threads: int, tick: Callable[[], None]
) -> dict[str, Any]:
    """Self-test and parity of the INT8 network. Raises EngineError where it answers unlike the float one."""
    exact, small = (Bundle.load(folder, threads, number_format=name) for name in ("float32", "int8"))
    differences, same = [0.0], 0
    for square in squares:
        tick()
        before, after = exact.predict_square(square), small.predict_square(square)
        differences.append(float(np.abs(before - after).max()))
        same += exact.predicted_labels(before) == small.predicted_labels(after)
    if same < MIN_AGREEMENT * len(squares):
        raise EngineError("The INT8 network answers unlike the float32 network.", "It is left out.")
    patterns = self_test_squares(exact.description["preprocessing"]["side"])
    return {
        "parity": {"images": len(squares), "largest_difference": max(differences), "same_labels": same},
        "self_test": {"scores": [small.predict_square(square).tolist() for square in patterns]},
    }


def _nncf() -> Any:
    """NNCF without what it sends to its makers and without its log; importing it takes seconds."""
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf


def _write_entry(folder: Path, description: dict[str, Any]) -> None:
    unfinished = folder / "bundle.json.part"
    unfinished.write_text(json.dumps(description, indent=1, ensure_ascii=False), "utf-8")
    os.replace(unfinished, folder / "bundle.json")
