"""Template filters of the pages of services."""

from __future__ import annotations

import math

from django import template
from django.utils.translation import gettext

from exeml_site.lib.display import decimal
from exeml_site.templatetags.format_tags import milliseconds
from training.serving.calls.counters import MAX_TIMED_MS

register = template.Library()


@register.filter
def latency(ms: float | None) -> str:
    """A latency as "4.2 ms", "250 ms" or "12.5 s"; "over 30 s" if infinite, two dashes without calls."""
    if ms == math.inf:
        return gettext("over %(seconds)s s") % {"seconds": decimal(MAX_TIMED_MS / 1000, 0)}
    return milliseconds(ms) if ms is None or ms < 10_000 else f"{decimal(ms / 1000, 1)} s"
