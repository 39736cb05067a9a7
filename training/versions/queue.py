"""The RQ job of a training version: its id, its time limit, and putting it on the flavor's queue once."""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta

import django_rq
from django.conf import settings
from redis.exceptions import RedisError
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job, JobStatus
from rq.queue import Queue

from training.models import Status, TrainingVersion

logger = logging.getLogger(__name__)

# Above the time limit that the engine keeps itself: publishing, evaluating, storing, a busy machine.
JOB_SLACK = timedelta(minutes=45)
QUEUE_UNAVAILABLE = (
    "Waiting for the queue, which does not answer right now. It starts by itself when the queue is back."
)


def enqueue(version: TrainingVersion) -> bool:
    """Put the version's current attempt on its flavor's queue, once however often it is called.

    False where the queue does not answer: the row stays Initializing, says so, and the sweep tries again.
    """
    try:
        _enqueue(version)
    except (RedisError, OSError) as error:
        logger.warning("training version %s waits for the queue: %s", version.pk, error)
        _set_progress(version, {"message": QUEUE_UNAVAILABLE})
        return False
    if version.progress.get("message") == QUEUE_UNAVAILABLE:
        _set_progress(version, {})
    return True


def job_id(version: TrainingVersion) -> str:
    """The id of the RQ job of the current attempt: known before the job exists."""
    return f"training-{version.pk}-{version.attempt}"


def _set_progress(version: TrainingVersion, progress: dict[str, str]) -> None:
    waiting = TrainingVersion.objects.filter(pk=version.pk, status=Status.INITIALIZING)
    if waiting.update(progress=progress):
        version.progress = progress


def _enqueue(version: TrainingVersion) -> None:
    queue = django_rq.get_queue(version.flavor.queue, commit_mode="auto")
    for _ in range(2):
        try:
            queue.enqueue_call(
                settings.JOBS["train_version"],
                args=(version.pk, version.attempt),
                job_id=job_id(version),
                timeout=int((version.limit + JOB_SLACK).total_seconds()),
                failure_ttl=int(timedelta(days=7).total_seconds()),
                description=f"{version} of project {version.project_id}, attempt {version.attempt}",
                unique=True,
            )
            return
        except DuplicateJobError:
            if _is_queued_or_started(queue, job_id(version)):
                return
            _delete_job(queue, job_id(version))


def _is_queued_or_started(queue: Queue, job: str) -> bool:
    """Whether that job waits in the queue or is with a worker; what is left of a dead one is not."""
    try:
        status = Job.fetch(job, connection=queue.connection).get_status()
    except NoSuchJobError:
        return False
    return status == JobStatus.STARTED or queue.get_job_position(job) is not None


def _delete_job(queue: Queue, job: str) -> None:
    with contextlib.suppress(NoSuchJobError):
        Job.fetch(job, connection=queue.connection).delete()
