"""The programs of this machine: command, environment and niceness of each."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.conf import settings

from exeml_site.supervisor.processes import Program

PARTS = ("web", "training", "labeling", "imports", "short", "backups", "cron")
WORKERS = "exeml_site.worker"

# Pages must stay fast during a training: light processes use one thread each, workers have a niceness.
ONE_THREAD = {
    name: os.environ.get(name, "1")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "EXEML_ENGINE_THREADS")
}
NICENESS = settings.QUEUE_NICENESS
# Per web process. Service calls use at most 64 (training.serving.calls.limits), so slow or many calls leave
# threads for pages.
WEB_THREADS = "80"
# After a stop, for the calls that are under way.
CALLS_END_S = 30
# Per web process. A thread holds a connection while it reads the database alone, so few serve many threads.
# Two web processes and six workers take 26 of the 100 connections of a PostgreSQL as Debian installs it.
WEB_CONNECTIONS = os.environ.get("EXEML_DATABASE_POOL") or "10"

GUNICORN_JSON = ("--logger-class", "exeml_site.logs.lines.GunicornLogger")


def programs(parts: list[str], listener: int | None) -> list[Program]:
    """The programs of `parts`, in the order of their start. `listener`: descriptor of the web socket."""
    every = {
        "training": _training(),
        "labeling": _labeling(),
        "imports": _imports(),
        "short": _short(),
        "cron": _cron(),
    }
    if settings.QUEUE_BACKUPS in settings.RQ_QUEUES:
        every["backups"] = _backups()
    if listener is not None:
        every["web"] = _web(listener)
    chosen = [program for name, program in every.items() if name in parts]
    return [*chosen, _webhooks()] if "short" in parts else chosen


def _manage(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "manage.py", *arguments)


def _rqworker(worker_class: str, *queues: str) -> tuple[str, ...]:
    return _manage("rqworker", *queues, "--worker-class", f"{WORKERS}.{worker_class}", "--verbosity", "0")


def _training() -> Program:
    return Program("training", _rqworker("SpawningWorker", "gpu", "cpu"), niceness=NICENESS["cpu"])


def _labeling() -> Program:
    """Jobs run in the worker's own process, so the network is loaded once."""
    return Program("labeling", _rqworker("InProcessWorker", "labeling"), niceness=NICENESS["labeling"])


def _imports() -> Program:
    """Each job runs in a forked process, which frees the memory of 100,000 decoded pictures at its end."""
    return Program("imports", _rqworker("WatchingWorker", "imports"), niceness=NICENESS["imports"])


def _short() -> Program:
    """Each job runs in a forked process, which is safe as this worker never imports OpenVINO or torch."""
    return Program("short", _rqworker("WatchingWorker", "short"), ONE_THREAD)


def _webhooks() -> Program:
    """Belongs to `short`: a worker of its own, because its jobs wait for receivers."""
    niceness = NICENESS[settings.QUEUE_WEBHOOKS]
    return Program("webhooks", _rqworker("WatchingWorker", "webhooks"), ONE_THREAD, niceness)


def _backups() -> Program:
    niceness = NICENESS[settings.QUEUE_BACKUPS]
    return Program("backups", _rqworker("WatchingWorker", "backups"), ONE_THREAD, niceness)


def _cron() -> Program:
    command = _manage("rqcron", "exeml_site.cron", "--logging-level", "WARNING")
    return Program("cron", command, ONE_THREAD, stop_timeout_s=5)


def _web(listener: int) -> Program:
    """gunicorn replaces a worker process whose main thread has not moved for 60 s, as in a deadlock."""
    ending_s = settings.DRAIN_S + CALLS_END_S
    command = (
        *(sys.executable, "-m", "gunicorn", "exeml_site.wsgi:application", "--bind", f"fd://{listener}"),
        *(
            "--worker-class",
            "exeml_site.web_worker.BufferingWorker",
            "--workers",
            "2",
            "--threads",
            WEB_THREADS,
            "--worker-tmp-dir",
            _memory_folder(),
        ),
        *("--timeout", "60", "--graceful-timeout", str(ending_s), "--log-level", "warning"),
        "--no-control-socket",  # it would lie outside the data folder
        *(GUNICORN_JSON if settings.LOG_FORMAT == "json" else ()),
    )
    environment = {**ONE_THREAD, "EXEML_DATABASE_POOL": WEB_CONNECTIONS}
    return Program("web", command, environment, stop_timeout_s=ending_s + 3, descriptors=(listener,))


def _memory_folder() -> str:
    """A folder in memory for gunicorn's heartbeat files, which would block workers on a slow disk."""
    shared = Path("/dev/shm")
    return str(shared) if os.access(shared, os.W_OK) else "/tmp"
