"""What webhooks are told of trainings, services and batches, in the transaction in which a status changes."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from exeml_site.lib.job_row import JobRowQuerySet
from projects import webhooks
from training.models import Batch, Metric, Service, Status, TrainingVersion
from training.models.version import TrainingVersionQuerySet

EVENTS = {
    Status.COMPLETED: webhooks.Event.TRAINING_COMPLETED,
    Status.FAILED: webhooks.Event.TRAINING_FAILED,
    Status.STOPPED: webhooks.Event.TRAINING_STOPPED,
}
DELETED = "Deleted"  # not translated: of programs


def end_training(
    rows: TrainingVersionQuerySet, version: TrainingVersion, status: Status, **fields: Any
) -> bool:
    """Set the final status of `version`, if `rows` still holds it, and raise its event. False if not."""
    with transaction.atomic():
        is_ended = rows.end(status, **fields)
        if is_ended:
            raise_training_ended(version)
    return is_ended


def raise_training_ended(version: TrainingVersion) -> None:
    """Raise the event of a version that has ended, as its row is now."""
    row = TrainingVersion.objects.select_related("project", "dataset_version").get(pk=version.pk)
    accuracy = row.metrics.filter(label="", name=Metric.Name.ACCURACY).first()
    webhooks.raise_event(
        EVENTS[Status(row.status)],
        row.project,
        version={
            **described_version(row),
            "status": row.status,
            "stop_reason": row.stop_reason,
            "failure_cause": row.failure_cause,
            "failure_remedy": row.failure_remedy,
            "accuracy": accuracy.value if accuracy else None,
            "dataset_version": row.dataset_version.name,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
        },
    )


def raise_service_status(service: Service, message: str) -> None:
    """Raise the event of a service whose status has changed, or which was deleted or restored."""
    row = Service.objects.select_related("project", "training_version").get(pk=service.pk)
    webhooks.raise_event(
        webhooks.Event.SERVICE_STATUS,
        row.project,
        service={
            **described_service(row),
            "status": DELETED if row.deleted_at else row.status,
            "failure_cause": row.failure_cause,
            "version": described_version(row.training_version),
        },
        message=message,
    )


def end_batch(rows: JobRowQuerySet[Batch], batch: Batch, status: Batch.Status, **fields: Any) -> bool:
    """Set the final status of `batch`, if `rows` still holds it, and raise its event. False if not."""
    with transaction.atomic():
        is_ended = rows.end(status, **fields)
        if is_ended:
            raise_batch_ended(batch)
    return is_ended


def raise_batch_ended(batch: Batch) -> None:
    """Raise the event of a batch that has ended, as its row is now."""
    row = Batch.objects.select_related("service__project").get(pk=batch.pk)
    service = row.service
    path = f"projects/{service.project_id}/services/{service.pk}/batches/{row.pk}"
    webhooks.raise_event(
        webhooks.Event.BATCH_ENDED,
        service.project,
        service=described_service(service),
        batch={
            "id": row.pk,
            "name": row.name,
            "status": row.status,
            "problem": row.problem,
            "image_count": row.done,
            "failed_count": row.failed,
            "accuracy": row.accuracy,
            "url": webhooks.page_address("service_batches", service.project_id, service.pk),
            "api_url": webhooks.api_address(path),
        },
    )


def described_version(version: TrainingVersion) -> dict[str, Any]:
    """A version in a payload: number, names and addresses."""
    return {
        "number": version.number,
        "name": version.name,
        "title": version.title,
        "url": webhooks.page_address("training_version", version.project_id, version.number),
        "api_url": webhooks.api_address(f"projects/{version.project_id}/versions/{version.number}"),
    }


def described_service(service: Service) -> dict[str, Any]:
    """A service in a payload: id, name and addresses."""
    return {
        "id": str(service.pk),
        "name": service.name,
        "url": webhooks.page_address("service_page", service.project_id, service.pk),
        "api_url": webhooks.api_address(f"projects/{service.project_id}/services/{service.pk}"),
    }
