"""Setting images aside as test images: whole groups of duplicates, with undo, redo and history."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from projects.labels import actions, image_splits, parts
from projects.labels.event_text import describe_event
from projects.labels.history import History, ImageHistory
from projects.models import Image, LabelEvent, LabelEventImage, Project
from tests.factories import make_project, make_user

pytestmark = pytest.mark.django_db


def splits_of(project: Project) -> list[str]:
    return list(project.images.order_by("pk").values_list("split", flat=True))


def ids_of(images: Iterable[Image]) -> list[int]:
    return [image.pk for image in images]


def test_images_become_test_images_and_go_back_to_their_splits() -> None:
    project, bob = make_project(labels=1, images=4), make_user("bob")
    first, second, third, _ = images = list(project.images.order_by("pk"))
    Image.objects.filter(pk=first.pk).update(split="TRAIN")
    Image.objects.filter(pk=second.pk).update(split="EVAL")

    event = image_splits.keep_as_test(project, ids_of(images[:3]), bob)

    assert event is not None and splits_of(project) == ["TEST", "TEST", "TEST", ""]
    assert describe_event(event) == "3 images kept as test images"
    assert image_splits.changed_images(event) == {first.pk: "TRAIN", second.pk: "EVAL", third.pk: ""}

    undone = actions.undo(event, bob)
    assert (undone.restored, undone.skipped) == (3, 0)
    assert splits_of(project) == ["TRAIN", "EVAL", "", ""]

    redone = actions.redo(undone.event, bob)
    assert (redone.restored, splits_of(project)) == (3, ["TEST", "TEST", "TEST", ""])
    assert actions.undo(redone.event, bob).restored == 3
    assert splits_of(project) == ["TRAIN", "EVAL", "", ""]


def test_undo_leaves_images_whose_split_changed_since() -> None:
    project, bob = make_project(labels=1, images=2), make_user("bob")
    first, second = project.images.order_by("pk")
    kept = image_splits.keep_as_test(project, [first.pk, second.pk], bob)
    back = image_splits.use_for_training(project, [first.pk], bob)
    assert kept and back and splits_of(project) == ["", "TEST"]
    assert describe_event(back) == "1 image moved from the test images to training and validation"
    Image.objects.filter(pk=first.pk).update(split="TRAIN")  # as a publication would

    undone = actions.undo(kept, bob)

    assert (undone.restored, undone.skipped) == (1, 1)
    assert splits_of(project) == ["TRAIN", ""]


def test_duplicates_go_along_and_the_bin_and_other_projects_stay() -> None:
    project, other = make_project(labels=1, images=4), make_project("other", labels=1, images=1)
    first, second, third, fourth = project.images.order_by("pk")
    Image.objects.filter(pk__in=[first.pk, second.pk]).update(duplicate_group=first.pk)
    actions.delete_images(project, [fourth.pk], None)
    foreign = other.images.get()

    event = image_splits.keep_as_test(project, [first.pk, fourth.pk, foreign.pk, 10**9], None)

    assert event is not None and [change["image"] for change in event.changes] == [first.pk, second.pk]
    assert splits_of(project) == ["TEST", "TEST", "", ""] and splits_of(other) == [""]
    assert third.split == ""


def test_what_changes_nothing_writes_no_event() -> None:
    project = make_project(labels=1, images=2)
    ids = ids_of(project.images.all())
    assert image_splits.use_for_training(project, ids, None) is None
    assert image_splits.keep_as_test(project, ids, None) is not None
    before = LabelEvent.objects.count()
    assert image_splits.keep_as_test(project, ids, None) is None
    assert image_splits.keep_as_test(project, [], None) is None
    assert LabelEvent.objects.count() == before


def test_giving_back_leaves_training_and_validation_images_alone() -> None:
    project = make_project(labels=1, images=3)
    first, second, third = project.images.order_by("pk")
    for image, split in ((first, "TRAIN"), (second, "EVAL"), (third, "TEST")):
        Image.objects.filter(pk=image.pk).update(split=split)
    event = image_splits.use_for_training(project, [first.pk, second.pk, third.pk], None)
    assert event is not None and len(event.changes) == 1
    assert splits_of(project) == ["TRAIN", "EVAL", ""]


def test_a_large_action_is_one_line_of_the_history_and_one_undo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_IMAGES", 2)
    project, bob = make_project(labels=1, images=5), make_user("bob")
    event = image_splits.keep_as_test(project, ids_of(project.images.all()), bob)
    assert event is not None and LabelEvent.objects.filter(kind="set-split").count() == 3
    assert len(image_splits.changed_images(event)) == 5
    (line,) = History(project, {}).lines
    assert line.text == "5 images kept as test images"

    assert actions.undo(event, bob).restored == 5
    assert set(splits_of(project)) == {""}


def test_the_history_of_an_image_names_the_change_and_no_label() -> None:
    project = make_project(labels=1, images=1)
    image = project.images.get()
    image_splits.keep_as_test(project, [image.pk], make_user("bob"))
    (line,) = ImageHistory(image).lines
    assert (line.text, line.is_change) == ("Changed the split", False)
    assert LabelEventImage.objects.filter(image=image).count() == 1
    assert actions.last_action(project, make_user("bob")) is not None
