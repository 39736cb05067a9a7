"""Evaluations on selected images through the API, and the hidden result on test images."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings

from projects.models import AuditEvent
from tests.factories import make_project, make_user
from tests.projects.api.callers import ApiClient
from tests.training.colours import make_colours
from tests.training.views.test_evaluations import judged_version, run_last, with_tests
from training.evaluation.selections.results import result_of
from training.models import TrainingVersion, VersionEvaluation

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _clean_folders() -> Iterator[None]:
    """Primary keys restart in the next test, and files do not roll back."""
    yield
    for folder in ("training", "evaluations"):
        shutil.rmtree(settings.FILES_DIR / folder, ignore_errors=True)


@pytest.fixture
def judged() -> TrainingVersion:
    return judged_version(with_tests(make_colours()))


@pytest.fixture
def bob(judged: TrainingVersion) -> ApiClient:
    return ApiClient(make_user("bob"), ["train"])


def path(version: TrainingVersion, rest: str = "/evaluations") -> str:
    return f"/projects/{version.project_id}/versions/{version.number}{rest}"


def field_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["field"]


def test_the_images_of_a_filter_are_judged_and_seen(bob: ApiClient, judged: TrainingVersion) -> None:
    label = judged.project.labels.get(name="red")
    body = {"images": "filter", "filter": {"label": label.pk}}
    begun = bob.post(path(judged), body, **{"Idempotency-Key": "k"}).json()
    assert bob.post(path(judged), body, **{"Idempotency-Key": "k"}).json() == begun
    assert (begun["status"], begun["kind"], begun["created_by"]) == ("Waiting", "selection", "bob")
    assert begun["independent"] is begun["all_images"] is None
    evaluation = run_last()
    one = path(judged, f"/evaluations/{begun['id']}")
    shown, result = bob.get(one).json(), result_of(evaluation)
    assert result is not None and result.independent is not None
    assert shown["status"] == "Completed" and shown["trained_on_count"] == result.trained_on
    assert shown["independent"]["accuracy"]["value"] == result.independent.accuracy.value
    assert [row["label"] for row in shown["independent"]["labels"]] == [
        row.label for row in result.independent.rows
    ]
    images = bob.get(f"{one}/images?limit=1000").json()["items"]
    assert {tuple(image["labels"]) for image in images} == {("red",)}
    assert sum(image["was_trained_on"] for image in images) == result.trained_on
    wrong = bob.get(f"{one}/images?outcome=wrong").json()["items"]
    assert wrong == [image for image in images if not image["is_correct"]]
    kept = bob.delete(one)
    assert kept.status_code == 409 and "is completed" in kept.json()["detail"]
    assert AuditEvent.objects.filter(kind="evaluation.started", way="api").count() == 1


def test_a_waiting_evaluation_is_cancelled_then_deleted(bob: ApiClient, judged: TrainingVersion) -> None:
    begun = bob.post(path(judged), {"images": "test"}).json()
    one = path(judged, f"/evaluations/{begun['id']}")
    assert bob.get(f"{one}/images").status_code == 404
    assert bob.delete(one).status_code == 204 and bob.get(one).json()["status"] == "Cancelled"
    assert bob.delete(one).status_code == 204 and bob.get(one).status_code == 404


def test_what_cannot_be_judged_is_refused(bob: ApiClient, judged: TrainingVersion) -> None:
    foreign = make_project("theirs", team=make_user("mallory").memberships.get().team)
    assert field_of(bob.post(path(judged), {"images": "all"})) == (422, "images")
    assert field_of(bob.post(path(judged), {"images": "project"})) == (422, "images")  # there is none
    make_project("ours", labels=2, images=2)
    assert field_of(bob.post(path(judged), {"images": "project"})) == (422, "project_id")
    theirs = {"images": "project", "project_id": foreign.pk}
    assert field_of(bob.post(path(judged), theirs)) == (422, "project_id")
    nothing = bob.post(path(judged), {"images": "filter", "filter": {"q": "no such file"}})
    assert nothing.status_code == 409 and "None of the selected images" in nothing.json()["detail"]
    assert not VersionEvaluation.objects.filter(kind="selection").exists()


def test_the_result_on_test_images_is_hidden_until_it_is_opened(
    bob: ApiClient, judged: TrainingVersion
) -> None:
    vera = ApiClient(make_user("vera"))
    [hidden] = vera.get(path(judged)).json()["items"]
    assert (hidden["kind"], hidden["is_hidden"], hidden["independent"]) == ("test", True, None)
    assert vera.get(path(judged, f"/evaluations/{hidden['id']}/images")).status_code == 404
    assert vera.post(path(judged, "/test-result")).json()["type"] == "urn:exeml:problem:role-too-low"
    opened = bob.post(path(judged, "/test-result")).json()
    assert not opened["is_hidden"] and opened["independent"]["accuracy"]["hit_count"] == 11
    assert opened["judged_version_count"] == 1
    assert vera.get(path(judged)).json()["items"] == [opened]
    VersionEvaluation.objects.all().delete()
    assert bob.post(path(judged, "/test-result")).status_code == 404
