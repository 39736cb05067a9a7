"""Workers and jobs of the tests of hanging, late and dying jobs; run in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection

from exeml_site.worker import SpawningWorker, WatchingWorker
from tests.supervisor_process import ROOT

LONG_S = 120


class LateWorker(SpawningWorker):
    """The interpreter of its jobs is ready only when the file of the variable GO exists.

    Redis keeps its job for two minutes after a heartbeat: the tests move their clock by one.
    """

    look_interval_s = 60

    def main_work_horse(self, job: Any, queue: Any) -> None:
        end = time.monotonic() + LONG_S
        while not Path(os.environ["GO"]).exists() and time.monotonic() < end:
            time.sleep(0.1)
        super().main_work_horse(job, queue)


class QuickSpawningWorker(SpawningWorker):
    """Ends a job that has done nothing for three seconds."""

    look_interval_s, max_idle_looks = 1, 3


class QuickForkingWorker(WatchingWorker):
    """Ends a job that has done nothing for three seconds."""

    look_interval_s, max_idle_looks = 1, 3


@contextmanager
def running_worker(worker_class: str, *queues: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`manage.py rqworker` over the test's database and Redis; it is killed at the end."""
    command = [sys.executable, "manage.py", "rqworker", *queues, "--worker-class", worker_class]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **_environment(), **environment}, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # a test ended it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment() -> dict[str, str]:
    from django_rq.settings import QUEUES

    name = connection.settings_dict["NAME"]
    database = f"sqlite:///{name}"
    if connection.vendor == "postgresql":
        address = urlsplit(os.environ["EXEML_TEST_DATABASE_URL"])
        database = address._replace(path=f"/{name}").geturl()
    return {
        "DJANGO_SETTINGS_MODULE": "exeml_site.settings",
        "EXEML_DATA": str(settings.DATA_DIR),
        "DATABASE_URL": database,
        "REDIS_URL": QUEUES["gpu"]["URL"],
    }


# --- jobs ---


def note_pid(folder: str) -> int:
    """Write this run's process id into a file of its number; returns the number, from 1 on."""
    run = len(list(Path(folder).glob("run-*"))) + 1
    Path(folder, f"run-{run}").write_text(str(os.getpid()))
    return run


def wait_for_a_lock_at_first(folder: str) -> None:
    """The first run waits for ever for a lock; the second ends."""
    if note_pid(folder) == 1:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()


def compute_without_a_word(folder: str, seconds: float) -> None:
    """One long step: C code that holds the GIL and gives no sign, as a large product or an export does."""
    note_pid(folder)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(20_000_000))


def wait_for_the_word(folder: str) -> None:
    """Ends when somebody writes a file `go`."""
    note_pid(folder)
    while not Path(folder, "go").exists():
        time.sleep(0.05)


def sleep_long(folder: str) -> None:
    """The first run is to be stopped from outside; later ones end."""
    if note_pid(folder) == 1:
        end = time.monotonic() + LONG_S
        while time.monotonic() < end:
            sum(range(100_000))
