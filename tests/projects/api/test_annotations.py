"""Annotations in bulk over the API, their undo, and the history."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from projects.labels import actions
from projects.models import Annotation, Image, LabelEvent, Project
from tests.factories import make_image, make_project, make_team, make_user
from tests.projects.api.callers import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def bob() -> ApiClient:
    make_team()
    return ApiClient(make_user("bob"))


def annotate(client: ApiClient, project: Project, **body: Any) -> Any:
    return client.post(f"/projects/{project.pk}/annotations", body)


def undo(client: ApiClient, project: Project, event: int | None = None, way: str = "undo") -> Any:
    return client.post(f"/projects/{project.pk}/annotations/{way}", {"event_id": event})


def ids(project: Project) -> list[int]:
    return list(project.images.order_by("pk").values_list("pk", flat=True))


def labels_of(project: Project) -> list[list[str]]:
    """Sorted label names of the images, in order of upload."""
    names: dict[int, list[str]] = {pk: [] for pk in ids(project)}
    for pk, name in Annotation.objects.filter(image__project=project).values_list("image", "label__name"):
        names[pk].append(name)
    return [sorted(each) for each in names.values()]


def test_labels_are_added_and_removed_in_one_action(bob: ApiClient) -> None:
    project = make_project(labels=1, images=2, is_multi_label=True)
    answer = annotate(bob, project, image_ids=ids(project), add=["roses"], remove=["LABEL-0"])
    event = LabelEvent.objects.get()
    assert answer.json() == {"event_id": event.pk, "changed_count": 2}
    assert labels_of(project) == [["roses"], ["roses"]] and event.by == make_user("bob")
    again = annotate(bob, project, image_ids=ids(project), add=["roses"]).json()
    assert again == {"event_id": None, "changed_count": 0}


def test_all_images_that_match_a_filter_are_labeled(bob: ApiClient) -> None:
    project = make_project(labels=1, images=2, unlabeled=3)
    refused = annotate(bob, project, filter={"tab": "unlabeled"}, max_count=2, add=["roses"])
    assert refused.status_code == 422 and "3 images match now" in refused.json()["detail"]
    assert annotate(bob, project, filter={"tab": "unlabeled"}, add=["roses"]).json()["changed_count"] == 3
    assert labels_of(project) == [["label-0"]] * 2 + [["roses"]] * 3


def test_each_image_gets_labels_of_its_own(bob: ApiClient) -> None:
    project = make_project(labels=1, images=1, unlabeled=2, is_multi_label=True)
    other = make_image(make_project("other"), 99)
    first, second, third = ids(project)
    actions.delete_images(project, [third], None)
    entries = [
        {"image_id": first, "labels": ["roses", " Roses "]},
        {"image_id": second, "labels": ["tulips", "LABEL-0"]},
        {"image_id": third, "labels": ["tulips"]},
        {"image_id": other.pk, "labels": ["tulips"]},
    ]
    answer = annotate(bob, project, annotations=entries).json()
    assert answer["changed_count"] == 2
    assert labels_of(project) == [["label-0", "roses"], ["label-0", "tulips"], []]
    replaced = annotate(bob, project, annotations=[{"image_id": first, "labels": []}], replaces=True)
    assert replaced.json()["changed_count"] == 1 and labels_of(project)[0] == []
    assert not Image.objects.get(pk=first).is_labeled


def test_with_one_label_per_image_the_new_label_replaces_the_old_one(bob: ApiClient) -> None:
    project = make_project(labels=1, images=2)
    first, second = ids(project)
    entries = [{"image_id": first, "labels": ["roses"]}, {"image_id": second, "labels": []}]
    assert annotate(bob, project, annotations=entries).json()["changed_count"] == 1
    assert labels_of(project) == [["roses"], ["label-0"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"image_ids": [1]}, "add"),
        ({"image_ids": [1], "add": ["a/b"]}, "add"),
        ({"image_ids": [1], "add": ["a", "b"]}, "add"),
        ({"add": ["a"]}, "image_ids"),
        ({"annotations": []}, "annotations"),
        ({"annotations": [{"image_id": 1, "labels": ["a"]}] * 10_001}, "annotations"),
        ({"annotations": [{"image_id": 1, "labels": ["a", "b"]}]}, "annotations.0.labels"),
        ({"annotations": [{"image_id": 1, "labels": ["a/b"]}]}, "annotations.0.labels"),
        ({"annotations": [{"image_id": 1, "labels": [3]}]}, "annotations.0.labels.0"),
        ({"annotations": [{"image_id": 0, "labels": []}]}, "annotations.0.image_id"),
        ({"annotations": [{"image_id": 1, "labels": ["a"]}] * 2}, "annotations.1.image_id"),
        ({"annotations": [{"image_id": 1, "labels": ["a"]}], "add": ["b"]}, "annotations"),
        (
            {"annotations": [{"image_id": n, "labels": [f"l{n}"]} for n in range(1, 2002)]},
            "annotations",
        ),  # more labels than a project can have
    ],
)
def test_a_wrong_call_labels_nothing(bob: ApiClient, body: dict[str, Any], field: str) -> None:
    project = make_project(labels=0, unlabeled=1)
    answer = annotate(bob, project, **body)
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field, answer.content[:500]
    assert not LabelEvent.objects.exists() and not project.labels.exists()


def test_a_part_of_a_large_call_costs_a_constant_number_of_queries(bob: ApiClient) -> None:
    """Each part of 200 images is a transaction of its own; the whole is undone as one action."""
    project = make_project(labels=0, unlabeled=400)
    counted = []
    for part in (ids(project)[:200], ids(project)):
        entries = [{"image_id": pk, "labels": [f"label-{pk % 7}"]} for pk in part]
        with CaptureQueriesContext(connection) as queries:
            answer = annotate(bob, project, annotations=entries, replaces=True).json()
        assert answer["changed_count"] == 200  # the second call changes the second half
        counted.append(len(queries))
    assert counted[1] - counted[0] < 20 and counted[0] < 40
    entries = [{"image_id": pk, "labels": ["roses"]} for pk in ids(project)]
    event = annotate(bob, project, annotations=entries).json()
    assert event["changed_count"] == 400
    undone = undo(bob, project, event["event_id"]).json()
    assert (undone["changed_count"], undone["skipped_count"]) == (400, 0)
    assert labels_of(project) == [[f"label-{pk % 7}"] for pk in ids(project)]


def test_the_last_action_is_undone_and_redone(bob: ApiClient) -> None:
    project = make_project(labels=0, unlabeled=2)
    first, second = ids(project)
    nothing = undo(bob, project)
    assert (nothing.status_code, nothing.json()["detail"]) == (409, "You have nothing to undo.")
    assert undo(bob, project, way="redo").status_code == 409
    annotate(bob, project, image_ids=[first, second], add=["roses"])
    actions.apply(project, [second], add=["tulips"], by=make_user("alice"))
    undone = undo(bob, project).json()
    assert (undone["changed_count"], undone["skipped_count"]) == (1, 1)
    assert labels_of(project) == [[], ["tulips"]]
    assert undo(bob, project, way="redo").json()["changed_count"] == 1
    assert labels_of(project) == [["roses"], ["tulips"]]


def test_an_action_is_undone_once_and_in_its_project_only(bob: ApiClient) -> None:
    project = make_project(labels=0, unlabeled=1)
    event = annotate(bob, project, image_ids=ids(project), add=["roses"]).json()["event_id"]
    elsewhere = undo(bob, make_project("other"), event)
    assert elsewhere.status_code == 422 and elsewhere.json()["errors"][0]["field"] == "event_id"
    assert undo(bob, project, event).status_code == 200
    again = undo(bob, project, event)
    assert (again.status_code, again.json()["detail"]) == (409, "This was undone already.")


# --- History ---


def history(client: ApiClient, project: Project, query: str = "") -> dict[str, Any]:
    body: dict[str, Any] = client.get(f"/projects/{project.pk}/history{query}").json()
    return body


def test_the_history_tells_who_did_what_and_what_is_undone(bob: ApiClient) -> None:
    project = make_project(labels=0, unlabeled=250)
    event = annotate(bob, project, filter={}, add=["roses"]).json()["event_id"]
    actions.delete_images(project, ids(project)[:1], make_user("alice"))
    undo(bob, project, event)
    rows = history(bob, project)["items"]
    told = [(row["kind"], row["by"], row["image_count"], row["text"]) for row in rows]
    assert told == [
        ("undo", "bob", 250, "Undone: 250 images labeled “roses”"),
        ("delete-images", "alice", 1, "1 image moved to the bin"),
        ("label", "bob", 250, "250 images labeled “roses”"),
    ]
    assert [row["id"] for row in history(bob, project, "?kind=delete-images")["items"]] == [rows[1]["id"]]
    by_alice = history(bob, project, f"?by={make_user('alice').pk}")["items"]
    assert [row["id"] for row in by_alice] == [rows[1]["id"]]


def test_the_history_has_pages(bob: ApiClient) -> None:
    project = make_project(labels=0, unlabeled=1)
    for name in "abcde":
        actions.apply(project, ids(project), add=[name], by=make_user("bob"))
    seen, cursor = [], ""
    while True:
        body = history(bob, project, f"?limit=2&cursor={cursor}")
        seen += [item["id"] for item in body["items"]]
        if not (cursor := body["next"]):
            break
    assert seen == list(LabelEvent.objects.values_list("pk", flat=True))


def test_the_history_costs_a_constant_number_of_queries(bob: ApiClient) -> None:
    project = make_project(labels=0, unlabeled=201)
    counted = []
    for names in ("ab", "cdef"):
        for name in names:
            actions.apply(project, ids(project), add=[name], by=make_user("bob"))
        history(bob, project)
        with CaptureQueriesContext(connection) as queries:
            history(bob, project)
        counted.append(len(queries))
    assert counted[0] == counted[1]
