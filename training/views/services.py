"""Deploy Service: the services of a project, the chosen one and its test."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import retarget

from exeml_site.pages import PageRequest, go, page, wants_fragment
from projects.access import project_page
from projects.models import Project, Role
from training.forms_service import DeployForm, PredictionForm
from training.models import Service
from training.services import deploying, predicting

SHOWN_EVENTS = 20
POLL_DEPLOYING_S, POLL_RUNNING_S = 2, 30


@project_page(Role.VIEWER)
@require_safe
def deploy_service(request: PageRequest, project: Project) -> HttpResponse:
    """The newest service; `?version=3` opens the dialog with that version chosen."""
    service = project.services.alive().first()
    return _room(request, project, service, opens_dialog="version" in request.GET)


@project_page(Role.VIEWER)
@require_safe
def service_page(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    return _room(request, project, _get(project, service_id))


@project_page(Role.VIEWER)
@require_safe
@never_cache
def service_status(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """What changes by itself; asked for as long as something can change."""
    return _status(request, project, _get(project, service_id))


@project_page(Role.MANAGER)
@require_POST
@never_cache
def deploy_version(request: PageRequest, project: Project) -> HttpResponse:
    """Answers with the page itself: the token is in no address and no session, and is seen once."""
    form = DeployForm(request.POST, project=project)
    if form.is_valid():
        chosen = form.cleaned_data
        if sent_before := _sent_before(project, chosen["service_id"]):
            return go(request, _address(sent_before))
        try:
            service, token = deploying.deploy(
                chosen["version"], request.user, chosen["auto_stop_hours"], chosen["service_id"]
            )
        except deploying.DeployRefused as refused:
            form.add_error(None, str(refused))
        else:
            return _room(request, project, service, token=token.plain)
    present = project.services.alive().first()
    return _room(request, project, present, form=form, opens_dialog=True, status=422)


@project_page(Role.MANAGER)
@require_POST
def stop_service(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    service = _get(project, service_id)
    deploying.stop(service, request.user)
    return _after_deed(request, project, service)


@project_page(Role.MANAGER)
@require_POST
def start_service(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    service = _get(project, service_id)
    deploying.start(service, request.user)
    return _after_deed(request, project, service)


@project_page(Role.MANAGER)
@require_POST
def delete_service(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    service = _get(project, service_id)
    if deploying.delete(service, request.user):
        messages.success(request, f"{service.name} is deleted. Its address answers no more.")
    return go(request, reverse("deploy_service", args=[project.pk]))


@project_page(Role.MANAGER)
@require_POST
@never_cache
def renew_token(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    service = _get(project, service_id)
    token = deploying.renew_token(service, request.user)
    shown = token.plain if token else ""
    return _room(request, project, service, fragment="training/_service_token.html", token=shown)


@project_page(Role.VIEWER)
@require_POST
def predict_with_service(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """The test on the page; it counts as a call."""
    service = _get(project, service_id)
    form = PredictionForm(request.POST, request.FILES)
    if not service.is_running:
        form.add_error(None, "Prediction is possible only while the service is Running.")
    answer = _answer(service, form) if form.is_valid() else None
    if answer is None:
        fragment = "training/_prediction_error.html"
        response = _room(request, project, service, fragment=fragment, status=422, prediction_form=form)
        return retarget(response, "#prediction-error")
    fragment = "training/_prediction.html"
    return _room(request, project, service, fragment=fragment, answer=answer, json_lines=_json_lines(answer))


def _answer(service: Service, form: PredictionForm) -> predicting.Answer | None:
    """None, and the reason at the field, when there is no answer."""
    upload: UploadedFile[bytes] = form.cleaned_data["image"]
    try:
        answer = predicting.predict(service, [upload.read()])[0]
    except (predicting.PictureRefused, predicting.ModelUnavailable) as problem:
        form.add_error("image", str(problem))
        answer = None
    predicting.count_call(service, has_failed=answer is None)
    return answer


def _json_lines(answer: predicting.Answer) -> list[str]:
    """The answer of the API as people like to read it: one line for each score."""
    *fields, (_, scores) = answer.as_json().items()
    head = [f'  "{name}": {json.dumps(value, ensure_ascii=False)},' for name, value in fields]
    rows = ",\n".join(f"    {json.dumps(pair, ensure_ascii=False)}" for pair in scores)
    return ["{", *head, '  "scores": [', *rows.splitlines(), "  ]", "}"]


def _sent_before(project: Project, service_id: UUID | None) -> Service | None:
    """The service that the same dialog made already: Deploy was pressed twice."""
    return project.services.filter(pk=service_id).first() if service_id else None


def _get(project: Project, service_id: UUID) -> Service:
    services = project.services.alive().select_related("training_version")
    return get_object_or_404(services, pk=service_id)


def _address(service: Service) -> str:
    return reverse("service_page", args=[service.project_id, service.pk])


def _after_deed(request: PageRequest, project: Project, service: Service) -> HttpResponse:
    """The fragment for htmx; the page again for a browser without it."""
    return _status(request, project, service) if request.htmx else go(request, _address(service))


def _status(request: PageRequest, project: Project, service: Service) -> HttpResponse:
    fragment = "training/_service_status.html"
    return _room(request, project, service, fragment=fragment, is_refresh=True)


def _room(
    request: PageRequest,
    project: Project,
    service: Service | None,
    *,
    fragment: str | None = None,
    status: int = 200,
    **extra: Any,
) -> HttpResponse:
    """The page of a project's services, or the part of it that htmx asked for."""
    context = _room_context(request, project, service) | extra
    if "form" not in extra and not (fragment and wants_fragment(request)):
        context["form"] = DeployForm(project=project, preselected=request.GET.get("version", ""))
    return page(request, "training/deploy_service.html", context, fragment=fragment, status=status)


def _room_context(request: PageRequest, project: Project, service: Service | None) -> dict[str, Any]:
    services = list(project.services.alive().select_related("training_version"))
    context: dict[str, Any] = {
        "project": project,
        "services": services,
        "service": service,
        "can_manage": request.membership.role >= Role.MANAGER,
        "poll_seconds": _poll_seconds(services),
        "max_image_mb": settings.EXEML_MAX_IMAGE_MB,
    }
    if service is not None:
        context["url"] = request.build_absolute_uri(reverse("infer", args=[service.pk]))
        context["events"] = service.events.select_related("by")[:SHOWN_EVENTS]
    return context


def _poll_seconds(services: list[Service]) -> int:
    """0: nothing here changes by itself any more."""
    if any(service.is_deploying for service in services):
        return POLL_DEPLOYING_S
    return POLL_RUNNING_S if any(service.status == Service.Status.RUNNING for service in services) else 0
