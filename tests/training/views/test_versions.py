"""The Train Model page: the Version Manager, the states of a version, and the actions of a manager."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from projects.models import Project
from tests.factories import make_project, make_version
from tests.pages import html_of
from training.models import Service, Status, TrainingVersion

HTMX = {"HX-Request": "true"}


def address(project: Project, view: str = "training_version", number: int = 1) -> str:
    return reverse(
        view, args=[project.pk] if view in ("train_model", "version_list") else [project.pk, number]
    )


def make_running(project: Project, number: int = 1, **progress: object) -> TrainingVersion:
    return make_version(project, number, Status.RUNNING, progress=progress)


# --- the page ---


def test_before_the_first_training_the_page_says_what_it_is_for(alice: Client) -> None:
    html = html_of(alice.get(address(make_project(labels=2, images=5), "train_model")))

    assert "No training version yet" in html
    assert 'id="train-start"' in html


def test_before_the_images_are_labeled_the_page_says_what_is_missing(alice: Client) -> None:
    html = html_of(alice.get(address(make_project(labels=1, images=5), "train_model")))

    assert "Label images with at least two labels" in html


def test_the_page_opens_with_the_newest_version_and_lists_all(alice: Client) -> None:
    project = make_project()
    for number in (1, 2, 3):
        make_version(project, number, Status.STOPPED)

    html = html_of(alice.get(address(project, "train_model")))

    assert '<h2 id="version-title">V003' in html
    assert [html.index(f'id="card-V00{n}"') for n in (3, 2, 1)] == sorted(
        html.index(f'id="card-V00{n}"') for n in (1, 2, 3)
    )


def test_a_card_tells_state_job_person_time_and_accuracy(alice: Client) -> None:
    version = make_version(make_project(), 1, Status.COMPLETED, accuracy=0.9412)

    html = html_of(alice.get(address(version.project)))

    for text in ("Completed", f"Job id {version.job_id}", "alice", "94.1 %", "?version=1"):
        assert text in html


def test_deploy_waits_until_the_version_is_completed(alice: Client) -> None:
    html = html_of(alice.get(address(make_running(make_project()).project)))

    assert "Only a Completed version can be deployed" in html
    assert "?version=1" not in html


def test_a_viewer_sees_everything_and_can_change_nothing(vera: Client) -> None:
    project = make_project()
    make_version(project, 1, Status.FAILED, failure_cause="The disk is full.", failure_remedy="Free space.")

    html = html_of(vera.get(address(project)))

    assert "The disk is full." in html and "Free space." in html
    for action in ("Retry", "delete/", "Deploy<"):
        assert action not in html


def test_the_number_of_queries_does_not_grow_with_the_versions(
    alice: Client, django_assert_max_num_queries: Any
) -> None:
    project = make_project()
    for number in range(1, 21):
        make_version(project, number, Status.COMPLETED, accuracy=0.9)

    with django_assert_max_num_queries(32):
        alice.get(address(project, number=20))


def test_a_deleted_version_is_not_found_and_not_listed(alice: Client) -> None:
    project = make_project()
    make_version(project, 1, Status.STOPPED, deleted_at=timezone.now())

    assert alice.get(address(project)).status_code == 404
    assert "No training version yet" in html_of(alice.get(address(project, "train_model")))


# --- while it runs ---


def test_a_waiting_version_says_how_many_trainings_are_ahead(alice: Client) -> None:
    make_running(make_project("other"))
    version = make_version(make_project("mine"), 1, Status.INITIALIZING)

    html = html_of(alice.get(address(version.project, "training_status"), headers=HTMX))

    assert "Initializing" in html
    assert "Waiting for a worker: 1 training ahead" in html


def test_a_running_version_tells_how_far_it_is(alice: Client) -> None:
    version = make_running(
        make_project(),
        message="Fine-tuning EfficientNet-Lite1, epoch 6",
        used_s=730,
        remaining_s=540,
        remaining_at_s=730,
        best_accuracy=0.938,
        curve=[[10, 0.8], [200, 0.938]],
    )

    html = html_of(alice.get(address(version.project, "training_status"), headers=HTMX))

    for text in (
        "Fine-tuning EfficientNet-Lite1, epoch 6",
        "12:10",
        "of 60:00",
        "about 9 minutes",
        "93.8 %",
    ):
        assert text in html
    assert "<polyline points=" in html and "style=" not in html
    assert 'hx-trigger="every 2s"' in html


def test_a_version_that_is_asked_to_stop_says_so_and_offers_no_second_stop(alice: Client) -> None:
    version = make_version(make_project(), 1, Status.RUNNING, stop_requested_at=timezone.now())

    html = html_of(alice.get(address(version.project, "training_status"), headers=HTMX))

    assert "Stopping: the best model so far is kept" in html
    assert 'id="stop"' not in html


def test_polling_ends_with_a_final_state_and_brings_the_rest_of_the_page(alice: Client) -> None:
    version = make_version(make_project(), 1, Status.FAILED, failure_cause="The disk is full.")

    html = html_of(alice.get(address(version.project, "training_status"), headers=HTMX))

    assert "every 2s" not in html
    assert "The disk is full." in html
    for part in ("version-list", "step-bar", "version-news"):
        assert re.search(rf'id="{part}"[^>]*hx-swap-oob="true"', html)


def test_a_poll_is_cheap(alice: Client, django_assert_max_num_queries: Any) -> None:
    version = make_running(make_project(), message="Fine-tuning")
    other = [make_running(version.project, number) for number in (2, 3, 4)]
    assert other
    address_ = address(version.project, "training_status")

    with django_assert_max_num_queries(6):  # session, user, project, membership, version, frame
        alice.get(address_, headers=HTMX)


def test_the_cards_are_asked_for_only_while_a_version_is_active(alice: Client) -> None:
    project = make_project()
    version = make_running(project)
    url = address(project, "version_list") + "?chosen=1"
    assert "every 5s" in html_of(alice.get(url, headers=HTMX))

    TrainingVersion.objects.filter(pk=version.pk).update(status=Status.STOPPED, finished_at=timezone.now())

    assert "every 5s" not in html_of(alice.get(url, headers=HTMX))


def test_a_nonsense_choice_of_card_does_no_harm(alice: Client) -> None:
    url = address(make_running(make_project()).project, "version_list")

    assert alice.get(f"{url}?chosen=<x>").status_code == 200
    assert alice.get(f"{url}?chosen=²").status_code == 200


# --- actions ---


def test_stop_asks_first_and_then_asks_the_job_to_stop(alice: Client) -> None:
    version = make_running(make_project())
    version.claimed_attempt = 1
    version.save()
    url = address(version.project, "stop_training")
    assert "Stop V001?" in html_of(alice.get(url, headers=HTMX))

    response = alice.post(url)

    version.refresh_from_db()
    assert response.status_code == 303
    assert version.stop_requested_at is not None and version.stop_requested_by.username == "alice"
    assert "Stopping" in html_of(alice.get(address(version.project)))


def test_stopping_a_finished_version_changes_nothing(alice: Client) -> None:
    version = make_version(make_project(), 1, Status.COMPLETED)

    alice.post(address(version.project, "stop_training"))

    version.refresh_from_db()
    assert version.status == Status.COMPLETED and version.stop_requested_at is None


def test_delete_asks_first_and_then_takes_the_version_away(alice: Client) -> None:
    version = make_version(make_project(), 1, Status.FAILED)
    url = address(version.project, "delete_training_version")
    assert "Delete V001?" in html_of(alice.get(url))

    response = alice.post(url, headers=HTMX)

    version.refresh_from_db()
    assert response["HX-Redirect"] == address(version.project, "train_model")
    assert version.deleted_at is not None


def test_a_running_version_is_not_deleted_and_the_dialog_says_why(alice: Client) -> None:
    version = make_running(make_project())

    response = alice.post(address(version.project, "delete_training_version"), headers=HTMX)

    version.refresh_from_db()
    assert response.status_code == 409
    assert "Stop it first" in html_of(response)
    assert version.deleted_at is None


def test_the_dialog_offers_no_delete_that_cannot_be_done(alice: Client) -> None:
    version = make_version(make_project(), 1, Status.COMPLETED)
    service = version.project.services.create(
        training_version=version, name="exeML-flowers-V001", status=Service.Status.STOPPED
    )
    url = address(version.project, "delete_training_version")

    html = html_of(alice.get(url, headers=HTMX))
    assert "V001 is deployed as the service exeML-flowers-V001. Delete that service first." in html
    assert 'type="submit"' not in html and "are deleted" not in html

    service.deleted_at = timezone.now()
    service.save()
    assert 'type="submit"' in html_of(alice.get(url, headers=HTMX))


def test_the_dialog_offers_no_stop_of_a_finished_version(alice: Client) -> None:
    version = make_version(make_project(), 1, Status.COMPLETED)

    html = html_of(alice.get(address(version.project, "stop_training"), headers=HTMX))

    assert "V001 is Completed. There is nothing to stop." in html
    assert 'type="submit"' not in html


def test_retry_puts_a_failed_version_back_to_the_start(alice: Client) -> None:
    version = make_version(make_project(), 1, Status.FAILED, failure_cause="x", claimed_attempt=1)

    response = alice.post(address(version.project, "retry_training"))

    version.refresh_from_db()
    assert response.status_code == 303
    assert (version.status, version.attempt, version.failure_cause) == (Status.INITIALIZING, 2, "")


# --- refusals ---

PAGES = ("train_model", "training_version", "training_status", "version_list")
DEEDS = ("stop_training", "retry_training", "delete_training_version")


@pytest.mark.parametrize("view", [*PAGES, *DEEDS])
def test_strangers_find_nothing_and_visitors_are_asked_to_sign_in(
    view: str, mallory: Client, client: Client
) -> None:
    url = address(make_version(make_project(), 1, Status.STOPPED).project, view)

    ask = Client.post if view in DEEDS else Client.get
    assert ask(mallory, url).status_code == 404
    assert ask(client, url)["Location"].startswith("/sign-in/")


@pytest.mark.parametrize("view", DEEDS)
def test_a_labeler_may_not_stop_retry_or_delete(view: str, bob: Client) -> None:
    version = make_version(make_project(), 1, Status.STOPPED)

    assert bob.post(address(version.project, view)).status_code == 403
    version.refresh_from_db()
    assert version.status == Status.STOPPED and version.deleted_at is None


@pytest.mark.parametrize("view", PAGES)
def test_pages_are_only_read(view: str, alice: Client) -> None:
    url = address(make_version(make_project(), 1, Status.STOPPED).project, view)

    assert alice.post(url).status_code == 405


def test_retry_is_only_posted(alice: Client) -> None:
    version = make_version(make_project(), 1, Status.FAILED)

    assert alice.get(address(version.project, "retry_training")).status_code == 405


def test_the_version_of_another_project_is_not_found(alice: Client) -> None:
    make_version(make_project("one"), 7, Status.STOPPED)

    assert alice.get(address(make_project("two"), number=7)).status_code == 404


def test_elapsed_time_leaves_out_the_hours_that_no_machine_worked(alice: Client) -> None:
    version = make_running(make_project(), used_s=120, message="Resuming")
    long_ago = timezone.now() - timedelta(hours=5)
    TrainingVersion.objects.filter(pk=version.pk).update(started_at=long_ago, heartbeat_at=long_ago)

    assert "2:00 <span" in html_of(alice.get(address(version.project)))
