"""Edit the description, the only thing of a project that can be changed."""

from __future__ import annotations

import pytest
from django.test import Client

from projects.models import Project
from projects.workspace import lifecycle
from tests.factories import make_project, make_user
from tests.pages import html_of


def edit(client: Client, project: Project, **fields: str):
    return client.post(f"/projects/{project.pk}/edit/", fields)


def test_the_form_shows_the_description(alice: Client) -> None:
    project = make_project()
    lifecycle.update_description(project, "From the garden")
    assert "From the garden" in html_of(alice.get(f"/projects/{project.pk}/edit/"))


@pytest.mark.parametrize("text", ["From the garden", "", "x" * 256])
def test_the_description_is_saved(alice: Client, text: str) -> None:
    project = make_project()
    lifecycle.update_description(project, "before")
    answer = edit(alice, project, description=text)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/projects/?team={project.team_id}"
    project.refresh_from_db()
    assert project.description == text


def test_nothing_but_the_description_can_be_changed(alice: Client) -> None:
    project = make_project("flowers")
    edit(alice, project, description="new", name="other", is_multi_label="yes")
    project.refresh_from_db()
    assert (project.name, project.is_multi_label) == ("flowers", False)


def test_a_description_that_is_too_long_is_refused_and_stays_typed(alice: Client) -> None:
    project = make_project()
    answer = edit(alice, project, description="y" * 300)
    html = html_of(answer)
    assert answer.status_code == 422 and "these are 300." in html and "y" * 300 in html
    project.refresh_from_db()
    assert project.description == ""


@pytest.mark.parametrize(("person", "status"), [("bob", 403), ("vera", 403), ("mallory", 404)])
def test_only_managers_of_the_team_edit(
    request: pytest.FixtureRequest, db: None, person: str, status: int
) -> None:
    project = make_project()
    assert edit(request.getfixturevalue(person), project, description="x").status_code == status
    project.refresh_from_db()
    assert project.description == ""


def test_a_deleted_project_cannot_be_edited(alice: Client) -> None:
    project = make_project()
    lifecycle.delete_project(project, by=make_user("alice"))
    assert edit(alice, project, description="x").status_code == 404
