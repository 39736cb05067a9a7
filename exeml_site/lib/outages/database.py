"""Connections to a database that may be away: given back early, renewed, and waited for in workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from django.conf import settings
from django.db import connection

from exeml_site.lib.outages.parts import Part, part_of, report

REFUSED_FOR_S = 1.0  # after a failed connection, requests are refused at once instead of waiting for another
REPEAT_AFTER_S, MAX_REPEATS = 1.0, 10

Result = TypeVar("Result")

# --- Web processes -----

_refused_until = 0.0


def note_refused(_pool: Any = None) -> None:
    """The database let nobody connect: for a moment nobody need try."""
    global _refused_until
    _refused_until = time.monotonic() + REFUSED_FOR_S


def is_refused() -> bool:
    return time.monotonic() < _refused_until


QUERY_TIMEOUT_S = 30.0
_query_timeout_s: ContextVar[float | None] = ContextVar("query_timeout_s", default=None)


def query_timeout_s() -> float:
    """How long a query of a web process may take before it and its connection are given up."""
    return _query_timeout_s.get() or QUERY_TIMEOUT_S


@contextmanager
def hurried(seconds: float) -> Iterator[None]:
    """The queries of the block have less time: something else can be done without them."""
    token = _query_timeout_s.set(seconds)
    try:
        yield
    finally:
        _query_timeout_s.reset(token)


def release_connection() -> None:
    """Give the thread's connection back to the pool: what follows waits for something else.

    The next query takes another one. Without a pool, or within a transaction, nothing happens.
    """
    if settings.DATABASE_POOL and connection.vendor == "postgresql" and not connection.in_atomic_block:
        connection.close()


# --- Waiting, in workers -----

_wait_s = 0.0
_own_wait_s: ContextVar[float | None] = ContextVar("own_wait_s", default=None)


def wait_for_database(seconds: float) -> None:
    """Let every new connection of this process wait so long for a database that is away."""
    global _wait_s
    _wait_s = seconds


@contextmanager
def without_waiting() -> Iterator[None]:
    """What the block asks the database is not worth waiting for."""
    token = _own_wait_s.set(0.0)
    try:
        yield
    finally:
        _own_wait_s.reset(token)


def wait_s() -> float:
    own = _own_wait_s.get()
    return _wait_s if own is None else own


def drop_broken_connection() -> None:
    """Close the connection if it no longer answers, so that the next query makes another one."""
    if not connection.in_atomic_block:
        connection.errors_occurred = True
        connection.close_if_unusable_or_obsolete()


def repeat(action: Callable[[], Result]) -> Result:
    """The result of the action, which begins again when the database went away meanwhile.

    The action is safe to run twice. In a worker each attempt waits for the database.
    """
    for _ in range(MAX_REPEATS):
        try:
            return action()
        except Exception as problem:
            if part_of(problem) != Part.DATABASE or connection.in_atomic_block:
                raise
            report(Part.DATABASE, problem)
        drop_broken_connection()
        time.sleep(REPEAT_AFTER_S)
    return action()
