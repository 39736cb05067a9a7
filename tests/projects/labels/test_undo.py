"""Undo of labeling actions: images that nobody changed since, and the number of the others."""

from __future__ import annotations

import pytest

from projects.labels import actions
from projects.labels.actions import CannotUndo
from projects.models import Annotation, AnnotationSource, LabelEvent
from tests.factories import make_image, make_project
from tests.projects.labels.test_actions import ann, bob, ids, labels_of

__all__ = ["ann", "bob"]
pytestmark = pytest.mark.django_db


def test_undo_restores_what_was_there_and_writes_an_event(bob: object, ann: object) -> None:
    project = make_project(labels=2, images=1, unlabeled=1)
    event = actions.apply(project, ids(project), add=["label-1"], by=bob)
    undone = actions.undo(event, ann)

    assert labels_of(project) == [["label-0"], ["label-1"], []]
    assert (undone.restored, undone.skipped) == (2, 0)
    assert undone.event.undoes == event and undone.event.by == ann and undone.event.kind == "undo"
    assert undone.event.changes[0] == {"image": ids(project)[0], "from": ["label-1"], "to": ["label-0"]}


def test_undo_leaves_images_that_somebody_labeled_since(bob: object, ann: object) -> None:
    project = make_project(labels=0, unlabeled=3)
    event = actions.apply(project, ids(project), add=["rose"], by=bob)
    actions.apply(project, ids(project)[:1], add=["tulip"], by=ann)
    undone = actions.undo(event, bob)

    assert labels_of(project) == [["tulip"], [], []]
    assert (undone.restored, undone.skipped) == (2, 1)


def test_undo_follows_a_label_that_was_renamed_since(bob: object) -> None:
    project = make_project(labels=1, images=1)
    event = actions.apply(project, ids(project), add=["tulip"], by=bob)
    actions.rename_label(project.labels.get(name="tulip"), "Tulipa", bob)
    actions.rename_label(project.labels.get(name="label-0"), "Rosa", bob)
    assert actions.undo(event, bob).restored == 1
    assert labels_of(project) == [["Rosa"]]


def test_undo_makes_a_label_again_that_was_deleted_since(bob: object) -> None:
    project = make_project(labels=1, images=1)
    event = actions.apply(project, ids(project), add=["tulip"], by=bob)
    actions.delete_label(project.labels.get(name="label-0"), bob)
    assert actions.undo(event, bob).restored == 1
    assert labels_of(project) == [["label-0"]]


def test_undo_leaves_images_whose_label_was_deleted_since(bob: object) -> None:
    project = make_project(labels=0, unlabeled=1)
    event = actions.apply(project, ids(project), add=["tulip"], by=bob)
    actions.delete_label(project.labels.get(), bob)
    undone = actions.undo(event, bob)
    assert (undone.restored, undone.skipped) == (0, 1)


def test_a_action_is_taken_back_once(bob: object) -> None:
    project = make_project(labels=0, unlabeled=1)
    event = actions.apply(project, ids(project), add=["rose"], by=bob)
    undone = actions.undo(event, bob)
    with pytest.raises(CannotUndo, match="already"):
        actions.undo(event, bob)
    with pytest.raises(CannotUndo, match="cannot be undone"):
        actions.undo(undone.event, bob)


def test_the_last_action_is_the_persons_own_and_not_yet_taken_back(bob: object, ann: object) -> None:
    project = make_project(labels=0, unlabeled=2)
    first = actions.apply(project, ids(project), add=["a"], by=bob)
    second = actions.apply(project, ids(project), add=["b"], by=bob)
    third = actions.apply(project, ids(project), add=["c"], by=ann)

    assert actions.last_action(project, ann) == third
    actions.undo(third, ann)
    assert actions.last_action(project, ann) is None
    assert actions.last_action(project, bob) == second
    actions.undo(second, bob)
    assert actions.last_action(project, bob) == first
    actions.undo(first, bob)
    assert labels_of(project) == [[], []]


def test_undoing_a_rename_gives_the_old_name_back(bob: object) -> None:
    project = make_project(labels=1, images=1)
    event = actions.rename_label(project.labels.get(), "rose", bob)
    actions.undo(event, bob)
    assert labels_of(project) == [["label-0"]]


def test_undoing_a_rename_is_refused_when_the_name_is_taken_or_changed_again(bob: object) -> None:
    project = make_project(labels=1, images=1)
    event = actions.rename_label(project.labels.get(), "rose", bob)
    actions.ensure_labels(project, ["label-0"])
    with pytest.raises(CannotUndo, match="Another label"):
        actions.undo(event, bob)
    actions.rename_label(project.labels.get(name="rose"), "tulip", bob)
    with pytest.raises(CannotUndo, match="renamed or deleted since"):
        actions.undo(event, bob)
    assert LabelEvent.objects.filter(kind="undo").count() == 0


def test_undoing_a_label_deletion_brings_it_back_with_who_and_when(bob: object, ann: object) -> None:
    project = make_project(labels=3, images=2)
    label = project.labels.get(name="label-1")
    label.annotations.update(by=ann, source=AnnotationSource.IMPORT, confidence=0.5)
    before = list(Annotation.objects.filter(label=label).order_by("image_id").values_list("image_id", "at"))
    event = actions.delete_label(label, bob)
    undone = actions.undo(event, bob)

    again = project.labels.get(name="label-1")
    assert (again.position, again.colour) == (1, 1)
    assert (undone.restored, undone.skipped) == (2, 0)
    rows = Annotation.objects.filter(label=again).order_by("image_id")
    assert list(rows.values_list("image_id", "at")) == before
    assert {(row.by, row.source, row.confidence) for row in rows} == {(ann, AnnotationSource.IMPORT, 0.5)}
    assert labels_of(project)[2:4] == [["label-1"], ["label-1"]]


def test_undoing_a_label_deletion_leaves_images_labeled_since(bob: object) -> None:
    project = make_project(labels=2, images=2)
    event = actions.delete_label(project.labels.get(name="label-0"), bob)
    actions.apply(project, ids(project)[:1], add=["label-1"], by=bob)
    undone = actions.undo(event, bob)
    assert (undone.restored, undone.skipped) == (1, 1)
    assert labels_of(project) == [["label-1"], ["label-0"], ["label-1"], ["label-1"]]


def test_undoing_a_label_deletion_keeps_the_other_labels_of_an_image(bob: object) -> None:
    project = make_project(labels=2, images=0, is_multi_label=True)
    make_image(project, 1, list(project.labels.all()))
    event = actions.delete_label(project.labels.get(name="label-0"), bob)
    actions.undo(event, bob)
    assert labels_of(project) == [["label-0", "label-1"]]


def test_undoing_a_label_deletion_uses_a_label_made_anew(bob: object) -> None:
    project = make_project(labels=1, images=1)
    event = actions.delete_label(project.labels.get(), bob)
    [anew] = actions.ensure_labels(project, ["Label-0"])
    actions.undo(event, bob)
    assert labels_of(project) == [["Label-0"]] and project.labels.get() == anew


def test_undoing_a_deletion_of_images_restores_those_still_in_the_bin(bob: object) -> None:
    project = make_project(labels=1, images=3)
    event = actions.delete_images(project, ids(project), bob)
    actions.restore_images(project, ids(project)[:1], bob)
    undone = actions.undo(event, bob)
    assert (undone.restored, undone.skipped) == (2, 1)
    assert project.images.alive().count() == 3


def test_undoing_a_restoration_puts_images_back_into_the_bin(bob: object) -> None:
    project = make_project(labels=1, images=2)
    actions.delete_images(project, ids(project), bob)
    event = actions.restore_images(project, ids(project), bob)
    actions.undo(event, bob)
    assert project.images.alive().count() == 0
