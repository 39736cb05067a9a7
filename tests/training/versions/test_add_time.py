"""Add time: a version of its own continues a Completed one on the same images."""

from __future__ import annotations

import uuid

import pytest
from django.test import Client
from django.urls import reverse

from projects.models import Project
from tests.factories import make_project, make_version
from tests.pages import html_of
from training.models import InstanceFlavor, Status, TrainingVersion
from training.versions import lifecycle

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_project()


def url(version: TrainingVersion) -> str:
    return reverse("add_time", args=[version.project_id, version.number])


def test_a_new_version_goes_on_from_it_with_the_same_images(project: Project, alice: Client) -> None:
    version = make_version(project, 1, Status.COMPLETED, max_inference_ms=70, inference_hardware="CPU")
    asked = {"more_hours": "0.25", "submission": str(uuid.uuid4())}
    alice.post(url(version), asked)
    alice.post(url(version), asked)  # pressed twice
    more = project.training_versions.get(number=2)
    assert project.training_versions.count() == 2 and project.dataset_versions.count() == 1
    assert (more.dataset_version, more.incremental_version) == (version.dataset_version, version)
    assert (more.max_training_minutes, more.max_inference_ms, more.inference_hardware) == (15, 70, "CPU")
    assert more.status == Status.INITIALIZING
    version.refresh_from_db()
    assert version.status == Status.COMPLETED


@pytest.mark.parametrize("hours", ["0.05", "101", "x", ""])
def test_time_out_of_range_is_refused_at_its_field(project: Project, alice: Client, hours: str) -> None:
    version = make_version(project, 1, Status.COMPLETED)
    answer = alice.post(url(version), {"more_hours": hours, "submission": str(uuid.uuid4())})
    assert answer.status_code == 422
    assert "6 to 6000 minutes" in html_of(answer)
    assert project.training_versions.count() == 1


def test_only_a_completed_version_can_go_on(project: Project, alice: Client) -> None:
    version = make_version(project, 1, Status.FAILED)
    answer = alice.post(url(version), {"more_hours": "1", "submission": str(uuid.uuid4())})
    assert answer.status_code == 409 and "V001 is Failed" in html_of(answer)


def test_a_flavor_that_is_gone_is_told(project: Project, alice: Client) -> None:
    flavor = InstanceFlavor.objects.create(name="old", device="cpu", queue="cpu", is_enabled=False)
    version = make_version(project, 1, Status.COMPLETED, flavor=flavor)
    with pytest.raises(lifecycle.TrainingRefused, match="no longer offered"):
        lifecycle.add_time(version, 6, by=version.submitted_by, submission=uuid.uuid4())


def test_a_labeler_cannot_add_time(project: Project, bob: Client) -> None:
    version = make_version(project, 1, Status.COMPLETED)
    assert bob.post(url(version), {"more_hours": "1"}).status_code == 403
    page = html_of(bob.get(reverse("training_version", args=[project.pk, 1])))
    assert "Add time" not in page
