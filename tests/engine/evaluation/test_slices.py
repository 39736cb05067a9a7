"""Rates by slice: exact tests, units of groups, and few false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from training.engine.evaluation.slices import fisher_p_value, slice_rates


@pytest.mark.parametrize(
    ("hits", "size", "all_hits", "images"),
    [(3, 10, 60, 80), (0, 5, 70, 80), (12, 12, 60, 100), (40, 50, 80, 100)],
)
def test_fishers_test_agrees_with_scipy(hits: int, size: int, all_hits: int, images: int) -> None:
    table = [[hits, size - hits], [all_hits - hits, images - size - all_hits + hits]]
    assert fisher_p_value(hits, size, all_hits, images) == pytest.approx(stats.fisher_exact(table).pvalue)


def test_a_weak_slice_is_worse_and_stands_first() -> None:
    values = ["night"] * 30 + ["day"] * 100 + ["dusk"] * 40
    correct = [i % 2 == 0 for i in range(30)] + [i % 12 > 0 for i in range(140)]
    rows = slice_rates(correct, values)
    assert rows[0].value == "night"
    assert rows[0].verdict == "worse" and rows[0].p < 0.001
    assert (rows[0].rate.hits, rows[0].rate.support) == (15, 30)
    expected = stats.binomtest(15, 30).proportion_ci(method="wilson")
    assert (rows[0].rate.low, rows[0].rate.high) == pytest.approx((expected.low, expected.high))
    assert {row.verdict for row in rows[1:]} <= {"better", ""}


def test_images_without_a_value_are_a_slice_of_their_own_and_one_slice_has_no_rest() -> None:
    rows = slice_rates([True, False, True, True], ["a", "a", None, None])
    assert {row.value for row in rows} == {"a", None}
    (only,) = slice_rates([True, False], ["a", "a"])
    assert (only.p, only.verdict) == (1, "")
    assert slice_rates([], []) == []


def test_a_group_of_images_is_one_unit() -> None:
    """Three persons of 20 images each on the weak camera are three units, not sixty images."""
    values = ["old"] * 60 + ["new"] * 200
    correct = [False] * 20 + [True] * 40 + [True] * 200
    groups = [f"person {i // 20}" for i in range(260)]
    alone = {row.value: row for row in slice_rates(correct, values)}["old"]
    grouped = {row.value: row for row in slice_rates(correct, values, groups)}["old"]
    assert alone.verdict == "worse" and grouped.verdict == ""
    assert grouped.groups == 3
    assert grouped.rate.high - grouped.rate.low > 2 * (alone.rate.high - alone.rate.low)
    assert grouped == {row.value: row for row in slice_rates(correct, values, groups)}["old"]


def test_a_group_that_is_a_whole_slice_speaks_for_its_own_images() -> None:
    """Slices of the column that groups are made of: every camera is one group."""
    values = ["a"] * 40 + ["b"] * 40 + ["c"] * 40
    correct = [i % 4 > 0 for i in range(120)]
    assert slice_rates(correct, values, values) == slice_rates(correct, values)


@pytest.mark.parametrize("grouped", [False, True])
def test_among_equal_slices_at_most_five_of_a_hundred_evaluations_call_one_worse_or_better(
    grouped: bool,
) -> None:
    random, alarms, runs = np.random.default_rng(3), 0, 100
    for _ in range(runs):
        owner = np.arange(120) // 4 if grouped else np.arange(120)
        chance = random.beta(4, 1, 120)[owner] if grouped else np.full(120, 0.8)
        values = random.integers(0, 6, 120)[owner].astype(str).tolist()
        correct = (random.random(120) < chance).tolist()
        rows = slice_rates(correct, values, owner.tolist() if grouped else None)
        alarms += any(row.verdict for row in rows)
    assert alarms <= 9  # 5 and two standard deviations of a hundred evaluations
