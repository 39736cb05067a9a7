"""Limit of one process: calls at once. Slow bodies are the web server's (exeml_site.web_worker)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

MAX_CALLS = 64  # at once in this process, whether they wait or are answered


class Overloaded(Exception):
    """This process has as many calls as it may have."""


class CallLimit:
    """Counts the calls inside."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._inside = 0
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        return self._inside

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """Raises Overloaded at once."""
        with self._lock:
            if self._inside >= self.most:
                raise Overloaded
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1


call_limit = CallLimit(MAX_CALLS)
