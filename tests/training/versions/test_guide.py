"""The guide of the first steps follows a project from no image to a called service."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
from django.apps import apps
from django.db.migrations import RunPython
from django.test import Client
from django.urls import reverse

from projects.models import HiddenGuide, Project
from tests.factories import make_project, make_team, make_user, make_version
from tests.pages import html_of
from training.models import Service, Status
from training.versions.guide import STEPS


def address(project: Project, view: str = "label_data", *more: object) -> str:
    return reverse(view, args=[project.pk, *more])


def guide(client: Client, url: str, **headers: str) -> tuple[int, str, str]:
    """(number of the step, its words, address of its button) as a page shows it; 0 without a guide."""
    shown = re.search(r'<aside class="guide".*?</aside>', html_of(client.get(url, headers=headers)), re.S)
    assert shown
    if "hidden" in shown[0][:120]:
        return 0, "", ""
    number = re.search(r"Step (\d+) of 9", shown[0])
    words = re.search(r'<p class="guide-text">(.*?)</p>', shown[0], re.S)
    button = re.search(r'<a class="button button-small" href="([^"]*)"', shown[0])
    assert number and words
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", words[1])).strip()
    return int(number[1]), text, button[1] if button else ""


def test_without_an_own_project_the_list_leads_to_a_new_one(alice: Client) -> None:
    project = make_project()
    Project.objects.update(created_by=None)  # as that of the first start

    number, text, url = guide(alice, "/projects/")
    assert (number, url) == (1, f"/projects/new/?team={project.team_id}")
    assert text.startswith("Create a project.")

    Project.objects.update(created_by=make_user("alice"))
    assert guide(alice, "/projects/")[0] == 0


def test_images_come_first(alice: Client) -> None:
    project = make_project(labels=0)

    assert guide(alice, address(project, "train_model"))[0::2] == (2, address(project))
    assert guide(alice, address(project)) == (
        2,
        "Add images. Drop photos or folders on Label Data, or choose them.",
        "",
    )


def test_then_labels(alice: Client) -> None:
    project = make_project(labels=1, images=5, unlabeled=3)

    number, text, url = guide(alice, address(project, "train_model"))

    assert (number, url) == (3, f"{address(project)}?tab=unlabeled")
    assert text == "Label images. Give at least 2 labels to at least 5 images each."


def test_then_train_next_and_submit(alice: Client) -> None:
    project = make_project(images=5)

    assert guide(alice, address(project))[0::2] == (4, address(project, "configure_training"))
    number, text, url = guide(alice, address(project, "configure_training"))
    assert (number, url) == (5, "") and "Press Next, then Submit." in text


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (Status.RUNNING, "V001 is Running. You can close this page; training continues."),
        (Status.FAILED, "V001 is Failed. Read the reason, then train again."),
        (Status.STOPPED, "V001 is Stopped. Read the reason, then train again."),
    ],
)
def test_then_a_training_has_to_be_completed(alice: Client, status: str, sentence: str) -> None:
    project = make_project()
    make_version(project, 1, status)

    assert guide(alice, address(project)) == (
        6,
        f"Wait for the training. {sentence}",
        address(project, "training_version", 1),
    )
    assert guide(alice, address(project, "training_version", 1))[2] == ""


def test_then_evaluate_deploy_and_call(alice: Client) -> None:
    project = make_project()
    version = make_version(project, 1, Status.COMPLETED, accuracy=0.9)
    evaluation = address(project, "training_version", 1)

    assert guide(alice, address(project))[0::2] == (7, evaluation)
    assert guide(alice, evaluation)[0::2] == (8, address(project, "deploy_service"))

    service = Service.objects.create(project=project, training_version=version, name="exeML-flowers-V001")
    assert "exeML-flowers-V001 is Deploying." in guide(alice, evaluation)[1]
    Service.objects.update(status=Service.Status.RUNNING)
    assert guide(alice, evaluation)[0::2] == (9, address(project, "service_page", service.pk))
    Service.objects.update(calls=1)
    assert guide(alice, evaluation)[0] == 0


def test_a_labeler_is_told_who_trains(bob: Client) -> None:
    number, text, url = guide(bob, address(make_project(images=5)))

    assert (number, url) == (4, "") and text.endswith("A Manager of the team can do this.")


def test_a_viewer_has_no_guide(vera: Client) -> None:
    assert guide(vera, address(make_project()))[0] == 0


def test_all_steps_are_listed_with_their_states(alice: Client) -> None:
    html = html_of(alice.get(address(make_project(images=5))))

    listed = re.findall(r'<li class="guide-(\w+)"', html)
    assert listed == ["done"] * 3 + ["current"] + ["waiting"] * 5
    assert all(step in html for step in STEPS)


# --- closed and opened again ---


def test_the_guide_is_closed_for_good_and_opened_again(alice: Client, bob: Client) -> None:
    url = address(make_project())
    closed = alice.post(reverse("show_guide"), {"show": "no", "next": url})
    assert closed.status_code == 303 and closed["Location"] == url
    alice.post(reverse("show_guide"), {"show": "no"})  # pressed twice

    assert guide(alice, url)[0] == 0 and "Show the guide" in html_of(alice.get(url))
    assert guide(bob, url)[0] == 4, "others keep theirs"

    alice.post(reverse("show_guide"), {"show": "yes", "next": url})
    assert guide(alice, url)[0] == 4 and "Hide the guide" in html_of(alice.get(url))
    assert not HiddenGuide.objects.exists()


def test_closing_takes_the_strip_away_without_loading_the_page(alice: Client) -> None:
    answer = alice.post(reverse("show_guide"), {"show": "no"}, headers={"HX-Request": "true"})

    assert answer.status_code == 200 and answer.content == b""


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", ""])
def test_closing_never_leads_to_another_site(alice: Client, elsewhere: str) -> None:
    answer = alice.post(reverse("show_guide"), {"show": "no", "next": elsewhere})

    assert answer["Location"] == "/projects/"


def test_the_guide_follows_the_labels(alice: Client) -> None:
    """Every answer to an action brings the project bar with the guide."""
    project = make_project(labels=2, images=5)

    answer = alice.post(
        reverse("delete_label", args=[project.pk, project.labels.last().pk]),
        {"mode": "label"},
        headers={"HX-Request": "true", "HX-Current-URL": f"http://testserver{address(project)}"},
    )

    assert answer.status_code == 200 and "Step 3 of 9" in html_of(answer)


def test_accounts_from_before_the_guide_do_not_get_it(db: None) -> None:
    make_team()
    migration = import_module("projects.migrations.0015_hidden_guide").Migration
    (for_data,) = [operation for operation in migration.operations if isinstance(operation, RunPython)]

    for_data.code(apps, None)

    assert HiddenGuide.objects.filter(user=make_user("alice")).exists()
