"""Template tags about trainings: step bar, guide, Train button, and a summary of each project."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from django import template
from django.db.models import Max, Q
from django.template import Context
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse
from django.utils.formats import number_format
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.http import wants_fragment
from projects.datasets.readiness import Readiness, readiness
from projects.models import DatasetVersion, Project, Role
from training.evaluation.recipes import recipe_text, short_network
from training.models import Metric, Service, Status, TrainingVersion
from training.models.version import ACTIVE
from training.versions import guide as guide_steps

register = template.Library()
register.filter("short_network", short_network)
register.filter("recipe_text", recipe_text)

STATE_TEXTS = {
    "done": gettext_lazy("done"),
    "active": gettext_lazy("in progress"),
    "waiting": gettext_lazy("not done yet"),
}
COLUMN_NAMES = {
    "label": gettext_lazy("Label"),
    "images": gettext_lazy("Images"),
    "precision": gettext_lazy("Precision"),
    "recall": gettext_lazy("Recall"),
    "f1": gettext_lazy("F1 Score"),
}
COLUMN_HELP = {
    "images": gettext_lazy("Validation images that carry this label"),
    "precision": gettext_lazy("Share of the images predicted as this label that carry it: TP / (TP + FP)"),
    "recall": gettext_lazy("Share of the images with this label that were predicted as it: TP / (TP + FN)"),
    "f1": gettext_lazy("Harmonic mean of precision and recall"),
}


@dataclass(frozen=True)
class ProjectStep:
    """One step of a project. `state` is done, active or waiting."""

    number: int
    name: str
    url: str
    state: str
    is_current: bool

    @property
    def text(self) -> str:
        return str(STATE_TEXTS[self.state])


@dataclass
class TrainingSummary:
    """Number of versions of a project, the latest one, and the accuracy of the newest Completed one.

    The highest accuracy would compare versions that were evaluated on different images. `is_active`: a
    version is.
    """

    versions: int = 0
    is_active: bool = False
    latest_name: str = ""
    latest_status: str = ""
    accuracy: float | None = None
    completed_name: str = ""


@register.inclusion_tag("components/_step_bar.html", takes_context=True)
def step_bar(
    context: Context, project: Project, active: str = "", is_refresh: bool = False
) -> dict[str, Any]:
    """`{% step_bar project active="train" %}`: the navigation of a project, each step with its state.

    With `is_refresh` it replaces the bar of the page (out-of-band swap of htmx).
    """
    states = {
        "label": "done" if _readiness(context, project).is_ready else "waiting",
        "train": _train_state(project),
        "deploy": _deploy_state(project),
    }
    pages = (
        ("label", gettext("Label Data"), "label_data"),
        ("train", gettext("Train Model"), "train_model"),
        ("deploy", gettext("Deploy Service"), "deploy_service"),
    )
    steps = [
        ProjectStep(number, name, _address(view, project), states[key], key == active)
        for number, (key, name, view) in enumerate(pages, 1)
    ]
    return {"steps": steps, "is_refresh": is_refresh}


@register.inclusion_tag("components/_train_button.html", takes_context=True)
def train_button(context: Context, project: Project, is_open: bool = False) -> dict[str, Any]:
    """`{% train_button project %}`: a link to Training Configuration, or what is missing for it.

    With `is_open` the missing parts are listed below the button, else after a press on “What is missing”.
    """
    frame = context.get("frame")
    state = _readiness(context, project)
    return {
        "may_train": frame is not None and frame.role >= Role.MANAGER,
        "url": _address("configure_training", project),
        "label_url": _address("label_data", project),
        "is_ready": state.is_ready,
        "missing": state.missing,
        "is_open": is_open,
    }


@register.inclusion_tag("components/_guide.html", takes_context=True)
def guide(context: Context, project: Project | None = None, is_refresh: bool = False) -> dict[str, Any]:
    """`{% guide project %}`: the next of the first steps, empty if the user has closed the guide.

    Without a project it is the step of the project list. `is_refresh` as for `step_bar`.
    """
    request, frame = context["request"], context["frame"]
    path = request.htmx.current_url_abs_path if wants_fragment(request) else request.get_full_path()
    path = path or request.get_full_path()
    step = None
    if frame.is_guide_shown and frame.role >= Role.LABELER:
        if project is None:
            step = guide_steps.first_step(frame.team, request.user)
        else:
            page = _page_name(path)
            step = guide_steps.next_step(project, lambda: _readiness(context, project).is_ready, page)
    if step is not None:
        step = step.for_role(frame.role).on_page(urlsplit(path).path)
    return {"step": step, "is_refresh": is_refresh, "path": path, "csrf_token": context.get("csrf_token")}


@register.simple_tag
def training_summaries(projects: Iterable[Project]) -> dict[int, TrainingSummary]:
    """`{% training_summaries projects as all %}`, then `{{ all|of_project:project }}`. One query."""
    summaries = {project.pk: TrainingSummary() for project in projects}
    is_overall_accuracy = Q(metrics__label="", metrics__name=Metric.Name.ACCURACY)
    versions = (
        TrainingVersion.objects.alive()
        .filter(project__in=list(summaries))
        .annotate(accuracy=Max("metrics__value", filter=is_overall_accuracy))
        .order_by("number")
        .values_list("project_id", "number", "status", "accuracy")
    )
    for project_id, number, status, accuracy in versions:
        _add(summaries[project_id], number, status, accuracy)
    return summaries


@register.filter
def of_project(summaries: dict[int, TrainingSummary], project: Project) -> TrainingSummary:
    """The summary of one project."""
    return summaries[project.pk]


@register.filter
def has_active(summaries: dict[int, TrainingSummary]) -> bool:
    """Whether a training of one of the projects is active."""
    return any(summary.is_active for summary in summaries.values())


@register.simple_tag
def trainings_by_dataset(project: Project) -> dict[int, list[TrainingVersion]]:
    """`{% trainings_by_dataset project as all %}`, then `{{ all|of_dataset:version }}`. One query."""
    versions_of: dict[int, list[TrainingVersion]] = {}
    versions = TrainingVersion.objects.alive().filter(project=project).order_by("number")
    for version in versions.only("number", "status", "project_id", "dataset_version_id"):
        versions_of.setdefault(version.dataset_version_id, []).append(version)
    return versions_of


@register.filter
def of_dataset(trainings: dict[int, list[TrainingVersion]], version: DatasetVersion) -> list[TrainingVersion]:
    """The living training versions that were trained from a dataset version."""
    return trainings.get(version.pk, [])


@register.filter
def validation_ratio(version: TrainingVersion) -> str:
    """One minus the training ratio: 0.8 gives "0.2", in German "0,2"."""
    return number_format((1 - version.training_ratio).normalize())


@register.inclusion_tag("components/_sort_header.html")
def sort_header(
    key: str, sort: str, search: str, project: Project, version: TrainingVersion
) -> dict[str, Any]:
    """A column's header: the first press sorts by this column, the second one reverses the order."""
    field, is_falling = sort.removeprefix("-"), sort.startswith("-")
    direction = "" if field != key else "descending" if is_falling else "ascending"
    query = urlencode({"sort": f"-{key}" if direction == "ascending" else key, "search": search})
    url = f"{reverse('version_labels', args=[project.pk, version.number])}?{query}"
    texts = {"name": COLUMN_NAMES[key], "help": COLUMN_HELP.get(key)}
    return {"key": key, "direction": direction, "url": url, **texts}


def _add(summary: TrainingSummary, number: int, status: str, accuracy: float | None) -> None:
    """Add a version; versions come in the order of their numbers, so the last one is the latest."""
    summary.versions += 1
    summary.is_active = summary.is_active or status in ACTIVE
    summary.latest_name, summary.latest_status = f"V{number:03d}", status
    if status == Status.COMPLETED and accuracy is not None:
        summary.accuracy, summary.completed_name = accuracy, summary.latest_name


def _readiness(context: Context, project: Project) -> Readiness:
    """Readiness as known to the view, else computed once per page, because bar and button both need it."""
    if "readiness" in context:
        from_view: Readiness = context["readiness"]
        return from_view
    if "_readiness" not in project.__dict__:
        project.__dict__["_readiness"] = readiness(project)
    state: Readiness = project.__dict__["_readiness"]
    return state


def _train_state(project: Project) -> str:
    states = set(TrainingVersion.objects.alive().filter(project=project).values_list("status", flat=True))
    if Status.INITIALIZING in states or Status.RUNNING in states:
        return "active"
    return "done" if Status.COMPLETED in states else "waiting"


def _deploy_state(project: Project) -> str:
    services = Service.objects.alive().filter(project=project)
    states = set(services.values_list("status", flat=True))
    if Service.Status.DEPLOYING in states:
        return "active"
    return "done" if Service.Status.RUNNING in states else "waiting"


def _page_name(path: str) -> str:
    """The name of the address of a page; empty for one that does not exist."""
    try:
        return resolve(f"/{urlsplit(path).path.removeprefix(get_script_prefix())}").url_name or ""
    except Resolver404:
        return ""


def _address(view: str, project: Project) -> str:
    try:
        return reverse(view, args=[project.pk])
    except NoReverseMatch:
        return ""
