"""The project list: rows, search, sort, pages, empty states and number of queries."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from projects.models import Membership, Project, Role, Team
from projects.workspace import lifecycle, project_list
from tests.factories import make_image, make_project, make_team, make_user, make_version
from tests.pages import html_of
from training.models import Status


def names(html: str) -> list[str]:
    """The names of the projects in the order of the page."""
    return re.findall(r'class="project-name[^>]*>([^<]+)<', html)


def list_html(client: Client, query: str = "", **headers: str) -> str:
    answer = client.get(f"/projects/{query}", headers=headers)
    assert answer.status_code == 200
    return html_of(answer)


def test_a_project_shows_its_images_labels_and_who_created_it(vera: Client) -> None:
    project = make_project("flowers", labels=3, images=2, unlabeled=4)
    html = list_html(vera)
    assert "6 / 10" in html and "6 of 10 images labeled" in html
    assert f"/projects/{project.pk}/label-data/" in html
    assert "by alice" in html and "Not trained" in html


def test_the_four_newest_living_images_are_the_thumbnails(vera: Client) -> None:
    project = make_project("flowers", labels=0, unlabeled=7)
    newest = list(project.images.order_by("-pk"))
    project.images.filter(pk=newest[0].pk).update(deleted_at=project.created_at)
    row = project_list.read_rows([project])[0]
    assert row.thumbnails == [image.sha256 for image in newest[1:5]]
    assert row.images == 6
    html = list_html(vera)
    assert html.count("<img") == 4 and f"/thumbnails/{newest[1].sha256}.webp" in html


def test_a_project_shows_its_latest_version_and_the_accuracy_of_the_newest_completed_one(
    vera: Client,
) -> None:
    project = make_project("flowers")
    make_version(project, 1, Status.COMPLETED, accuracy=0.9)
    make_version(project, 2, Status.COMPLETED, accuracy=0.85)
    make_version(project, 3, Status.FAILED)
    html = list_html(vera)
    assert "V003 Failed" in html and "3 versions" in html and "85.0 %" in html
    assert "V002, the newest Completed version" in html and "90.0 %" not in html


def test_the_list_asks_for_news_only_while_a_training_is_active(vera: Client) -> None:
    project = make_project("flowers")
    make_version(project, 1, Status.COMPLETED, accuracy=0.9)
    make_project("birds")
    assert "every 5s" not in list_html(vera)
    assert list_html(vera, hx_request="true", hx_trigger="training-poll").count("every 5s") == 0

    make_version(project, 2, Status.RUNNING)
    make_version(project, 3, Status.FAILED)
    html = list_html(vera, "?sort=name&q=f")
    assert 'hx-get="/projects/?sort=name&amp;q=f"' in html and "every 5s" in html


def test_news_are_the_cells_about_trainings_alone(vera: Client) -> None:
    project = make_project("flowers")
    make_version(project, 1, Status.RUNNING)

    html = list_html(vera, hx_request="true", hx_trigger="training-poll")

    assert "V001 Running" in html and "every 5s" in html
    assert html.count(f'id="training-{project.pk}" hx-swap-oob="true"') == 1
    assert html.count(f'id="accuracy-{project.pk}" hx-swap-oob="true"') == 1
    assert "project-name" not in html and "<table" not in html


def test_the_description_and_name_are_escaped_and_cut_with_a_title(vera: Client) -> None:
    project = make_project("flowers")
    lifecycle.update_description(project, "<script>alert(1)</script> & more")
    html = list_html(vera)
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html


def test_only_the_projects_of_the_chosen_team_are_shown(alice: Client) -> None:
    make_project("flowers")
    other = Team.objects.create(name="Orchard")
    Membership.objects.create(team=other, user=make_user("alice"), role=Role.VIEWER)
    make_project("apples", team=other)
    assert names(list_html(alice)) == ["flowers"]
    assert names(list_html(alice, f"?team={other.pk}")) == ["apples"]
    assert names(list_html(alice)) == ["apples"], "the choice is kept"


@pytest.mark.parametrize("team", ["0", "x", "99999999999999999999", "²", "-1"])
def test_a_team_that_is_not_there_is_404(alice: Client, team: str) -> None:
    assert alice.get(f"/projects/?team={team}").status_code == 404


def test_a_stranger_cannot_choose_the_team(mallory: Client) -> None:
    project = make_project("flowers")
    assert mallory.get(f"/projects/?team={project.team_id}").status_code == 404
    assert "flowers" not in list_html(mallory)


def test_deleted_projects_are_not_shown(alice: Client) -> None:
    project = make_project("flowers")
    lifecycle.delete_project(project, by=make_user("alice"))
    assert names(list_html(alice)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FLOW", ["flowers"]),
        ("garden", ["flowers"]),
        ("garden june", ["flowers"]),
        ("garden may", []),
        ("o", ["flowers", "tools"]),
        ("  ", ["flowers", "tools"]),
        ("%", []),
        ("_", []),
    ],
)
def test_the_search_looks_at_names_and_descriptions(vera: Client, text: str, expected: list[str]) -> None:
    lifecycle.update_description(make_project("flowers"), "From the garden in June")
    make_project("tools")
    answer = vera.get("/projects/", {"q": text, "sort": "name"})
    assert names(html_of(answer)) == expected


def test_a_search_without_a_match_says_so_and_leads_back(vera: Client) -> None:
    make_project("flowers")
    html = list_html(vera, "?q=%3Cb%3Erockets")
    assert "No project matches" in html and "&lt;b&gt;rockets" in html and "Show all projects" in html


def test_the_live_search_gets_the_list_alone_and_back_the_whole_page(vera: Client) -> None:
    make_project("flowers")
    fragment = list_html(vera, "?q=flow", HX_Request="true")
    assert fragment.lstrip().startswith('<div id="projects">') and "<html" not in fragment
    restored = list_html(vera, "?q=flow", HX_Request="true", HX_History_Restore_Request="true")
    assert "<html" in restored and 'value="flow"' in restored


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("name", ["Apples", "birds", "cats"]),
        ("-name", ["cats", "birds", "Apples"]),
        ("created", ["birds", "Apples", "cats"]),
        ("-created", ["cats", "Apples", "birds"]),
        ("images", ["Apples", "birds", "cats"]),
        ("-images", ["birds", "Apples", "cats"]),
        ("accuracy", ["cats", "Apples", "birds"]),
        ("-accuracy", ["Apples", "cats", "birds"]),
        ("nonsense", ["cats", "Apples", "birds"]),
    ],
)
def test_the_list_sorts_by_every_column_and_what_is_missing_stands_last(
    vera: Client, sort: str, order: list[str]
) -> None:
    made = {
        name: make_project(name, labels=1, images=images)
        for name, images in (("birds", 3), ("Apples", 1), ("cats", 0))
    }
    for name, accuracy in (("Apples", 0.9), ("cats", 0.5)):
        make_version(made[name], status=Status.COMPLETED, accuracy=accuracy)
    make_version(made["birds"], status=Status.RUNNING, accuracy=0.99)
    assert names(list_html(vera, f"?sort={sort}")) == order


def test_the_header_says_how_the_list_is_sorted_and_turns_it_round(vera: Client) -> None:
    make_project("flowers")
    html = list_html(vera, "?sort=name&q=flow")
    assert re.search(r'<th[^>]*aria-sort="ascending"><a href="/projects/\?sort=-name&amp;q=flow"', html)
    assert html.count("aria-sort") == 1


def test_twenty_projects_fill_a_page(vera: Client) -> None:
    team = make_team()
    for n in range(25):
        Project.objects.create(team=team, name=f"p{n:02d}")
    assert names(list_html(vera, "?sort=name")) == [f"p{n:02d}" for n in range(20)]
    second = list_html(vera, "?sort=name&page=2")
    assert names(second) == [f"p{n:02d}" for n in range(20, 25)] and "Page 2 of 2" in second
    assert names(list_html(vera, "?sort=name&page=99")) == names(second)
    assert names(list_html(vera, "?sort=name&page=x"))[0] == "p00"


def test_an_empty_team_is_told_what_a_project_is(alice: Client, vera: Client) -> None:
    html = list_html(alice)
    assert "A project holds images" in html
    assert html.count("Create Project") == 1 and 'href="/projects/new/' in html
    html = list_html(vera)
    assert "Only Managers can create projects" in html and 'href="/projects/new/' not in html


def test_a_full_team_cannot_create_and_is_told_why(alice: Client, settings) -> None:
    settings.EXEML_MAX_PROJECTS_PER_TEAM = 1
    make_project("flowers")
    html = list_html(alice)
    assert "The team has reached its limit of projects (1)." in html and 'href="/projects/new/' not in html


@pytest.mark.parametrize("person", ["bob", "vera"])
def test_who_cannot_manage_sees_no_way_to_edit_or_delete(
    request: pytest.FixtureRequest, db: None, person: str
) -> None:
    make_project("flowers")
    html = list_html(request.getfixturevalue(person))
    assert "/edit/" not in html and "/delete/" not in html


def test_many_projects_cost_no_more_queries_than_one(alice: Client) -> None:
    def price() -> int:
        with CaptureQueriesContext(connection) as queries:
            list_html(alice, "?sort=-accuracy")
        return len(queries)

    make_version(make_project("p00", images=1), status=Status.COMPLETED)
    list_html(alice)
    expected_price = price()
    for n in range(1, 15):
        project = make_project(f"p{n:02d}", labels=0)
        make_image(project, n)
        make_version(project, status=Status.COMPLETED)
    assert price() == expected_price <= 14
