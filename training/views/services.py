"""Deploy Service: the services of a project, the chosen service and its test."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import retarget

from exeml_site.lib.http import page, redirect_to, wants_fragment
from exeml_site.lib.params import parse_int
from projects.access import PageRequest, project_page
from projects.models import Project, Role
from training.forms.service_settings import (
    SHARES,
    ChangeVersionForm,
    NumberFormatForm,
    OriginsForm,
    TokenForm,
)
from training.forms.services import DeployForm, PredictionForm, deployable_versions
from training.forms.thresholds import AnswerSettingsForm, form_in_service
from training.models import Service, TrainingVersion
from training.serving import deploy, playground
from training.serving.calls.dashboard import calls_since
from training.serving.code_samples import snippets
from training.serving.inference import predictor
from training.versions import answer_settings
from training.versions.number_formats import number_format_in

SHOWN_EVENTS = 20
POLL_DEPLOYING_S, POLL_RUNNING_S = 2, 30


@project_page(Role.VIEWER)
@require_safe
def deploy_service(request: PageRequest, project: Project) -> HttpResponse:
    """The newest service; `?version=3` opens the dialog with that version chosen."""
    service = _newest(project)
    return services_page(request, project, service, opens_dialog="version" in request.GET)


@project_page(Role.VIEWER)
@require_safe
def service_page(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """`?change=none` opens the dialog that adds a shadow version."""
    service = get_service(project, service_id)
    share = request.GET.get("change", "")
    if share not in SHARES:
        return services_page(request, project, service)
    form = ChangeVersionForm(service=service, share=share)
    return services_page(request, project, service, change_form=form, opens_change=True)


@project_page(Role.VIEWER)
@require_safe
@never_cache
def service_status(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """The status, polled as long as it can change."""
    return _status(request, project, get_service(project, service_id))


@project_page(Role.MANAGER)
@require_POST
@never_cache
def deploy_version(request: PageRequest, project: Project) -> HttpResponse:
    """The response is the page, without a redirect: the token is shown once, in no URL and no session."""
    form = DeployForm(request.POST, project=project)
    if form.is_valid():
        chosen = form.cleaned_data
        if sent_before := _created_before(project, chosen["service_id"]):
            return redirect_to(request, service_url(sent_before))
        try:
            service, token = deploy.deploy(
                chosen["version"], request.user, chosen["auto_stop_hours"], chosen["service_id"]
            )
        except deploy.DeployRefused as refused:
            form.add_error(None, str(refused))
        else:
            return services_page(request, project, service, token=token.plain)
    newest = _newest(project)
    return services_page(request, project, newest, form=form, opens_dialog=True, status=422)


@project_page(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def stop_service(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """GET asks whether to stop it, POST stops it."""
    service = get_service(project, service_id)
    if request.method == "GET":
        return _ask(request, service, "stop")
    deploy.stop(service, request.user)
    return _action_response(request, project, service)


@project_page(Role.MANAGER)
@require_POST
def start_service(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    service = get_service(project, service_id)
    deploy.start(service, request.user)
    return _action_response(request, project, service)


@project_page(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def delete_service(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """GET asks whether to delete it, POST deletes it."""
    service = get_service(project, service_id)
    if request.method == "GET":
        return _ask(request, service, "delete")
    if deploy.delete(service, request.user):
        text = gettext("%(service)s was deleted. Its URL no longer answers.")
        messages.success(request, text % {"service": service.name})
    return redirect_to(request, reverse("deploy_service", args=[project.pk]))


@project_page(Role.VIEWER)
@require_POST
def predict_with_service(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """The test on the page; each image counts as a call."""
    service = get_service(project, service_id)
    form = PredictionForm(request.POST, request.FILES)
    if not service.is_running:
        form.add_error(None, gettext("Prediction is possible only while the service is Running."))
    tested = playground.predict_uploads(service, form.cleaned_data["image"]) if form.is_valid() else []
    if len(tested) == 1 and tested[0].problem:
        form.add_error("image", tested[0].problem)
    if form.errors:
        fragment = "services/_prediction_error.html"
        response = services_page(
            request, project, service, fragment=fragment, status=422, prediction_form=form
        )
        return retarget(response, "#prediction-error")
    answer = tested[0].answer if len(tested) == 1 else None
    context: dict[str, Any] = {"tested": tested, "answer": answer, "labels": _label_names(project)}
    if answer:
        context["json_lines"] = _json_lines(answer)
    return services_page(request, project, service, fragment="services/_prediction.html", **context)


@project_page(Role.VIEWER)
@require_POST
def explain_prediction(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """The heat map of a label (`label`) on the tested image, and similar training images."""
    service = get_service(project, service_id)
    form = PredictionForm(request.POST, request.FILES)
    if not form.is_valid():
        problem = str(next(iter(form.errors.values()))[0])
        return page(request, "services/_explanation.html", {"problem": problem}, status=422)
    version = project.training_versions.filter(
        number=_version_number(request.POST.get("version", ""))
    ).first()
    content, label = form.cleaned_data["image"][0].read(), request.POST.get("label", "")
    context = playground.explain(version or service.training_version, content, label)
    return page(request, "services/_explanation.html", {"project": project, **context})


@project_page(Role.VIEWER)
@require_safe
@never_cache
def prediction_neighbours(request: PageRequest, project: Project) -> HttpResponse:
    """Training images similar to the tested image (`?search=`), once a worker has found them."""
    search = request.GET.get("search", "")
    neighbours = playground.find_neighbours(project, search)
    context = {
        "project": project,
        "search": search,
        "neighbours": neighbours,
        "is_waiting": neighbours is None,
    }
    return page(request, "services/_nearest_images.html", context)


def _version_number(name: str) -> int:
    """3 for “V003”; 0, which no version has, for any other text."""
    return parse_int(name.removeprefix("V")) or 0


def _label_names(project: Project) -> list[str]:
    return list(project.labels.values_list("name", flat=True))


def _json_lines(answer: predictor.Answer) -> list[str]:
    """The API's answer as indented JSON with one line for each score."""
    lines = []
    for name, value in answer.as_json().items():
        if name != "scores":
            lines.append(f'  "{name}": {json.dumps(value, ensure_ascii=False)}')
            continue
        rows = [f"    {json.dumps(pair, ensure_ascii=False)}" for pair in value]
        lines.append('  "scores": [\n' + ",\n".join(rows) + "\n  ]")
    return ["{", *",\n".join(lines).splitlines(), "}"]


def _created_before(project: Project, service_id: UUID | None) -> Service | None:
    """The service that the same dialog has created before, when Deploy is pressed twice."""
    return project.services.filter(pk=service_id).first() if service_id else None


def _newest(project: Project) -> Service | None:
    newest = project.services.alive().first()
    return get_service(project, newest.pk) if newest else None


def get_service(project: Project, service_id: UUID) -> Service:
    return get_object_or_404(project.services.alive().with_versions(), pk=service_id)


def service_url(service: Service) -> str:
    return reverse("service_page", args=[service.project_id, service.pk])


def _ask(request: PageRequest, service: Service, action: str) -> HttpResponse:
    """The question before Stop or Delete: a dialog for htmx, a page without it."""
    question = "services/_stop_or_delete.html"
    context = {
        "project": service.project,
        "service": service,
        "action": action,
        "last_hour": calls_since(service, timezone.now() - timedelta(hours=1)),
        "question": question,
    }
    return page(request, "services/question.html", context, fragment=question)


def _action_response(request: PageRequest, project: Project, service: Service) -> HttpResponse:
    """The status fragment for htmx; a redirect to the page without it."""
    return _status(request, project, service) if request.htmx else redirect_to(request, service_url(service))


def _status(request: PageRequest, project: Project, service: Service) -> HttpResponse:
    fragment = "services/_status.html"
    return services_page(request, project, service, fragment=fragment, is_refresh=True)


def services_page(
    request: PageRequest,
    project: Project,
    service: Service | None,
    *,
    fragment: str | None = None,
    status: int = 200,
    **extra: Any,
) -> HttpResponse:
    """The page of a project's services, or `fragment` of it for htmx."""
    context = _page_context(request, project, service, extra) | extra
    if "form" not in extra and not (fragment and wants_fragment(request)):
        context["form"] = DeployForm(project=project, preselected=request.GET.get("version", ""))
        if service is not None:
            context.setdefault("change_form", ChangeVersionForm(service=service))
            context.setdefault("number_format_form", NumberFormatForm(service=service))
            context.setdefault("token_form", TokenForm())
            context.setdefault("origins_form", OriginsForm(service=service))
            if context["can_manage"] and "answer_forms" not in context:
                context["answer_forms"] = answer_settings_forms(service)
    return page(request, "services/services.html", context, fragment=fragment, status=status)


def answer_settings_forms(
    service: Service, data: Any = None, number: int | None = None
) -> list[tuple[TrainingVersion, AnswerSettingsForm]]:
    """The answer settings of the versions that answer; `data` is for the version `number`.

    A version without its model has no form.
    """
    forms = []
    for version in service.answering_versions:
        of_version = data if version.number == number else None
        form = form_in_service(service, version, of_version, prefix=f"answers-{version.number}")
        if form is not None:
            forms.append((version, form))
    return forms


def _page_context(
    request: PageRequest, project: Project, service: Service | None, extra: dict[str, Any]
) -> dict[str, Any]:
    services = list(project.services.alive().select_related("training_version"))
    context: dict[str, Any] = {
        "project": project,
        "services": services,
        "service": service,
        "can_manage": request.membership.role >= Role.MANAGER,
        "can_label": request.membership.role >= Role.LABELER,
        "poll_seconds": _poll_seconds(services),
        "max_image_mb": settings.EXEML_MAX_IMAGE_MB,
    }
    if service is not None:
        context["in_force"] = answer_settings.in_force(service)
        context["number_format"] = number_format_in(service, service.training_version)
        context["url"] = request.build_absolute_uri(reverse("infer", args=[service.pk]))
        context["events"] = service.events.select_related("by")[:SHOWN_EVENTS]
        context["snippets"] = snippets(context["url"], str(extra.get("token") or "YOUR_TOKEN"))
        context["has_other_versions"] = (
            deployable_versions(project).exclude(pk=service.training_version_id).exists()
        )
        context["tokens"] = service.tokens.filter(revoked_at=None).select_related("created_by")
        context["tab"] = "test"
    return context


def _poll_seconds(services: list[Service]) -> int:
    """Seconds between polls; 0 if no status can change."""
    if any(service.is_deploying or service.next_version_id for service in services):
        return POLL_DEPLOYING_S
    return POLL_RUNNING_S if any(service.status == Service.Status.RUNNING for service in services) else 0
