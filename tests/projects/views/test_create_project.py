"""Create Project: names, descriptions, the kind of labels, the limit."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.test import Client

from projects.models import Project, Role
from projects.workspace import lifecycle
from tests.factories import make_project, make_team, make_user
from tests.pages import html_of


def create(client: Client, **fields: str):
    return client.post(
        "/projects/new/", {"name": "flowers", "description": "", "is_multi_label": "no", **fields}
    )


def test_a_project_is_created_and_its_label_data_page_opens(alice: Client) -> None:
    answer = create(alice, description="From the garden", is_multi_label="yes")
    project = Project.objects.get()
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/projects/{project.pk}/label-data/"
    assert (project.name, project.description, project.is_multi_label) == ("flowers", "From the garden", True)
    assert project.team.name == "Greenhouse" and project.created_by == make_user("alice")
    assert "Project flowers created." in html_of(alice.get("/projects/"))


@pytest.mark.parametrize("name", ["a", "Z9_-", "a" * 32, "flowers-2"])
def test_good_names_are_taken_as_they_are(alice: Client, name: str) -> None:
    create(alice, name=name)
    assert Project.objects.get().name == name


RULE = "Use 1 to 32 letters, digits, “_” or “-”, starting with a letter."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "Enter a project name."),
        ("   ", "Enter a project name."),
        ("a" * 33, "Use at most 32 characters; these are 33."),
        ("1flower", RULE),
        ("_flower", RULE),
        ("-flower", RULE),
        ("two words", RULE),
        ("blüte", RULE),
        ("a/b", RULE),
        ("flowers\nx", RULE),
        ("<b>", RULE),
    ],
)
def test_bad_names_are_refused_at_the_field_and_stay_typed(alice: Client, name: str, message: str) -> None:
    answer = create(alice, name=name, description="kept words")
    html = html_of(answer)
    assert answer.status_code == 422 and message in html and "kept words" in html
    assert 'aria-invalid="true"' in html
    assert not Project.objects.exists()


@pytest.mark.parametrize("name", ["flowers", "FLOWERS", "Flowers"])
def test_a_name_is_unique_in_the_team_whatever_its_case(alice: Client, name: str) -> None:
    make_project("flowers")
    answer = create(alice, name=name)
    assert answer.status_code == 422 and str(lifecycle.NAME_TAKEN) in html_of(answer)
    assert Project.objects.count() == 1


def test_another_team_and_a_deleted_project_do_not_take_the_name(alice: Client, mallory: Client) -> None:
    lifecycle.delete_project(make_project("flowers"), by=make_user("alice"))
    assert create(alice).status_code == 303
    assert create(mallory).status_code == 303
    assert Project.objects.alive().filter(name="flowers").count() == 2


def test_a_description_of_256_characters_fits_and_line_breaks_count_once(alice: Client) -> None:
    description = "line\r\n" * 51 + "x"  # 256 with one character for each break
    assert create(alice, description=description).status_code == 303
    assert len(Project.objects.get().description) == 256


def test_a_longer_description_is_refused(alice: Client) -> None:
    answer = create(alice, description="x" * 257)
    assert answer.status_code == 422
    assert "Use at most 256 characters; these are 257." in html_of(answer)


@pytest.mark.parametrize("choice", ["", "maybe"])
def test_the_kind_of_labels_must_be_one_of_two(alice: Client, choice: str) -> None:
    assert create(alice, is_multi_label=choice).status_code == 422
    assert not Project.objects.exists()


@pytest.mark.parametrize("person", ["bob", "vera"])
def test_only_managers_create_projects(request: pytest.FixtureRequest, db: None, person: str) -> None:
    client = request.getfixturevalue(person)
    assert client.get("/projects/new/").status_code == 403
    answer = create(client)
    assert answer.status_code == 403 and "A Manager of the team can" in html_of(answer)
    assert not Project.objects.exists()


def test_the_form_creates_in_the_team_that_it_names(alice: Client) -> None:
    team = make_team("Orchard")
    alice.get(f"/projects/?team={make_team().pk}")
    alice.post(f"/projects/new/?team={team.pk}", {"name": "apples", "is_multi_label": "no"})
    assert Project.objects.get().team == team


def test_nobody_creates_in_a_strangers_team(mallory: Client) -> None:
    team = make_team()
    answer = mallory.post(f"/projects/new/?team={team.pk}", {"name": "x", "is_multi_label": "no"})
    assert answer.status_code == 404 and not Project.objects.exists()


def test_a_full_team_is_told_the_limit_and_gets_no_project(alice: Client, settings) -> None:
    settings.EXEML_MAX_PROJECTS_PER_TEAM = 1
    make_project("flowers")
    assert "limit of projects (1)" in html_of(alice.get("/projects/new/"))
    answer = create(alice, name="tools")
    assert answer.status_code == 422 and "limit of projects (1)" in html_of(answer)
    assert Project.objects.count() == 1


def test_the_action_itself_keeps_the_limit_and_the_name(db: None, settings) -> None:
    settings.EXEML_MAX_PROJECTS_PER_TEAM = 2
    team, alice = make_team(), make_user("alice")
    lifecycle.create_project(team, name="flowers", by=alice)
    with pytest.raises(lifecycle.NameTaken):
        lifecycle.create_project(team, name="FLOWERS", by=alice)
    lifecycle.create_project(team, name="tools", by=alice)
    with pytest.raises(lifecycle.ProjectRefused, match=r"limit of projects \(2\)"):
        lifecycle.create_project(team, name="third", by=alice)


@pytest.mark.django_db(transaction=True)
def test_two_at_once_cannot_pass_the_limit_together(settings) -> None:
    settings.EXEML_MAX_PROJECTS_PER_TEAM = 1
    team, alice = make_team(), make_user("alice")

    def create_one(name: str) -> None:
        try:
            lifecycle.create_project(team, name=name, by=alice)
        except lifecycle.ProjectRefused:
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=create_one, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Project.objects.count() == 1


def test_a_manager_of_one_team_is_not_one_of_the_other(bob: Client) -> None:
    team = make_team("Orchard")
    team.memberships.filter(user__username="bob").update(role=Role.MANAGER)
    assert bob.get(f"/projects/new/?team={team.pk}").status_code == 200
    assert bob.get(f"/projects/new/?team={make_team().pk}").status_code == 403
