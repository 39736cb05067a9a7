"""Limits of one process: calls at once, and seconds in which the body of a call must have come.

gunicorn's thread workers read a body for as long as its sender likes, and a timeout of the socket starts anew
with every byte. benchmarks/serving_hostile.py: twenty callers that send a byte a second get 408 after a
minute, and p95 of the others is 42 ms meanwhile. The timer of a body costs its call 0.4 ms.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

MAX_CALLS = 64  # at once in this process, whether they send, wait or are answered
BODY_TIMEOUT_S = 60.0  # in which a body must have come


class Overloaded(Exception):
    """This process has as many calls as it may have."""


class BodyTooSlow(Exception):
    """The body did not come in time."""


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
        """Raises Overloaded at once, before anything of the body is read."""
        with self._lock:
            if self._inside >= self.most:
                raise Overloaded
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1


@contextlib.contextmanager
def body_timeout(connection: Any, seconds: float) -> Iterator[None]:
    """Raises BodyTooSlow if what is read inside takes longer. No limit if `connection` is not a socket.

    Only reading ends, so the caller can still be answered.
    """
    if not isinstance(connection, socket.socket):
        yield
        return
    lock, is_late = threading.Lock(), threading.Event()

    def stop_reading() -> None:
        with lock, contextlib.suppress(OSError):
            if not timer.finished.is_set():  # the body came while this thread waited for the lock
                is_late.set()
                connection.shutdown(socket.SHUT_RD)

    timer = threading.Timer(seconds, stop_reading)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if is_late.is_set():
            raise BodyTooSlow from None
        raise
    finally:
        with lock:
            timer.cancel()
    if is_late.is_set():
        raise BodyTooSlow


call_limit = CallLimit(MAX_CALLS)
