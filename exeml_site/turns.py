"""Requests that keep the processor busy are answered a few at a time.

Python runs one thread of a process at a time. Where ten requests share it by milliseconds all ten answers are
late, and whoever is within a transaction keeps the others out ten times as long. In turns most are early, and
none is later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

AT_ONCE = 2  # in a process: one that takes long leaves the others a way past it
P = ParamSpec("P")
R = TypeVar("R")
_turns = threading.BoundedSemaphore(AT_ONCE)


def in_turn(view: Callable[P, R]) -> Callable[P, R]:
    """A view that waits for its turn; who came first goes first."""

    @wraps(view)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> R:
        with _turns:
            return view(*args, **kwargs)

    return waiting
