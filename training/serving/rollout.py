"""Change the version of a service: for all calls, as a canary for a share of them, as a shadow, and back.

A worker checks the new version first. The old version answers until the row changes, so no call fails.
A call is answered by the version that the service has when the call arrives.
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
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib import jobs
from exeml_site.lib.outages.parts import part_of
from training.models import Service, TrainingVersion
from training.serving import deploy
from training.serving.deploy import DeployRefused, update_service
from training.serving.inference import model_cache, predictor
from training.versions.number_formats import number_format_in

logger = logging.getLogger(__name__)

SHARE_NEEDS_RUNNING = gettext_lazy(
    "A version can take a share of the calls only while the service is Running."
)
SHADOW_NEEDS_RUNNING = gettext_lazy("A shadow version can be added only while the service is Running.")
NO_CANARY = gettext_lazy("There is no canary and no shadow version.")
UP_STATUSES = (Service.Status.RUNNING, Service.Status.DEPLOYING)


def change_version(service: Service, version: TrainingVersion, by: User, percent: int | None = None) -> None:
    """Send all calls to `version`, or `percent` of them, once it is checked. Raises DeployRefused.

    0 percent make it the shadow: it predicts the images of calls, and its answers are stored, not returned.
    """
    with transaction.atomic():
        version.refresh_from_db(fields=["status", "deleted_at"])
        deploy.check_deployable(version)
        _check_version(service, version)
        if percent is not None and not service.is_running:
            raise DeployRefused(str(SHARE_NEEDS_RUNNING if percent else SHADOW_NEEDS_RUNNING))
        if service.status not in UP_STATUSES:
            _change_stopped_service(service, version, by)
            return
        request: dict[str, Any] = {
            "next_version": version,
            "next_percent": percent,
            "next_requested_at": timezone.now(),
        }
        update_service(service, UP_STATUSES, by, _request_text(version, percent), **request)
        transaction.on_commit(partial(enqueue_version_change, service.pk))


def _request_text(version: TrainingVersion, percent: int | None) -> str:
    if percent is None:
        return f"{version.name} is loaded to take over."  # not translated: stored with values
    if percent:
        return f"{version.name} is loaded to take {percent} % of the calls."  # not translated: stored
    return f"{version.name} is loaded to be the shadow version."  # not translated: stored with values


def roll_back(service: Service, by: User) -> None:
    """Go back to the previous version. Raises DeployRefused."""
    previous = service.previous_version
    if previous is None:
        raise DeployRefused(gettext("There is no earlier version to go back to."))
    change_version(service, previous, by)


def end_canary(service: Service, by: User) -> bool:
    """End the canary or shadow: its version gets no more calls. False if there is none."""
    canary = service.canary_version
    if canary is None:
        return False
    message = f"{canary.name} gets no more calls."  # not translated: stored with values
    if service.has_shadow:
        message = f"{canary.name} is no longer the shadow version."  # not translated: stored with values
    return update_service(service, set(Service.Status), by, message, **_no_canary_fields())


def change_over(service_id: str) -> None:
    """Job: check the next version, then let it answer. Safe to run twice."""
    services = Service.objects.alive().select_related("next_version", "training_version")
    service = services.filter(pk=service_id).first()
    if service is None or service.next_version is None:
        return
    try:
        predictor.verify_model(service.next_version, number_format_in(service, service.next_version))
    except model_cache.ModelAway:
        deploy.wait_for_storage(service)
    except model_cache.ModelUnavailable as problem:
        _cancel_change(service, str(problem))
    except Exception as problem:
        if part_of(problem) is None:  # after an outage the periodic job asks again
            _cancel_change(service, deploy.NOT_STARTED)
        raise
    else:
        _take_over(service, service.next_version)


def enqueue_version_change(service_id: UUID) -> None:
    jobs.enqueue(
        "change_service_version", service_id, queue=settings.QUEUE_SHORT, timeout_s=deploy.JOB_TIMEOUT_S
    )


def catch_up() -> None:
    """Enqueue version changes again that the queue may have lost. Runs periodically."""
    lost = Service.objects.changing_since(timezone.now() - deploy.REQUEUE_AFTER)
    for service_id in lost.values_list("pk", flat=True):
        enqueue_version_change(service_id)


def _check_version(service: Service, version: TrainingVersion) -> None:
    if version.project_id != service.project_id:
        raise DeployRefused(gettext("This version belongs to another project."))
    if version == service.training_version:
        text = gettext("%(version)s already answers in this service.")
        raise DeployRefused(text % {"version": version.name})


def _change_stopped_service(service: Service, version: TrainingVersion, by: User) -> None:
    replaced = service.training_version.name
    update_service(
        service,
        {Service.Status.STOPPED, Service.Status.FAILED},
        by,
        f"{version.name} in place of {replaced}; it answers once started.",  # not translated: stored
        training_version=version,
        previous_version=service.training_version,
        answer_settings=deploy.settings_with(service, version),
        **_no_canary_fields(),
    )


@transaction.atomic
def _take_over(service: Service, version: TrainingVersion) -> None:
    """Activate the next version in one UPDATE, unless somebody chose another one meanwhile."""
    answer_settings = deploy.settings_with(service, version)
    note = deploy.settings_note(answer_settings[str(version.pk)])
    if service.next_percent is not None:
        message = (
            f"{version.name} answers {service.next_percent} % of the calls{note}."  # not translated: stored
        )
        if not service.next_percent:
            task = "is the shadow version: its answers are stored, not returned"  # not translated: stored
            message = f"{version.name} {task}{note}."
        changes: dict[str, Any] = {"canary_version": version, "canary_percent": service.next_percent}
    else:
        replaced = service.training_version.name
        message = f"{version.name} answers in place of {replaced}{note}."  # not translated: stored
        changes = {
            "training_version": version,
            "previous_version": service.training_version,
            **_no_canary_fields(),
        }
    changes["answer_settings"] = answer_settings
    still = {"next_version": version, "training_version": service.training_version}
    update_service(service, set(Service.Status), None, message, only_if=still, **changes, **_no_next_fields())


def _cancel_change(service: Service, cause: str) -> None:
    version, answering = service.next_version, service.training_version.name
    message = f"{version} could not take over: {cause} {answering} still answers."  # not translated: stored
    update_service(
        service, set(Service.Status), None, message, only_if={"next_version": version}, **_no_next_fields()
    )


def _no_canary_fields() -> dict[str, Any]:
    return {"canary_version": None, "canary_percent": 0}


def _no_next_fields() -> dict[str, Any]:
    return {"next_version": None, "next_percent": None, "next_requested_at": None}
