"""The time reserved for what follows the fitting, from what the first export took."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.search.test_state import make_candidate, make_search
from training.engine.search import budget, checkpoint
from training.engine.search.time_limit import Slowdown


@pytest.mark.parametrize("slowdown", [1.0, 4.0])
def test_a_slow_export_and_what_the_caller_does_are_reserved(
    slowdown: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 s of export, 200 images of 10 ms each, 6 s of the caller; the export was slowed down as well.

    The INT8 network of Lite0 takes 4 s and 0.17 s for each billion multiply-adds of its 64 images.
    """
    monkeypatch.setattr(Slowdown, "measure", lambda self: slowdown)
    search = make_search(tmp_path)
    config = replace(search.run.config, max_seconds=1000, finish_seconds=6)
    search.run = replace(search.run, config=config, eval_images=200)
    search.run.clock.max_seconds = 1000

    checkpoint._reserve_time(search, make_candidate(search, 1.0), 20 * slowdown, 0.01)

    evaluation_s = 1 + 1.3 * 200 * 0.01 + budget.number_format_reserve_s(200, 0.01)
    int8_s = 4 + 0.17 * 0.384 * 64
    expected_s = slowdown * (30 + evaluation_s + int8_s + 6)
    assert search.run.clock.reserved() == pytest.approx(expected_s, abs=1)
    assert search.run.clock.left() == pytest.approx(1000 - search.run.clock.reserved(), abs=1)


def test_the_measured_answer_replaces_the_guess_and_a_larger_model_reserves_more_before_it_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 images at 5 ms instead of the guessed 50 ms; two networks in a sum take twice the time."""
    monkeypatch.setattr(Slowdown, "measure", lambda self: 1.0)
    search = make_search(tmp_path)
    search.run = replace(search.run, eval_images=1000)
    clock = search.run.clock
    clock.reserve_s = budget.evaluation_reserve_s(1000)
    small = make_candidate(search, 1.0)

    checkpoint._reserve_time(search, small, 0.0, 0.005)

    measured_s = clock.reserve_s
    assert measured_s < budget.evaluation_reserve_s(1000) / 3
    search.reserve_evaluation(small.members)
    assert clock.reserve_s == measured_s
    assert search.evaluation_growth_s(small.members * 2) == pytest.approx(1.3 * 1000 * 0.005)
    search.reserve_evaluation(small.members * 2)
    search.reserve_evaluation(small.members)
    assert clock.reserve_s == pytest.approx(measured_s + 1.3 * 1000 * 0.005)
