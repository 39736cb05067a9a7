"""Another version behind the same address: at once, for a share of the calls, and back.

The new version is proved by a worker first; until its row changes the others go on answering, so no call
fails. Every call answers with the version that its service had when the call came.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from exeml_site.lib import jobs
from training.models import Service, TrainingVersion
from training.serving import deploy
from training.serving.deploy import DeployRefused, update_service
from training.serving.inference import model_cache, predictor

logger = logging.getLogger(__name__)

UP_STATUSES = (Service.Status.RUNNING, Service.Status.DEPLOYING)


def change_version(service: Service, version: TrainingVersion, by: User, percent: int | None = None) -> None:
    """Let `version` take over, or with `percent` (1–99) get that share of the calls. Raises DeployRefused."""
    with transaction.atomic():
        version.refresh_from_db(fields=["status", "deleted_at"])
        deploy.check_deployable(version)
        _check_version(service, version)
        if percent is not None and not service.is_running:
            raise DeployRefused("A share of the calls can be given only while the service is Running.")
        if service.status not in UP_STATUSES:
            _change_stopped_service(service, version, by)
            return
        asked: dict[str, Any] = {
            "next_version": version,
            "next_percent": percent,
            "next_requested_at": timezone.now(),
        }
        what = f"take {percent} % of the calls" if percent else "take over"
        update_service(service, UP_STATUSES, by, f"{version.name} is loaded to {what}.", **asked)
        transaction.on_commit(partial(enqueue_version_change, service.pk))


def roll_back(service: Service, by: User) -> None:
    """The version that answered before takes over again. Raises DeployRefused."""
    previous = service.previous_version
    if previous is None:
        raise DeployRefused("No other version answered before.")
    change_version(service, previous, by)


def end_trial(service: Service, by: User) -> bool:
    """All calls go to the version that has the larger part of the word. False where there is no trial."""
    trial = service.canary_version
    if trial is None:
        return False
    return update_service(
        service, set(Service.Status), by, f"{trial.name} gets no more calls.", **_no_trial_fields()
    )


def change_over(service_id: str) -> None:
    """The job: prove the next version, then let it answer. Safe to run twice."""
    services = Service.objects.alive().select_related("next_version", "training_version")
    service = services.filter(pk=service_id).first()
    if service is None or service.next_version is None:
        return
    try:
        predictor.verify_model(service.next_version)
    except model_cache.ModelUnavailable as problem:
        _cancel_change(service, str(problem))
    except Exception:
        _cancel_change(service, "An operator finds the reason in the queue “short”.")
        raise
    else:
        _take_over(service, service.next_version)


def enqueue_version_change(service_id: UUID) -> None:
    jobs.enqueue(
        "change_service_version", service_id, queue=settings.QUEUE_SHORT, timeout_s=deploy.JOB_TIMEOUT_S
    )


def catch_up() -> None:
    """Run by the clock: put changes into the queue again that it may have lost."""
    lost = Service.objects.changing_since(timezone.now() - deploy.REQUEUE_AFTER)
    for service_id in lost.values_list("pk", flat=True):
        enqueue_version_change(service_id)


def _check_version(service: Service, version: TrainingVersion) -> None:
    if version.project_id != service.project_id:
        raise DeployRefused("This version belongs to another project.")
    if version == service.training_version:
        raise DeployRefused(f"{version.name} answers already.")


def _change_stopped_service(service: Service, version: TrainingVersion, by: User) -> None:
    update_service(
        service,
        {Service.Status.STOPPED, Service.Status.FAILED},
        by,
        f"{version.name} in place of {service.training_version.name}; it answers once started.",
        training_version=version,
        previous_version=service.training_version,
        **_no_trial_fields(),
    )


def _take_over(service: Service, version: TrainingVersion) -> None:
    """One UPDATE, unless somebody chose another version meanwhile."""
    if service.next_percent:
        message = f"{version.name} answers {service.next_percent} % of the calls."
        changes: dict[str, Any] = {"canary_version": version, "canary_percent": service.next_percent}
    else:
        message = f"{version.name} answers in place of {service.training_version.name}."
        changes = {
            "training_version": version,
            "previous_version": service.training_version,
            **_no_trial_fields(),
        }
    still = {"next_version": version, "training_version": service.training_version}
    update_service(service, set(Service.Status), None, message, only_if=still, **changes, **_no_next_fields())


def _cancel_change(service: Service, cause: str) -> None:
    version = service.next_version
    message = f"{version} could not take over: {cause} {service.training_version.name} goes on answering."
    update_service(
        service, set(Service.Status), None, message, only_if={"next_version": version}, **_no_next_fields()
    )


def _no_trial_fields() -> dict[str, Any]:
    return {"canary_version": None, "canary_percent": 0}


def _no_next_fields() -> dict[str, Any]:
    return {"next_version": None, "next_percent": None, "next_requested_at": None}
