"""A limit of the log lines that anybody can cause by sending requests."""

from __future__ import annotations

import logging
import threading
import time

MAX_LINES, WINDOW_S = 5, 60.0


class LineLimit(logging.Filter):
    """Lets MAX_LINES of each limited logger pass in WINDOW_S. The first line after it counts the others.

    `loggers`: the limited loggers, those below them included; each of those is counted by itself.
    """

    def __init__(self, loggers: list[str]) -> None:
        super().__init__()
        self.limited = tuple(loggers)
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[float, int]] = {}  # logger → begin of its window, its lines

    def filter(self, record: logging.LogRecord) -> bool:
        if not any(record.name == name or record.name.startswith(f"{name}.") for name in self.limited):
            return True
        now = time.monotonic()
        with self._lock:
            began, lines = self._windows.get(record.name, (now, 0))
            dropped = 0
            if now - began >= WINDOW_S:
                began, lines, dropped = now, 0, max(0, lines - MAX_LINES)
            self._windows[record.name] = (began, lines + 1)
        if dropped:
            record.msg, record.args = f"{record.getMessage()} ({dropped:,} more before this one)", None
        return lines < MAX_LINES
