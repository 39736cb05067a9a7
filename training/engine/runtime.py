"""OpenVINO: compiled models and inference queues. Float32, so that every path gives the same numbers, unless
another number format is asked for.

Every other module gets OpenVINO from here, never by an import of its own: see `openvino`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from training.engine.config import EngineError, NumberFormat

# OpenVINO would tie the threads of every process to the same first cores. Measured: two processes that each
# answer one image after the other give 1.3 times as many answers without, on two cores.
CPU_OPTIONS: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}

_lock = threading.Lock()
_warm: Any = None


def openvino() -> Any:
    """The module OpenVINO, after the first inference of this process. Thread-safe.

    Its Python binding deadlocks where two threads make a process's first inferences together: one holds a
    static guard of C++ and waits for the GIL, the other holds the GIL and waits for the guard. So the first
    thread makes a warm inference while the others wait for a lock, which releases the GIL.

    Measured (benchmarks/first_inference.py, load 12): 2 of 24 processes hung without it, none of 40 with it.
    """
    global _warm
    with _lock:
        if _warm is None:
            import openvino

            _make_inferences(openvino)
            _warm = openvino
        return _warm


def _make_inferences(openvino: Any) -> None:
    """One inference of the mean of two numbers by each way that this program makes them."""
    from openvino import opset13

    numbers = opset13.parameter([1, 2], np.uint8, name="numbers")
    mean = opset13.reduce_mean(opset13.convert(numbers, "f32"), np.array([1]), keep_dims=True)
    mean.output(0).set_names({"mean"})
    network = openvino.Model([mean], [numbers], "warm inference")
    compiled = openvino.Core().compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": 1})
    pair = np.array([[1, 3]], np.uint8)
    compiled({0: pair})
    request = compiled.create_infer_request()
    request.infer({"numbers": pair})
    request.get_tensor("mean").data[0].copy()
    queue = openvino.AsyncInferQueue(compiled, 1)
    queue.set_callback(lambda request, _: request.get_output_tensor(0).data.copy())
    queue.start_async({0: pair}, 0)
    queue.wait_all()


@cache
def has_bfloat16() -> bool:
    """Whether this machine's processor computes with bfloat16."""
    return "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compile_onnx(
    model: Path | bytes,
    resolutions: Sequence[int],
    threads: int | None,
    batch: int = 1,
    streams: int = 1,
    number_format: NumberFormat = "float32",
) -> Any:
    """A model compiled by OpenVINO for batches of `batch` images. Raises EngineError.

    What the file does not quantize is computed in float32, or in bfloat16 where asked for and possible.
    `streams`: answers at once, which share the threads.
    """
    core = openvino().Core()
    hint = "bf16" if number_format == "bfloat16" and has_bfloat16() else "f32"
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        **CPU_OPTIONS,
        "INFERENCE_PRECISION_HINT": hint,
    }
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    if streams > 1:
        options["NUM_STREAMS"] = streams
    try:
        network = core.read_model(model)
        network.reshape({f"images_{size}": [batch, size, size, 3] for size in resolutions})
        compiled: Any = core.compile_model(network, "CPU", options)
        return compiled
    except RuntimeError as problem:
        raise EngineError("The model's network cannot be loaded.", "Train it again.") from problem


def open_queue(model: bytes, shape: Sequence[int], threads: int) -> Any:
    """An OpenVINO inference queue for ONNX bytes with one input of that shape, with the optimal number of
    requests."""
    core = openvino().Core()
    network = core.read_model(model)
    network.reshape(list(shape))
    options = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_NUM_THREADS": threads,
        **CPU_OPTIONS,
    }
    compiled = core.compile_model(network, "CPU", options)
    return openvino().AsyncInferQueue(compiled, compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
