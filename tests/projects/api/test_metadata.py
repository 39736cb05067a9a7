"""Metadata and test images for programs: set on many images, undone, refused with the page's sentences."""

from __future__ import annotations

import pytest

from projects.labels import metadata
from projects.models import AuditEvent, Project, Split
from tests.factories import make_project, make_user
from tests.projects.api.callers import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(db: None) -> Project:
    return make_project(labels=2, images=8, unlabeled=1)


@pytest.fixture
def bob(project: Project) -> ApiClient:
    return ApiClient(make_user("bob"))


def path(project: Project, rest: str = "/metadata") -> str:
    return f"/projects/{project.pk}{rest}"


def test_a_value_is_set_on_the_images_of_a_filter_and_undone(bob: ApiClient, project: Project) -> None:
    label = project.labels.first()
    body = {"filter": {"label": label.pk}, "column": " person ", "value": "Ann"}
    action = bob.post(path(project), body).json()
    assert action["changed_count"] == 8
    [column] = bob.get(path(project)).json()["items"]
    counts = column["value_count"], column["image_count"], column["missing_count"]
    assert (column["name"], counts, column["is_never_split"]) == ("person", (1, 8, 9), False)
    image = project.images.filter(annotations__label=label).first()
    assert bob.get(path(project, f"/images/{image.pk}")).json()["metadata"] == {"person": "Ann"}
    bob.post(path(project, "/annotations/undo"), {"event_id": action["event_id"]})
    assert bob.get(path(project)).json()["items"] == []
    wrong = bob.post(path(project), {"image_ids": [image.pk], "column": "a:b"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "column")
    assert bob.post(path(project), body | {"value": "x" * 500}).json()["errors"][0]["field"] == "value"
    nothing = bob.post(path(project), {"image_ids": [image.pk], "column": "person", "value": ""})
    assert nothing.json() == {"event_id": None, "changed_count": 0}


def test_a_column_that_is_never_split_stays_until_it_may_be_split(bob: ApiClient, project: Project) -> None:
    image = project.images.first()
    metadata.set_values(project, [image.pk], {"person": "Ann"}, make_user("bob"))
    column = path(project, f"/metadata/{project.metadata_columns.get().pk}")
    alice = ApiClient(make_user("alice"))
    assert bob.patch(column, {"is_never_split": True}).json()["type"] == "urn:exeml:problem:role-too-low"
    changed = alice.patch(column, {"is_never_split": True}).json()
    assert changed["is_never_split"] and changed["effect"] == "No image changes its split."
    refused = bob.delete(column)
    assert refused.status_code == 409 and "“person” is never split" in refused.json()["detail"]
    assert not alice.patch(column, {"is_never_split": False}).json()["is_never_split"]
    assert bob.delete(column).json()["changed_count"] == 1
    assert not project.metadata_columns.exists() and bob.delete(column).status_code == 404
    assert AuditEvent.objects.filter(kind="column.removed", target="person", way="api").count() == 1


def test_images_are_kept_for_a_final_test_and_given_back(bob: ApiClient, project: Project) -> None:
    kept = bob.post(path(project, "/test-images"), {"amount": "4"}).json()
    assert (kept["changed_count"], kept["wanted_count"]) == (4, 4)
    shown = bob.get(path(project, "/test-images")).json()
    assert shown["test_image_count"] == 4
    assert [(row["test_image_count"], row["other_image_count"]) for row in shown["items"]] == [(2, 6)] * 2
    back = bob.post(path(project, "/images/split"), {"filter": {"split": "TEST"}, "is_test": False})
    assert back.json()["changed_count"] == 4 and not project.images.filter(split=Split.TEST).exists()
    one = project.images.first().pk
    test = {"image_ids": [one], "is_test": True}
    assert bob.post(path(project, "/images/split"), test).json()["changed_count"] == 1
    assert bob.post(path(project, "/images/split"), test).json() == {"event_id": None, "changed_count": 0}
    assert project.images.get(split=Split.TEST).pk == one


def test_what_cannot_be_kept_is_said_at_the_amount(bob: ApiClient, project: Project) -> None:
    few = make_project("few", labels=2, images=5)
    for wanted, amount, sentence in (
        (project, "many", "a share, such as 10 %"),
        (project, "60 %", "at most half"),
        (few, "2", "every label needs five images"),
    ):
        answer = bob.post(path(wanted, "/test-images"), {"amount": amount})
        [error] = answer.json()["errors"]
        assert (answer.status_code, error["field"]) == (422, "amount") and sentence in error["message"]
    assert bob.post(path(project, "/images/split"), {"is_test": True}).status_code == 422
