"""The guide of the first steps: from a project without images to a service that is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.urls import reverse
from django.utils.translation import gettext, gettext_noop

from projects.datasets.readiness import MIN_IMAGES, MIN_LABELS
from projects.models import Project, Role, Team
from training.models import Service, Status, TrainingVersion

STEPS = (
    gettext_noop("Create a project"),
    gettext_noop("Add images"),
    gettext_noop("Label images"),
    gettext_noop("Train"),
    gettext_noop("Confirm and submit"),
    gettext_noop("Wait for the training"),
    gettext_noop("Evaluate"),
    gettext_noop("Deploy"),
    gettext_noop("Call the service"),
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
        return gettext(STEPS[self.number - 1])

    @property
    def all(self) -> list[tuple[int, str, str]]:
        """(number, title, state) of every step; states are done, current and waiting."""
        states = {-1: "done", 0: "current", 1: "waiting"}
        return [
            (number, gettext(title), states[(number > self.number) - (number < self.number)])
            for number, title in enumerate(STEPS, 1)
        ]

    def for_role(self, role: int) -> GuideStep:
        """A step that only Managers can do has no button for others."""
        if self.number not in MANAGER_ONLY or role >= Role.MANAGER:
            return self
        sentences = gettext("%(step)s A Manager of the team can do this.")
        return GuideStep(self.number, sentences % {"step": self.text})

    def on_page(self, path: str) -> GuideStep:
        """A button that leads to the page that is shown is left out."""
        return GuideStep(self.number, self.text) if self.url.partition("?")[0] == path else self


def first_step(team: Team, user: User) -> GuideStep | None:
    """The step on the project list, until the user has created a project."""
    if team.projects.alive().filter(created_by=user).exists():
        return None
    url = f"{reverse('create_project')}?team={team.pk}"
    text = gettext("It holds your images, their labels and the models trained from them.")
    return GuideStep(CREATE, text, gettext("Create Project"), url)


def next_step(project: Project, is_ready: Callable[[], bool], page: str) -> GuideStep | None:
    """The next step of the project; None when its service was called. `page`: name of the address shown."""
    versions = TrainingVersion.objects.alive().filter(project=project)
    completed = versions.filter(status=Status.COMPLETED).order_by("-number").first()
    active = versions.active().order_by("-number").first()
    if page == "configure_training" and not active:
        return GuideStep(SUBMIT, gettext("Keep or change the proposed values. Press Next, then Submit."))
    if completed:
        return _after_training(project, completed, page)
    if active:
        text = gettext("%(version)s is %(status)s. You can close this page; training continues.")
        return GuideStep(WAIT, text % _named(active), gettext("See the training"), _version_url(active))
    ended = versions.order_by("-number").first()
    if ended:
        text = gettext("%(version)s is %(status)s. Read the reason, then train again.")
        return GuideStep(WAIT, text % _named(ended), gettext("See the reason"), _version_url(ended))
    return _before_training(project, is_ready)


def _before_training(project: Project, is_ready: Callable[[], bool]) -> GuideStep:
    label_data = reverse("label_data", args=[project.pk])
    if not project.images.alive().exists():
        text = gettext("Drop photos or folders on Label Data, or choose them.")
        return GuideStep(ADD, text, gettext("Add images"), label_data)
    if not is_ready():
        sentence = gettext("Give at least %(labels)s labels to at least %(images)s images each.")
        text = sentence % {"labels": MIN_LABELS, "images": MIN_IMAGES}
        return GuideStep(LABEL, text, gettext("Label images"), f"{label_data}?tab=unlabeled")
    url = reverse("configure_training", args=[project.pk])
    text = gettext("Enough images are labeled for a first model.")
    return GuideStep(TRAIN, text, gettext("Train"), url)


def _after_training(project: Project, completed: TrainingVersion, page: str) -> GuideStep | None:
    services = list(Service.objects.alive().filter(project=project).order_by("-deployed_at"))
    if any(service.calls for service in services):
        return None
    if services:
        return _call(project, services)
    if page not in VERSION_PAGES:
        text = gettext("%(version)s is %(status)s. See how accurate it is and which images it gets wrong.")
        button, url = gettext("See the evaluation"), _version_url(completed)
        return GuideStep(EVALUATE, text % _named(completed), button, url)
    text = gettext("Deploy %(version)s as a service, or label more images and train again.")
    url = reverse("deploy_service", args=[project.pk])
    return GuideStep(DEPLOY, text % _named(completed), gettext("Deploy"), url)


def _call(project: Project, services: list[Service]) -> GuideStep:
    running = next((service for service in services if service.status == Service.Status.RUNNING), None)
    if running:
        text = gettext("Choose an image and press Predict, or call the URL from a program.")
        url = reverse("service_page", args=[project.pk, running.pk])
        return GuideStep(CALL, text, gettext("Predict"), url)
    sentence = gettext("The service %(service)s is %(status)s. It can be called while it is Running.")
    text = sentence % {"service": services[0].name, "status": services[0].get_status_display()}
    url = reverse("deploy_service", args=[project.pk])
    return GuideStep(CALL, text, gettext("See the service"), url)


def _named(version: TrainingVersion) -> dict[str, str]:
    return {"version": version.name, "status": version.get_status_display()}


def _version_url(version: TrainingVersion) -> str:
    return reverse("training_version", args=[version.project_id, version.number])
