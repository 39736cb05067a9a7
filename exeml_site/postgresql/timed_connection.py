"""A connection of a web process, which does not wait for ever for a server that hangs."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from exeml_site.lib.outages.database import query_timeout_s


class TimedConnection(psycopg.Connection[Any]):
    """Gives up a query that takes too long, and itself with it; the pool makes another connection."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        began, timeout = time.monotonic(), query_timeout_s()
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.Error as problem:
            if time.monotonic() - began < timeout:
                raise
            self.close()
            raise psycopg.OperationalError(f"no answer within {timeout:g} s") from problem
