"""How shares and times read: one rounding, one format of dates."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from django.test import override_settings
from django.utils import timezone

from exeml_site.lib.display import (
    date_text,
    date_time_text,
    iso_time,
    percent,
    percent_range,
    points,
    three_decimals,
    whole_percent,
)
from exeml_site.templatetags.format_tags import date_only, date_time, time_ago

AFTERNOON = datetime(2026, 11, 29, 14, 5, 33, 999_999, tzinfo=UTC)


def test_69_of_80_reads_the_same_in_every_form() -> None:
    assert (percent(69 / 80), three_decimals(69 / 80), points(69 / 80)) == ("86.3 %", "0.863", "86.3")
    assert percent_range(69 / 80, 0.9) == "86.3–90.0 %"
    assert whole_percent(69 / 80) == "86 %"


def test_a_share_of_counts_is_rounded_half_up_and_both_forms_agree() -> None:
    """The exact rounding of the fraction, for all counts up to 400."""
    for support in range(1, 401):
        for hits in range(support + 1):
            exact = (Fraction(hits, support) * 1000 + Fraction(1, 2)).__floor__()
            assert three_decimals(hits / support) == f"{exact // 1000}.{exact % 1000:03d}"
            assert points(hits / support) == f"{exact // 10}.{exact % 10}"


@pytest.mark.parametrize(("share", "text"), [(0.0, "0.0 %"), (1.0, "100.0 %"), (1e-9, "0.0 %"), (None, "--")])
def test_the_ends_of_a_share(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_an_unknown_end_leaves_no_interval() -> None:
    assert percent_range(None, 0.9) == percent_range(0.1, None) == "--"
    assert three_decimals(None) == whole_percent(None) == date_text(None) == date_time_text(None) == "--"


@pytest.mark.parametrize(
    ("zone", "text", "iso"),
    [
        ("UTC", "29 Nov 2026, 14:05", "2026-11-29T14:05:33+00:00"),
        ("Europe/Berlin", "29 Nov 2026, 15:05", "2026-11-29T15:05:33+01:00"),
        ("Asia/Tokyo", "29 Nov 2026, 23:05", "2026-11-29T23:05:33+09:00"),
    ],
)
def test_a_time_reads_in_the_zone_of_the_installation(zone: str, text: str, iso: str) -> None:
    with override_settings(TIME_ZONE=zone):
        timezone.get_default_timezone.cache_clear()
        assert (date_time_text(AFTERNOON), iso_time(AFTERNOON)) == (text, iso)
        assert f'<time datetime="{iso}" title="' in date_time(AFTERNOON)
        assert date_time(AFTERNOON).endswith(f'">{text}</time>')
    timezone.get_default_timezone.cache_clear()


def test_a_day_and_a_distance_are_times_too() -> None:
    assert date_only(AFTERNOON).endswith('">29 Nov 2026</time>')
    assert 'title="29 Nov 2026, 14:05:33 UTC"' in time_ago(AFTERNOON)
    assert date_time(None) == time_ago(None) == "--"
