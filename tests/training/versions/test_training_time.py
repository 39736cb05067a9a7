"""The advised time of a training, and minutes that were typed as hours."""

from __future__ import annotations

import pytest

from training.versions.training_time import advised_hours, hours_text, minutes_meant


@pytest.mark.parametrize(
    ("images", "hours"), [(0, 1), (10, 1), (1999, 1), (2000, 2), (3999, 2), (4000, 3), (10**6, 100)]
)
def test_the_advised_time_grows_with_the_images(images: int, hours: int) -> None:
    assert advised_hours(images) == hours


@pytest.mark.parametrize(
    ("typed", "advised", "minutes"),
    [
        ("6", 1, 6),
        (" 6 ", 1, 6),
        ("5", 1, None),
        ("6", 6, None),
        ("6.5", 1, None),
        ("", 1, None),
        ("6000", 1, 6000),
        ("6001", 1, None),
        ("٦", 1, None),
        ("9" * 400, 1, None),
    ],
)
def test_minutes_typed_as_hours(typed: str, advised: int, minutes: int | None) -> None:
    assert minutes_meant(typed, advised) == minutes


@pytest.mark.parametrize(
    ("minutes", "hours"), [(6, "0.1"), (7, "0.12"), (10, "0.17"), (45, "0.75"), (60, "1"), (6000, "100")]
)
def test_hours_are_at_least_the_minutes(minutes: int, hours: str) -> None:
    assert hours_text(minutes) == hours
