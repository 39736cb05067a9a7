"""Which parts answer: this machine's disk, and what machines share (database, storage, Redis, workers).

A machine is not ready where another one would do better. What they share says nothing about that: without the
database all would be taken out at once, with the predictions of loaded models and the page that says what is
wrong.

django-health-check asks the same, but its answer is 500 for whatever is missing, its check of the storage
writes a file each time, and a part that hangs takes another thread at every call. Here a part is asked by one
thread at a time, within DEADLINE_S, and an answer holds for KEPT_S: whoever may call, the parts are not busy.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from threading import Lock
from typing import Any

import django_rq
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from django_rq.settings import QUEUES
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq.worker import BaseWorker

logger = logging.getLogger(__name__)

DEADLINE_S = 3.0
KEPT_S = 2.0
MIN_FREE_BYTES = 64 << 20  # as at the start (exeml_site.supervisor.data_folder)
LOW_SHARE = 0.1  # of the disk, when operators are told
OK, SILENT, NO_WORKER, UNKNOWN = "ok", "does not answer", "no worker", "unknown"
LOW, FULL, READ_ONLY = "low", "full", "not writable"
OWN = ("disk",)


def quick_redis(timeout_s: float = 2.0) -> Redis:
    """A connection to the Redis of the queues that fails soon, for pages and checks."""
    url = str(QUEUES[settings.QUEUE_SHORT]["URL"])
    retry = Retry(NoBackoff(), 0)
    return Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=retry)


def readiness() -> dict[str, Any]:
    """`ready`, and the state of each part of this machine and of those that machines share. No secrets."""
    states = parts.states()
    own = {name: states[name] for name in OWN}
    shared = {name: state for name, state in states.items() if name not in OWN}
    return {"ready": {OK, LOW}.issuperset(own.values()), "machine": own, "shared": shared}


def storage_state() -> str:
    """Whether the storage answers, as `readiness` has it."""
    return parts.states()["storage"]


def disk_state(free: int, total: int) -> str:
    if free < MIN_FREE_BYTES:
        return FULL
    return LOW if free < LOW_SHARE * total else OK


class Parts:
    """Asks the parts in threads of their own; a part that has not answered yet is not asked again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._threads: ThreadPoolExecutor | None = None  # begun after gunicorn's fork
        self._asked: dict[str, Future[dict[str, str]]] = {}
        self._states: dict[str, str] = {}
        self._answered_at = float("-inf")

    def states(self) -> dict[str, str]:
        """The answers of the last KEPT_S; those before while another call asks."""
        if not self._lock.acquire(blocking=not self._states):
            return self._states
        try:
            if time.monotonic() - self._answered_at > KEPT_S:
                self._states = self._ask()
                self._answered_at = time.monotonic()
            return self._states
        finally:
            self._lock.release()

    def _ask(self) -> dict[str, str]:
        self._threads = self._threads or ThreadPoolExecutor(len(CHECKS), "readiness")
        for name, check in CHECKS.items():
            if (earlier := self._asked.get(name)) is None or earlier.done():
                self._asked[name] = self._threads.submit(_checked, name, check)
        done, _ = wait(self._asked.values(), DEADLINE_S)
        states = dict(SILENT_STATES)
        for future in done:
            states.update(future.result())
        return states


def _checked(name: str, check: Callable[[], dict[str, str]]) -> dict[str, str]:
    try:
        states = check()
    except Exception as problem:  # each part raises its own kinds, and all mean that it does not answer
        if name not in _failing:  # once for each outage
            logger.warning("%s does not answer: %s", name, problem)
        _failing.add(name)
        return {}
    _failing.discard(name)
    return states


def _database() -> dict[str, str]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()
    return {"database": OK}


def _storage() -> dict[str, str]:
    if settings.STORAGE_URL:
        default_storage.exists("readyz")  # a name that is not there; asks the server
    elif not os.access(settings.DATA_DIR, os.W_OK | os.X_OK):
        return {}
    return {"storage": OK}


def _disk() -> dict[str, str]:
    disk = shutil.disk_usage(settings.DATA_DIR)
    if not os.access(settings.DATA_DIR, os.W_OK | os.X_OK):
        return {"disk": READ_ONLY}
    return {"disk": disk_state(disk.free, disk.total)}


def _redis() -> dict[str, str]:
    states = {"redis": OK}
    with closing(quick_redis()) as redis:
        for name in QUEUES:
            keys = BaseWorker.all_keys(queue=django_rq.get_queue(name, connection=redis))
            states[f"workers of {name}"] = OK if keys and redis.exists(*keys) else NO_WORKER
    return states


CHECKS = {"database": _database, "storage": _storage, "disk": _disk, "redis": _redis}
SILENT_STATES = dict.fromkeys(CHECKS, SILENT) | {f"workers of {name}": UNKNOWN for name in QUEUES}
_failing: set[str] = set()
parts = Parts()
