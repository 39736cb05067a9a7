"""Features of frozen networks, at the speed of the machine: OpenVINO on a processor, torch on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.engine.networks import Member, Normalized, build, scaled, to_onnx
from training.engine.pixels import Pixels, resize_square

BATCH = 8
Tick = Callable[[float], None]


def extract(
    member: Member, pixels: Pixels, threads: int, device: str, tick: Tick, rows: Sequence[int] | None = None
) -> Tensor:
    """[N, F] float32 features of cached pixels [N, S, S, 3] (or of some rows). `tick(share)` may raise."""
    chosen = range(len(pixels)) if rows is None else rows
    batches = _batches(pixels, chosen, member.resolution, threads)
    if device == "cuda":
        parts = _on_gpu(member, batches, len(chosen), tick)
    else:
        parts = _on_processor(member, batches, len(chosen), threads, tick)
    return torch.from_numpy(np.concatenate(parts))


def _batches(pixels: Pixels, rows: Sequence[int], size: int, threads: int) -> Iterator[Pixels]:
    """Batches [<= 8, size, size, 3], resized a little ahead in threads."""

    def read(start: int) -> Pixels:
        return np.stack([resize_square(pixels[row], size) for row in rows[start : start + BATCH]])

    with ThreadPoolExecutor(threads) as pool:
        ahead = [pool.submit(read, start) for start in range(0, min(len(rows), 4 * BATCH), BATCH)]
        for start in range(4 * BATCH, len(rows) + 4 * BATCH, BATCH):
            if not ahead:
                return
            batch = ahead.pop(0).result()
            if start < len(rows):
                ahead.append(pool.submit(read, start))
            yield batch


def _on_processor(member: Member, batches: Iterator[Pixels], n: int, threads: int, tick: Tick) -> list[Any]:
    queue = _queue(member, threads)
    parts: list[Any] = [None] * -(-n // BATCH)
    queue.set_callback(lambda request, i: parts.__setitem__(i, request.get_output_tensor(0).data.copy()))
    try:
        for i, batch in enumerate(batches):
            full = np.zeros((BATCH, *batch.shape[1:]), np.uint8)
            full[: len(batch)] = batch
            queue.start_async({0: full}, i)
            tick(i / len(parts))
    finally:
        queue.wait_all()
    parts[-1] = parts[-1][: n - (len(parts) - 1) * BATCH]
    return parts


def _queue(member: Member, threads: int) -> Any:
    """OpenVINO's queue for batches, float32: the same numbers as the bundle gives later."""
    import openvino

    size = member.resolution
    core = openvino.Core()
    network = core.read_model(to_onnx(Normalized(build(member.network, member.state)), [size], ["features"]))
    network.reshape([BATCH, size, size, 3])
    options = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = core.compile_model(network, "CPU", options)
    return openvino.AsyncInferQueue(compiled, compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))


def _on_gpu(member: Member, batches: Iterator[Pixels], n: int, tick: Tick) -> list[Any]:
    backbone = build(member.network, member.state).to("cuda").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts, done = [], 0
    for batch in batches:
        with torch.inference_mode(), torch.autocast("cuda", torch.float16):
            parts.append(backbone(scaled(torch.from_numpy(batch).to("cuda"))).float().cpu().numpy())
        done += len(batch)
        tick(done / n)
    return parts
