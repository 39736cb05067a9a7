"""What becomes of trainings whose machine, worker or queue was lost; run every 15 seconds.

The row is the truth: what Redis forgot is queued again, and a Running version whose heart does not beat is
resumed by another attempt. Every change is one conditional UPDATE, so two sweeps at once do no harm.
"""

from __future__ import annotations

import logging
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import django_rq
from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus

from training.models import Status, StopReason, TrainingVersion
from training.models.version import TrainingVersionQuerySet
from training.versions import queue

logger = logging.getLogger(__name__)

DEAD_AFTER = timedelta(seconds=30)  # the heart beats every 5 seconds
CLAIM_TIMEOUT = timedelta(seconds=60)  # a worker that took the job starts an interpreter first
MAX_LOSSES = 3
FAILURE_CAUSE = (
    "The training process ended without a word three times: most likely the machine ran out of memory."
)
FAILURE_REMEDY = (
    "Press Retry when fewer trainings run on that machine, or ask an operator for one with more memory. "
    "A smaller Max. Inference Duration makes smaller models."
)


def sweep() -> None:
    """Bring every version that is not final forward, or to its end; remove what final ones left behind."""
    _stop_unclaimed()
    for version in TrainingVersion.objects.active().select_related("flavor"):
        if version.claimed_attempt < version.attempt:
            _ensure_queued(version)
        elif _is_dead(version):
            _resume_or_end(version)
    _delete_orphaned_work_folders()


def _stop_unclaimed() -> None:
    """A stop that came while the version was being queued, before any worker had it."""
    unclaimed = TrainingVersion.objects.active().filter(
        status=Status.INITIALIZING, claimed_attempt__lt=F("attempt"), stop_requested_at__isnull=False
    )
    unclaimed.update(status=Status.STOPPED, finished_at=timezone.now(), stop_reason=StopReason.USER)


def _is_dead(version: TrainingVersion) -> bool:
    beat = version.heartbeat_at or version.started_at or version.submitted_at
    return timezone.now() - beat > DEAD_AFTER


def _ensure_queued(version: TrainingVersion) -> None:
    """Nobody claimed this attempt: it waits, or Redis lost it, or its worker died at the start."""
    job = _job(version)
    if job is None:
        queue.enqueue(version)
        return
    status = job.get_status()
    if status == JobStatus.STARTED:
        if _is_claim_overdue(job):
            _resume_or_end(version)
    elif status in (JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED):
        _resume_or_end(version)
    elif status == JobStatus.FINISHED or job.get_position() is None:
        queue.enqueue(version)


def _job(version: TrainingVersion) -> Job | None:
    try:
        return Job.fetch(queue.job_id(version), connection=django_rq.get_connection(version.flavor.queue))
    except NoSuchJobError:
        return None


def _is_claim_overdue(job: Job) -> bool:
    since: datetime | None = job.started_at or job.enqueued_at
    return since is not None and timezone.now() - _aware(since) > CLAIM_TIMEOUT


def _aware(moment: datetime) -> datetime:
    return (
        moment if timezone.is_aware(moment) else timezone.make_aware(moment, timezone.get_fixed_timezone(0))
    )


def _resume_or_end(version: TrainingVersion) -> None:
    """Another attempt, which continues from what the dead one left; after three losses the end."""
    losses = version.progress.get("lost", 0) + 1
    is_asked_to_stop = version.stop_requested_at is not None
    has_model = "best_accuracy" in version.progress
    if is_asked_to_stop and (not has_model or losses >= MAX_LOSSES):
        _end(version, status=Status.STOPPED, stop_reason=StopReason.USER)
    elif losses >= MAX_LOSSES:
        _end(version, status=Status.FAILED, failure_cause=FAILURE_CAUSE, failure_remedy=FAILURE_REMEDY)
    else:
        _next_attempt(version, losses)


def _next_attempt(version: TrainingVersion, losses: int) -> None:
    progress = {**version.progress, "lost": losses, "message": "Resuming after an interruption"}
    if _unchanged_row(version).update(attempt=version.attempt + 1, progress=progress):
        logger.warning("training version %s was lost %s times; resuming", version.pk, losses)
        version.refresh_from_db()
        queue.enqueue(version)


def _end(version: TrainingVersion, **fields: str) -> None:
    if _unchanged_row(version).update(finished_at=timezone.now(), **fields):
        logger.warning("training version %s was lost and is now %s", version.pk, fields["status"])


def _unchanged_row(version: TrainingVersion) -> TrainingVersionQuerySet:
    """The row, unless something happened to it since this sweep read it."""
    return TrainingVersion.objects.active().filter(
        Q(heartbeat_at=version.heartbeat_at),
        pk=version.pk,
        status=version.status,
        attempt=version.attempt,
        claimed_attempt=version.claimed_attempt,
    )


def _delete_orphaned_work_folders() -> None:
    """Work folders of versions that are final or gone: what dead jobs could not remove themselves."""
    folders = {int(path.name.removeprefix("training-")): path for path in _work_folders()}
    living = TrainingVersion.objects.active().filter(pk__in=list(folders)).values_list("pk", flat=True)
    for version_id in set(folders) - set(living):
        shutil.rmtree(folders[version_id], ignore_errors=True)


def _work_folders() -> list[Path]:
    found = Path(settings.WORK_DIR).glob("training-*")
    return [path for path in found if path.name.removeprefix("training-").isdigit()]
