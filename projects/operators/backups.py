"""When the last backup was made, in words."""

from __future__ import annotations

from django.template.defaultfilters import filesizeformat

from exeml_site.lib.display import date_time_text
from projects.backup import status

NEVER = "never"


def last_backup() -> str:
    """“29 Nov 2026, 14:05 (1.2 GB), verified”, or “never”."""
    last = status.last_backup().last
    if last is None or last.finished_at is None:
        return NEVER
    text = f"{date_time_text(last.finished_at)} ({filesizeformat(last.size_bytes)})"
    return f"{text}, verified" if last.verified_at else text
