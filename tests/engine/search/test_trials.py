"""Giving up a fine-tuning that a busy machine cannot finish in its time."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.engine.search.clock import Journal
from training.engine.search.trials import PROBATION, TooSlow, Watch

PICTURES, DEADLINE = 1000.0, 60.0


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    (tmp_path / "checkpoint").mkdir()
    return Journal.open(tmp_path, 600, lambda event: None, lambda: False)


def wait(journal: Journal, seconds: float) -> None:
    journal._used_before += seconds


def test_a_machine_ten_times_slower_than_planned_is_noticed_early(journal: Journal) -> None:
    watch = Watch(journal, DEADLINE, PICTURES)
    wait(journal, 5)  # the head before the first step is no step
    watch.tick(0.01)
    wait(journal, 8)
    watch.tick(PROBATION)  # too early to say
    with pytest.raises(TooSlow) as given_up:
        watch.tick(0.05)
    assert given_up.value.image_s == pytest.approx(8 / 0.04 / PICTURES, rel=0.02)


def test_a_fine_tuning_in_time_goes_on_to_its_end(journal: Journal) -> None:
    watch = Watch(journal, DEADLINE, PICTURES)
    for step in range(1, 101):
        wait(journal, 0.5)
        watch.tick(step / 100)


def test_one_that_slows_down_late_ends_at_its_deadline(journal: Journal) -> None:
    watch = Watch(journal, DEADLINE, PICTURES)
    watch.tick(0.01)
    wait(journal, 30)
    watch.tick(0.9)
    wait(journal, 31)
    with pytest.raises(TooSlow):
        watch.tick(0.999)
