"""Log lines on the terminal, with the time and the coloured name of the process; or each as a JSON object."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from django.conf import settings

Log = Callable[[str], None]

WIDTH = 8
COLOURS = {
    "up": 37,
    "redis": 35,
    "web": 36,
    "training": 32,
    "labeling": 31,
    "imports": 95,
    "short": 33,
    "webhooks": 93,
    "backups": 92,
    "cron": 34,
}


def print_line(name: str, line: str) -> None:
    """Print one line. Errors of a closed terminal are ignored: they must not prevent an orderly stop."""
    if settings.LOG_FORMAT == "json":
        _print_json(name, line)
        return
    head = f"{time.strftime('%H:%M:%S')} {name:<{WIDTH}} │"
    with contextlib.suppress(OSError, ValueError):
        print(f"{_coloured(name, head)} {line}", flush=True)


def _print_json(name: str, line: str) -> None:
    """A line that is an object already gets the name of its program; any other one becomes an object."""
    named = f'{{"program": {json.dumps(name)}, '
    if not line.startswith('{"'):
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "message": line}, ensure_ascii=False)
    with contextlib.suppress(OSError, ValueError):
        print(named + line[1:], flush=True)


def _coloured(name: str, text: str) -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{COLOURS.get(name, 37)}m{text}\x1b[0m"


def print_block(lines: list[str]) -> None:
    """Print lines as a block without times and names, set apart from the log."""
    if settings.LOG_FORMAT == "json":
        _print_json("up", "\n".join(lines))
        return
    with contextlib.suppress(OSError, ValueError):
        print("\n" + "\n".join(f"  {line}" for line in lines) + "\n", flush=True)
