"""What the data folder of this machine holds beside the stored files."""

from __future__ import annotations

import os
import time
from pathlib import Path

from django.conf import settings

MAX_AGE_S = 15 * 60
_measured: dict[str, int] = {}
_measured_at = float("-inf")


def disk_usage() -> dict[str, int]:
    """Bytes of each part, measured every MAX_AGE_S: a cache may have 100,000 files."""
    global _measured, _measured_at
    if time.monotonic() - _measured_at > MAX_AGE_S:
        data, work = Path(settings.DATA_DIR), Path(settings.WORK_DIR)
        cache = _bytes_below(work / "cache")
        _measured = {
            "database": sum(_bytes_of(path) for path in data.glob("exeml.sqlite3*")),
            "caches": cache,
            "work": _bytes_below(work) - cache,
            "temporary": _bytes_below(Path(settings.TEMPORARY_DIR)),
            "redis": _bytes_below(data / "redis"),
        }
        _measured_at = time.monotonic()
    return _measured


def _bytes_below(folder: Path) -> int:
    return sum(_bytes_of(Path(parent, name)) for parent, _, names in os.walk(folder) for name in names)


def _bytes_of(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # deleted meanwhile
        return 0
