"""Large actions in several transactions: undone, redone and shown as one."""

from __future__ import annotations

import pytest

from projects.labels import actions, parts
from projects.labels.event_text import describe_event
from projects.labels.history import History
from projects.models import LabelEvent, Project
from tests.factories import make_project, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_IMAGES", 4)


def test_an_action_on_many_images_is_undone_and_redone_as_one() -> None:
    project, bob = make_project(labels=0, unlabeled=10), make_user("bob")
    ids = list(project.images.values_list("pk", flat=True))
    event = actions.apply(project, ids, add=["roses"], by=bob)
    assert event is not None
    assert [len(one.changes) for one in LabelEvent.objects.order_by("pk")] == [4, 4, 2]
    assert describe_event(event) == "10 images labeled “roses”"
    assert [row.text for row in History(project, {}).lines] == ["10 images labeled “roses”"]

    undone = actions.undo(actions.last_action(project, bob), bob)
    assert (undone.restored, undone.skipped) == (10, 0)
    assert not project.images.filter(is_labeled=True).exists()
    assert actions.last_action(project, bob) is None

    redone = actions.redo(actions.last_undo(project, bob), bob)
    assert redone.restored == 10
    assert project.images.filter(is_labeled=True).count() == 10
    assert actions.undo(redone.event, bob).restored == 10


def test_an_undo_that_was_interrupted_undoes_the_rest() -> None:
    project, bob = make_project(labels=0, unlabeled=10), make_user("bob")
    ids = list(project.images.values_list("pk", flat=True))
    event = actions.apply(project, ids, add=["roses"], by=bob)
    from projects.labels.undo import _reverse

    _reverse(event, bob, LabelEvent.Kind.UNDO, {})
    assert project.images.filter(is_labeled=True).count() == 8
    assert actions.undo(event, bob).restored == 8
    with pytest.raises(actions.CannotUndo, match="undone already"):
        actions.undo(event, bob)


def test_images_that_changed_since_are_skipped_in_every_part() -> None:
    project, bob = make_project(labels=0, unlabeled=10), make_user("bob")
    ids = list(project.images.values_list("pk", flat=True))
    event = actions.apply(project, ids, add=["roses"], by=bob)
    actions.apply(project, [ids[0], ids[9]], add=["tulips"], by=bob)
    undone = actions.undo(event, bob)
    assert (undone.restored, undone.skipped) == (8, 2)


def test_many_images_go_to_the_bin_and_come_back() -> None:
    project, bob = make_project(labels=1, images=10), make_user("bob")
    ids = list(project.images.values_list("pk", flat=True))
    event = actions.delete_images(project, ids, bob)
    assert event is not None and describe_event(event) == "10 images moved to the bin"
    assert not project.images.filter(deleted_at=None).exists()
    assert actions.undo(event, bob).restored == 10
    assert project.images.filter(deleted_at=None).count() == 10


@pytest.mark.parametrize("kind", ["merge", "delete", "delete with images"])
def test_a_label_on_many_images_is_merged_or_deleted_undone_and_redone(kind: str) -> None:
    project, bob = make_project(labels=2, images=10), make_user("bob")
    label, into = project.labels.all()
    project.images.update(suggestion=label)
    before = labels_of(project)

    if kind == "merge":
        event = actions.merge_labels(label, into, bob)
    else:
        event = actions.delete_label(label, bob, with_images="images" in kind)
    assert event is not None and len(parts.events_of_action(event)) == 3
    after = labels_of(project)
    assert [name.name for name in project.labels.all()] == ["label-1"]
    assert "10 images" in describe_event(event)
    assert len(History(project, {}).lines) == 1

    assert actions.undo(event, bob).restored == 10
    assert labels_of(project) == before
    assert project.labels.count() == 2
    assert not project.images.exclude(deleted_at=None).exists()

    actions.redo(actions.last_undo(project, bob), bob)
    assert labels_of(project) == after
    assert project.labels.count() == 1


def labels_of(project: Project) -> dict[int, list[str]]:
    return {
        image.pk: sorted(annotation.label.name for annotation in image.annotations.all())
        for image in project.images.filter(deleted_at=None)
    }
