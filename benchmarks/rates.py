"""Rates of work, a second, after a warm-up, by the clock of the wall or of the processor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

WARM_UP_S = 0.5


@dataclass(frozen=True, slots=True)
class Span:
    """How long to measure, and by which clock."""

    seconds: float
    clock: Callable[[], float] = time.monotonic


Run = Callable[[Span], float]


class Enough(Exception):
    """Stops a part of the engine that was measured for long enough."""


@dataclass(frozen=True, slots=True)
class Measure:
    """`run(span)` gives products or images a second, of `flops` each; compared within its `group`.

    `limit`: the name of the measure that it is compared with instead.
    """

    name: str
    group: str
    flops: float
    run: Run
    is_limit: bool = False
    limit: str = ""


class Ticks:
    """Counts the ticks of a part of the engine after a warm-up, and raises Enough at the end."""

    def __init__(self, span: Span) -> None:
        self.span, self.count = span, 0
        self.came = self.began = self.ended = 0.0

    def __call__(self, _share: float) -> None:
        now = self.span.clock()
        self.came = self.came or now
        if now - self.came < WARM_UP_S:
            return
        if not self.began:
            self.began = now
            return
        self.count, self.ended = self.count + 1, now
        if now - self.began > self.span.seconds:
            raise Enough

    def per_second(self) -> float:
        return self.count / (self.ended - self.began)


def ticks_per_second(work: Callable[[Ticks], Any], span: Span) -> float:
    ticks = Ticks(span)
    try:
        work(ticks)
    except Enough:
        return ticks.per_second()
    raise RuntimeError("The work ended before it was measured.")


def calls_per_second(call: Callable[[], Any], device: str, span: Span) -> float:
    """Calls a second, after one that does not count; a GPU's work is waited for at both ends."""
    call()
    wait(device)
    count, began = 0, span.clock()
    while not count or span.clock() - began < span.seconds:
        call()
        count += 1
    wait(device)
    return count / (span.clock() - began)


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def noise(count: int, side: int) -> np.ndarray:
    """[count, side, side, 3] uint8."""
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
