"""What becomes of trainings whose machine, worker or queue was lost; run every 15 seconds.

What Redis forgot is queued again, and a claimed version whose job is lost is resumed by another attempt.
Every change is one conditional UPDATE, so two sweeps at once do no harm.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import django_rq
from django.conf import settings
from rq.job import JobStatus

from training.models import Status, StopReason, TrainingVersion
from training.models.version import TrainingVersionQuerySet

logger = logging.getLogger(__name__)

MAX_LOSSES = 3
FAILURE_CAUSE = (
    "The training process stopped unexpectedly three times: most likely the machine ran out of memory."
)
FAILURE_REMEDY = (
    "Press Retry when fewer trainings run on that machine, or ask an operator for one with more memory. "
    "A smaller Max. Inference Duration makes smaller models."
)
NOT_RUN = (None, JobStatus.QUEUED, JobStatus.FINISHED)


def sweep() -> None:
    """Resume or end every version whose job is lost; remove the work folders that dead jobs left."""
    for version in TrainingVersion.objects.select_related("flavor").lost():
        if version.claimed_attempt < version.attempt and _job_status(version) in NOT_RUN:
            version.enqueue_now()
        else:
            _resume_or_end(version)
    _delete_orphaned_work_folders()


def _job_status(version: TrainingVersion) -> JobStatus | None:
    """A job that began and did not claim its version died at the start: that is a loss, too."""
    job = django_rq.get_queue(version.queue_name).fetch_job(version.rq_id)
    return job.get_status() if job else None


def _resume_or_end(version: TrainingVersion) -> None:
    """Start another attempt, which continues from what the dead one left; after three losses end."""
    losses = version.progress.get("lost", 0) + 1
    is_asked_to_stop = version.stop_requested_at is not None
    has_model = "best_accuracy" in version.progress
    if is_asked_to_stop and (not has_model or losses >= MAX_LOSSES):
        _end(version, Status.STOPPED, stop_reason=StopReason.USER)
    elif losses >= MAX_LOSSES:
        _end(version, Status.FAILED, failure_cause=FAILURE_CAUSE, failure_remedy=FAILURE_REMEDY)
    else:
        _resume(version, losses)


def _resume(version: TrainingVersion, losses: int) -> None:
    progress = {**version.progress, "lost": losses, "message": "Resuming after an interruption"}
    if _unchanged_row(version).update(attempt=version.attempt + 1, progress=progress):
        logger.warning("training version %s was lost %s times; resuming", version.pk, losses)
        version.refresh_from_db()
        version.enqueue_now()


def _end(version: TrainingVersion, status: Status, **fields: str) -> None:
    if _unchanged_row(version).end(status, **fields):
        logger.warning("training version %s was lost and is now %s", version.pk, status)


def _unchanged_row(version: TrainingVersion) -> TrainingVersionQuerySet:
    """The row, unless something happened to it since this sweep read it."""
    return TrainingVersion.objects.active().filter(
        pk=version.pk,
        status=version.status,
        attempt=version.attempt,
        claimed_attempt=version.claimed_attempt,
        heartbeat_at=version.heartbeat_at,
    )


def _delete_orphaned_work_folders() -> None:
    """Delete the work folders of versions that are final or deleted."""
    folders = {int(path.name.removeprefix("training-")): path for path in _work_folders()}
    active = TrainingVersion.objects.active().filter(pk__in=list(folders)).values_list("pk", flat=True)
    for version_id in set(folders) - set(active):
        shutil.rmtree(folders[version_id], ignore_errors=True)


def _work_folders() -> list[Path]:
    paths = Path(settings.WORK_DIR).glob("training-*")
    return [path for path in paths if path.name.removeprefix("training-").isdigit()]
