"""Services of a project: deploy, stop, start, change the version, share calls, roll back, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from ninja import Field, Query, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.idempotency import once_but_secret
from projects.api.core.pages import Key, PageParams, decode_cursor, encode_cursor
from projects.models import Project, Role, Scope
from training.forms.collected import CollectingForm
from training.forms.service_settings import ChangeVersionForm, NumberFormatForm, OriginsForm
from training.forms.services import CUSTOM, DeployForm
from training.models import NumberFormat, Service, TrainingVersion
from training.serving import deploy, rollout

router = Router(tags=["Services"])
SERVICES = "/projects/{int:project_id}/services"
SERVICE = SERVICES + "/{uuid:service_id}"
STATUSES: dict[str, Any] = {"enum": Service.Status.values}
NUMBER_FORMATS: dict[str, Any] = {"enum": ["", *NumberFormat.values, None]}


class ServiceOut(Schema):
    """Versions are named by their numbers; null where there is none."""

    id: UUID
    name: str
    status: str = Field(json_schema_extra=STATUSES)
    failure_cause: str
    url: str = Field(description="The address that programs call with a token of the service.")
    version_number: int
    next_version_number: int | None = Field(description="It is loaded and checked, then takes over.")
    next_percent: int | None = Field(description="Of the calls, for the next version; null: all of them.")
    previous_version_number: int | None = Field(description="A roll back returns to it.")
    canary_version_number: int | None
    canary_percent: int = Field(description="Of the calls; 0 with a canary version: it is a shadow.")
    number_format: str = Field(description="Empty: the default of the version that answers.")
    allowed_origins: list[str] = Field(description="Websites whose pages may call it.")
    collects: bool = Field(description="Whether it keeps the images of its calls.")
    keeps_days: int
    auto_stop_hours: int | None
    stops_at: datetime | None
    deployed_at: datetime
    deployed_by: str | None
    call_count: int
    failed_call_count: int

    @classmethod
    def of(cls, service: Service, request: ApiRequest) -> ServiceOut:
        return cls(
            id=service.pk,
            name=service.name,
            status=service.status,
            failure_cause=service.failure_cause,
            url=request.build_absolute_uri(reverse("infer", args=[service.pk])),
            version_number=service.training_version.number,
            next_version_number=_number(service.next_version),
            next_percent=service.next_percent,
            previous_version_number=_number(service.previous_version),
            canary_version_number=_number(service.canary_version),
            canary_percent=service.canary_percent,
            number_format=service.number_format,
            allowed_origins=service.allowed_origins,
            collects=service.collects,
            keeps_days=service.keeps_days,
            auto_stop_hours=service.auto_stop_hours,
            stops_at=service.stops_at,
            deployed_at=service.deployed_at,
            deployed_by=service.deployed_by.get_username() if service.deployed_by else None,
            call_count=service.calls,
            failed_call_count=service.failed_calls,
        )


class ServicePage(Schema):
    items: list[ServiceOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class DeployedService(Schema):
    service: ServiceOut
    token: str | None = Field(
        description="The first token of the service, shown here alone. Null where the call was repeated."
    )


class Deployment(Body):
    version_number: Key
    auto_stop_hours: int | None = Field(None, description="1 to 24; null: it runs until somebody stops it.")


class ServiceVersionChange(Body):
    version_number: Key


class CallShare(Body):
    version_number: Key
    percent: int = Field(description="Of the calls, 1 to 99; 0: a shadow, whose answers are only stored.")


class ServiceChange(Body):
    """What is left out stays as it is."""

    allowed_origins: list[str] | None = None
    number_format: str | None = Field(
        None, json_schema_extra=NUMBER_FORMATS, description="Empty: the default."
    )
    collects: bool | None = Field(None, description="Whether it keeps the images of its calls.")
    keeps_days: int | None = Field(None, description="1 to 365.")


# --- Operations ---


@router.get(SERVICES, response=ServicePage)
@project_call(Role.VIEWER, Scope.READ)
def list_services(request: ApiRequest, project: Project, params: Query[PageParams]) -> ServicePage:
    """The services of a project, the newest first, stopped ones too."""
    services = project.services.alive().with_versions().select_related("deployed_by")
    if params.cursor:
        services = services.filter(_after(params.cursor))
    chosen = list(services.order_by("-deployed_at", "-pk")[: params.limit + 1])
    rows, last = chosen[: params.limit], chosen[params.limit - 1] if len(chosen) > params.limit else None
    cursor = encode_cursor([last.deployed_at.isoformat(), str(last.pk)]) if last else None
    return ServicePage(items=[ServiceOut.of(row, request) for row in rows], next=cursor)


@router.post(SERVICES, response=DeployedService)
@project_call(Role.MANAGER, Scope.DEPLOY)
@once_but_secret("token")
def deploy_service(request: ApiRequest, project: Project, body: Deployment) -> DeployedService:
    """Deploy a Completed version. The service is Deploying first; ask for it until it is Running."""
    hours = body.auto_stop_hours
    form = DeployForm(
        {
            "version": key_of_version(project, body.version_number),
            "auto_stop": "" if hours is None else "on",
            "stops_after": CUSTOM,
            "custom_hours": hours,
        },
        project=project,
    )
    if not form.is_valid():
        names = {"version": "version_number", "custom_hours": "auto_stop_hours"}
        raise problems.of_form(form, names)
    chosen = form.cleaned_data
    service, token = deploy.deploy(chosen["version"], request.user, chosen["auto_stop_hours"])
    return DeployedService(service=_out(request, service), token=token.plain)


@router.get(SERVICE, response=ServiceOut)
@project_call(Role.VIEWER, Scope.READ)
def show_service(request: ApiRequest, project: Project, service_id: UUID) -> ServiceOut:
    """One service with its state and its versions."""
    return ServiceOut.of(get_service(project, service_id), request)


@router.patch(SERVICE, response=ServiceOut)
@project_call(Role.MANAGER, Scope.DEPLOY)
def change_service(
    request: ApiRequest, project: Project, service_id: UUID, body: ServiceChange
) -> ServiceOut:
    """Change its number format, what it collects, or which websites' pages may call it."""
    service = get_service(project, service_id)
    changes = _read_changes(service, body)
    by = request.user
    if number_format := changes.get("number_format"):  # first: a model that does not answer in it refuses
        deploy.set_number_format(service, number_format["number_format"], by)
    if collecting := changes.get("collecting"):
        deploy.set_collecting(service, collecting["collects"], collecting["keeps_days"], by)
    if origins := changes.get("origins"):
        deploy.set_allowed_origins(service, origins["origins"], by)
    return _out(request, service)


@router.delete(SERVICE, response={204: None})
@project_call(Role.MANAGER, Scope.DEPLOY)
def delete_service(request: ApiRequest, project: Project, service_id: UUID) -> None:
    """Stop and delete a service: its address no longer answers."""
    deploy.delete(get_service(project, service_id), request.user)


@router.post(SERVICE + "/stop", response=ServiceOut)
@project_call(Role.MANAGER, Scope.DEPLOY)
def stop_service(request: ApiRequest, project: Project, service_id: UUID) -> ServiceOut:
    """Stop a Running or Deploying service. Another one stays as it is."""
    service = get_service(project, service_id)
    deploy.stop(service, request.user)
    return _out(request, service)


@router.post(SERVICE + "/start", response=ServiceOut)
@project_call(Role.MANAGER, Scope.DEPLOY)
def start_service(request: ApiRequest, project: Project, service_id: UUID) -> ServiceOut:
    """Start a Stopped or Failed service again. Another one stays as it is."""
    service = get_service(project, service_id)
    deploy.start(service, request.user)
    return _out(request, service)


@router.post(SERVICE + "/change-version", response=ServiceOut)
@project_call(Role.MANAGER, Scope.DEPLOY)
def change_service_version(
    request: ApiRequest, project: Project, service_id: UUID, body: ServiceVersionChange
) -> ServiceOut:
    """Another version gets all calls, as soon as it is loaded and checked."""
    return _change_version(request, project, service_id, body.version_number, {"share": "all"})


@router.post(SERVICE + "/share", response=ServiceOut)
@project_call(Role.MANAGER, Scope.DEPLOY)
def share_calls(request: ApiRequest, project: Project, service_id: UUID, body: CallShare) -> ServiceOut:
    """Another version gets a share of the calls as the canary, or none of them as a shadow."""
    share = {"share": "part", "percent": body.percent} if body.percent else {"share": "none"}
    return _change_version(request, project, service_id, body.version_number, share)


@router.delete(SERVICE + "/share", response=ServiceOut)
@project_call(Role.MANAGER, Scope.DEPLOY)
def end_sharing(request: ApiRequest, project: Project, service_id: UUID) -> ServiceOut:
    """End the canary or the shadow: its version gets no more calls. To keep it, change the version to it."""
    service = get_service(project, service_id)
    if not rollout.end_canary(service, request.user):
        raise deploy.DeployRefused(str(rollout.NO_CANARY))
    return _out(request, service)


@router.post(SERVICE + "/roll-back", response=ServiceOut)
@project_call(Role.MANAGER, Scope.DEPLOY)
def roll_back_service(request: ApiRequest, project: Project, service_id: UUID) -> ServiceOut:
    """Go back to the version that answered before."""
    service = get_service(project, service_id)
    rollout.roll_back(service, request.user)
    return _out(request, service)


# --- Helpers, of the other modules of services too ---


def get_service(project: Project, service_id: UUID) -> Service:
    """Raises Problem (404)."""
    services = project.services.alive().with_versions().select_related("deployed_by")
    service = services.filter(pk=service_id).first()
    if service is None:
        raise problems.not_found()
    return service


def key_of_version(project: Project, number: int) -> int:
    """The primary key of a version, as forms take it; 0, which no version has, for an unknown number."""
    versions = TrainingVersion.objects.filter(project=project, number=number)
    return versions.values_list("pk", flat=True).first() or 0


def _number(version: TrainingVersion | None) -> int | None:
    return version.number if version else None


def _out(request: ApiRequest, service: Service) -> ServiceOut:
    """The service as it is after a change."""
    return ServiceOut.of(get_service(service.project, service.pk), request)


def _after(cursor: str) -> Q:
    """The services of the next page. Raises Problem (422)."""
    last = decode_cursor(cursor)
    try:
        moment, key = parse_datetime(last[0]), UUID(last[1])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise problems.invalid_field("cursor", "This is no cursor of this list.")
    return Q(deployed_at__lt=moment) | Q(deployed_at=moment, pk__lt=key)


def _read_changes(service: Service, body: ServiceChange) -> dict[str, dict[str, Any]]:
    """The valid values of each form that has something to change. Raises Problem (422)."""
    forms: dict[str, NumberFormatForm | CollectingForm | OriginsForm] = {}
    if body.number_format is not None:
        chosen = {"format-number_format": body.number_format}
        forms["number_format"] = NumberFormatForm(chosen, service=service)
    if body.collects is not None or body.keeps_days is not None:
        collects = service.collects if body.collects is None else body.collects
        days = service.keeps_days if body.keeps_days is None else body.keeps_days
        forms["collecting"] = CollectingForm({"collects": collects, "keeps_days": days})
    if body.allowed_origins is not None:
        lines = {"cors-origins": "\n".join(body.allowed_origins)}
        forms["origins"] = OriginsForm(lines, service=service)
    for form in forms.values():
        if not form.is_valid():
            raise problems.of_form(form, {"origins": "allowed_origins"})
    return {name: form.cleaned_data for name, form in forms.items()}


def _change_version(
    request: ApiRequest, project: Project, service_id: UUID, number: int, share: dict[str, Any]
) -> ServiceOut:
    service = get_service(project, service_id)
    data = {"version": key_of_version(project, number), **share}
    form = ChangeVersionForm({f"change-{name}": value for name, value in data.items()}, service=service)
    if not form.is_valid():
        raise problems.of_form(form, {"version": "version_number"})
    chosen = form.cleaned_data
    rollout.change_version(service, chosen["version"], request.user, chosen["percent"])
    return _out(request, service)
