"""Template filters that format numbers, times and lengths of time."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext

from exeml_site.lib.display import (
    UNKNOWN,
    count,
    date_text,
    date_time_text,
    decimal,
    iso_time,
    percent,
    percent_range,
    precise_time_text,
    three_decimals,
)

register = template.Library()
for shared in (percent, three_decimals, date_time_text, iso_time):
    register.filter(shared.__name__, shared)

MAX_LINE_LENGTH = 140


@register.filter
def date_time(moment: datetime | None) -> str:
    """A <time> that reads "29 Nov 2026, 14:05"; its title has seconds and zone."""
    return _time_element(moment, date_time_text(moment))


@register.filter
def date_only(moment: datetime | None) -> str:
    """A <time> that reads "29 Nov 2026"."""
    return _time_element(moment, date_text(moment))


@register.filter
def time_ago(moment: datetime | None) -> str:
    """A <time> that reads "3 minutes ago"; its title has the time itself."""
    return _time_element(moment, "" if moment is None else str(naturaltime(moment)))


def _time_element(moment: datetime | None, text: str) -> str:
    if moment is None:
        return UNKNOWN
    title, machine = precise_time_text(moment), iso_time(moment)
    return format_html('<time datetime="{}" title="{}">{}</time>', machine, title, text)


@register.filter
def clock(length: timedelta | float | None) -> str:
    """A length of time as "12:10", minutes and seconds; from 100 minutes on as "1:40:10"."""
    if length is None:
        return UNKNOWN
    seconds = _seconds(length)
    if seconds < 6000:
        return f"{seconds // 60}:{seconds % 60:02d}"
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


@register.filter
def duration(length: timedelta | float | None) -> str:
    """A length of time as "00:04:36"."""
    if length is None:
        return UNKNOWN
    seconds = _seconds(length)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


@register.filter
def duration_with_unit(length: timedelta | float) -> str:
    """A length of time with its unit: "3.1 s", "61 s", "4:00 min", "1:40:10 h"."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if seconds < 99.5:
        return f"{decimal(seconds, 1 if seconds < 9.95 else 0)} s"
    return f"{clock(seconds)} {'min' if seconds < 6000 else 'h'}"


@register.filter
def rough_duration(seconds: float | None) -> str:
    """An estimate with no more digits than it deserves: "less than a minute", "about 9 minutes"."""
    if seconds is None:
        return ""
    if seconds < 55:
        return gettext("less than a minute")
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if minutes < 100:
        return ngettext("about %(count)s minute", "about %(count)s minutes", minutes) % {"count": minutes}
    return ngettext("about %(count)s hour", "about %(count)s hours", hours) % {"count": hours}


@register.filter
def hours(minutes: int) -> str:
    """90 minutes as "1.5 hours (90 minutes)"."""
    sentence = ngettext(
        "%(hours)s hour (%(minutes)s minutes)",
        "%(hours)s hours (%(minutes)s minutes)",
        minutes // 60 if minutes % 60 == 0 else 2,
    )
    return sentence % {"hours": number_format(Decimal(f"{minutes / 60:.4g}")), "minutes": count(minutes)}


@register.filter
def milliseconds(value: float | None) -> str:
    """A time as "4.2 ms"; two dashes if unknown."""
    return UNKNOWN if value is None else f"{decimal(value, 1 if value < 10 else 0)} ms"


@register.filter
def time_spread(row: Any) -> str:
    """The quartiles of a measured single-image time as "5.9–6.8 ms"; empty for an estimate."""
    if row.inference_low_ms is None or row.inference_high_ms is None:
        return ""
    low = milliseconds(row.inference_low_ms).removesuffix(" ms")
    return f"{low}–{milliseconds(row.inference_high_ms)}"


@register.filter
def megabytes(size: int | None) -> str:
    """Bytes as "5.2 MB"; two dashes if unknown."""
    return UNKNOWN if size is None else f"{decimal(size / 1e6, 1)} MB"


@register.filter
def interval(rate: Any) -> str:
    """The ends `low` and `high` of a confidence interval as "91.2–96.3 %"."""
    return percent_range(rate.low, rate.high)


@register.filter
def hits_of_support(rate: Any) -> str:
    """The counts behind a rate as “3 of 4”; two dashes if nothing was counted."""
    if not rate.support:
        return UNKNOWN
    return gettext("%(hits)s of %(support)s") % {"hits": count(rate.hits), "support": count(rate.support)}


@register.filter
def at(items: Any, index: int) -> Any:
    """The item at an index of a list; None beyond its end."""
    return items[index] if items and index < len(items) else None


@register.filter
def plot_x(share: float) -> str:
    """The x coordinate of a share in a chart of 100 units."""
    return f"{100 * share:.2f}"


@register.filter
def plot_y(share: float) -> str:
    """The y coordinate of a share in a chart of 100 units, whose top is 0."""
    return f"{100 * (1 - share):.2f}"


@register.filter
def arc_length(metric: Any) -> str:
    """The `value` of a metric as the length of an arc whose circumference is 100."""
    return f"{100 * (metric.value or 0.0):.2f}"


@register.filter
def first_sentence(text: str) -> str:
    """The first sentence of a failure message, at most MAX_LINE_LENGTH characters."""
    line = (text.strip() or gettext("no reason was given")).splitlines()[0].partition(". ")[0].rstrip(".")
    return f"{line}." if len(line) <= MAX_LINE_LENGTH else f"{line[:MAX_LINE_LENGTH].rstrip()}…"


def _seconds(length: timedelta | float) -> int:
    return int(length.total_seconds() if isinstance(length, timedelta) else length)
