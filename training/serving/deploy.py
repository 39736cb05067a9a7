"""Deploy, stop, start and delete services. Each action is one conditional UPDATE and one ServiceEvent.

Messages of events are stored, so they are English; those without values are translated where they are shown.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from copy import copy
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop, ngettext

from exeml_site.lib import jobs
from exeml_site.lib.display import count
from exeml_site.lib.errors import Refused
from exeml_site.lib.outages.parts import part_of
from projects import audit
from projects.models import Team
from projects.workspace.secret_token import Token, new_token
from training.engine.bundle.decision import AnswerSettings
from training.models import NumberFormat, Service, ServiceEvent, TrainingVersion
from training.models.service import STORAGE_AWAY
from training.serving.calls.usage import measure_service
from training.serving.inference import model_cache, predictor
from training.serving.tokens import store_token
from training.versions.number_formats import number_format_in

logger = logging.getLogger(__name__)

Status = Service.Status
FIRST_TOKEN = "first token"
NOT_STARTED = gettext_noop(
    "The model could not be started. Operators can see the reason in the queue “short”."
)
JOB_TIMEOUT_S = 300  # to load and check the model
REQUEUE_AFTER = timedelta(seconds=60)  # a service that is Deploying for longer is enqueued again


class DeployRefused(Refused):
    """The deployment cannot start; the message tells the user why."""


def deploy(
    version: TrainingVersion, by: User, auto_stop_hours: int | None, service_id: UUID | None = None
) -> tuple[Service, Token]:
    """Create a service for a Completed version and enqueue its deployment.

    The plain token is returned only here. Raises DeployRefused.
    """
    token = new_token()
    with transaction.atomic():
        version.refresh_from_db(fields=["status", "deleted_at", "answer_settings"])
        check_deployable(version)
        check_service_limit(version.project.team_id)
        service = Service.objects.create(
            id=service_id or uuid4(),
            project=version.project,
            training_version=version,
            name=_free_name(version),
            auto_stop_hours=auto_stop_hours,
            answer_settings={str(version.pk): version.answer_settings},
            deployed_by=by,
        )
        store_token(service, FIRST_TOKEN, token, by)
        message = f"Deploying {version.name}{settings_note(version.answer_settings)}."
        record_event(service, by, message)
        _record_in_audit_log(audit.Kind.SERVICE_DEPLOYED, service, by, message)
        enqueue_deployment(service.pk)
    return service, token


def bring_up(service_id: str) -> None:
    """Job: check that the model answers, then set the service to Running.

    Safe to run twice. A service that was stopped meanwhile stays stopped.
    """
    service = Service.objects.alive().select_related("training_version").filter(pk=service_id).first()
    if service is None or not service.is_deploying:
        return
    try:
        predictor.verify_model(service.training_version, number_format_in(service, service.training_version))
    except model_cache.ModelAway:
        wait_for_storage(service)
    except model_cache.ModelUnavailable as problem:
        _set_failed(service, str(problem))
    except Exception as problem:
        if part_of(problem) is None:  # after an outage the periodic job asks again
            _set_failed(service, NOT_STARTED)
        raise
    else:
        _set_running(service)


def wait_for_storage(service: Service) -> None:
    """Say once that the service waits. `stop_expired` and `rollout.catch_up` enqueue its job again."""
    if not service.waits_for_storage:
        record_event(service, None, STORAGE_AWAY)


def stop(service: Service, by: User | None) -> bool:
    """Stop a Running or Deploying service. False if it is neither; then nothing changes."""
    message = gettext_noop("Stopped.")
    return update_service(service, {Status.RUNNING, Status.DEPLOYING}, by, message, **_stopped_fields())


def start(service: Service, by: User) -> bool:
    """Deploy a Stopped or Failed service again, with its first Auto Stop. False if it is neither."""
    with transaction.atomic():
        has_changed = update_service(
            service,
            {Status.STOPPED, Status.FAILED},
            by,
            gettext_noop("Started again."),
            status=Status.DEPLOYING,
            requested_at=timezone.now(),
            stops_at=None,
            failure_cause="",
        )
        if has_changed:
            enqueue_deployment(service.pk)
    return has_changed


def delete(service: Service, by: User) -> bool:
    """Stop the service and remove it from the page. The row stays for the history."""
    return update_service(
        service,
        set(Status),
        by,
        gettext_noop("Deleted."),
        deleted_at=timezone.now(),
        **_stopped_fields(),
    )


def set_collecting(service: Service, collects: bool, keeps_days: int, by: User) -> None:
    """Switch the collection of images on or off. Collected images stay until their days are over."""
    message = gettext_noop("Collects no requests.")
    if collects:
        message = f"Collects requests, kept for {keeps_days} days."  # not translated: stored with values
    if (service.collects, service.keeps_days) != (collects, keeps_days):
        update_service(service, set(Status), by, message, collects=collects, keeps_days=keeps_days)


def set_allowed_origins(service: Service, origins: list[str], by: User) -> None:
    """Let the pages of these websites call the service from the browser; no others."""
    message = gettext_noop("No website may call it.")
    if origins:
        sites = "1 website" if len(origins) == 1 else f"{len(origins):,} websites"
        message = f"{sites} may call it."  # not translated: stored with values
    if service.allowed_origins != origins:
        update_service(service, set(Status), by, message, allowed_origins=origins)


def set_number_format(service: Service, number_format: str, by: User) -> None:
    """Let the service answer in this number format from the next call on; empty for its version's default.

    Raises DeployRefused where the model does not answer in it.
    """
    if service.number_format == number_format:
        return
    changed = copy(service)
    changed.number_format = number_format
    try:
        for version in service.answering_versions:
            predictor.verify_model(version, number_format_in(changed, version))
    except model_cache.ModelUnavailable as problem:
        raise DeployRefused(gettext(str(problem))) from problem
    message = gettext_noop("Answers in the default number format of its version.")
    if number_format:
        message = f"Answers in {NumberFormat(number_format).label}."  # not translated: stored with values
    update_service(service, set(Status), by, message, number_format=number_format)


def set_answer_settings(
    service: Service, version: TrainingVersion, settings: AnswerSettings, by: User
) -> None:
    """Let a version answer by these settings in this service, from the next call on."""
    with transaction.atomic():
        stored = _locked_settings(service)
        changed = {**stored, str(version.pk): settings.as_json()}
        if AnswerSettings.from_json(stored.get(str(version.pk))) == settings:
            return
        text = settings.text or "the model’s own settings"  # not translated: stored with values
        message = f"{version.name} answers with {text}."
        update_service(service, set(Status), by, message, answer_settings=changed)


def settings_with(service: Service, version: TrainingVersion) -> dict[str, Any]:
    """The settings of a service once a version answers in it, within a transaction.

    A version that has answered in it before keeps its settings here; another one brings its stored ones.
    """
    brought = TrainingVersion.objects.values_list("answer_settings", flat=True).get(pk=version.pk)
    answering: dict[str, Any] = {str(service.training_version_id): {}}  # from before services had settings
    return {str(version.pk): brought, **answering, **_locked_settings(service)}


def _locked_settings(service: Service) -> dict[str, Any]:
    """The stored settings of a service, which nobody else changes before the transaction ends."""
    stored: dict[str, Any] = Service.objects.select_for_update().get(pk=service.pk).answer_settings
    return stored


def settings_note(stored: Mapping[str, Any]) -> str:
    """Stored settings as a part of an event, with a space before it; empty for the model's own."""
    text = AnswerSettings.from_json(stored).text
    return f" with {text}" if text else ""


def stop_expired() -> int:
    """Stop services past their Auto Stop, and enqueue lost deployments again. Runs every 30 seconds.

    Returns the number of stopped services.
    """
    now = timezone.now()
    for service_id in Service.objects.waiting_since(now - REQUEUE_AFTER).values_list("pk", flat=True):
        enqueue_deployment(service_id)
    return sum(_stop_expired_service(service) for service in Service.objects.expired(now))


def _stop_expired_service(service: Service) -> bool:
    with transaction.atomic():
        measure_service(service.pk)
        rows = Service.objects.expired(timezone.now()).filter(pk=service.pk).update(**_stopped_fields())
        if rows:
            is_over = service.stops_at is not None and service.stops_at <= timezone.now()
            deleted = gettext_noop("Stopped: the project was deleted.")
            message = gettext_noop("Stopped by Auto Stop.") if is_over else deleted
            record_event(service, None, message)
            _record_in_audit_log(audit.Kind.SERVICE_STOPPED, service, None, message)
    return bool(rows)


def _set_running(service: Service) -> None:
    hours = service.auto_stop_hours
    stops_at = timezone.now() + timedelta(hours=hours) if hours else None
    message = gettext_noop("Running. Auto Stop is off.")
    if hours:
        unit = "hour" if hours == 1 else "hours"
        message = f"Running. Auto Stop in {hours} {unit}."  # not translated: stored with values
    update_service(service, {Status.DEPLOYING}, None, message, status=Status.RUNNING, stops_at=stops_at)


def _set_failed(service: Service, cause: str) -> None:
    update_service(
        service,
        {Status.DEPLOYING},
        None,
        f"Failed. {cause}",
        status=Status.FAILED,
        stops_at=None,
        failure_cause=cause,
    )


def _stopped_fields() -> dict[str, Any]:
    return {"status": Status.STOPPED, "stops_at": None}


def update_service(
    service: Service,
    when: Iterable[Status],
    by: User | None,
    message: str,
    only_if: Mapping[str, Any] | None = None,
    **changes: Any,
) -> bool:
    """Update a service whose status is in `when` and which matches `only_if`; record `message` as its event.

    Every change of a service goes through here. `service` is reloaded. False if nothing was changed.
    """
    with transaction.atomic():
        if "status" in changes:
            measure_service(service.pk)
        alive = Service.objects.alive().filter(pk=service.pk, status__in=list(when), **(only_if or {}))
        rows = alive.update(**changes)
        if rows:
            record_event(service, by, message)
            _record_in_audit_log(_kind_of(changes), service, by, message)
    service.refresh_from_db()
    return bool(rows)


def _kind_of(changes: Mapping[str, Any]) -> audit.Kind | None:
    """What a change is called in the audit log; None for what a worker finds out about a deployment."""
    if "deleted_at" in changes:
        return audit.Kind.SERVICE_DELETED
    by_status = {Status.STOPPED: audit.Kind.SERVICE_STOPPED, Status.DEPLOYING: audit.Kind.SERVICE_STARTED}
    return by_status.get(changes["status"]) if "status" in changes else audit.Kind.SERVICE_CHANGED


def _record_in_audit_log(kind: audit.Kind | None, service: Service, by: User | None, message: str) -> None:
    if kind:
        audit.record(kind, project=service.project, target=service.name, by=by, message=message)


def record_event(service: Service, by: User | None, message: str) -> None:
    ServiceEvent.objects.create(service=service, by=by, message=message[:255])


def check_deployable(version: TrainingVersion) -> None:
    if version.deleted_at:
        text = gettext("%(version)s was deleted. Choose another version.")
        raise DeployRefused(text % {"version": version.name})
    if not version.is_completed:
        text = gettext("Only Completed versions can be deployed; %(version)s is %(status)s.")
        names = {"version": version.name, "status": version.get_status_display()}
        raise DeployRefused(text % names)


def check_service_limit(team_id: int) -> None:
    """Raise DeployRefused if the team has its maximum number of services.

    The team's row is locked, so that two deployments cannot both pass (SQLite locks the whole database).
    """
    team = Team.objects.select_for_update().get(pk=team_id)
    limit = settings.EXEML_MAX_SERVICES_PER_TEAM
    if Service.objects.alive().filter(project__team=team).count() >= limit:
        text = ngettext(
            "%(team)s may have at most %(count)s service at a time, including stopped ones. Delete it first.",
            "%(team)s may have at most %(count)s services at a time, including stopped ones. Delete one of "
            "them first.",
            limit,
        )
        raise DeployRefused(text % {"team": team.name, "count": count(limit)})


def _free_name(version: TrainingVersion) -> str:
    """exeML-flowers-V001, or exeML-flowers-V001-2 for the second service of the same version."""
    name = f"exeML-{version.project.name}-{version.name}"
    earlier = version.services.count()
    return f"{name}-{earlier + 1}" if earlier else name


def enqueue_deployment(service_id: UUID) -> None:
    jobs.enqueue("deploy_service", service_id, queue=settings.QUEUE_SHORT, timeout_s=JOB_TIMEOUT_S)
