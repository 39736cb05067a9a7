"""What calls read from the database, known for a while: services answer on while the database is away.

Each process keeps what it read itself within KNOWN_S. The database is always asked first, but not for a
moment after it did not respond. A token that was revoked meanwhile works for KNOWN_S at most, and only
in a process that cannot reach the database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from typing import Any, TypeVar

from cachetools import TTLCache

from exeml_site.lib.outages.database import drop_broken_connection, hurried
from exeml_site.lib.outages.parts import Part, is_reported, part_of

KNOWN_S = 300.0
MAX_KNOWN = 2000
ASK_AGAIN_S = 2.0
HURRIED_S = 3.0  # for a question whose answer is known

Value = TypeVar("Value")


class CallMemory:
    """Results of reads, by their keys. A result of None is not kept."""

    def __init__(self) -> None:
        self._known: TTLCache[Hashable, Any] = TTLCache(MAX_KNOWN, KNOWN_S)
        self._lock = threading.Lock()
        self._away_until = float("-inf")

    def recall(self, key: Hashable, read: Callable[[], Value]) -> Value:
        """The result of `read`; while the database is away, what it was before. Raises what `read` raises."""
        with self._lock:
            known = self._known.get(key)
        if known is not None and time.monotonic() < self._away_until:
            return known  # type: ignore[no-any-return]
        try:
            with hurried(HURRIED_S) if known is not None else nullcontext():
                value = read()
        except Exception as problem:
            if part_of(problem) != Part.DATABASE:
                raise
            is_reported(problem)
            drop_broken_connection()
            self._away_until = time.monotonic() + ASK_AGAIN_S
            if known is None:
                raise
            return known  # type: ignore[no-any-return]
        with self._lock:
            self._known.pop(key, None)
            if value is not None:
                self._known[key] = value
        return value

    def forget(self) -> None:
        with self._lock:
            self._known.clear()
            self._away_until = float("-inf")


call_memory = CallMemory()
