"""OpenVINO: compiled models and inference queues. Float32, so that every path gives the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.engine.config import EngineError


def compile_onnx(model: Path | bytes, resolutions: Sequence[int], threads: int | None, batch: int = 1) -> Any:
    """A model compiled by OpenVINO for batches of `batch` images, float32. Raises EngineError."""
    import openvino

    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        core = openvino.Core()
        network = core.read_model(model)
        network.reshape({f"images_{size}": [batch, size, size, 3] for size in resolutions})
        compiled: Any = core.compile_model(network, "CPU", options)
        return compiled
    except RuntimeError as problem:
        raise EngineError("The model's network cannot be loaded.", "Train it again.") from problem


def open_queue(model: bytes, shape: Sequence[int], threads: int) -> Any:
    """An OpenVINO inference queue for ONNX bytes with one input of that shape, with the optimal number of
    requests."""
    import openvino

    core = openvino.Core()
    network = core.read_model(model)
    network.reshape(list(shape))
    options = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = core.compile_model(network, "CPU", options)
    return openvino.AsyncInferQueue(compiled, compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
