"""Labels over the API: create, rename, colour, hot key, merge, and the three ways to delete one."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.storage import default_storage

from projects.labels import actions
from projects.models import Image, Label, Project
from tests.factories import make_image, make_project, make_team, make_user
from tests.projects.api.callers import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def bob() -> ApiClient:
    make_team()
    return ApiClient(make_user("bob"))


def path(project: Project, label: Label | None = None, rest: str = "") -> str:
    return f"/projects/{project.pk}/labels" + (f"/{label.pk}{rest}" if label else "")


def test_labels_are_listed_with_the_number_of_their_images(bob: ApiClient) -> None:
    project = make_project(labels=2, images=3)
    actions.delete_images(project, [project.images.first().pk], None)
    first, second = project.labels.all()
    common = {"name": "label-0", "colour": 0, "hot_key": "1", "image_count": 3}
    items = bob.get(path(project)).json()["items"]
    assert items[0] == {"id": first.pk, **common}
    assert (items[1]["id"], items[1]["image_count"]) == (second.pk, 2)
    assert bob.get(path(project, first)).json() == items[0]
    assert bob.get(path(make_project("other"), first)).status_code == 404


def test_a_label_is_created_once_by_its_name(bob: ApiClient) -> None:
    project = make_project(labels=0)
    created = bob.post(path(project), {"name": "  red   roses "}).json()
    label = project.labels.get()
    assert created == {"id": label.pk, "name": "red roses", "colour": 0, "hot_key": "1", "image_count": 0}
    for name in ("Red Roses", "a/b", "", "x" * 65):
        refused = bob.post(path(project), {"name": name})
        assert refused.status_code == 422 and refused.json()["errors"][0]["field"] == "name"
    assert project.labels.count() == 1


def test_a_label_is_renamed_and_changes_its_look(bob: ApiClient) -> None:
    project = make_project(labels=2, images=1)
    first, second = project.labels.all()
    changed = bob.patch(path(project, first), {"name": "roses", "colour": 7, "hot_key": "R"}).json()
    assert (changed["name"], changed["colour"], changed["hot_key"]) == ("roses", 7, "r")
    assert changed["image_count"] == 1
    swapped = bob.patch(path(project, second), {"hot_key": "r", "swap": True}).json()
    assert swapped["hot_key"] == "r" and Label.objects.get(pk=first.pk).hot_key == "2"
    assert bob.patch(path(project, first), {}).json()["name"] == "roses"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "LABEL-1"}, "name"),
        ({"name": ""}, "name"),
        ({"colour": 10}, "colour"),
        ({"hot_key": "ä"}, "hot_key"),
        ({"hot_key": "2"}, "hot_key"),
        ({"name": "roses", "colour": 10}, "colour"),
        ({"color": 3}, "color"),
    ],
)
def test_a_wrong_change_is_refused_as_a_whole(bob: ApiClient, body: dict[str, Any], field: str) -> None:
    project = make_project(labels=2)
    answer = bob.patch(path(project, project.labels.first()), body)
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field
    assert project.labels.first().name == "label-0" and not project.label_events.exists()


def test_labels_are_merged(bob: ApiClient) -> None:
    project = make_project(labels=2, images=2)
    first, second = project.labels.all()
    wrong = bob.post(path(project, first, "/merge"), {"into": first.pk})
    assert wrong.status_code == 422 and wrong.json()["errors"][0]["field"] == "into"
    merged = bob.post(path(project, first, "/merge"), {"into": second.pk}).json()
    assert merged["changed_count"] == 2 and second.annotations.count() == 4
    assert not Label.objects.filter(pk=first.pk).exists()
    undone = bob.post(f"/projects/{project.pk}/annotations/undo", {"event_id": merged["event_id"]}).json()
    assert undone["changed_count"] == 2 and project.labels.count() == 2


def test_deleting_a_label_keeps_its_images_or_bins_them(bob: ApiClient) -> None:
    project = make_project(labels=2, images=2)
    first, second = project.labels.all()
    kept = bob.delete(path(project, first)).json()
    assert (kept["changed_count"], kept["purged_count"]) == (2, 0)
    assert project.images.unlabeled().count() == 2
    binned = bob.delete(path(project, second, "?mode=images")).json()
    assert binned["changed_count"] == 2 and project.images.binned().count() == 2
    assert bob.delete(path(project, second)).status_code == 404


def test_only_a_manager_deletes_the_files_of_a_label(bob: ApiClient) -> None:
    project = make_project(labels=1, images=0)
    label = project.labels.get()
    image = make_image(project, 4321, [label], with_file=True)
    refused = bob.delete(path(project, label, "?mode=files"))
    assert refused.status_code == 403 and project.labels.exists()
    alice = ApiClient(make_user("alice"))
    answer = alice.delete(path(project, label, "?mode=files")).json()
    assert answer == {"event_id": None, "changed_count": 1, "purged_count": 1}
    assert not Image.objects.exists() and not default_storage.exists(image.file_name)
    assert alice.delete(path(project, label, "?mode=all")).status_code == 422


def test_the_files_of_all_images_of_a_large_label_go(bob: ApiClient) -> None:
    """A label of more than 200 images is deleted in parts."""
    project = make_project(labels=1, images=201)
    alice = ApiClient(make_user("alice"))
    answer = alice.delete(path(project, project.labels.get(), "?mode=files")).json()
    assert (answer["changed_count"], answer["purged_count"]) == (201, 201)
    assert not project.images.exists()
