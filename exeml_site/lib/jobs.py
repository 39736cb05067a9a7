"""Enqueues jobs by their names in `settings.JOBS`, and tells which jobs are in progress.

A job is requested after every change, but queued once: while one waits, further requests change nothing.
Redis holds the queue only; the periodic jobs of `exeml_site.cron` find work that was requested while Redis
was down.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import django_rq
from django.conf import settings
from django.db import close_old_connections, transaction
from django.utils.module_loading import import_string
from redis.exceptions import RedisError
from rq.job import Job, Retry, get_current_job
from rq.queue import Queue
from rq.utils import now
from rq.worker import BaseWorker

from exeml_site.lib.outages.database import repeat
from exeml_site.lib.outages.queue import answer_at_once

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 3600
AGAIN = "-again"  # end of the id of a job that was requested while a worker ran it
HAS_GPU = "has_gpu"  # key of a worker's entry in Redis
# Deaths of a job's process; others: “the signal SIGSEGV”.
HUNG, OUT_OF_MEMORY = "hung", "out of memory"  # not translated: compared


class NamedJob(Job):
    """An RQ job that runs the function that `settings.JOBS` names today.

    A job that was queued before an upgrade carries the dotted name of that time (`settings.FORMER_JOBS`).
    """

    @property
    def func(self) -> Callable[..., Any] | None:
        name = settings.FORMER_JOBS.get(self.func_name or "")
        return import_string(settings.JOBS[name]) if name else super().func  # type: ignore[no-any-return]

    def perform(self) -> Any:
        """Run the function with living connections to the database; again if the database went away."""
        close_old_connections()
        try:
            return repeat(super().perform)
        finally:
            close_old_connections()


def after(event: str, pk: int) -> None:
    """Enqueue the jobs of `settings.JOBS_AFTER` for `event`, once this transaction is committed."""
    for name in settings.JOBS_AFTER[event]:
        enqueue(name, pk)


def enqueue(name: str, *args: Any, **options: Any) -> None:
    """Enqueue the job once this transaction is committed; arguments as in `enqueue_now`."""
    transaction.on_commit(partial(enqueue_now, name, *args, **options))


def enqueue_now(
    name: str,
    *args: Any,
    queue: str = settings.QUEUE_LABELING,
    job_id: str = "",
    timeout_s: int = DEFAULT_TIMEOUT_S,
    **options: Any,
) -> bool:
    """Enqueue the job `name` of `settings.JOBS` with `args`. Returns False if Redis does not answer.

    `job_id`: `<name>-<first argument>` unless given. While that job waits, nothing is enqueued. While a
    worker runs it, one more is enqueued, because the running job may have read the rows before this change.
    `options`: those of `rq.Queue.enqueue_call`. By default a job that succeeded leaves no result, and one for
    labelers whose worker died, or that raised, runs once more; lost jobs of other queues are swept.
    """
    args = tuple(str(argument) if isinstance(argument, UUID) else argument for argument in args)
    job_id = job_id or f"{name}-{args[0]}"
    retry = Retry(max=1) if queue == settings.QUEUE_LABELING else None
    options = {"result_ttl": 0, "failure_ttl": 24 * 3600, "retry": retry, **options}
    try:
        rq_queue = _queue(queue)
        for each in _ids(job_id):
            if rq_queue.get_job_position(each) is not None:
                break
            if not _is_with_a_worker(rq_queue, each):
                rq_queue.enqueue_call(settings.JOBS[name], args, job_id=each, timeout=timeout_s, **options)
                break
    except (RedisError, OSError) as problem:
        logger.warning("the job %s waits for the queue: %s", job_id, problem)
        return False
    return True


def waiting(queue: str) -> set[str]:
    """Ids of the jobs that wait in the queue, without AGAIN; none if Redis does not answer."""
    try:
        return {each.removesuffix(AGAIN) for each in _queue(queue).job_ids}
    except (RedisError, OSError):
        return set()


def next_enqueued_at(queue: Queue) -> datetime:
    """When the next job of the queue was enqueued; the end of time for an empty queue."""
    ids = queue.get_job_ids(0, 1)
    job = queue.fetch_job(ids[0]) if ids else None
    return (job and job.enqueued_at) or datetime.max.replace(tzinfo=UTC)


def is_under_way(job_id: str, queue: str) -> bool:
    """Whether the job, or the one that follows it, waits in its queue or is run by a live worker.

    True if Redis does not answer, so that work is not declared lost by mistake.
    """
    try:
        rq_queue = _queue(queue)
        return any(
            rq_queue.get_job_position(each) is not None or _is_with_a_worker(rq_queue, each)
            for each in _ids(job_id)
        )
    except (RedisError, OSError) as problem:
        logger.warning("cannot ask for the job %s: %s", job_id, problem)
        return True


def seconds_since_taken() -> float:
    """Seconds since a worker took the current job from its queue, before its process began; 0 outside one."""
    job = get_current_job()
    executions = job.get_executions() if job else []
    return max(((now() - execution.created_at).total_seconds() for execution in executions[-1:]), default=0.0)


def note_death(job: Job, death: str) -> None:
    """Store in the job how its process died: HUNG, OUT_OF_MEMORY, or a signal or exit code in words."""
    job.meta["death"] = death
    job.save_meta()  # type: ignore[no-untyped-call]


def death_of(job_id: str, queue: str) -> str:
    """How the process of the job died, as `note_death` stored it; empty if nobody saw it."""
    try:
        job = _queue(queue).fetch_job(job_id)
    except (RedisError, OSError):
        return ""
    return str(job.meta.get("death", "")) if job else ""


def gpus_of_workers(queue: str) -> list[bool | None] | None:
    """Of every live worker of the queue: whether its machine has a GPU, None if it has not said so.

    None instead of a list if Redis does not answer.
    """
    try:
        workers = BaseWorker.all(queue=_queue(queue))
        said = [worker.connection.hget(worker.key, HAS_GPU) for worker in workers]
    except (RedisError, OSError):
        return None
    return [None if value is None else value == b"1" for value in said]


def expire_jobs_of(worker: BaseWorker, pid: int) -> None:
    """Let RQ find at once the job of a former worker of this machine, process `pid`, which no longer lives.

    RQ would wait for the end of the time limit of a job that ran in the worker's own process.
    """
    for former in type(worker).all(connection=worker.connection):
        if (former.hostname, former.pid) == (worker.hostname, pid):
            for execution in former.get_current_executions(refresh=True):
                registry = execution.job.started_job_registry
                worker.connection.zadd(registry.key, {execution.composite_key: 0}, xx=True)


def _queue(name: str) -> Queue:
    """The queue, over a connection that does not keep a page waiting for Redis."""
    queue = django_rq.get_queue(name, commit_mode="auto")
    answer_at_once(queue.connection)
    return queue


def _ids(job_id: str) -> tuple[str, str]:
    return job_id, f"{job_id}{AGAIN}"


def _is_with_a_worker(queue: Queue, job_id: str) -> bool:
    """Whether a worker took the job from the queue and sent a heartbeat within the last 90 s.

    The job's status cannot tell: it is “queued” until the worker's new interpreter has started, 7 to 25 s
    after the job left the queue, and stays “started” after the machine died.
    """
    moving = queue.intermediate_queue  # taken, but not yet in the registry: for a minute at most
    if job_id in moving.get_job_ids():
        moving.set_first_seen(job_id)
        if not moving.should_be_cleaned_up(job_id):
            return True
    return job_id in queue.started_job_registry.get_job_ids()
