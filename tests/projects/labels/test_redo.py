"""Undo and redo as a chain, and the history that shows them."""

from __future__ import annotations

import random

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from projects.labels import actions, suggestions
from projects.models import Image, LabelEvent, Project
from tests.factories import make_project, make_user
from tests.pages import html_of
from tests.projects.views.test_label_data import HTMX

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
Kind = LabelEvent.Kind
KINDS = ("label", "take", "confirm", "rename", "look", "delete", "wide", "merge", "bin", "back")


def state(project: Project) -> list[object]:
    """Labels and bin state of every image. A label that was created by its name stays."""
    images = project.images.order_by("pk").prefetch_related("annotations__label")
    return [
        (
            image.pk,
            sorted(carried.label.name for carried in image.annotations.all()),
            image.is_labeled,
            image.deleted_at is None,
        )
        for image in images
    ]


def ids(project: Project) -> list[int]:
    return list(project.images.order_by("pk").values_list("pk", flat=True))


def random_action(project: Project, chance: random.Random, by: object) -> None:
    """One random action with the existing labels; some change nothing."""
    labels = list(project.labels.all())
    some = chance.sample(ids(project), 3)
    kind = chance.choice(
        ["label", "take", "confirm", "rename", "look", "delete", "wide", "merge", "bin", "back"]
    )
    if kind == "label" or len(labels) < 2:
        actions.apply(project, some, add=[chance.choice(labels)], by=by)
    elif kind == "take":
        actions.apply(project, some, remove=[chance.choice(labels)], by=by)
    elif kind == "confirm":
        project.images.unlabeled().update(suggestion=chance.choice(labels), confidence=0.9)
        suggestions.confirm_suggestions(project, some, by)
    elif kind == "rename":
        actions.rename_label(chance.choice(labels), f"n{chance.randrange(10**6)}", by)
    elif kind == "look":
        key = chance.choice("xyz")
        actions.edit_label(chance.choice(labels), by, colour=chance.randrange(10), hot_key=key, swap=True)
    elif kind in ("delete", "wide"):
        actions.delete_label(chance.choice(labels), by, with_images=kind == "wide")
    elif kind == "merge":
        label, into = chance.sample(labels, 2)
        actions.merge_labels(label, into, by)
    elif kind == "bin":
        actions.delete_images(project, some, by)
    else:
        actions.restore_images(project, some, by)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("is_multi_label", [False, True])
def test_taking_everything_back_restores_the_beginning_and_doing_it_again_the_end(
    seed: int, is_multi_label: bool
) -> None:
    project, bob = (
        make_project(labels=6, images=1, unlabeled=3, is_multi_label=is_multi_label),
        make_user("bob"),
    )
    chance, before = random.Random(seed), state(project)
    for _ in range(12):
        random_action(project, chance, bob)
    after = state(project)
    for _ in range(2):
        while event := actions.last_action(project, bob):
            actions.undo(event, bob)
        assert state(project) == before
        while event := actions.last_undo(project, bob):
            actions.redo(event, bob)
        assert state(project) == after


def test_a_new_action_ends_what_could_be_done_again() -> None:
    project, bob = make_project(labels=2, images=1), make_user("bob")
    first, second = ids(project)
    actions.undo(actions.apply(project, [first], add=["label-1"], by=bob), bob)
    assert actions.last_undo(project, bob) is not None
    actions.apply(project, [second], add=["label-0"], by=bob)
    assert actions.last_undo(project, bob) is None


def test_only_what_was_taken_back_is_done_again_and_only_once() -> None:
    project, bob = make_project(labels=2, images=1), make_user("bob")
    event = actions.apply(project, ids(project)[:1], add=["label-1"], by=bob)
    with pytest.raises(actions.CannotUndo):
        actions.redo(event, bob)
    back = actions.undo(event, bob).event
    with pytest.raises(actions.CannotUndo):
        actions.undo(back, bob)
    actions.redo(back, bob)
    with pytest.raises(actions.CannotUndo, match="redone already"):
        actions.redo(back, bob)


def test_what_somebody_changed_since_is_not_done_again() -> None:
    project, bob, alice = make_project(labels=2, images=2), make_user("bob"), make_user("alice")
    event = actions.apply(project, ids(project), add=["label-1"], by=bob)
    back = actions.undo(event, bob).event
    actions.apply(project, ids(project)[:1], add=["other"], by=alice)
    undone = actions.redo(back, bob)
    assert (undone.restored, undone.skipped) == (1, 1)


# --- in the pages ---


def test_ctrl_y_does_again_what_was_taken_back(bob: Client) -> None:
    project = make_project(labels=1, images=0, unlabeled=2)
    actions.apply(project, ids(project), add=["label-0"], by=make_user("bob"))
    url = reverse("redo_labeling", args=[project.pk])
    assert "You have nothing to redo" in html_of(bob.post(url, headers=HTMX))
    bob.post(reverse("undo_labeling", args=[project.pk]), headers=HTMX)
    assert project.images.labeled().count() == 0
    assert "Redone for 2 images." in html_of(bob.post(url, headers=HTMX))
    assert project.images.labeled().count() == 2


def test_the_history_says_who_did_what_and_takes_it_back(bob: Client, alice: Client) -> None:
    project = make_project(labels=2, images=2)
    event = actions.apply(project, ids(project)[:2], add=["label-1"], by=make_user("bob"))
    page = html_of(bob.get(reverse("history", args=[project.pk])))
    assert "2 images labeled “label-1”" in page and "bob" in page and "Undo" in page
    undo = reverse("undo_event", args=[project.pk, event.pk])
    assert "Undone for 2 images." in html_of(alice.post(undo, headers=HTMX))
    page = html_of(bob.get(reverse("history", args=[project.pk])))
    assert "undone by alice" in page and "Redo" in page
    again = reverse("undo_event", args=[project.pk, LabelEvent.objects.get(kind=Kind.UNDO).pk])
    assert bob.post(again, headers=HTMX).status_code == 200
    assert bob.post(again, headers=HTMX).status_code == 409
    assert project.images.get(pk=ids(project)[0]).annotations.get().label.name == "label-1"


def test_a_viewer_reads_the_history_and_takes_nothing_back(vera: Client) -> None:
    project = make_project(labels=2, images=1)
    event = actions.apply(project, ids(project)[:1], add=["label-1"], by=make_user("bob"))
    assert "/undo/" not in html_of(vera.get(reverse("history", args=[project.pk]), headers=HTMX))
    assert vera.post(reverse("undo_event", args=[project.pk, event.pk])).status_code == 403


def test_the_history_of_one_image_names_every_change_of_its_labels(vera: Client) -> None:
    project, bob = make_project(labels=2, images=1), make_user("bob")
    first, second = ids(project)
    actions.apply(project, [first, second], add=["label-1"], by=bob)
    actions.delete_images(project, [first], bob)
    text = html_of(vera.get(reverse("image_history", args=[project.pk, first]), headers=HTMX))
    assert "label-0 → label-1" in text and "Deleted images" in text and text.count('history-line"') == 3


def test_the_history_filters_and_pages_at_a_constant_price(bob: Client) -> None:
    project = make_project(labels=2, images=2, with_files=False)
    url = reverse("history", args=[project.pk])

    def price(query: str = "") -> int:
        with CaptureQueriesContext(connection) as queries:
            assert bob.get(f"{url}?{query}").status_code == 200
        return len(queries)

    for n in range(3):
        actions.apply(project, ids(project)[:2], add=[f"b{n}"], by=make_user("bob"))
    price()
    few = price()
    for n in range(40):
        event = actions.apply(project, ids(project)[:3], add=[f"x{n}"], by=make_user("alice"))
        if n % 3 == 0:
            actions.undo(event, make_user("alice"))
    assert price() <= few + 3
    history = bob.get(url).context["history"]
    older = bob.get(f"{url}?{history.older_address}").context["history"]
    assert len(history.lines) == 30 and older.lines[0].event.pk < history.lines[-1].event.pk
    only = bob.get(f"{url}?by={make_user('bob').pk}&kind=label").context["history"].lines
    assert {line.event.by.username for line in only} == {"bob"} and len(only) == 3
    assert bob.get(f"{url}?by=x&kind=nonsense&before=-1").status_code == 200


# --- labels ---


def test_merging_moves_every_image_and_keeps_who_labeled_it(bob: Client) -> None:
    project = make_project(labels=2, images=2, is_multi_label=True)
    one, into = project.labels.all()
    both = ids(project)[0]
    actions.apply(project, [both], add=[into], by=make_user("alice"))
    event = actions.merge_labels(one, into, make_user("bob"))
    assert [label.name for label in project.labels.all()] == ["label-1"]
    assert Image.objects.filter(annotations__label=into).count() == 4 and len(event.changes) == 2
    actions.undo(event, make_user("bob"))
    assert project.labels.get(name="label-0").annotations.count() == 2
    assert project.labels.get(name="label-1").annotations.count() == 3


def test_a_key_of_another_label_is_refused_or_swapped() -> None:
    project, bob = make_project(labels=2, images=0), make_user("bob")
    label = project.labels.first()
    with pytest.raises(actions.ValidationError, match="The key 2 belongs to “label-1”"):
        actions.edit_label(label, bob, colour=3, hot_key="2")
    event = actions.edit_label(label, bob, colour=3, hot_key="2", swap=True)
    assert set(project.labels.values_list("name", "colour", "hot_key")) == {
        ("label-0", 3, "2"),
        ("label-1", 1, "1"),
    }
    actions.undo(event, bob)
    assert set(project.labels.values_list("name", "hot_key")) == {("label-0", "1"), ("label-1", "2")}


def test_deleting_a_label_with_its_images_puts_them_into_the_bin_and_back() -> None:
    project, bob = make_project(labels=2, images=2), make_user("bob")
    event = actions.delete_label(project.labels.first(), bob, with_images=True)
    assert project.images.binned().count() == 2 and project.images.alive().count() == 2
    actions.undo(event, bob)
    assert project.images.labeled().count() == 4 and project.labels.count() == 2


def test_labels_move_up_and_down() -> None:
    project = make_project(labels=3, images=0)
    last = project.labels.get(name="label-2")
    actions.move_label(last, -1)
    actions.move_label(project.labels.get(name="label-0"), -1)
    assert [label.name for label in project.labels.all()] == ["label-0", "label-2", "label-1"]
