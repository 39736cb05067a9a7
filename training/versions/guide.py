"""The guide of the first steps: from a project without images to a service that is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.urls import reverse

from projects.datasets.readiness import MIN_IMAGES, MIN_LABELS
from projects.models import Project, Role, Team
from training.models import Service, Status, TrainingVersion

STEPS = (
    "Create a project",
    "Add images",
    "Label images",
    "Train",
    "Confirm and submit",
    "Wait for Completed",
    "Evaluate",
    "Deploy",
    "Call the service",
)
CREATE, ADD, LABEL, TRAIN, SUBMIT, WAIT, EVALUATE, DEPLOY, CALL = range(1, len(STEPS) + 1)
VERSION_PAGES = frozenset({"train_model", "training_version"})
MANAGER_ONLY = frozenset({CREATE, TRAIN, SUBMIT, DEPLOY})


@dataclass(frozen=True)
class GuideStep:
    """The next step: what to do, and the button that leads there, if there is one."""

    number: int
    text: str
    button: str = ""
    url: str = ""

    @property
    def title(self) -> str:
        return STEPS[self.number - 1]

    @property
    def all(self) -> list[tuple[int, str, str]]:
        """(number, title, state) of every step; states are done, current and waiting."""
        states = {-1: "done", 0: "current", 1: "waiting"}
        return [
            (number, title, states[(number > self.number) - (number < self.number)])
            for number, title in enumerate(STEPS, 1)
        ]

    def for_role(self, role: int) -> GuideStep:
        """A step that only Managers can do has no button for others."""
        if self.number not in MANAGER_ONLY or role >= Role.MANAGER:
            return self
        return GuideStep(self.number, f"{self.text} A Manager of the team can do this.")

    def on_page(self, path: str) -> GuideStep:
        """A button that leads to the page that is shown is left out."""
        return GuideStep(self.number, self.text) if self.url.partition("?")[0] == path else self


def first_step(team: Team, user: User) -> GuideStep | None:
    """The step on the project list, until the user has created a project."""
    if team.projects.alive().filter(created_by=user).exists():
        return None
    url = f"{reverse('create_project')}?team={team.pk}"
    text = "It holds your images, their labels and the models trained from them."
    return GuideStep(CREATE, text, "Create Project", url)


def next_step(project: Project, is_ready: Callable[[], bool], page: str) -> GuideStep | None:
    """The next step of the project; None when its service was called. `page`: name of the address shown."""
    versions = TrainingVersion.objects.alive().filter(project=project)
    completed = versions.filter(status=Status.COMPLETED).order_by("-number").first()
    active = versions.active().order_by("-number").first()
    if page == "configure_training" and not active:
        return GuideStep(SUBMIT, "Keep the proposed values or change them. Press Next, then Submit.")
    if completed:
        return _after_training(project, completed, page)
    if active:
        text = f"{active} is {active.status}. You can close the page; training continues."
        return GuideStep(WAIT, text, "See the training", _version_url(active))
    ended = versions.order_by("-number").first()
    if ended:
        text = f"{ended} is {ended.status}. Read the reason, then train again."
        return GuideStep(WAIT, text, "See the reason", _version_url(ended))
    return _before_training(project, is_ready)


def _before_training(project: Project, is_ready: Callable[[], bool]) -> GuideStep:
    label_data = reverse("label_data", args=[project.pk])
    if not project.images.alive().exists():
        return GuideStep(
            ADD, "Drop photos or folders on Label Data, or choose them.", "Add images", label_data
        )
    if not is_ready():
        text = f"Give each of at least {MIN_LABELS} labels to at least {MIN_IMAGES} images."
        return GuideStep(LABEL, text, "Label images", f"{label_data}?tab=unlabeled")
    url = reverse("configure_training", args=[project.pk])
    return GuideStep(TRAIN, "Enough images are labeled for a first model.", "Train", url)


def _after_training(project: Project, completed: TrainingVersion, page: str) -> GuideStep | None:
    services = list(Service.objects.alive().filter(project=project).order_by("-deployed_at"))
    if any(service.calls for service in services):
        return None
    if services:
        return _call(project, services)
    if page not in VERSION_PAGES:
        text = f"{completed} is {completed.status}. See how accurate it is and which images it gets wrong."
        return GuideStep(EVALUATE, text, "See the evaluation", _version_url(completed))
    text = f"Deploy {completed} as a service, or label more images and train again."
    return GuideStep(DEPLOY, text, "Deploy", reverse("deploy_service", args=[project.pk]))


def _call(project: Project, services: list[Service]) -> GuideStep:
    running = next((service for service in services if service.status == Service.Status.RUNNING), None)
    if running:
        text = "Choose an image and press Predict, or call the URL from a program."
        return GuideStep(CALL, text, "Predict", reverse("service_page", args=[project.pk, running.pk]))
    text = f"The service {services[0].name} is {services[0].status}. It can be called while it is Running."
    return GuideStep(CALL, text, "See the service", reverse("deploy_service", args=[project.pk]))


def _version_url(version: TrainingVersion) -> str:
    return reverse("training_version", args=[version.project_id, version.number])
