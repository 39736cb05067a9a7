"""All Labels over HTTP: create, rename, edit, merge, delete."""

from __future__ import annotations

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse

from projects.images.upload import add_images
from projects.labels import actions
from projects.models import Label, LabelEvent, Project
from tests.factories import make_image, make_project, make_user, picture_bytes
from tests.pages import html_of

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def of_label(name: str, label: Label) -> str:
    return reverse(name, args=[label.project_id, label.pk])


def of_project(name: str, project: Project) -> str:
    return reverse(name, args=[project.pk])


def test_all_labels_are_listed_with_key_and_count(vera: Client) -> None:
    project = make_project(labels=2, images=3)
    response = vera.get(of_project("label_list", project), headers=HTMX)
    rows = [(row.label.name, row.label.hot_key, row.count) for row in response.context["page"].labels]
    assert rows == [("label-0", "1", 3), ("label-1", "2", 3)]
    assert html_of(response).startswith('<section class="all-labels"')


def test_the_tools_of_a_label_lead_back_to_what_is_shown(bob: Client, vera: Client) -> None:
    project = make_project(labels=1, images=1)
    address = f"{of_project('label_data', project)}?tab=labeled&sort=name"
    label = project.labels.get()
    for name in ("rename_label", "edit_label", "delete_label"):
        link = f'href="{of_label(name, label)}?tab=labeled&amp;sort=name"'
        assert link in html_of(bob.get(address)) and link not in html_of(vera.get(address))


def test_images_in_the_bin_do_not_count(vera: Client) -> None:
    project = make_project(labels=1, images=2)
    image = project.images.first()
    image.deleted_at = image.uploaded_at
    image.save()
    response = vera.get(of_project("label_list", project), headers=HTMX)
    assert [row.count for row in response.context["page"].labels] == [1]


def test_a_new_label_gets_the_next_key(bob: Client) -> None:
    project = make_project(labels=2, images=0)
    response = bob.post(of_project("create_label", project), {"name": " roses "}, headers=HTMX)
    assert response.status_code == 200 and "Label “roses” added." in html_of(response)
    assert project.labels.get(name="roses").hot_key == "3"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "Enter a name."),
        ("LABEL-0", "already has a label “label-0”"),
        ("a/b", "without slash"),
        ("x" * 65, "at most 64 characters; these are 65"),
    ],
)
def test_a_bad_name_is_refused_at_the_field_and_kept(bob: Client, name: str, message: str) -> None:
    project = make_project(labels=2, images=0)
    new = bob.post(of_project("create_label", project), {"name": name}, headers=HTMX)
    renamed = bob.post(of_label("rename_label", project.labels.last()), {"name": name}, headers=HTMX)
    assert renamed["HX-Retarget"] == "#all-labels" and 'id="grid"' in html_of(new)
    for response in (new, renamed):
        text = html_of(response)
        assert response.status_code == 422
        assert message in text and f'value="{name}"' in text and 'aria-invalid="true"' in text
    assert [label.name for label in project.labels.all()] == ["label-0", "label-1"]
    assert not LabelEvent.objects.exists()


def test_renaming_opens_in_place_and_renames(bob: Client) -> None:
    project = make_project(labels=1, images=2)
    label = project.labels.get()
    asked = html_of(bob.get(of_label("rename_label", label), headers=HTMX))
    assert 'value="label-0"' in asked and "data-rename-cancel" in asked

    response = bob.post(of_label("rename_label", label), {"name": "rose"}, headers=HTMX)
    label.refresh_from_db()
    assert label.name == "rose" and "“label-0” renamed to “rose”." in html_of(response)
    assert LabelEvent.objects.get().kind == LabelEvent.Kind.RENAME_LABEL


def test_renaming_works_without_htmx(bob: Client) -> None:
    project = make_project(labels=1, images=1)
    label = project.labels.get()
    assert "<!DOCTYPE html>" in html_of(bob.get(of_label("rename_label", label)))
    assert bob.post(of_label("rename_label", label), {"name": "rose"}).status_code == 303


def test_deleting_asks_first_and_says_how_many_images_lose_the_label(bob: Client) -> None:
    project = make_project(labels=2, images=2, is_multi_label=True)
    label = project.labels.get(name="label-0")
    make_image(project, 100, list(project.labels.all()))

    asked = html_of(bob.get(of_label("delete_label", label), headers=HTMX))
    assert "3 images lose it. 2 of them have no other label and become unlabeled." in asked
    assert project.labels.count() == 2

    response = html_of(bob.post(of_label("delete_label", label), headers=HTMX))
    assert "“label-0” deleted and removed from 3 images." in response
    assert project.images.labeled().count() == 3 and project.labels.count() == 1


def test_the_question_has_the_right_words_for_one_and_for_all(bob: Client) -> None:
    project = make_project(labels=1, images=1)
    label = project.labels.get()
    question = html_of(bob.get(of_label("delete_label", label), headers=HTMX))
    assert "1 image loses it. It has no other label and becomes unlabeled." in question
    make_image(project, 50, [label])
    question = html_of(bob.get(of_label("delete_label", label)))
    assert "2 images lose it. They have no other label and become unlabeled." in question
    empty = Label.objects.create(project=project, name="empty", position=5)
    assert "No image has it." in html_of(bob.get(of_label("delete_label", empty)))


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


# --- look, order, merging ---


def test_colour_and_key_are_changed_and_a_taken_key_can_be_swapped(bob: Client) -> None:
    project = make_project(labels=2, images=1)
    label = project.labels.get(name="label-0")
    asked = html_of(bob.get(of_label("edit_label", label), headers=HTMX))
    assert "Label “label-0”" in asked and 'value="1"' in asked
    refused = bob.post(of_label("edit_label", label), {"colour": 5, "hot_key": "2"}, headers=HTMX)
    assert refused.status_code == 422 and "The key 2 belongs to “label-1”" in html_of(refused)
    swapped = bob.post(of_label("edit_label", label), {"colour": 5, "hot_key": "2", "swap": 1}, headers=HTMX)
    assert swapped.status_code == 200 and "changed." in html_of(swapped)
    label.refresh_from_db()
    assert (label.colour, label.hot_key) == (5, "2")
    assert (
        bob.post(of_label("edit_label", label), {"colour": 5, "hot_key": "Q"}, headers=HTMX).status_code
        == 200
    )
    label.refresh_from_db()
    assert label.hot_key == "q"


@pytest.mark.parametrize(
    "wrong", [{"colour": 99}, {"colour": 1, "hot_key": "!"}, {"colour": 1, "hot_key": "ab"}]
)
def test_an_impossible_look_is_refused(bob: Client, wrong: dict) -> None:
    label = make_project(labels=1, images=1).labels.get()
    assert bob.post(of_label("edit_label", label), wrong, headers=HTMX).status_code == 422
    label.refresh_from_db()
    assert (label.colour, label.hot_key) == (0, "1")


def test_labels_are_moved_and_merged(bob: Client) -> None:
    project = make_project(labels=2, images=2)
    first, second = project.labels.all()
    bob.post(of_label("move_label", second), {"to": "up"}, headers=HTMX)
    assert [label.name for label in project.labels.all()] == ["label-1", "label-0"]
    response = bob.post(of_label("merge_label", first), {"into": second.pk}, headers=HTMX)
    assert "“label-0” merged into “label-1”: 2 images." in html_of(response)
    assert project.labels.get().annotations.count() == 4


def test_merging_into_nothing_itself_or_a_stranger_is_refused(bob: Client) -> None:
    label = make_project(labels=2, images=1).labels.first()
    stranger = make_project("other", labels=1, images=1).labels.get()
    for into in ("", label.pk, stranger.pk, "x"):
        response = bob.post(of_label("merge_label", label), {"into": into}, headers=HTMX)
        assert response.status_code == 422 and "field-error" in html_of(response)
    assert label.project.labels.count() == 2


def test_a_manager_deletes_a_label_with_images_and_their_files_at_once(alice: Client, bob: Client) -> None:
    project = make_project(labels=0)
    files = [ContentFile(picture_bytes(seed), f"{seed}.png") for seed in (4321, 4322)]
    first, second = (outcome.image for outcome in add_images(project, files, make_user("bob")))
    actions.apply(project, [first.pk], add=["roses"], by=make_user("bob"))
    actions.apply(project, [second.pk], add=["tulips"], by=make_user("bob"))
    address = reverse("delete_label", args=[project.pk, project.labels.get(name="roses").pk])
    assert "and their files" not in html_of(bob.get(address))
    assert bob.post(address, {"mode": "files"}).status_code == 403
    assert project.images.count() == 2 and "deleted permanently" in html_of(alice.get(address))

    answer = alice.post(address, {"mode": "files"}, headers={"HX-Request": "true"})

    assert "1 image with its file were deleted for good" in html_of(answer)
    assert list(project.images.all()) == [second]
    assert not default_storage.exists(first.file_name) and default_storage.exists(second.file_name)


def test_a_label_is_deleted_together_with_images_that_have_no_other(bob: Client) -> None:
    project = make_project(labels=2, images=2)
    label = project.labels.first()
    asked = html_of(bob.get(of_label("delete_label", label), headers=HTMX))
    assert "2 images go to the bin" in asked
    response = bob.post(of_label("delete_label", label), {"mode": "images"}, headers=HTMX)
    assert "2 images moved to the bin." in html_of(response)
    assert project.images.binned().count() == 2 and project.labels.count() == 1
    other = project.labels.get()
    assert bob.post(of_label("delete_label", other), {"mode": "everything"}, headers=HTMX).status_code == 422


def test_without_a_script_the_dialog_is_a_page(bob: Client) -> None:
    label = make_project(labels=2, images=1).labels.first()
    assert "<!DOCTYPE html>" in html_of(bob.get(of_label("edit_label", label)))
    assert bob.post(of_label("edit_label", label), {"colour": 4, "hot_key": ""}).status_code == 303
