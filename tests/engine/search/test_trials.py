"""A fine-tuning that a busy machine cannot finish in time is given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.engine.search.time_limit import RunClock
from training.engine.search.trials import MIN_PROGRESS, DeadlineGuard, SlowerThanPlanned

PICTURES, DEADLINE = 1000.0, 60.0


@pytest.fixture
def clock(tmp_path: Path) -> RunClock:
    (tmp_path / "checkpoint").mkdir()
    return RunClock.open(tmp_path, 600, lambda event: None, lambda: False)


def wait(clock: RunClock, seconds: float) -> None:
    clock._used_before += seconds


def test_a_machine_ten_times_slower_than_planned_is_noticed_early(clock: RunClock) -> None:
    watch = DeadlineGuard(clock, DEADLINE, PICTURES)
    wait(clock, 5)  # the head before the first step is no step
    watch.tick(0.01)
    wait(clock, 8)
    watch.tick(MIN_PROGRESS)  # too early to say
    with pytest.raises(SlowerThanPlanned) as given_up:
        watch.tick(0.05)
    assert given_up.value.image_s == pytest.approx(8 / 0.04 / PICTURES, rel=0.02)


def test_a_fine_tuning_in_time_goes_on_to_its_end(clock: RunClock) -> None:
    watch = DeadlineGuard(clock, DEADLINE, PICTURES)
    for step in range(1, 101):
        wait(clock, 0.5)
        watch.tick(step / 100)


def test_one_that_slows_down_late_ends_at_its_deadline(clock: RunClock) -> None:
    watch = DeadlineGuard(clock, DEADLINE, PICTURES)
    watch.tick(0.01)
    wait(clock, 30)
    watch.tick(0.9)
    wait(clock, 31)
    with pytest.raises(SlowerThanPlanned):
        watch.tick(0.999)
