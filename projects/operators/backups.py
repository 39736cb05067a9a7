"""When the last backup was made, as projects.backup notes it."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.template.defaultfilters import filesizeformat

from exeml_site.lib.display import date_time_text

NEVER = "never"


def last_backup() -> str:
    """“29 Nov 2026, 14:05 (1.2 GB), verified”, or “never”."""
    if "backup" not in apps.get_app_config("projects").models:
        return NEVER
    backups: Any = apps.get_app_config("projects").get_model("backup")._default_manager
    last = backups.filter(problem="", finished_at__isnull=False).order_by("-finished_at").first()
    if last is None:
        return NEVER
    text = f"{date_time_text(last.finished_at)} ({filesizeformat(last.size_bytes)})"
    return f"{text}, verified" if last.verified_at else text
