"""Delete and restore: the name is asked, no data is erased, a running project is not deleted."""

from __future__ import annotations

import pytest
from django.test import Client

from projects.models import Project
from projects.workspace import lifecycle
from tests.factories import make_project, make_user, make_version
from tests.pages import html_of
from training.models import Service, Status


def delete(client: Client, project: Project, name: str = "flowers"):
    return client.post(f"/projects/{project.pk}/delete/", {"name": name})


def test_the_page_says_what_disappears(alice: Client) -> None:
    project = make_project(labels=2, images=3, unlabeled=1)
    html = html_of(alice.get(f"/projects/{project.pk}/delete/"))
    assert "images (7), labels (2)" in html and "an operator can restore it" in html


def test_typing_the_name_deletes_the_project_and_keeps_everything(alice: Client) -> None:
    project = make_project(labels=2, images=3)
    answer = delete(alice, project)
    assert answer.status_code == 303
    project.refresh_from_db()
    assert project.deleted_at is not None and project.deleted_by == make_user("alice")
    assert project.images.alive().count() == 6
    assert "Project flowers deleted." in html_of(alice.get(answer.headers["Location"]))
    assert alice.get(f"/projects/{project.pk}/edit/").status_code == 404


@pytest.mark.parametrize("typed", ["", "flower", "FLOWERS", "flowers2"])
def test_another_name_deletes_nothing(alice: Client, typed: str) -> None:
    project = make_project()
    answer = delete(alice, project, typed)
    assert answer.status_code == 422 and "Type flowers exactly." in html_of(answer)
    project.refresh_from_db()
    assert project.deleted_at is None


@pytest.mark.parametrize(("person", "status"), [("bob", 403), ("vera", 403), ("mallory", 404)])
def test_only_managers_of_the_team_delete(
    request: pytest.FixtureRequest, db: None, person: str, status: int
) -> None:
    project = make_project()
    assert delete(request.getfixturevalue(person), project).status_code == status
    project.refresh_from_db()
    assert project.deleted_at is None


@pytest.mark.parametrize("status", [Status.INITIALIZING, Status.RUNNING])
def test_a_project_with_a_running_training_is_not_deleted(alice: Client, status: Status) -> None:
    project = make_project()
    make_version(project, 2, status)
    answer = delete(alice, project)
    assert answer.status_code == 409 and f"V002 is {status}" in html_of(answer)
    project.refresh_from_db()
    assert project.deleted_at is None


def test_a_delete_that_cannot_be_done_is_not_offered(alice: Client) -> None:
    project = make_project()
    make_version(project, 2, Status.RUNNING)

    html = html_of(alice.get(f"/projects/{project.pk}/delete/"))

    assert "V002 is Running" in html
    assert "Delete Project" not in html and 'name="name"' not in html
    assert f'href="/projects/{project.pk}/train-model/"' in html


def make_service(project: Project, status: str) -> Service:
    version = make_version(project, status=Status.COMPLETED)
    return Service.objects.create(
        project=project, training_version=version, name="exeML-flowers-V001", status=status
    )


@pytest.mark.parametrize("status", [Service.Status.DEPLOYING, Service.Status.RUNNING])
def test_a_project_with_a_running_service_is_not_deleted(alice: Client, status: str) -> None:
    project = make_project()
    make_service(project, status)
    answer = delete(alice, project)
    assert answer.status_code == 409
    assert f"Service exeML-flowers-V001 is {status}" in html_of(answer)
    with pytest.raises(lifecycle.ProjectRefused, match="Stop it first"):
        lifecycle.delete_project(project, by=make_user("alice"))


def test_what_has_ended_does_not_hold_the_project(alice: Client) -> None:
    project = make_project()
    make_service(project, Service.Status.STOPPED)
    make_version(project, 2, Status.FAILED)
    assert delete(alice, project).status_code == 303


def test_deleting_twice_keeps_who_did_it_first(db: None) -> None:
    project = make_project()
    lifecycle.delete_project(project, by=make_user("alice"))
    lifecycle.delete_project(project, by=make_user("operator"))
    project.refresh_from_db()
    assert project.deleted_by == make_user("alice")


def test_a_restored_project_is_back_for_everybody(vera: Client) -> None:
    project = make_project()
    lifecycle.delete_project(project, by=make_user("alice"))
    lifecycle.restore_project(project)
    project.refresh_from_db()
    assert project.deleted_at is None and project.deleted_by is None
    assert "flowers" in html_of(vera.get("/projects/"))


def test_a_project_whose_name_is_taken_meanwhile_is_not_restored(db: None) -> None:
    project = make_project("flowers")
    lifecycle.delete_project(project, by=make_user("alice"))
    make_project("Flowers")
    with pytest.raises(lifecycle.NameTaken):
        lifecycle.restore_project(project)
    project.refresh_from_db()
    assert project.deleted_at is not None


def test_restoring_what_is_not_deleted_changes_nothing(db: None) -> None:
    project = make_project("flowers")
    lifecycle.restore_project(project)
    assert Project.objects.alive().count() == 1
