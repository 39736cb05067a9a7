"""The time of one image: of quiet repetitions, and hardly changed by other work on the machine."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from training.engine.backbones import inference_time
from training.engine.backbones.inference_time import InferenceTime, summarize

pytestmark = pytest.mark.slow


def test_the_time_is_the_median_of_the_quiet_repetitions_with_its_quartiles() -> None:
    walls = [5.0, 6.0, 7.0, 8.0, 9.0, 5.0, 6.0, 7.0, 100.0, 90.0]  # two threads work, so 8 ms take 12
    assert summarize(walls, [12.0] * 10) == InferenceTime(6.5, 5.75, 7.25)


def test_on_a_busy_machine_it_is_the_processor_time() -> None:
    walls = [40.0, 190.0, 55.0, 70.0, 88.0, 106.0, 74.0, 65.0, 41.0, 52.0]
    seen = summarize(walls, [22.0, 23.0, 24.0, 25.0, 26.0] * 2)
    assert (seen.ms, seen.is_quiet) == (24.0, False) and seen.low == 23.0 and seen.high == 25.0


def test_parts_one_after_the_other_add_up() -> None:
    assert InferenceTime(3, 2, 4) + InferenceTime(10, 9, 12, False) == InferenceTime(13, 11, 16, False)


def work(repetition: int) -> None:
    sum(range(200_000))


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_load_hardly_changes_the_time() -> None:
    """With four busy processes for each processor the wall-clock time grows at least twofold."""
    alone = inference_time.measure(work)
    busy = [
        multiprocessing.get_context("spawn").Process(target=spin, args=(6.0,), daemon=True)
        for _ in range(4 * (os.cpu_count() or 1))
    ]
    for process in busy:
        process.start()
    time.sleep(1.5)
    began = time.perf_counter()
    for repetition in range(20):
        work(repetition)
    wall_ms = 1e3 * (time.perf_counter() - began) / 20
    loaded = inference_time.measure(work)
    for process in busy:
        process.terminate()
        process.join()
    if wall_ms < 2 * alone.ms:
        pytest.skip("the machine has idle processors all the same")
    assert loaded.ms < 2 * alone.ms
