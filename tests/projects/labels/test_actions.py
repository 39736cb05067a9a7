"""Labeling actions: rows, counts, events and undo."""

from __future__ import annotations

import threading

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from projects.labels import actions
from projects.labels.parts import PART_IMAGES, count_images
from projects.models import Annotation, AnnotationSource, Image, Label, LabelEvent, Project
from projects.models.label import MAX_LABELS
from tests.factories import make_image, make_project, make_user

pytestmark = pytest.mark.django_db
Kind = LabelEvent.Kind


@pytest.fixture
def bob(db: None) -> object:
    return make_user("bob")


@pytest.fixture
def ann(db: None) -> object:
    return make_user("ann")


def ids(project: Project) -> list[int]:
    return list(project.images.order_by("pk").values_list("pk", flat=True))


def labels_of(project: Project) -> list[list[str]]:
    """Label names per image, which `is_labeled` must match."""
    names_of_images = []
    for image in project.images.order_by("pk").prefetch_related("annotations__label"):
        names = sorted(annotation.label.name for annotation in image.annotations.all())
        assert image.is_labeled == bool(names)
        names_of_images.append(names)
    return names_of_images


# --- labels ---


def test_a_project_has_a_limit_of_labels_and_a_thousand_are_made_by_few_statements() -> None:
    project = make_project(labels=0)
    with CaptureQueriesContext(connection) as queries:
        labels = actions.ensure_labels(project, [f"l{n}" for n in range(MAX_LABELS)])
    assert len(labels) == project.labels.count() == MAX_LABELS
    assert len(queries) < 20
    with pytest.raises(ValidationError, match="at most 2,000 labels"):
        actions.ensure_labels(project, ["one", "L7", "two", "ONE"])
    assert project.labels.count() == MAX_LABELS


def test_labels_are_made_once_whatever_their_case_and_get_keys_and_colours_in_turn() -> None:
    project = make_project(labels=0)
    labels = actions.ensure_labels(project, ["roses", "Daisy", " ROSES ", "two  words"])

    assert [label.name for label in labels] == ["roses", "Daisy", "two words"]
    assert [label.hot_key for label in labels] == ["1", "2", "3"]
    assert [label.colour for label in labels] == [0, 1, 2]
    assert actions.ensure_labels(project, ["DAISY"]) == [labels[1]]


def test_later_labels_have_the_first_colours_again_and_letters_as_keys_until_none_is_left() -> None:
    labels = actions.ensure_labels(make_project(labels=0), [f"l{n}" for n in range(37)])
    assert labels[10].colour == 0
    assert [labels[n].hot_key for n in (8, 9, 10, 35, 36)] == ["9", "0", "a", "z", ""]


def test_a_new_label_takes_the_key_that_a_deleted_one_left(bob: object) -> None:
    project = make_project(labels=3, images=0)
    actions.delete_label(project.labels.get(name="label-1"), bob)
    [label] = actions.ensure_labels(project, ["new"])
    assert label.hot_key == "2"


def keys_of(project: Project) -> dict[str, str]:
    return dict(project.labels.values_list("name", "hot_key"))


def test_a_name_of_one_digit_or_letter_has_its_own_key() -> None:
    one_by_one = make_project(labels=0)
    for name in "0123456789":
        actions.ensure_labels(one_by_one, [name])
    assert keys_of(one_by_one) == {digit: digit for digit in "0123456789"}

    at_once = make_project("at once", labels=0)
    actions.ensure_labels(at_once, ["cat", "2", "B", "dog", "1", "é", "ß"])
    assert keys_of(at_once) == {"cat": "3", "2": "2", "B": "b", "dog": "4", "1": "1", "é": "5", "ß": "6"}


def test_a_name_whose_key_is_taken_gets_the_next_free_one() -> None:
    project = make_project(labels=2, images=0)  # they have the keys 1 and 2
    actions.ensure_labels(project, ["1", "7"])
    assert keys_of(project) == {"label-0": "1", "label-1": "2", "1": "3", "7": "7"}


def test_the_last_keys_are_given_although_a_name_of_the_same_request_has_them() -> None:
    project = make_project(labels=35, images=0)
    actions.ensure_labels(project, ["fox", "z"])
    assert (keys_of(project)["fox"], keys_of(project)["z"]) == ("z", "")


def test_renaming_to_one_digit_brings_its_key_while_it_is_free_and_undo_gives_it_back(bob: object) -> None:
    project = make_project(labels=2, images=0)
    event = actions.rename_label(project.labels.get(name="label-0"), "8", bob)
    assert keys_of(project) == {"8": "8", "label-1": "2"}
    undone = actions.undo(event, bob)
    assert keys_of(project) == {"label-0": "1", "label-1": "2"}
    actions.redo(undone.event, bob)
    assert keys_of(project) == {"8": "8", "label-1": "2"}
    actions.rename_label(project.labels.get(name="label-1"), "1", bob)
    actions.rename_label(project.labels.get(name="8"), "eight", bob)
    assert keys_of(project) == {"eight": "8", "1": "1"}
    actions.rename_label(project.labels.get(name="eight"), "1st", bob)
    assert keys_of(project) == {"1st": "8", "1": "1"}


def test_undoing_a_rename_leaves_a_key_that_another_label_has_now(bob: object) -> None:
    project = make_project(labels=1, images=0)
    event = actions.rename_label(project.labels.get(), "8", bob)
    actions.ensure_labels(project, ["dog"])
    actions.undo(event, bob)
    assert keys_of(project) == {"label-0": "8", "dog": "1"}


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a,b", "a;b", "x" * 65])
def test_an_impossible_label_name_changes_nothing(name: str, bob: object) -> None:
    project = make_project(labels=0, unlabeled=1)
    with pytest.raises(ValidationError):
        actions.apply(project, ids(project), add=["fine", name], by=bob)
    assert not Label.objects.exists() and not LabelEvent.objects.exists()


# --- apply ---


def test_labeling_writes_annotations_and_one_event(bob: object) -> None:
    project = make_project(labels=0, unlabeled=3)
    event = actions.apply(project, ids(project)[:2], add=["roses"], by=bob)

    assert labels_of(project) == [["roses"], ["roses"], []]
    assert event.kind == Kind.LABEL and event.by == bob
    assert event.changes == [{"image": pk, "from": [], "to": ["roses"]} for pk in ids(project)[:2]]
    annotation = Annotation.objects.first()
    assert (annotation.by, annotation.source) == (bob, AnnotationSource.HUMAN)


def test_with_one_label_per_image_the_new_one_takes_the_place(bob: object) -> None:
    project = make_project(labels=2, images=1)
    event = actions.apply(project, ids(project), add=["label-1"], by=bob)

    assert labels_of(project) == [["label-1"], ["label-1"]]
    assert event.changes == [{"image": ids(project)[0], "from": ["label-0"], "to": ["label-1"]}]


def test_with_one_label_per_image_two_at_once_are_refused(bob: object) -> None:
    project = make_project(labels=2, images=1)
    with pytest.raises(ValidationError, match="one label"):
        actions.apply(project, ids(project), add=["label-0", "new"], by=bob)
    assert labels_of(project) == [["label-0"], ["label-1"]] and Label.objects.count() == 2


def test_with_several_labels_per_image_labels_are_added_and_removed_one_by_one(bob: object) -> None:
    project = make_project(labels=2, images=1, unlabeled=1, is_multi_label=True)
    actions.apply(project, ids(project), add=["label-1", "extra"], remove=["label-0"], by=bob)
    assert labels_of(project) == [["extra", "label-1"]] * 3


def test_removing_the_only_label_makes_an_image_unlabeled(bob: object) -> None:
    project = make_project(labels=1, images=2)
    actions.apply(project, ids(project)[:1], remove=[project.labels.get()], by=bob)
    assert labels_of(project) == [[], ["label-0"]]


def test_nothing_to_change_writes_no_event(bob: object) -> None:
    project = make_project(labels=1, images=2)
    assert actions.apply(project, ids(project), add=["LABEL-0"], by=bob) is None
    assert actions.apply(project, ids(project), remove=["unknown"], by=bob) is None
    assert not LabelEvent.objects.exists()


def test_images_of_other_projects_and_of_the_bin_are_left_out(bob: object) -> None:
    project, other = make_project(labels=0, unlabeled=2), make_project("other", labels=0, unlabeled=1)
    actions.delete_images(project, ids(project)[:1], bob)
    event = actions.apply(project, [*ids(project), *ids(other), 10**9], add=["x"], by=bob)
    assert labels_of(project) == [[], ["x"]] and labels_of(other) == [[]]
    assert len(event.changes) == 1


def test_the_number_of_queries_does_not_grow_with_the_images(bob: object) -> None:
    project = make_project(labels=1, images=1, unlabeled=160)

    def queries(image_ids: list[int], name: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            actions.apply(project, image_ids, add=[name], by=bob)
        return len(captured)

    assert queries(ids(project)[1:3], "label-0") == queries(ids(project)[3:], "label-0") <= 13


def test_five_thousand_images_are_one_action_in_short_transactions_of_few_queries(bob: object) -> None:
    project = make_project(labels=1, images=0)
    Image.objects.bulk_create(
        Image(project=project, sha256=f"{n:064d}", name="x", format="PNG", width=1, height=1, size_bytes=1)
        for n in range(5_001)
    )
    with CaptureQueriesContext(connection) as captured:
        event = actions.apply(project, ids(project), add=["label-0"], by=bob)
    assert count_images(event) == 5_001 and Image.objects.labeled().count() == 5_001
    assert len(event.changes) <= PART_IMAGES
    assert len(captured) < 26 * 20  # 26 parts


# --- two people ---


def test_two_people_on_several_labels_lose_nothing(bob: object, ann: object) -> None:
    project = make_project(labels=0, unlabeled=1, is_multi_label=True)
    actions.apply(project, ids(project), add=["bob's"], by=bob)
    actions.apply(project, ids(project), add=["ann's"], by=ann)
    assert labels_of(project) == [["ann's", "bob's"]]


def test_two_people_on_one_label_the_last_wins_and_history_has_both(bob: object, ann: object) -> None:
    project = make_project(labels=0, unlabeled=1)
    actions.apply(project, ids(project), add=["rose"], by=bob)
    actions.apply(project, ids(project), add=["tulip"], by=ann)
    assert labels_of(project) == [["tulip"]]
    history = [(event.by.username, event.changes[0]["to"]) for event in LabelEvent.objects.order_by("pk")]
    assert history == [("bob", ["rose"]), ("ann", ["tulip"])]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_multi_label", [False, True])
def test_four_threads_at_once_keep_rows_and_history_consistent(is_multi_label: bool) -> None:
    project = make_project(labels=0, unlabeled=30, is_multi_label=is_multi_label)
    everything = ids(project)
    start = threading.Barrier(4)
    problems: list[BaseException] = []

    def work(name: str) -> None:
        try:
            start.wait()
            for shift in range(5):
                actions.apply(project, everything[shift::2], add=[name], by=None)
        except BaseException as problem:
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(f"label {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not problems
    names = sorted(project.labels.values_list("name", flat=True))
    assert names == [f"label {n}" for n in range(4)]
    assert sorted(project.labels.values_list("position", flat=True)) == [0, 1, 2, 3]
    labels = labels_of(project)
    if is_multi_label:
        assert labels == [names] * 30
    else:
        assert all(len(one) == 1 for one in labels)
        last = {c["image"]: c["to"] for e in LabelEvent.objects.order_by("pk") for c in e.changes}
        assert [last[pk] for pk in everything] == labels


# --- rename, delete ---


def test_renaming_keeps_images_and_writes_an_event(bob: object) -> None:
    project = make_project(labels=1, images=2)
    event = actions.rename_label(project.labels.get(), " rose ", bob)
    assert labels_of(project) == [["rose"], ["rose"]]
    label = project.labels.get()
    assert event.details == {"label": label.pk, "from": "label-0", "to": "rose", "keys": ["1", "1"]}


def test_renaming_may_change_the_case_only(bob: object) -> None:
    project = make_project(labels=1, images=1)
    actions.rename_label(project.labels.get(), "LABEL-0", bob)
    assert project.labels.get().name == "LABEL-0"
    assert actions.rename_label(project.labels.get(), "LABEL-0", bob) is None


def test_renaming_to_a_taken_name_is_refused_whatever_the_case(bob: object) -> None:
    project = make_project(labels=2, images=1)
    with pytest.raises(ValidationError, match="already has a label “LABEL-1”"):
        actions.rename_label(project.labels.get(name="label-0"), "LABEL-1", bob)
    assert labels_of(project) == [["label-0"], ["label-1"]] and not LabelEvent.objects.exists()


def test_deleting_a_label_unlabels_its_images_also_in_the_bin(bob: object) -> None:
    project = make_project(labels=2, images=2)
    actions.delete_images(project, ids(project)[:1], bob)
    event = actions.delete_label(project.labels.get(name="label-0"), bob)
    assert labels_of(project) == [[], [], ["label-1"], ["label-1"]]
    assert [change["to"] for change in event.changes] == [[], []]
    assert not project.labels.filter(name="label-0").exists()


def test_deleting_a_label_keeps_the_other_labels_of_an_image(bob: object) -> None:
    project = make_project(labels=2, images=0, is_multi_label=True)
    make_image(project, 1, list(project.labels.all()))
    actions.delete_label(project.labels.get(name="label-0"), bob)
    assert labels_of(project) == [["label-1"]]


# --- the bin ---


def test_deleted_images_lie_in_the_bin_with_their_labels_and_come_back(bob: object) -> None:
    project = make_project(labels=1, images=3)
    event = actions.delete_images(project, ids(project)[:2], bob)

    assert project.images.alive().count() == 1
    image = Image.objects.get(pk=ids(project)[0])
    assert image.deleted_by == bob and image.deleted_at is not None and image.annotations.count() == 1
    assert event.kind == Kind.DELETE_IMAGES and len(event.changes) == 2
    assert actions.delete_images(project, ids(project)[:2], bob) is None

    actions.restore_images(project, ids(project), bob)
    assert project.images.alive().count() == 3
    assert Image.objects.get(pk=image.pk).deleted_by is None
    assert actions.restore_images(project, ids(project), bob) is None
