"""Train: Training Configuration, its confirmation, and Submit."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from exeml_site.lib.display import count
from exeml_site.lib.http import page, redirect_to
from projects.access import PageRequest, project_page
from projects.datasets import readiness
from projects.datasets.publish import DatasetNameTaken
from projects.models import Project, Role
from projects.quality import look_alikes
from training.forms.configuration import TrainingConfigurationForm, whole_minutes
from training.forms.fields import VersionField, ranking_help
from training.models import InstanceFlavor
from training.versions import lifecycle
from training.versions.network_options import fastest_per_network, options_by_speed, options_within
from training.versions.training_time import IMAGES_PER_HOUR, advised_hours, hours_text, minutes_meant


@project_page(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def configure_training(request: PageRequest, project: Project) -> HttpResponse:
    """GET shows the form with its defaults; POST is Next (to the confirmation) or Back (from it)."""
    if request.method == "GET":
        return _configuration(request, project, TrainingConfigurationForm(project=project))
    form = TrainingConfigurationForm(request.POST, project=project)
    if "back" in request.POST:
        return _configuration(request, project, form)
    if not form.is_valid():
        return _configuration(request, project, form, status=422)
    return _confirmation(request, project, form)


@project_page(Role.MANAGER)
@require_POST
def submit_training(request: PageRequest, project: Project) -> HttpResponse:
    """Start the training, once for each opened page however often Submit is pressed."""
    form = TrainingConfigurationForm(request.POST, project=project)
    submission = _submission_id(request)
    is_valid = form.is_valid()
    # After the validation: a first press that is committed meanwhile has taken the dataset version's name.
    if _is_started(project, submission):
        return redirect_to(request, reverse("train_model", args=[project.pk]))
    if not is_valid:
        return _configuration(request, project, form, status=422)
    try:
        version = lifecycle.start(project, form.request(), by=request.user, submission=submission)
    except DatasetNameTaken as taken:
        form.add_error("dataset_version", str(taken))
        return _configuration(request, project, form, status=422)
    except lifecycle.TrainingRefused as refusal:
        form.add_error(None, str(refusal))
        return _configuration(request, project, form, status=409)
    text = gettext("%(version)s was submitted. You can close this page; training continues.")
    messages.success(request, text % {"version": str(version)})
    return redirect_to(request, reverse("train_model", args=[project.pk]))


@project_page(Role.MANAGER)
@require_GET
def split_consequence(request: PageRequest, project: Project) -> HttpResponse:
    """Preview of the split by the typed ratio."""
    form = TrainingConfigurationForm(request.GET, project=project)
    return page(request, "configuration/_split.html", _split_context(project, form))


@project_page(Role.MANAGER)
@require_GET
def networks_consequence(request: PageRequest, project: Project) -> HttpResponse:
    """Preview of the networks that are fast enough for the typed duration."""
    form = TrainingConfigurationForm(request.GET, project=project)
    return page(request, "configuration/_networks.html", _networks_context(form) | {"project": project})


@project_page(Role.MANAGER)
@require_GET
def cost_consequence(request: PageRequest, project: Project) -> HttpResponse:
    """Preview of the typed training time and its maximum cost."""
    form = TrainingConfigurationForm(request.GET, project=project)
    return page(request, "configuration/_cost.html", _cost_context(form) | {"project": project})


@project_page(Role.MANAGER)
@require_GET
def time_consequence(request: PageRequest, project: Project) -> HttpResponse:
    """Advice on the typed training time."""
    form = TrainingConfigurationForm(request.GET, project=project)
    return page(request, "configuration/_time.html", _time_context(project, form))


@project_page(Role.MANAGER)
@require_GET
def field_errors(request: PageRequest, project: Project) -> HttpResponse:
    """The errors of one field, named by `field`, for the value that is typed so far."""
    form = TrainingConfigurationForm(request.GET, project=project)
    if (name := request.GET.get("field", "")) not in form.fields:
        return HttpResponse("There is no such field.", status=422)  # not translated: no page asks for it
    return page(request, "configuration/_errors.html", {"field": form[name], "project": project})


@project_page(Role.MANAGER)
@require_GET
def inherited_fields(request: PageRequest, project: Project) -> HttpResponse:
    """The fields for hardware and duration after another incremental version was chosen."""
    typed = request.GET.copy()
    unbound = TrainingConfigurationForm(project=project)
    for name in ("inference_hardware", "max_inference_ms"):  # disabled fields are not sent
        typed.setdefault(name, unbound[name].value())
    form = TrainingConfigurationForm(typed, project=project)
    context = {"form": form, "project": project, "is_quiet": True} | _networks_context(form)
    return page(request, "configuration/_inference.html", context)


# --- the two pages ---


def _configuration(
    request: PageRequest, project: Project, form: TrainingConfigurationForm, status: int = 200
) -> HttpResponse:
    ready = readiness.readiness(project)
    incremental = form.fields["incremental_version"]
    assert isinstance(incremental, VersionField)
    incremental.help_text = f"{incremental.help_text} {ranking_help(incremental.ranking())}".strip()
    context = {
        "project": project,
        "form": form,
        "ready": ready,
        "labels": sum(1 for _, images in ready.label_counts if images),
        "submission": _submission_id(request),
        "advice": look_alikes.advice(project),
    }
    context |= _split_context(project, form) | _networks_context(form)
    context |= _cost_context(form) | _time_context(project, form)
    return page(request, "configuration/configuration.html", context, status=status)


def _confirmation(request: PageRequest, project: Project, form: TrainingConfigurationForm) -> HttpResponse:
    asked = form.cleaned_data
    context = {
        "project": project,
        "form": form,
        "asked": asked,
        "submission": _submission_id(request),
    }
    context |= _split_context(project, form) | _networks_context(form) | _cost_context(form)
    return page(request, "configuration/confirm.html", context)


def _submission_id(request: PageRequest) -> uuid.UUID:
    """The id of the opened page; a new id if none was sent, or if that page has started a training before."""
    try:
        submission = uuid.UUID(request.POST.get("submission", ""))
    except ValueError:
        return uuid.uuid4()
    is_next = request.resolver_match is not None and request.resolver_match.url_name == "configure_training"
    return uuid.uuid4() if is_next and lifecycle.version_of_submission(submission) else submission


def _is_started(project: Project, submission: uuid.UUID) -> bool:
    """Whether `submission` has started a version of this project before."""
    earlier = lifecycle.version_of_submission(submission)
    return earlier is not None and earlier.project_id == project.pk


# --- previews of typed values ---


def _split_context(project: Project, form: TrainingConfigurationForm) -> dict[str, Any]:
    ratio: Decimal | None = form.value_of("training_ratio")
    if ratio is None:
        return {"ratio": None, "project": project}
    split = readiness.preview_split(project, ratio)
    validation_images = [row.eval for row in split.labels]
    return {
        "project": project,
        "ratio": ratio,
        "validation_ratio": 1 - ratio,
        "split": split,
        "fewest": min(validation_images, default=0),
        "most": max(validation_images, default=0),
    }


def _networks_context(form: TrainingConfigurationForm) -> dict[str, Any]:
    hardware, limit = form.value_of("inference_hardware"), form.value_of("max_inference_ms")
    if not hardware or limit is None:
        return {"networks": [], "families": [], "fastest": None}
    return {
        "networks": (networks := options_within(hardware, limit)),
        "families": fastest_per_network(networks),
        "some_measured": any(network.is_measured for network in networks),
        "fastest": options_by_speed(hardware)[0],
        "hardware": hardware,
        "limit_ms": limit,
    }


def _cost_context(form: TrainingConfigurationForm) -> dict[str, Any]:
    hours: Decimal | None = form.value_of("max_training_hours")
    flavor: InstanceFlavor | None = form.value_of("instance_flavor")
    minutes = whole_minutes(hours) if hours is not None else None
    return {
        "form": form,
        "minutes": minutes,
        "duration": duration_text(minutes) if minutes is not None else "",
        "flavor": flavor,
        "flavor_remark": form.flavor_offer.remark(flavor) if flavor else "",
        "max_cost": flavor.price_per_hour * minutes / 60 if flavor and minutes is not None else None,
        "currency": settings.EXEML_CURRENCY,
    }


def _time_context(project: Project, form: TrainingConfigurationForm) -> dict[str, Any]:
    """Advice on the typed time: minutes that were typed as hours, or fewer hours than is advised."""
    typed, hours = str(form["max_training_hours"].value() or ""), form.value_of("max_training_hours")
    labeled = project.images.labeled().count()
    advised = advised_hours(labeled)
    meant = minutes_meant(typed, advised)
    return {
        "project": project,
        "labeled": labeled,
        "images_per_hour": IMAGES_PER_HOUR,
        "advised_hours": advised if hours is not None and hours < advised and advised > 1 else None,
        "is_possible": hours is not None,
        "minutes_meant": meant,
        "hours_meant": hours_text(meant) if meant else "",
    }


def duration_text(minutes: int) -> str:
    """For example "1 hour 30 minutes" for 90."""
    hours, rest = divmod(minutes, 60)
    parts = [
        (hours, ngettext("%(count)s hour", "%(count)s hours", hours)),
        (rest, ngettext("%(count)s minute", "%(count)s minutes", rest)),
    ]
    return " ".join(text % {"count": count(number)} for number, text in parts if number)
