"""Who may come in: no more calls at once than this process can hold, and no body that takes for ever."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

MAX_CALLS = 64  # at once in this process, whether they send, wait or are answered
BODY_TIMEOUT_S = 60.0  # in which a body must have come
CHECK_INTERVAL_S = 0.5


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


class BodyTimeout:
    """Ends the reading from connections whose time is over; they can still be answered."""

    def __init__(self) -> None:
        self._until: dict[socket.socket, float] = {}
        self._late: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def limit(self, connection: Any, seconds: float) -> Iterator[None]:
        """Raises TooSlow where what is read inside took longer. `connection` may be None: no limit."""
        if not isinstance(connection, socket.socket):
            yield
            return
        with self._lock:
            self._until[connection] = time.monotonic() + seconds
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="slow bodies", daemon=True)
                self._thread.start()
        try:
            yield
        except Exception:
            if self._is_late(connection):
                raise BodyTooSlow from None
            raise
        else:
            if self._is_late(connection):
                raise BodyTooSlow
        finally:
            with self._lock:
                self._until.pop(connection, None)
                self._late.discard(connection)

    def _is_late(self, connection: socket.socket) -> bool:
        with self._lock:
            return connection in self._late

    def _run(self) -> None:
        while True:
            time.sleep(CHECK_INTERVAL_S)
            now = time.monotonic()
            with self._lock:
                over = [one for one, until in self._until.items() if until < now and one not in self._late]
                self._late.update(over)
            for one in over:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RD)


call_limit = CallLimit(MAX_CALLS)
body_timeout = BodyTimeout()
