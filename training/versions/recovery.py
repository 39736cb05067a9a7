"""What becomes of trainings whose machine, worker or queue was lost; run every 15 seconds.

What Redis forgot is queued again, and a claimed version whose job is lost is resumed by another attempt.
Every change is one conditional UPDATE, so two sweeps at once do no harm.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import django_rq
from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext_noop
from rq.job import JobStatus

from exeml_site.lib import jobs, storage
from training.models import Batch, Status, StopReason, TrainingVersion
from training.models.version import FINAL, TrainingVersionQuerySet

logger = logging.getLogger(__name__)

MAX_LOSSES = 3
# Causes and remedies are stored, and translated where shown.
DEATHS = {
    jobs.OUT_OF_MEMORY: gettext_noop(
        "The training process stopped unexpectedly three times. The last time, the system ended it because "
        "the machine ran out of memory."
    ),
    jobs.HUNG: gettext_noop(
        "The training process stopped unexpectedly three times. The last time, it was ended after more than "
        "a minute without activity."
    ),
    "": gettext_noop("The training process stopped unexpectedly three times. The reason is not known."),
}
OTHER_DEATH = (
    "The training process stopped unexpectedly three times. "  # not translated: stored with a value
    "The last time, it ended with {death}."
)
MORE_MEMORY = gettext_noop(
    "Press Retry when fewer trainings run on that machine, or ask an operator for one with more memory. "
    "A smaller Max. Inference Duration makes smaller models."
)
ASK_OPERATOR = gettext_noop(
    "Press Retry. If it happens again, give an operator the job ID beside the name of this version: the "
    "worker's log may say why."
)
EXPORT_INTERRUPTED = gettext_noop("The export stopped unexpectedly. Start it again.")
RESUMING = gettext_noop("Resuming after an interruption")
FORECAST_WITHIN = timedelta(days=1)
DELETE_WITHIN = timedelta(days=7)


def sweep() -> None:
    """Resume or end every version whose job is lost; remove the work folders that dead jobs left."""
    for version in TrainingVersion.objects.select_related("flavor").lost():
        is_claimed = version.claimed_attempt == version.attempt
        if is_claimed or _has_begun(version.rq_id, version.queue_name):
            _resume_or_end(version)
        else:
            version.enqueue_now()
    _end_lost_exports()
    delete_orphaned_work_folders()


def hand_over(job_id: str) -> None:
    """Resume the version of a job that was ended because its worker was stopped. That is no loss."""
    for version in TrainingVersion.objects.select_related("flavor").active():
        if version.rq_id == job_id:
            _resume_or_end(version)


def enqueue_lost_forecasts() -> None:
    """Ask again for forecasts that yesterday's and today's versions do not have; run every hour.

    A version whose images are too few has none in the end, too: that is found in milliseconds.
    """
    young = TrainingVersion.objects.completed().filter(finished_at__gt=timezone.now() - FORECAST_WITHIN)
    for version_id in young.filter(learning={}).values_list("pk", flat=True):
        jobs.enqueue("forecast_gains", version_id)


def delete_stored_leftovers() -> int:
    """Delete checkpoints of the last week that could not be deleted because the storage was away; how many.

    Runs once a day.
    """
    since, deleted = timezone.now() - DELETE_WITHIN, 0
    if storage.is_remote():
        for version in TrainingVersion.objects.alive().filter(status__in=FINAL, finished_at__gt=since):
            deleted += storage.try_to_delete_folder(version.checkpoint_folder)
    return deleted


def _has_begun(job_id: str, queue: str) -> bool:
    """Whether a job that is not under way died at work, rather than was forgotten by Redis."""
    job = django_rq.get_queue(queue).fetch_job(job_id)
    return job is not None and job.get_status() not in (JobStatus.QUEUED, JobStatus.FINISHED)


def _end_lost_exports() -> None:
    """Ask again for an ONNX export that Redis forgot; offer the button again where its worker died."""
    exporting = TrainingVersion.objects.completed().filter(export__state="making")
    for version_id in exporting.values_list("pk", flat=True):
        job_id = f"export_onnx-{version_id}"
        if jobs.is_under_way(job_id, settings.QUEUE_SHORT):
            continue
        if _has_begun(job_id, settings.QUEUE_SHORT):
            exporting.filter(pk=version_id).update(export={"state": "failed", "problem": EXPORT_INTERRUPTED})
        else:
            jobs.enqueue("export_onnx", version_id, queue=settings.QUEUE_SHORT)


def _resume_or_end(version: TrainingVersion) -> None:
    """Start another attempt, which continues from what the dead one left; after three losses end.

    The stop of a worker is no loss: a long training outlives any number of upgrades. Nor is what ends the
    process while it waits for the storage.
    """
    death = jobs.death_of(version.rq_id, version.queue_name)
    is_loss = death != jobs.HANDED_OVER and "is_waiting" not in version.progress
    losses = version.progress.get("lost", 0) + is_loss
    is_asked_to_stop = version.stop_requested_at is not None
    has_model = "best_accuracy" in version.progress
    if is_asked_to_stop and (not has_model or losses >= MAX_LOSSES):
        _end(version, Status.STOPPED, stop_reason=StopReason.USER)
    elif losses >= MAX_LOSSES:
        _end(version, Status.FAILED, **_explain_death(death))
    else:
        _resume(version, losses)


def _explain_death(death: str) -> dict[str, str]:
    """Cause and remedy: of the death that the worker saw, else without a guess."""
    remedy = MORE_MEMORY if death == jobs.OUT_OF_MEMORY else ASK_OPERATOR
    return {"failure_cause": DEATHS.get(death, OTHER_DEATH.format(death=death)), "failure_remedy": remedy}


def _resume(version: TrainingVersion, losses: int) -> None:
    progress = {**version.progress, "lost": losses, "message": RESUMING}
    if _unchanged_row(version).update(attempt=version.attempt + 1, progress=progress):
        logger.warning("training version %s is resumed; it was lost %s times", version.pk, losses)
        version.refresh_from_db()
        version.enqueue_now()


def _end(version: TrainingVersion, status: Status, **fields: str) -> None:
    if _unchanged_row(version).end(status, **fields):
        logger.warning("training version %s was lost and is now %s", version.pk, status)
        if storage.is_remote():
            storage.try_to_delete_folder(version.checkpoint_folder)


def _unchanged_row(version: TrainingVersion) -> TrainingVersionQuerySet:
    """The row, unless something happened to it since this sweep read it."""
    return TrainingVersion.objects.active().filter(
        pk=version.pk,
        status=version.status,
        attempt=version.attempt,
        claimed_attempt=version.claimed_attempt,
        heartbeat_at=version.heartbeat_at,
    )


def delete_orphaned_work_folders() -> None:
    """Delete the work folders on this machine of versions that are final or deleted."""
    folders = {int(path.name.removeprefix("training-")): path for path in _work_folders()}
    active = TrainingVersion.objects.active().filter(pk__in=list(folders)).values_list("pk", flat=True)
    for version_id in set(folders) - set(active):
        shutil.rmtree(folders[version_id], ignore_errors=True)


def gone_version_files(names: Sequence[str]) -> set[str]:
    """Those of the stored files `training/<version>/…` whose version is deleted."""
    ids = {name.split("/")[1] for name in names}
    alive = TrainingVersion.objects.alive().filter(pk__in=[int(each) for each in ids if each.isdecimal()])
    kept = {str(pk) for pk in alive.values_list("pk", flat=True)}
    return {name for name in names if name.split("/")[1] not in kept}


def gone_batch_files(names: Sequence[str]) -> set[str]:
    """Those of the stored files `batches/<batch>/…` whose batch is deleted, and uploads of one that ended."""
    ids = {int(part) for name in names if (part := name.split("/")[1]).isdecimal()}
    statuses = dict(Batch.objects.filter(pk__in=ids).values_list("pk", "status"))

    def is_kept(name: str) -> bool:
        _, pk, *_, last = name.split("/")
        status = statuses.get(int(pk)) if pk.isdecimal() else None
        return status in Batch.ACTIVE or (status is not None and not last.startswith("upload-"))

    return {name for name in names if not is_kept(name)}


def _work_folders() -> list[Path]:
    paths = Path(settings.WORK_DIR).glob("training-*")
    return [path for path in paths if path.name.removeprefix("training-").isdigit()]
