"""Filters that format numbers and lengths of time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from exeml_site.templatetags.format_tags import (
    clock,
    duration_with_unit,
    first_sentence,
    hits_of_support,
    interval,
    milliseconds,
    percent,
    rough_duration,
)
from training.engine.evaluation.metrics import wilson


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (99.4, "99 s"),
        (100, "1:40 min"),
        (6010, "1:40:10 h"),
        (timedelta(minutes=60), "60:00 min"),
    ],
)
def test_a_length_carries_its_unit(length: float | timedelta, text: str) -> None:
    assert duration_with_unit(length) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("Out of memory. Tried to allocate 2 GiB.\nTrace", "Out of memory."),
        ("weights.pth is not there", "weights.pth is not there."),
        ("x" * 200, "x" * 140 + "…"),
        ("", "no reason was given."),
    ],
)
def test_the_first_sentence_of_a_failure_is_kept_short(error: str, text: str) -> None:
    assert first_sentence(error) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (54, "less than a minute"),
        (60, "about 1 minute"),
        (540, "about 9 minutes"),
        (7200, "about 2 hours"),
    ],
)
def test_an_estimate_has_no_more_digits_than_it_deserves(seconds: float | None, text: str) -> None:
    assert rough_duration(seconds) == text


def test_numbers_carry_their_unit_and_unknown_ones_are_two_dashes() -> None:
    assert [percent(0.9412), milliseconds(4.21), milliseconds(42.1), clock(730)] == [
        "94.1 %",
        "4.2 ms",
        "42 ms",
        "12:10",
    ]
    assert {percent(None), milliseconds(None), clock(None)} == {"--"}


def test_a_rate_is_shown_with_its_counts_and_interval() -> None:
    assert hits_of_support(wilson(3, 4)) == "3 of 4" and interval(wilson(3, 4)) == "30.1–95.4 %"
    assert hits_of_support(wilson(0, 0)) == interval(wilson(0, 0)) == "--"
