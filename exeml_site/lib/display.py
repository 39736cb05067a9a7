"""How numbers, shares and times read in the active language: the one place where they become text.

A share is rounded to three decimals, half up: 69 of 80 is 0.863 and 86.3 %, never 86.2 %. Python's own
formats round the binary number instead, so that they disagree with each other and with JavaScript.
`static/js/display.js` rounds as this module does.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal

from django.utils import timezone, translation
from django.utils.formats import date_format, number_format

UNKNOWN = "--"
DATES = {"en": "j M Y", "de": "j. M Y", "ja": "Y年n月j日", "zh-hans": "Y年n月j日"}
TIME, PRECISE_TIME = "H:i", "H:i:s T"


def rounded(value: float, decimals: int) -> Decimal:
    """Half up, by the decimal digits that one sees: 0.8625 is 0.863."""
    return Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)


def month_text(day: date) -> str:
    """The month of a day: "November 2026"."""
    return date_format(day, "YEAR_MONTH_FORMAT")


def count(number: int) -> str:
    """A whole number with its groups of digits: "12,345", in German "12.345"."""
    return number_format(number, force_grouping=True)


def decimal(value: float | Decimal, decimals: int) -> str:
    """A number with a fixed number of decimals, rounded half up: "4.20", in German "4,20"."""
    return number_format(rounded(float(value), decimals), decimals, force_grouping=True)


def three_decimals(value: float | None) -> str:
    """0.9412 as "0.941", in German "0,941"; two dashes if unknown."""
    return UNKNOWN if value is None else decimal(value, 3)


def points(share: float | None) -> str:
    """0.9412 as "94.1", the same digits as `three_decimals`; two dashes if unknown."""
    return UNKNOWN if share is None else number_format(100 * rounded(share, 3), 1)


def percent(share: float | None) -> str:
    """0.9412 as "94.1 %"; two dashes if unknown."""
    return UNKNOWN if share is None else f"{points(share)} %"


def whole_percent(share: float | None) -> str:
    """0.9412 as "94 %", for sentences; two dashes if unknown."""
    return UNKNOWN if share is None else f"{number_format(100 * rounded(share, 2), 0)} %"


def percent_range(low: float | None, high: float | None) -> str:
    """The ends of an interval as "91.2–96.3 %"; two dashes if one is unknown."""
    return UNKNOWN if low is None or high is None else f"{points(low)}–{percent(high)}"


def date_text(moment: datetime | None) -> str:
    """In the time zone of the installation: "29 Nov 2026"; two dashes if unknown."""
    return UNKNOWN if moment is None else date_format(timezone.localtime(moment), _date())


def date_time_text(moment: datetime | None) -> str:
    """In the time zone of the installation: "29 Nov 2026, 14:05"; two dashes if unknown."""
    return UNKNOWN if moment is None else date_format(timezone.localtime(moment), f"{_date()}, {TIME}")


def day_text(day: date) -> str:
    """A day without a time: "29 Nov 2026"."""
    return date_format(day, _date())


def precise_time_text(moment: datetime) -> str:
    """With seconds and zone: "29 Nov 2026, 14:05:33 UTC"."""
    return date_format(timezone.localtime(moment), f"{_date()}, {PRECISE_TIME}")


def _date() -> str:
    return DATES.get(translation.get_language() or "en", DATES["en"])


def iso_time(moment: datetime | None) -> str:
    """ISO 8601, for reports and files: "2026-11-29T14:05:33+00:00"; two dashes if unknown."""
    return UNKNOWN if moment is None else timezone.localtime(moment).isoformat(timespec="seconds")


def iso_month(day: date) -> str:
    """The month of a day in ISO 8601, for addresses and files: "2026-11"."""
    return f"{day:%Y-%m}"


def iso_utc(moment: datetime) -> str:
    """ISO 8601 in UTC, for files that machines read: "2026-11-29T14:05:33+00:00"."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
