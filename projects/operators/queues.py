"""Workers, queues and failed jobs, as Redis has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import django_rq
from django.conf import settings
from django_rq.settings import QUEUES
from redis import Redis
from redis.exceptions import RedisError
from rq.cron import CronScheduler
from rq.job import Job
from rq.queue import Queue
from rq.registry import FailedJobRegistry
from rq.worker import BaseWorker

from exeml_site.health.readiness import quick_redis
from exeml_site.lib.jobs import NamedJob

MAX_FAILED = 20  # shown, the latest ones
MAX_CAUSE_LENGTH = 500


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job, by its name in `settings.JOBS` and its first argument."""

    id: str
    queue: str
    name: str
    argument: str
    ended_at: datetime | None = None
    cause: str = ""

    @property
    def title(self) -> str:
        """“train version 12”."""
        return f"{self.name.replace('_', ' ')} {self.argument}".strip()

    @property
    def queue_index(self) -> int:
        """As django-rq counts queues in its addresses."""
        return list(QUEUES).index(self.queue)


@dataclass(frozen=True, slots=True)
class WorkerLine:
    host: str
    pid: int
    queues: Sequence[str]
    state: str
    born_at: datetime | None
    seen_at: datetime | None
    job: JobLine | None = None


@dataclass(frozen=True, slots=True)
class QueueLine:
    name: str
    index: int
    waiting: int
    oldest_at: datetime | None
    running: int
    failed: int
    workers: int


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What Redis says; empty lists if it does not answer."""

    is_answering: bool = True
    workers: Sequence[WorkerLine] = ()
    queues: Sequence[QueueLine] = ()
    failed: Sequence[JobLine] = ()
    schedulers: int = 0  # processes that put periodic jobs on their queue


def queue_facts() -> QueueFacts:
    try:
        with closing(quick_redis()) as redis:
            return _facts(redis)
    except (RedisError, OSError):
        return QueueFacts(is_answering=False)


def retry(queue: str, job_id: str) -> bool:
    """Put a failed job on its queue again. False if it is not among the failed ones. Raises RedisError."""
    with closing(quick_redis()) as redis:
        registry = FailedJobRegistry(queue=django_rq.get_queue(queue, connection=redis))
        if job_id not in registry.get_job_ids():
            return False
        registry.requeue(job_id)
        return True


def _facts(redis: Redis) -> QueueFacts:
    queues = [django_rq.get_queue(name, connection=redis) for name in QUEUES]
    workers = [worker for worker in BaseWorker.all(connection=redis) if worker.birth_date]
    listening = [set(worker.queue_names()) for worker in workers]
    failed = [job for queue in queues for job in _failed_jobs(queue)]
    return QueueFacts(
        workers=sorted(_worker_lines(workers, redis), key=lambda line: (line.host, line.queues)),
        queues=[
            _queue_line(queue, index, sum(queue.name in names for names in listening))
            for index, queue in enumerate(queues)
        ],
        failed=sorted(failed, key=lambda job: job.ended_at or datetime.min.replace(tzinfo=UTC), reverse=True)[
            :MAX_FAILED
        ],
        schedulers=len(CronScheduler.all(redis)),
    )


def _worker_lines(workers: Iterable[BaseWorker], redis: Redis) -> list[WorkerLine]:
    """One request for all current jobs."""
    workers = list(workers)
    ids = [worker.get_current_job_id() for worker in workers]
    found = NamedJob.fetch_many([job_id for job_id in ids if job_id], connection=redis)
    jobs = {job.id: job for job in found if job}
    return [
        WorkerLine(
            host=worker.hostname or "unknown",
            pid=worker.pid or 0,
            queues=tuple(worker.queue_names()),
            state=worker.get_state(),
            born_at=worker.birth_date,
            seen_at=worker.last_heartbeat,
            job=_job_line(jobs[job_id]) if job_id and job_id in jobs else None,
        )
        for worker, job_id in zip(workers, ids, strict=True)
    ]


def _queue_line(queue: Queue, index: int, workers: int) -> QueueLine:
    ids = queue.get_job_ids(0, 1)
    oldest = queue.fetch_job(ids[0]) if ids else None
    return QueueLine(
        name=queue.name,
        index=index,
        waiting=queue.count,
        oldest_at=oldest.enqueued_at if oldest else None,
        running=queue.started_job_registry.get_job_count(cleanup=False),
        failed=queue.failed_job_registry.get_job_count(cleanup=True),
        workers=workers,
    )


def _failed_jobs(queue: Queue) -> list[JobLine]:
    ids = queue.failed_job_registry.get_job_ids(0, MAX_FAILED, desc=True)
    return [_job_line(job) for job in NamedJob.fetch_many(ids, connection=queue.connection) if job]


def _job_line(job: Job) -> JobLine:
    arguments = _arguments(job)
    return JobLine(
        id=job.id,
        queue=job.origin,
        name=_name(job.func_name or ""),
        argument=str(arguments[0]) if arguments else "",
        ended_at=job.ended_at,
        cause=_cause(job),
    )


def _name(function: str) -> str:
    names = {path: name for name, path in settings.JOBS.items()} | settings.FORMER_JOBS
    return names.get(function, function.rpartition(".")[2])


def _arguments(job: Job) -> Sequence[Any]:
    """None where the arguments cannot be read, as those of a class that is no longer there."""
    try:
        return job.args or ()
    except Exception:  # unpickling raises what it likes
        return ()


def _cause(job: Job) -> str:
    """How the process died, or the last line of the traceback."""
    if death := str(job.meta.get("death", "")):
        return f"The process ended: {death}."
    result = job.latest_result()
    lines = (result.exc_string or "").strip().splitlines() if result else []
    return lines[-1][:MAX_CAUSE_LENGTH] if lines else "The cause is not known."
