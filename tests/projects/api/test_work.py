"""Issues and assignments over the API."""

from __future__ import annotations

import pytest

from projects.models import Image, OpinionState
from projects.quality.issues import ISSUES
from tests.factories import make_project, make_team, make_user
from tests.projects.api.callers import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> ApiClient:
    make_team()
    return ApiClient(make_user("alice"))


def test_issues_are_those_of_check_data(alice: ApiClient) -> None:
    project = make_project(labels=1, images=3)
    Image.objects.filter(name="picture-1.png").update(brightness=1.0)
    body = alice.get(f"/projects/{project.pk}/issues").json()
    counts = {row["name"]: row["image_count"] for row in body["items"]}
    assert set(counts) == {issue.name for issue in ISSUES}
    assert (counts["dark"], counts["bright"], counts["tiny"]) == (1, 0, 3)
    tiny = next(row for row in body["items"] if row["name"] == "tiny")
    assert tiny["title"] == "Tiny" and "fewer than 32 pixels" in tiny["description"] and tiny["remedy"]
    [balance] = body["label_balance"]
    assert (balance["label"], balance["image_count"]) == ("label-0", 3) and balance["advice"]
    dark = alice.get(f"/projects/{project.pk}/images?check=dark").json()["items"]
    assert [item["name"] for item in dark] == ["picture-1.png"]


def test_images_are_assigned_listed_and_taken_back(alice: ApiClient) -> None:
    project = make_project(labels=0, unlabeled=5)
    path = f"/projects/{project.pk}/assignments"
    bob, own = make_user("bob"), ApiClient(make_user("bob"))
    given = alice.post(path, {"user_ids": [bob.pk], "percent": 40})
    assert given.json() == {"assigned_count": 2}
    listed = alice.get(path).json()
    assert listed["items"] == [{"user_id": bob.pk, "username": "bob", "image_count": 2}]
    assert listed["unassigned_count"] == 3
    assert len(own.get(f"/projects/{project.pk}/images?mine=true").json()["items"]) == 2
    assert own.post(f"{path}/next").json() == {"assigned_count": 3}
    assert alice.delete(f"{path}/{bob.pk}").json() == {"unassigned_count": 5}
    assert alice.delete(f"{path}/{bob.pk}").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user_ids": []}, "user_ids"),
        ({"user_ids": [999_999]}, "user_ids"),
        ({"user_ids": "vera"}, "user_ids"),
        ({"percent": 101}, "percent"),
        ({"people": [1]}, "people"),
    ],
)
def test_a_wrong_assignment_is_refused(alice: ApiClient, body: dict[str, object], field: str) -> None:
    project = make_project(labels=0, unlabeled=5)
    user_ids = body.get("user_ids", [make_user("bob").pk])
    if user_ids == "vera":  # a Viewer cannot label
        user_ids = [make_user("vera").pk]
    answer = alice.post(f"/projects/{project.pk}/assignments", {**body, "user_ids": user_ids})
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field, answer.content
    assert not project.images.filter(assignment__isnull=False).exists()


def test_a_reviewer_confirms_and_rejects_labels(alice: ApiClient) -> None:
    project = make_project(labels=2, images=2)
    path, label = f"/projects/{project.pk}/review", project.labels.first()
    body = {"filter": {"label": label.pk}, "verdict": "confirm"}
    assert ApiClient(make_user("bob")).post(path, body).json()["type"] == "urn:exeml:problem:role-too-low"
    assert alice.post(path, body).json() == {"event_id": None, "changed_count": 2}
    assert project.images.filter(opinion=OpinionState.CONFIRMED).count() == 2
    wrong = project.images.exclude(annotations__label=label).first()
    rejected = alice.post(path, {"image_ids": [wrong.pk], "verdict": "reject"}).json()
    assert rejected["changed_count"] == 1 and not wrong.annotations.exists()
    undo = {"event_id": rejected["event_id"]}
    assert alice.post(f"/projects/{project.pk}/annotations/undo", undo).json()["changed_count"] == 1
    assert wrong.annotations.count() == 1
    assert alice.post(path, {"image_ids": [wrong.pk], "verdict": "perhaps"}).status_code == 422
    assert alice.post(path, {"verdict": "confirm"}).json()["errors"][0]["field"] == "image_ids"
