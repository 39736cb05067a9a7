"""What pages of other parts show of trainings: the step bar, the Train button, and a line for each project."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import template
from django.db.models import Max, Q
from django.template import Context
from django.urls import NoReverseMatch, reverse

from projects.models import Project, Role
from training.models import Metric, Service, Status, TrainingVersion

if TYPE_CHECKING:
    from projects.publishing import Readiness

register = template.Library()

STATE_WORDS = {"done": "done", "active": "at work now", "waiting": "not done yet"}


@dataclass(frozen=True)
class Step:
    """One step of a project's way. `state` is done, active or waiting."""

    number: int
    name: str
    url: str
    state: str
    is_current: bool

    @property
    def words(self) -> str:
        return STATE_WORDS[self.state]


@dataclass
class TrainingSummary:
    """A project's trainings in one line."""

    versions: int = 0
    latest_name: str = ""
    latest_status: str = ""
    best_accuracy: float | None = None


@register.inclusion_tag("training/_step_bar.html")
def step_bar(project: Project, active: str = "") -> dict[str, Any]:
    """`{% step_bar project active="train" %}`: the navigation of a project, each step with its state."""
    states = {
        "label": "done" if _readiness(project).is_ready else "waiting",
        "train": _train_state(project),
        "deploy": _deploy_state(project),
    }
    pages = (
        ("label", "Label Data", "label_data"),
        ("train", "Train Model", "train_model"),
        ("deploy", "Deploy Service", "deploy_service"),
    )
    steps = [
        Step(number, name, _address(view, project), states[key], key == active)
        for number, (key, name, view) in enumerate(pages, 1)
    ]
    return {"steps": steps}


@register.inclusion_tag("training/_train_button.html", takes_context=True)
def train_button(context: Context, project: Project) -> dict[str, Any]:
    """`{% train_button project %}`: the way to Training Configuration, or exactly what is missing for it."""
    frame = context.get("frame")
    found = _readiness(project)
    return {
        "may_train": frame is not None and frame.role >= Role.MANAGER,
        "url": _address("configure_training", project),
        "is_ready": found.is_ready,
        "missing": found.missing,
    }


@register.simple_tag
def training_summaries(projects: Iterable[Project]) -> dict[int, TrainingSummary]:
    """`{% training_summaries projects as summaries %}`, then `{{ summaries|of_project:project }}`. One query."""
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
def percent(share: float | None) -> str:
    """0.9412 as "94.1 %"; a missing value as the two dashes that the page shows."""
    return "--" if share is None else f"{100 * share:.1f} %"


def _add(summary: TrainingSummary, number: int, status: str, accuracy: float | None) -> None:
    """Versions come in order of their numbers, so the last one stays as the latest."""
    summary.versions += 1
    summary.latest_name, summary.latest_status = f"V{number:03d}", status
    if status == Status.COMPLETED and accuracy is not None:
        summary.best_accuracy = max(accuracy, summary.best_accuracy or 0.0)


def _readiness(project: Project) -> Readiness:
    """Asked once for each page, though bar and button both need it."""
    if "_readiness" not in project.__dict__:
        project.__dict__["_readiness"] = _ask_readiness(project)
    found: Readiness = project.__dict__["_readiness"]
    return found


def _ask_readiness(project: Project) -> Any:
    # FIXME: becomes a plain import as soon as projects.publishing is in the tree.
    try:
        from projects.publishing import readiness
    except ModuleNotFoundError:
        from types import SimpleNamespace

        return SimpleNamespace(is_ready=False, missing=["The dataset cannot be checked yet."])
    return readiness(project)


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


def _address(view: str, project: Project) -> str:
    try:
        return reverse(view, args=[project.pk])
    except NoReverseMatch:
        return ""
