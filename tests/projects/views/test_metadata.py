"""The Metadata page, metadata on Label Data, and the setting that a column is never split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from projects.datasets.publish import publish
from projects.images import similarity
from projects.images.query import Query
from projects.labels import metadata
from projects.models import (
    Annotation,
    DatasetVersion,
    Embedding,
    Image,
    LabelEvent,
    MetadataColumn,
    MetadataValue,
    Project,
)
from projects.quality import look_alikes
from tests.factories import make_project, make_user
from tests.pages import html_of

pytestmark = pytest.mark.django_db


def with_people(people: int = 4, images: int = 8) -> Project:
    project = make_project(labels=2, images=images)
    ids = list(project.images.order_by("pk").values_list("pk", flat=True))
    for person in range(people):
        metadata.set_values(project, ids[person::people], {"person": f"p{person}"}, make_user("bob"))
    return project


def column_of(project: Project) -> MetadataColumn:
    return MetadataColumn.objects.get(project=project)


def press(client: Client, name: str, project: Project, *more: object, **fields: Any) -> Any:
    return client.post(reverse(name, args=[project.pk, *more]), fields, follow=True)


# --- Label Data ---


def test_selected_images_get_a_value_and_the_notice_can_undo_it(bob: Client) -> None:
    project = make_project(labels=1, images=3)
    ids = list(project.images.order_by("pk").values_list("pk", flat=True))
    answer = bob.post(
        reverse("set_metadata", args=[project.pk]) + "?tab=all",
        {"images": f"{ids[0]},{ids[1]}", "column": " Lot ", "value": "7"},
        headers={"HX-Request": "true"},
    )
    assert answer.status_code == 200
    event = LabelEvent.objects.get()
    assert "2 images: Lot set to “7”." in html_of(answer)
    assert f'data-undo="{event.pk}"' in answer.content.decode()
    assert metadata.load_values(ids) == {ids[0]: {"Lot": "7"}, ids[1]: {"Lot": "7"}}


def test_all_images_that_match_get_a_value(bob: Client) -> None:
    project = with_people()
    address = reverse("set_metadata", args=[project.pk]) + "?tab=all&metadata=person:p1"
    fields = {"matching": "on", "count": 4, "column": "lot", "value": "A"}
    assert bob.post(address, fields, headers={"HX-Request": "true"}).status_code == 200
    assert MetadataValue.objects.filter(column__name="lot").count() == 4


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("", "x", "Enter a column."),
        ("a:b", "x", "Use 1 to 64 characters without a colon for the name of a column."),
        ("new", "x", "A project can have 20 columns of metadata. It has 20; 1 more cannot be added."),
    ],
)
def test_what_cannot_be_set_is_refused_with_a_sentence(
    bob: Client, column: str, value: str, sentence: str
) -> None:
    project = make_project(labels=1, images=1)
    image = project.images.get()
    metadata.set_values(project, [image.pk], {f"c{n}": "x" for n in range(20)}, None)
    answer = bob.post(
        reverse("set_metadata", args=[project.pk]),
        {"images": str(image.pk), "column": column, "value": value},
        headers={"HX-Request": "true"},
    )
    assert answer.status_code == 422 and sentence in html_of(answer)
    assert LabelEvent.objects.count() == 1


def test_the_grid_is_filtered_by_a_value_or_by_having_none(vera: Client) -> None:
    project = with_people()
    ids = list(project.images.order_by("pk").values_list("pk", flat=True))
    metadata.set_values(project, ids[:2], {"person": ""}, None)
    assert set(Query(metadata="Person:p1").images(project, None).values_list("pk", flat=True)) == set(
        ids[5::4]
    )
    assert set(Query(metadata="person:").images(project, None).values_list("pk", flat=True)) == set(ids[:2])
    assert not Query(metadata="nothing:x").images(project, None).exists()
    page = html_of(vera.get(reverse("label_data", args=[project.pk]) + "?tab=all&metadata=person:p1"))
    assert "person: p1" in page and page.count('class="tile"') == 3
    again = Query.from_address({"metadata": " person : p1 "})
    assert again.metadata == "person:p1" and "metadata=person%3Ap1" in again.address()
    assert Query.from_address({"metadata": "person"}).metadata == ""


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the plan of SQLite is read")
def test_a_value_is_found_by_an_index() -> None:
    """No scan of all values."""
    project = with_people()
    images = Query(metadata="person:p1").images(project, None).order_by()
    plan = images.explain()
    assert "images_of_a_metadata_value" in plan and "SCAN projects_metadatavalue" not in plan


def test_the_metadata_of_an_image_is_shown_with_links(vera: Client) -> None:
    project = with_people()
    image = project.images.order_by("pk")[1]
    for name in ("image_metadata", "image_neighbours"):
        page = html_of(vera.get(reverse(name, args=[project.pk, image.pk])))
        assert "person: p1" in page and "metadata=person%3Ap1" in page


# --- the page ---


def test_the_page_lists_columns_with_their_values(vera: Client, django_assert_max_num_queries: Any) -> None:
    project = with_people()
    metadata.set_values(project, [project.images.first().pk], {"person": "", "camera": "X & Y"}, None)
    with django_assert_max_num_queries(30):
        page = html_of(vera.get(reverse("metadata_columns", args=[project.pk])))
    assert "4 values on 15 images" in page and "1 without" in page
    assert "metadata=camera%3AX+%26+Y" in page
    assert "Never split" not in page  # Vera does not manage


def test_an_empty_page_says_where_metadata_comes_from(vera: Client) -> None:
    project = make_project(labels=1, images=1)
    assert "No metadata yet" in html_of(vera.get(reverse("metadata_columns", args=[project.pk])))


def test_never_split_says_what_changes_and_can_be_taken_back(alice: Client) -> None:
    project = with_people(people=8, images=20)
    publish(DatasetVersion.objects.create(project=project, name="V1", training_ratio="0.8"))
    page = html_of(press(alice, "never_split", project, column_of(project).pk, on="1"))
    assert column_of(project).is_never_split
    assert "person is never split now." in page and "will change the split in the next dataset" in page
    page = html_of(press(alice, "remove_column", project, column_of(project).pk))
    assert "Allow splitting it, then remove it." in page and MetadataValue.objects.exists()
    page = html_of(press(alice, "never_split", project, column_of(project).pk, on="0"))
    assert "person may be split now. No image changes its split." in page


def test_a_column_is_removed_and_the_history_takes_it_back(bob: Client) -> None:
    project = with_people()
    page = html_of(press(bob, "remove_column", project, column_of(project).pk))
    assert "16 images: person removed. The History takes it back." in page
    assert not MetadataColumn.objects.exists()
    press(bob, "undo_event", project, LabelEvent.objects.first().pk)
    assert MetadataValue.objects.count() == 16


def test_only_managers_set_what_is_never_split(bob: Client, mallory: Client) -> None:
    project = with_people()
    address = reverse("never_split", args=[project.pk, column_of(project).pk])
    assert bob.post(address, {"on": "1"}).status_code == 403
    assert mallory.post(address, {"on": "1"}).status_code == 404
    assert not column_of(project).is_never_split


def test_a_foreign_address_is_not_gone_back_to(alice: Client) -> None:
    project = with_people()
    address = reverse("never_split", args=[project.pk, column_of(project).pk])
    answer = alice.post(f"{address}?next=https://evil.example/", {"on": "1"})
    assert answer["Location"] == reverse("metadata_columns", args=[project.pk])
    back = reverse("configure_training", args=[project.pk])
    assert alice.post(f"{address}?next={back}", {"on": "1"})["Location"] == back


# --- advice ---


def embed(project: Project, weight: float) -> None:
    """Embeddings that depend on the label, and with this weight on the person."""
    random = np.random.default_rng(0)
    of_label = {pk: random.normal(size=64) for pk in project.labels.values_list("pk", flat=True)}
    of_person = {f"p{n}": random.normal(size=64) for n in range(40)}
    people = dict(MetadataValue.objects.values_list("image", "value"))
    for image, label in Annotation.objects.values_list("image", "label"):
        vector = of_label[label] + weight * of_person[people[image]] + 0.7 * random.normal(size=64)
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)[None]
        Embedding.objects.create(
            image_id=image,
            network="lite0",
            vector=similarity.pack(vector)[0],
            sketch=similarity.sketches(vector)[0],
        )


def test_look_alikes_are_named_on_the_pages_and_never_split_by_one_press(alice: Client) -> None:
    project = with_people(people=10, images=60)
    embed(project, weight=1.0)
    look_alikes.update(project)
    column = column_of(project)
    assert column.alike > 0.5 and column.alike_by_chance < 0.15
    for name in ("data_check", "metadata_columns", "configure_training"):
        page = html_of(alice.get(reverse(name, args=[project.pk])))
        assert (
            "Images of one person look alike. Validation may not show the accuracy on a new person." in page
        )
        assert "Never split person" in page
    press(alice, "never_split", project, column.pk, on="1")
    assert "look alike" not in html_of(alice.get(reverse("data_check", args=[project.pk])))


def test_images_that_only_share_their_label_do_not_look_alike() -> None:
    project = with_people(people=10, images=60)
    embed(project, weight=0.0)
    look_alikes.update(project)
    assert not look_alikes.advice(project)


def test_a_column_that_follows_the_label_gives_no_advice() -> None:
    project = make_project(labels=2, images=60)
    for n, label in enumerate(project.labels.all()):
        ids = Annotation.objects.filter(label=label).values_list("image", flat=True)
        metadata.set_values(project, ids, {"camera": f"p{n}"}, None)
    embed(project, weight=0.5)
    look_alikes.update(project)
    column = column_of(project)
    assert column.alike > 0.9 and column.alike_by_chance > 0.9
    assert not look_alikes.advice(project)


def test_few_images_are_not_measured() -> None:
    small = make_project("small", labels=1, images=6)
    metadata.set_values(small, [small.images.first().pk], {"lot": "1"}, None)
    assert look_alikes.measure(column_of(small)) == (None, None)


def test_duplicates_are_no_neighbours() -> None:
    project = with_people(people=30, images=60)
    embed(project, weight=0.0)
    for person in range(30):  # each person has one picture, several times
        images = MetadataValue.objects.filter(value=f"p{person}").values_list("image", flat=True)
        vector = Embedding.objects.get(image=images[0]).vector
        Embedding.objects.filter(image__in=list(images)).update(vector=vector)
    assert look_alikes.measure(column_of(project))[0] == 1
    for person in range(30):
        images = MetadataValue.objects.filter(value=f"p{person}").values_list("image", flat=True)
        Image.objects.filter(pk__in=list(images)).update(duplicate_group=images[0])
    assert look_alikes.measure(column_of(project))[0] == 0
