"""All Labels over HTTP: making, renaming, deleting."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from projects.models import Label, LabelEvent, Project
from tests.making import make_image, make_project

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def of_label(name: str, label: Label) -> str:
    return reverse(name, args=[label.project_id, label.pk])


def of_project(name: str, project: Project) -> str:
    return reverse(name, args=[project.pk])


def test_all_labels_are_listed_with_key_and_count(vera: Client) -> None:
    project = make_project(labels=2, images=3)
    response = vera.get(of_project("label_list", project), headers=HTMX)
    rows = [(row.label.name, row.label.hot_key, row.count) for row in response.context["bench"].labels]
    assert rows == [("label-0", "1", 3), ("label-1", "2", 3)]
    assert response.content.decode().startswith('<section class="all-labels"')


def test_images_in_the_bin_do_not_count(vera: Client) -> None:
    project = make_project(labels=1, images=2)
    image = project.images.first()
    image.deleted_at = image.uploaded_at
    image.save()
    response = vera.get(of_project("label_list", project), headers=HTMX)
    assert [row.count for row in response.context["bench"].labels] == [1]


def test_a_new_label_gets_the_next_key(bob: Client) -> None:
    project = make_project(labels=2, images=0)
    response = bob.post(of_project("create_label", project), {"name": " roses "}, headers=HTMX)
    assert response.status_code == 200 and "“roses” is ready" in response.content.decode()
    assert project.labels.get(name="roses").hot_key == "3"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "Input a name."),
        ("LABEL-0", "already has a label “label-0”"),
        ("a/b", "without slash"),
        ("x" * 65, "at most 64 characters; these are 65"),
    ],
)
def test_a_bad_name_is_refused_at_the_field_and_kept(bob: Client, name: str, words: str) -> None:
    project = make_project(labels=2, images=0)
    new = bob.post(of_project("create_label", project), {"name": name}, headers=HTMX)
    renamed = bob.post(of_label("rename_label", project.labels.last()), {"name": name}, headers=HTMX)
    for response in (new, renamed):
        text = response.content.decode()
        assert response.status_code == 422 and response["HX-Retarget"] == "#all-labels"
        assert words in text and f'value="{name}"' in text and 'aria-invalid="true"' in text
    assert [label.name for label in project.labels.all()] == ["label-0", "label-1"]
    assert not LabelEvent.objects.exists()


def test_renaming_opens_in_place_and_renames(bob: Client) -> None:
    project = make_project(labels=1, images=2)
    label = project.labels.get()
    asked = bob.get(of_label("rename_label", label), headers=HTMX).content.decode()
    assert 'value="label-0"' in asked and "data-rename-cancel" in asked

    response = bob.post(of_label("rename_label", label), {"name": "rose"}, headers=HTMX)
    label.refresh_from_db()
    assert label.name == "rose" and "“label-0” is called “rose” now." in response.content.decode()
    assert LabelEvent.objects.get().kind == LabelEvent.Kind.RENAME_LABEL


def test_renaming_works_without_htmx(bob: Client) -> None:
    project = make_project(labels=1, images=1)
    label = project.labels.get()
    assert "<!doctype html>" in bob.get(of_label("rename_label", label)).content.decode()
    assert bob.post(of_label("rename_label", label), {"name": "rose"}).status_code == 303


def test_deleting_asks_first_and_says_how_many_images_lose_the_label(bob: Client) -> None:
    project = make_project(labels=2, images=2, is_multi_label=True)
    label = project.labels.get(name="label-0")
    make_image(project, 100, list(project.labels.all()))

    asked = bob.get(of_label("delete_label", label), headers=HTMX).content.decode()
    assert "3 images lose it; 2 of them have no other and become unlabeled." in asked
    assert project.labels.count() == 2

    response = bob.post(of_label("delete_label", label), headers=HTMX).content.decode()
    assert "“label-0” is deleted; 3 images lost it." in response
    assert project.images.labeled().count() == 3 and project.labels.count() == 1


def test_the_question_has_the_right_words_for_one_and_for_all(bob: Client) -> None:
    project = make_project(labels=1, images=1)
    label = project.labels.get()
    question = bob.get(of_label("delete_label", label), headers=HTMX).content.decode()
    assert "1 image loses it; it has no other and becomes unlabeled." in question
    make_image(project, 50, [label])
    question = bob.get(of_label("delete_label", label)).content.decode()
    assert "2 images lose it; all of them have no other and become unlabeled." in question
    empty = Label.objects.create(project=project, name="empty", position=5)
    assert "No image has it." in bob.get(of_label("delete_label", empty)).content.decode()


@pytest.mark.parametrize("name", ["rename_label", "delete_label"])
def test_labels_are_changed_by_labelers_of_their_own_project_only(
    name: str, bob: Client, vera: Client, mallory: Client
) -> None:
    project, other = make_project(labels=1, images=1), make_project("other", labels=0)
    label = project.labels.get()
    assert vera.post(of_label(name, label), {"name": "x"}).status_code == 403
    assert mallory.post(of_label(name, label), {"name": "x"}).status_code == 404
    wrong = reverse(name, args=[other.pk, label.pk])
    assert bob.post(wrong, {"name": "x"}).status_code == 404
    assert project.labels.get().name == "label-0"
