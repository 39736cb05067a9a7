"""Suggestions over the API: what was seen is confirmed or refused, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from projects.labels import actions
from projects.models import Annotation, AnnotationSource, Image, Project, RejectedSuggestion
from tests.factories import make_project, make_team, make_user
from tests.projects.api.callers import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def bob() -> ApiClient:
    make_team()
    return ApiClient(make_user("bob"))


def suggested_project() -> Project:
    """Three unlabeled images, which suggest label-0, label-0 and label-1."""
    project = make_project(labels=2, images=1, unlabeled=3)
    first, second = project.labels.all()
    for number, image in enumerate(project.images.unlabeled().order_by("pk")):
        label = second if number == 2 else first
        Image.objects.filter(pk=image.pk).update(suggestion=label, confidence=0.9 - number / 10)
    return project


def listed(client: ApiClient, project: Project, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/projects/{project.pk}/suggestions{query}")
    assert answer.status_code == 200, answer.content
    rows: list[dict[str, Any]] = answer.json()["items"]
    return rows


def post(client: ApiClient, project: Project, verb: str, **body: Any) -> Any:
    return client.post(f"/projects/{project.pk}/suggestions/{verb}", body)


def test_suggestions_are_listed_the_most_confident_first(bob: ApiClient) -> None:
    project = suggested_project()
    second = project.labels.last()
    rows = listed(bob, project)
    assert [(row["label"], row["confidence"], row["labels"]) for row in rows] == [
        ("label-0", 0.9, []),
        ("label-0", 0.8, []),
        ("label-1", 0.7, []),
    ]
    assert len(listed(bob, project, f"?label_id={second.pk}")) == 1
    assert len(listed(bob, project, "?above=0.75&below=0.85")) == 1
    pages = bob.get(f"/projects/{project.pk}/suggestions?limit=2").json()
    rest = listed(bob, project, f"?limit=2&cursor={pages['next']}")
    assert [row["image_id"] for row in pages["items"] + rest] == [row["image_id"] for row in rows]


def test_what_was_seen_is_confirmed_and_what_changed_is_left(bob: ApiClient) -> None:
    project = suggested_project()
    rows = listed(bob, project)
    Image.objects.filter(pk=rows[1]["image_id"]).update(suggestion=project.labels.last())
    actions.apply(project, [rows[2]["image_id"]], add=["tulips"], by=make_user("alice"))
    answer = post(bob, project, "confirm", seen=[row["seen"] for row in rows]).json()
    assert (answer["changed_count"], answer["left_count"]) == (1, 2) and answer["event_id"]
    assert answer["left_reason"].startswith("2 of 3 were skipped.")
    annotation = Annotation.objects.get(image=rows[0]["image_id"])
    assert (annotation.label.name, annotation.source) == ("label-0", AnnotationSource.SUGGESTION)
    assert not Image.objects.get(pk=rows[1]["image_id"]).is_labeled


def test_a_refused_suggestion_does_not_come_again(bob: ApiClient) -> None:
    project = suggested_project()
    rows = listed(bob, project)
    answer = post(bob, project, "refuse", seen=[rows[0]["seen"]]).json()
    assert answer == {"event_id": None, "changed_count": 1, "left_count": 0, "left_reason": ""}
    rejected = RejectedSuggestion.objects.get()
    assert (rejected.image_id, rejected.label_id) == (rows[0]["image_id"], rows[0]["label_id"])
    assert len(listed(bob, project)) == 2


def test_images_alone_are_confirmed_as_suggested_now(bob: ApiClient) -> None:
    project = suggested_project()
    chosen = [row["image_id"] for row in listed(bob, project)[:2]]
    answer = post(bob, project, "confirm", image_ids=[*chosen, 999_999]).json()
    assert answer["changed_count"] == 2 and len(listed(bob, project)) == 1


def test_probable_wrong_labels_are_listed_and_confirmed(bob: ApiClient) -> None:
    project = make_project(labels=2, images=1)
    image, other = project.images.order_by("pk")[0], project.labels.last()
    Image.objects.filter(pk=image.pk).update(suspected_label=other, suspected_confidence=0.9)
    [row] = listed(bob, project, "?of=labeled")
    assert (row["label"], row["labels"], row["confidence"]) == ("label-1", ["label-0"], 0.9)
    assert post(bob, project, "confirm", seen=[row["seen"]]).json()["changed_count"] == 1
    assert image.annotations.get().label == other and listed(bob, project, "?of=labeled") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "seen"),
        ({"seen": [], "image_ids": [1]}, "seen"),
        ({"seen": ["1:2"]}, "seen"),
        ({"seen": []}, "seen"),
        ({"image_ids": [0]}, "image_ids.0"),
        ({"image_ids": []}, "image_ids"),
        ({"image_ids": list(range(1, 5002))}, "image_ids"),
    ],
)
def test_a_wrong_call_confirms_nothing(bob: ApiClient, body: dict[str, Any], field: str) -> None:
    project = suggested_project()
    for verb in ("confirm", "refuse"):
        answer = post(bob, project, verb, **body)
        assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field, answer.content
    assert len(listed(bob, project)) == 3


def test_wrong_parameters_of_the_list_are_refused(bob: ApiClient) -> None:
    project = suggested_project()
    for query in ("?of=all", "?above=2", "?cursor=x", "?label_id=0", "?of=labeled&above=0.5", "?lable_id=1"):
        assert bob.get(f"/projects/{project.pk}/suggestions{query}").status_code == 422
