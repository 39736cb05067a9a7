"""Enqueues jobs by their names in `settings.JOBS`.

A job is requested after every change, but queued once: while one waits, further requests change nothing.
Redis holds the queue only; the periodic jobs of `exeml_site.cron` find work that was requested while Redis
was down.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import django_rq
from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string
from redis.exceptions import RedisError
from rq.job import Job, JobStatus
from rq.queue import Queue

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 3600


class NamedJob(Job):
    """An RQ job that runs the function that `settings.JOBS` names today.

    A job that was queued before an upgrade carries the dotted name of that time (`settings.FORMER_JOBS`).
    """

    @property
    def func(self) -> Callable[..., Any] | None:
        name = settings.FORMER_JOBS.get(self.func_name or "")
        return import_string(settings.JOBS[name]) if name else super().func  # type: ignore[no-any-return]


def after(event: str, pk: int) -> None:
    """Enqueue the jobs of `settings.JOBS_AFTER` for `event`, once this transaction is committed."""
    for name in settings.JOBS_AFTER[event]:
        enqueue(name, pk)


def enqueue(
    name: str,
    pk: int | UUID,
    *,
    queue: str = settings.QUEUE_LABELING,
    step: int | None = None,
    timeout_s: int = DEFAULT_TIMEOUT_S,
) -> None:
    """Enqueue the job `name` with the argument `pk`, once this transaction is committed.

    `step`: progress of the work, part of the job id, so that a resumed job does not wait for a lost one of an
    earlier step. Without Redis nothing is enqueued and a warning is logged; a periodic job enqueues it later.
    """
    transaction.on_commit(partial(_enqueue, name, pk, queue, step, timeout_s))


def _enqueue(name: str, pk: int | UUID, queue_name: str, step: int | None, timeout_s: int) -> None:
    job_id = f"{name}-{pk}" + (f"-{step}" if step else "")
    try:
        queue = django_rq.get_queue(queue_name, commit_mode="auto")
        # A running job may have read the rows before this change, so another one must follow it.
        for each in (job_id, f"{job_id}-again"):
            status = _status(queue, each)
            if status == JobStatus.QUEUED:
                return
            if status != JobStatus.STARTED:
                _put(queue, name, pk, each, timeout_s)
                return
    except (RedisError, OSError) as problem:
        logger.warning("%s of %s waits for the queue: %s", name, pk, problem)


def _status(queue: Queue, job_id: str) -> JobStatus | None:
    job = queue.fetch_job(job_id)
    return job.get_status() if job else None


def _put(queue: Queue, name: str, pk: int | UUID, job_id: str, timeout_s: int) -> None:
    queue.enqueue_call(
        settings.JOBS[name],
        args=(str(pk) if isinstance(pk, UUID) else pk,),
        job_id=job_id,
        timeout=timeout_s,
        result_ttl=0,
        failure_ttl=24 * 3600,
    )
