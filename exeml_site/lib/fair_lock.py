"""Requests that keep the processor busy are answered one after the other.

Python runs one thread of a process at a time. Where ten requests share it by milliseconds all ten answers are
late, and whoever is within a transaction keeps the others out ten times as long. In turns most are early, and
none is later. A turn ends after LASTS_S, so that a deed on 20,000 images does not keep a page waiting.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

MAX_HOLD_S = 0.3  # most pages take a tenth
P = ParamSpec("P")
R = TypeVar("R")


class FairLock:
    """Who came first goes first: when the one before has finished, or has had its time."""

    def __init__(self, lasts_s: float) -> None:
        self._lasts_s = lasts_s
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._at_work: object | None = None
        self._ends_at = 0.0

    @contextmanager
    def one(self) -> Iterator[None]:
        """For the time of a `with` block; a turn that has ended goes on beside the next."""
        mine = object()
        with self._changed:
            self._waiting.append(mine)
            while self._waiting[0] is not mine or (left := self._left()) > 0:
                self._changed.wait(left if self._waiting[0] is mine else None)
            self._waiting.popleft()
            self._at_work, self._ends_at = mine, time.monotonic() + self._lasts_s
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                if self._at_work is mine:
                    self._at_work = None
                    self._changed.notify_all()

    def _left(self) -> float:
        """Seconds until the next may begin."""
        return 0.0 if self._at_work is None else self._ends_at - time.monotonic()


_of_this_process = FairLock(MAX_HOLD_S)


def with_fair_lock(view: Callable[P, R]) -> Callable[P, R]:
    """A view that waits for its turn."""

    @wraps(view)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> R:
        with _of_this_process.one():
            return view(*args, **kwargs)

    return waiting
