"""Features of frozen networks: OpenVINO on a CPU, torch on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.engine.backbones import inference_time
from training.engine.backbones.classifier import Member, feature_extractor, last_stage, to_onnx
from training.engine.backbones.inference_time import InferenceTime
from training.engine.data.images import JoinedPixels, Pixels, read_square, release_pages, resize_square
from training.engine.runtime import compile_onnx, open_queue

CPU_BATCH = 1  # the fastest: a layer's output is still in the cache when the next layer reads it
GPU_BATCH = 64
TIMED_IMAGES = 8
RELEASE_EVERY = 1024  # rows, 300 MB
Tick = Callable[[float], None]
Batches = list[Any]


class StopExtraction(Exception):
    """Raised by a tick to end the extraction with the rows extracted so far."""


def extract_features(
    member: Member,
    pixels: Pixels | JoinedPixels,
    threads: int,
    device: str,
    tick: Tick,
    rows: Sequence[int] | None = None,
    quarters: int = 0,
) -> Tensor:
    """[N, F] float32 features of cached pixels [N, S, S, 3], or of `rows`, after `quarters` quarter turns.

    `tick(share done)` may raise. Where it raises StopExtraction, the features of the first rows are given, as
    many as are complete by then.
    """
    return _extract(
        feature_extractor(member), member.resolution, pixels, threads, device, tick, rows, quarters
    )


def extract_maps(
    member: Member, pixels: Pixels, threads: int, device: str, tick: Tick, rows: Sequence[int]
) -> NDArray[np.float32]:
    """[N, C, P] the map of the last stage, with P places, of `rows` of cached pixels [N, S, S, 3]."""
    maps = _extract(last_stage(member), member.resolution, pixels, threads, device, tick, rows, 0).numpy()
    return maps.reshape(len(rows), member.network.stages[-1], -1)


def _extract(
    module: nn.Module,
    side: int,
    pixels: Pixels | JoinedPixels,
    threads: int,
    device: str,
    tick: Tick,
    rows: Sequence[int] | None,
    quarters: int,
) -> Tensor:
    chosen = range(len(pixels)) if rows is None else rows
    size = GPU_BATCH if device == "cuda" else CPU_BATCH
    parts: Batches = [None] * -(-len(chosen) // size)
    batches = enumerate(_read_batches(pixels, chosen, side, threads, size, quarters))
    try:
        if device == "cuda":
            _extract_on_gpu(module, batches, parts, tick)
        else:
            _extract_on_cpu(_open_queue(module, side, threads), batches, parts, tick)
    except StopExtraction:
        parts = parts[: next(i for i, part in enumerate([*parts, None]) if part is None)]
    return torch.from_numpy(np.concatenate(parts))


def _read_batches(
    pixels: Pixels | JoinedPixels, rows: Sequence[int], side: int, threads: int, size: int, quarters: int
) -> Iterator[Pixels]:
    """Batches [<= size, side, side, 3], resized and rotated a little ahead in threads."""

    def read(start: int) -> Pixels:
        squares = (resize_square(pixels[row], side) for row in rows[start : start + size])
        return np.stack([np.rot90(square, quarters) for square in squares])

    starts = iter(range(0, len(rows), size))
    since_release = 0
    with ThreadPoolExecutor(threads) as pool:
        ahead = [pool.submit(read, start) for start in islice(starts, 8)]
        while ahead:
            batch = ahead.pop(0).result()
            ahead += [pool.submit(read, start) for start in islice(starts, 1)]
            since_release += len(batch)
            if since_release >= RELEASE_EVERY:
                release_pages(pixels)
                since_release = 0
            yield batch


def _extract_on_cpu(queue: Any, batches: Iterator[tuple[int, Pixels]], parts: Batches, tick: Tick) -> None:
    queue.set_callback(lambda request, i: parts.__setitem__(i, request.get_output_tensor(0).data.copy()))
    try:
        for i, batch in batches:
            queue.start_async({0: batch}, i)
            tick(i / len(parts))
    finally:
        queue.wait_all()


def open_feature_queue(member: Member, threads: int) -> Any:
    """An OpenVINO queue for the member's features: the same numbers as the bundle gives later."""
    return _open_queue(feature_extractor(member), member.resolution, threads)


def _open_queue(module: nn.Module, side: int, threads: int) -> Any:
    return open_queue(to_onnx(module, [side], ["features"]), [CPU_BATCH, side, side, 3], threads)


def _extract_on_gpu(
    module: nn.Module, batches: Iterator[tuple[int, Pixels]], parts: Batches, tick: Tick
) -> None:
    module = module.to("cuda").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for i, batch in batches:
        with torch.inference_mode(), torch.autocast("cuda", torch.float16):
            parts[i] = module(torch.from_numpy(batch).to("cuda")).float().cpu().numpy()
        tick(i / len(parts))


def measure_time(
    member: Member, paths: Sequence[Path], side: int, threads: int, tick: Callable[[], None]
) -> InferenceTime:
    """The time of the network for one image that was read, resizing included."""
    onnx = to_onnx(feature_extractor(member), [member.resolution], ["features"])
    request = compile_onnx(onnx, [member.resolution], threads).create_infer_request()
    squares = [read_square(path, side) for path in paths[:TIMED_IMAGES]]

    def infer(repetition: int) -> None:
        square = squares[repetition % len(squares)]
        request.infer({0: resize_square(square, member.resolution)[None]})

    return inference_time.measure(infer, tick)


def measure_reading(paths: Sequence[Path], side: int, tick: Callable[[], None]) -> InferenceTime:
    """The time of decoding one image and shrinking it to a square."""
    return inference_time.measure(lambda repetition: _read(paths[repetition % len(paths)], side), tick)


def _read(path: Path, side: int) -> None:
    read_square(path, side)
