"""Commands to Redis that wait as long as it does not respond, in workers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.backoff import ConstantBackoff, NoBackoff
from redis.retry import Retry

from exeml_site.lib.outages.parts import Part, report

RETRY_INTERVAL_S = 1.0
FOREVER = -1

_is_ending = threading.Event()


class PatientRetry(Retry):
    """Repeats a command until Redis answers, or `stop_waiting` was called."""

    def __init__(self) -> None:
        super().__init__(ConstantBackoff(RETRY_INTERVAL_S), FOREVER)

    def call_with_retry(
        self, do: Callable[[], Any], fail: Callable[..., Any], *options: Any, **named: Any
    ) -> Any:
        def reported(problem: Exception, *count: int) -> None:
            report(Part.QUEUE, problem)
            fail(problem, *count)
            if _is_ending.is_set():
                raise problem

        return super().call_with_retry(do, reported, *options, **named)


def wait_for_queue(connection: Redis) -> None:
    """Let every command of this connection wait for Redis."""
    connection.set_retry(PatientRetry())


def stop_waiting() -> None:
    """Let commands of this process fail, those that wait now too: the process ends."""
    _is_ending.set()  # each connection has a copy of its retry


def answer_at_once(connection: Redis) -> None:
    """Let a command fail at once, after one more try: the connection may be one to a Redis of before."""
    connection.set_retry(Retry(NoBackoff(), 1))
