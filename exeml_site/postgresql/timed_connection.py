"""A connection of a web process, which does not wait for ever for a server that hangs."""

from __future__ import annotations

import time
from typing import Any

import psycopg

QUERY_TIMEOUT_S = 30.0


class TimedConnection(psycopg.Connection[Any]):
    """Gives up a query after QUERY_TIMEOUT_S, and itself with it; the pool makes another connection."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        began = time.monotonic()
        try:
            return super().wait(gen, interval, QUERY_TIMEOUT_S)
        except psycopg.Error as problem:
            if time.monotonic() - began < QUERY_TIMEOUT_S:
                raise
            self.close()
            raise psycopg.OperationalError(f"no answer within {QUERY_TIMEOUT_S:g} s") from problem
