"""The clock of a fit: what follows is reserved, longer on a busy machine, and every part is named."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.engine.config import Event
from training.engine.search import time_limit
from training.engine.search.time_limit import FitStopped, RunClock, Slowdown

pytestmark = pytest.mark.slow


def make_clock(folder: Path, max_seconds: float = 100) -> RunClock:
    return RunClock(folder, lambda event: None, lambda: False, max_seconds)


def compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def test_what_follows_the_fit_is_reserved_and_longer_on_a_slow_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = make_clock(tmp_path)
    clock.reserve_s = 10
    monkeypatch.setattr(Slowdown, "measure", lambda self: 1.0)
    assert clock.left() == pytest.approx(90, abs=1)

    monkeypatch.setattr(Slowdown, "measure", lambda self: 3.0)
    assert clock.left() == pytest.approx(70, abs=1)

    monkeypatch.setattr(Slowdown, "measure", lambda self: 30.0)
    assert clock.left() == pytest.approx(50, abs=1)  # half of the limit at most


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not count waiting")
def test_the_slowdown_is_what_other_processes_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limit, "SLOWDOWN_INTERVAL_S", 0)
    count = 4 * len(os.sched_getaffinity(0))
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        busy = Slowdown(_threads=time_limit._scheduled_ns())  # what this process did before does not count
        compute(3)
        assert busy.measure() > 2
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_a_kernel_that_does_not_count_slows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limit, "_scheduled_ns", dict)
    assert Slowdown().measure() == 1


def test_the_reserve_is_kept_free_once_a_model_exists(tmp_path: Path) -> None:
    clock = make_clock(tmp_path)
    clock.reserve_s, clock._used_before = 40, 70
    clock.check()
    clock.improved(0.9, 10)
    with pytest.raises(FitStopped, match="time limit"):
        clock.check()


def test_the_limit_waits_for_the_first_model_where_that_is_asked_for(tmp_path: Path) -> None:
    clock = make_clock(tmp_path, max_seconds=0)
    with pytest.raises(FitStopped):
        clock.check()

    clock.first_model_s = 60
    clock.check()
    clock.improved(0.9, 10)
    with pytest.raises(FitStopped, match="time limit"):
        clock.check()


def test_it_waits_no_longer_than_asked_for(tmp_path: Path) -> None:
    clock = make_clock(tmp_path, max_seconds=0)
    clock.first_model_s = 0.2
    time.sleep(0.3)
    with pytest.raises(FitStopped):
        clock.check()


def test_the_parts_add_up_to_the_time_used(tmp_path: Path) -> None:
    clock = make_clock(tmp_path)
    with clock.phase("heads", "Fitting"):
        time.sleep(0.2)
    time.sleep(0.3)
    with clock.counted("export"):
        time.sleep(0.1)
    clock.count_rest("search")

    assert clock.seconds_by_phase["search"] >= 0.3
    assert sum(clock.seconds_by_phase.values()) == pytest.approx(clock.elapsed(), abs=0.05)


def test_the_curve_never_falls_and_starts_again_on_other_images(tmp_path: Path) -> None:
    clock = make_clock(tmp_path)
    for accuracy in (0.7, 0.9, 0.8, 0.95):
        clock.improved(accuracy, 20)
    assert [accuracy for _, accuracy in clock.curve] == [0.7, 0.9, 0.95]
    clock.improved(0.6, 80)
    assert ([accuracy for _, accuracy in clock.curve], clock.judged) == ([0.6], 80)


def test_a_lower_accuracy_of_a_better_model_is_not_shown_as_a_fall(tmp_path: Path) -> None:
    events: list[Event] = []
    clock = RunClock.open(tmp_path, 60, events.append, lambda: False)
    clock.improved(0.9, 20)
    clock.improved(0.8, 20)
    clock.emit("best", "a model with a lower loss")
    assert (events[-1].accuracy, events[-1].judged) == (0.9, 20)


def test_notes_and_curve_of_a_killed_run_are_kept(tmp_path: Path) -> None:
    clock = RunClock.open(tmp_path, 60, lambda event: None, lambda: False)
    clock.improved(0.9, 20)
    for _ in range(2):
        clock.emit("note", "Heads are fitted on 200 of 900 images.")
    again = RunClock.open(tmp_path, 60, lambda event: None, lambda: False)
    assert again.notes == ["Heads are fitted on 200 of 900 images."]
    assert ([accuracy for _, accuracy in again.curve], again.judged) == ([0.9], 20)
