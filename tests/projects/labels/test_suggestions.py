"""Confirming and rejecting suggestions are actions like any other."""

from __future__ import annotations

import pytest
from django.utils import timezone

from projects.labels import actions, suggestions
from projects.labels.seen_images import SeenImage
from projects.models import Annotation, AnnotationSource, Image, LabelEvent, Project, RejectedSuggestion
from tests.factories import make_project, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    """Four unlabeled images: label-0 is suggested for three, label-1 for one."""
    made = make_project(labels=2, images=1, unlabeled=4)
    for place, image in enumerate(made.images.unlabeled().order_by("pk")):
        label = made.labels.get(name="label-1" if place == 3 else "label-0")
        Image.objects.filter(pk=image.pk).update(suggestion=label, confidence=0.9 + place / 100)
    return made


def waiting(project: Project) -> list[int]:
    return list(project.images.unlabeled().order_by("pk").values_list("pk", flat=True))


def labels_of(ids: list[int]) -> list[list[str]]:
    return [
        list(Annotation.objects.filter(image_id=pk).order_by("pk").values_list("label__name", flat=True))
        for pk in ids
    ]


def test_each_image_gets_its_own_suggestion_in_one_action_that_can_be_taken_back(project: Project) -> None:
    ids, bob = waiting(project), make_user("bob")
    event = suggestions.confirm_suggestions(project, ids, bob).event

    assert event is not None and event.kind == LabelEvent.Kind.CONFIRM and len(event.changes) == 4
    assert labels_of(ids) == [["label-0"], ["label-0"], ["label-0"], ["label-1"]]
    row = Annotation.objects.get(image_id=ids[3])
    assert (row.source, row.by, row.confidence) == (AnnotationSource.SUGGESTION, bob, 0.93)
    assert not project.images.exclude(suggestion=None).exists()
    assert event.event_images.count() == 4

    actions.undo(event, bob)
    assert labels_of(ids) == [[], [], [], []] and waiting(project) == ids


def test_images_without_a_suggestion_labeled_or_deleted_meanwhile_are_left_out(project: Project) -> None:
    first, second, third, fourth = waiting(project)
    actions.apply(project, [first], add=["label-1"], by=None)
    Image.objects.filter(pk=second).update(suggestion=None)
    Image.objects.filter(pk=third).update(deleted_at=timezone.now())
    bob = make_user("bob")
    event = suggestions.confirm_suggestions(project, [first, second, third, fourth, 10**9], bob).event
    assert [change["image"] for change in event.changes] == [fourth]
    assert labels_of([first]) == [["label-1"]]
    assert suggestions.confirm_suggestions(project, [first, second, third], bob).event is None


def test_images_of_another_project_are_left_out(project: Project) -> None:
    other = make_project("other", labels=1, images=0, unlabeled=1)
    other.images.update(suggestion=other.labels.get(), confidence=1)
    assert suggestions.confirm_suggestions(project, waiting(other), make_user("bob")).event is None
    assert suggestions.reject_suggestions(project, waiting(other), make_user("bob")).rejected == 0


def test_with_several_labels_an_image_keeps_what_it_has(project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(is_multi_label=True)
    project.refresh_from_db()
    [first, *_] = waiting(project)
    event = suggestions.confirm_suggestions(project, [first], make_user("bob")).event
    assert event.changes == [{"image": first, "from": [], "to": ["label-0"]}]


def test_refusing_makes_room_for_another_suggestion(project: Project) -> None:
    ids, bob = waiting(project), make_user("bob")
    assert suggestions.reject_suggestions(project, ids[:2], bob).rejected == 2
    assert suggestions.reject_suggestions(project, ids[:2], bob).rejected == 0
    assert set(RejectedSuggestion.objects.values_list("image_id", "label__name")) == {
        (ids[0], "label-0"),
        (ids[1], "label-0"),
    }
    assert project.images.filter(suggestion=None, is_labeled=False).count() == 2
    assert LabelEvent.objects.count() == 0  # no label changed


# --- what was seen ---


def seen(project: Project, ids: list[int]) -> dict[int, SeenImage]:
    """What the page shows of unlabeled images at this moment."""
    images = Image.objects.filter(pk__in=ids)
    return {image.pk: SeenImage(frozenset(), image.suggestion_id) for image in images}


def test_images_that_are_no_longer_as_they_were_seen_are_left_and_counted(project: Project) -> None:
    ids, bob = waiting(project), make_user("bob")
    was_seen = seen(project, ids)
    other = project.labels.get(name="label-1")
    Image.objects.filter(pk=ids[0]).update(suggestion=other)  # learned since
    actions.apply(project, [ids[1]], add=["label-1"], by=make_user("alice"))
    actions.delete_images(project, [ids[2]], make_user("alice"))

    result = suggestions.confirm_suggestions(project, ids, bob, was_seen)

    assert labels_of(ids) == [[], ["label-1"], [], ["label-1"]]
    assert [change["image"] for change in result.event.changes] == [ids[3]]
    text = "3 of 4 were skipped. Suggestion changed: 1; labeled or deleted meanwhile: 2."
    assert str(result.left) == text


def test_a_changed_suggestion_is_not_refused(project: Project) -> None:
    ids, bob = waiting(project), make_user("bob")
    was_seen = seen(project, ids)
    Image.objects.filter(pk=ids[0]).update(suggestion=project.labels.get(name="label-1"))
    result = suggestions.reject_suggestions(project, ids, bob, was_seen)
    assert (result.rejected, str(result.left)) == (3, "1 of 4 was skipped: its suggestion changed.")
    assert not RejectedSuggestion.objects.filter(image=ids[0]).exists()
    assert project.images.get(pk=ids[0]).suggestion is not None


def test_a_suspected_label_that_another_person_changed_is_not_replaced(project: Project) -> None:
    first, second = project.labels.all()
    image = project.images.get(annotations__label=first)
    was_seen = {image.pk: SeenImage(frozenset({first.pk}), second.pk)}
    actions.apply(project, [image.pk], add=["roses"], by=make_user("alice"))
    Image.objects.filter(pk=image.pk).update(suspected_label=second, suspected_confidence=0.9)
    result = suggestions.confirm_suggestions(project, [image.pk], make_user("bob"), was_seen)
    assert result.event is None and labels_of([image.pk]) == [["roses"]]
    assert str(result.left) == "1 of 1 was skipped: it was labeled or deleted meanwhile."


# --- suspected labels ---


def test_a_suspected_label_is_replaced_or_kept_and_asked_about_no_more(project: Project) -> None:
    first, second = project.labels.all()
    wrong_id = project.images.get(annotations__label=first).pk
    right_id = project.images.get(annotations__label=second).pk
    Image.objects.filter(pk=wrong_id).update(suspected_label=second, suspected_confidence=0.97)
    Image.objects.filter(pk=right_id).update(suspected_label=first, suspected_confidence=0.8)
    bob = make_user("bob")

    event = suggestions.confirm_suggestions(project, [wrong_id], bob).event
    assert labels_of([wrong_id]) == [["label-1"]]
    assert suggestions.reject_suggestions(project, [right_id], bob).rejected == 1
    assert labels_of([right_id]) == [["label-1"]]
    assert not project.images.exclude(suspected_label=None).exists()
    assert set(RejectedSuggestion.objects.values_list("image_id", "label__name")) == {(right_id, "label-0")}

    actions.undo(event, bob)
    assert labels_of([wrong_id]) == [["label-0"]]
