"""Milliseconds for one image on this machine, measured so that other work on it does not change them.

On a busy machine the wall-clock time of a repetition includes waiting for a processor: measured with
EfficientNet-Lite0 on two cores, 40 to 190 ms where the processor time stayed between 22 and 27 ms. A
repetition is *quiet* if its wall-clock time is not longer than its processor time: it waited for less than
its threads saved by running at the same time, and with one thread not at all. The time is the median
wall-clock time of the quiet repetitions; where there are too few of them, the median processor time, which
is what the image takes if its threads run one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MAX_REPETITIONS, MIN_QUIET, MAX_SECONDS = 40, 8, 1.5
WARM_UP = 2  # repetitions that are not counted
QUIET_RATIO = 1.05  # wall-clock time to processor time; clocks are not exact


@dataclass(frozen=True, slots=True)
class InferenceTime:
    """The median in ms with the quartiles, which show the spread. `is_quiet`: of quiet repetitions."""

    ms: float
    low: float
    high: float
    is_quiet: bool = True

    def __add__(self, other: InferenceTime) -> InferenceTime:
        """The time of both, one after the other; the spread is at most the sum of the spreads."""
        is_quiet = self.is_quiet and other.is_quiet
        return InferenceTime(self.ms + other.ms, self.low + other.low, self.high + other.high, is_quiet)


def measure(action: Callable[[int], None], tick: Callable[[], None] = lambda: None) -> InferenceTime:
    """The time of `action`, which gets the number of the repetition. `tick` is called between repetitions."""
    walls, processors = list[float](), list[float]()
    ends_at = time.monotonic() + MAX_SECONDS
    for repetition in range(WARM_UP + MAX_REPETITIONS):
        wall, processor = time.perf_counter(), time.process_time()
        action(repetition)
        processors.append(1e3 * (time.process_time() - processor))
        walls.append(1e3 * (time.perf_counter() - wall))
        tick()
        counted = len(walls) - WARM_UP
        quiet = sum(map(_is_quiet, walls[WARM_UP:], processors[WARM_UP:]))
        if counted >= MIN_QUIET and (quiet >= MIN_QUIET or time.monotonic() > ends_at):
            break
    return summarize(walls[WARM_UP:], processors[WARM_UP:])


def summarize(walls: list[float], processors: list[float]) -> InferenceTime:
    """The time of repetitions with these wall-clock and processor times in ms."""
    quiet = [wall for wall, processor in zip(walls, processors, strict=True) if _is_quiet(wall, processor)]
    is_quiet = len(quiet) >= MIN_QUIET
    low, ms, high = np.percentile(quiet if is_quiet else processors, (25, 50, 75))
    return InferenceTime(float(ms), float(low), float(high), is_quiet)


def _is_quiet(wall: float, processor: float) -> bool:
    return wall <= QUIET_RATIO * processor
