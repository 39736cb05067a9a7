"""A fine-tuning that a busy machine cannot finish in time is given up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.engine.backbones import registry
from training.engine.backbones.classifier import Head, Member
from training.engine.search.budget import FinetuneBudget
from training.engine.search.schedule import FinetuneOption, Round
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


@pytest.mark.parametrize(
    ("is_partial", "epochs", "text"),
    [
        (True, 6, "last blocks of EfficientNet-Lite0 at 224 px; epochs: 6; 3 views of each image."),
        (True, 2, "last blocks of EfficientNet-Lite0 at 224 px; epochs: 2; one view of each image."),
        (False, 4, "EfficientNet-Lite0 at 224 px; epochs: 4; another view in each epoch of each image."),
    ],
)
def test_a_round_says_what_it_trains_on(is_partial: bool, epochs: int, text: str) -> None:
    member = Member(registry.NETWORKS[0], 224, {}, Head(torch.zeros(2, 3), torch.zeros(2)))
    planned = FinetuneBudget(folds=1, parts=5, epochs=epochs, is_refit=False, is_partial=is_partial)
    assert Round(FinetuneOption(member, is_partial, 16), planned, 0.1).text == f"Fine-tuned: {text}"
