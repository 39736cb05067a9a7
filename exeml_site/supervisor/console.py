"""The supervisor's voice: every process's lines with its name, in its colour."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable

Say = Callable[[str], None]

WIDTH = 8
COLOURS = {
    "up": 37,
    "redis": 35,
    "web": 36,
    "training": 32,
    "labeling": 31,
    "imports": 95,
    "short": 33,
    "cron": 34,
}


def print_line(name: str, line: str) -> None:
    """One line on the terminal. A terminal that was closed must not keep the processes from being ended."""
    head = f"{time.strftime('%H:%M:%S')} {name:<{WIDTH}} │"
    with contextlib.suppress(OSError, ValueError):
        print(f"{_coloured(name, head)} {line}", flush=True)


def _coloured(name: str, text: str) -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{COLOURS.get(name, 37)}m{text}\x1b[0m"


def print_block(lines: list[str]) -> None:
    """A block set apart from the log, for what a person is to read."""
    with contextlib.suppress(OSError, ValueError):
        print("\n" + "\n".join(f"  {line}" for line in lines) + "\n", flush=True)
