"""Handing work to the workers by name: this app does not know who does it.

A job is asked for after every deed and done once: while one waits, asking again changes nothing. Redis only
carries the work; what is missed while it is away is found by the chores of `exeml_site.cron`.
"""

from __future__ import annotations

import logging
from functools import partial

import django_rq
from django.conf import settings
from django.db import transaction
from redis.exceptions import RedisError
from rq.job import JobStatus
from rq.queue import Queue

logger = logging.getLogger(__name__)

LONGEST_S = 3600


def soon(function: str, pk: int, *, queue: str = settings.QUEUE_LABELING, step: int | None = None) -> None:
    """Once this transaction is committed, let a worker call `function`, a dotted name, with `pk`.

    `step`: how far the work is. A job whose worker was killed twice at the same step waits for RQ to notice.
    """
    transaction.on_commit(partial(_enqueue, function, pk, queue, step))


def _enqueue(function: str, pk: int, queue_name: str, step: int | None) -> None:
    job_id = f"{function.rpartition('.')[2]}-{pk}" + (f"-{step}" if step else "")
    try:
        queue = django_rq.get_queue(queue_name, commit_mode="auto")
        # A job that runs may have read the rows before this deed: one more must follow it.
        for name in (job_id, f"{job_id}-again"):
            status = _status(queue, name)
            if status == JobStatus.QUEUED:
                return
            if status != JobStatus.STARTED:
                _hand_over(queue, function, pk, name)
                return
    except (RedisError, OSError) as problem:
        logger.warning("%s of %s waits for the queue: %s", function, pk, problem)


def _status(queue: Queue, job_id: str) -> JobStatus | None:
    job = queue.fetch_job(job_id)
    return job.get_status() if job else None


def _hand_over(queue: Queue, function: str, pk: int, job_id: str) -> None:
    queue.enqueue_call(
        function,
        args=(pk,),
        job_id=job_id,
        timeout=LONGEST_S,
        result_ttl=0,
        failure_ttl=24 * 3600,
    )
