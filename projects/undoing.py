"""Taking labeling deeds back. What somebody changed since stays as it is, and is counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from projects.label_rows import (
    Move,
    alone,
    ensure,
    free_hot_key,
    free_position,
    held_by,
    labels_by_id,
    mark_labeled,
    record,
    set_binned,
    which,
    write,
)
from projects.models import Annotation, Image, Label, LabelEvent, Project

Kind = LabelEvent.Kind


class CannotUndo(Exception):
    """The deed cannot be taken back; the text says why."""


@dataclass(frozen=True)
class Undone:
    """What taking a deed back did: images set back, and images left because they were changed since."""

    event: LabelEvent
    restored: int
    left: int


@dataclass(frozen=True)
class _Outcome:
    changes: list[dict[str, Any]]
    left: int
    details: dict[str, Any]


def last_deed(project: Project, by: User) -> LabelEvent | None:
    """What `by` did last in the project and has not taken back."""
    own = LabelEvent.objects.filter(project=project, by=by, undone_by=None)
    return own.exclude(kind=Kind.UNDO).first()


@transaction.atomic
def undo(event: LabelEvent, by: User | None) -> Undone:
    """Take the deed back as far as nobody changed the same images since. Raises CannotUndo."""
    alone(event.project)
    if event.kind == Kind.UNDO:
        raise CannotUndo("Taking back cannot be taken back.")
    if LabelEvent.objects.filter(undoes=event).exists():
        raise CannotUndo("This was taken back already.")
    outcome = _BACK[Kind(event.kind)](event, by)
    back = record(event.project, Kind.UNDO, by, outcome.changes, outcome.details, undoes=event)
    return Undone(back, len(outcome.changes), outcome.left)


def _take_labels_back(event: LabelEvent, by: User | None) -> _Outcome:
    """Images that still carry what the deed left get what they carried before it."""
    project = event.project
    before = {name for change in event.changes for name in change["from"]}
    ids = _LabelIds(project, event.details.get("labels", {}), before)
    by_image = {change["image"]: change for change in event.changes}
    moves = [
        Move(held, ids.of(by_image[held.image_id]["from"]))
        for held in held_by(project, by_image, with_bin=True)
        if held.labels == ids.of(by_image[held.image_id]["to"])
    ]
    write(moves, by)
    return _swapped(event, [move.held.image_id for move in moves])


class _LabelIds:
    """Label names as they were at the deed → ids now: labels may have been renamed or made anew since."""

    def __init__(self, project: Project, ids_then: Mapping[str, int], must_exist: set[str]) -> None:
        living = labels_by_id(project)
        self._ids = {name: pk for name, pk in ids_then.items() if pk in living}
        for name in sorted(must_exist - self._ids.keys()):
            self._ids[name] = ensure(project, [name])[0].pk

    def of(self, names: list[str]) -> frozenset[int]:
        """A name that no label has any more counts as 0, which no image carries."""
        return frozenset(self._ids.get(name, 0) for name in names)


def _swapped(event: LabelEvent, restored: list[int], details: dict[str, Any] | None = None) -> _Outcome:
    done = set(restored)
    changes = [
        {"image": change["image"], "from": change["to"], "to": change["from"]}
        for change in event.changes
        if change["image"] in done
    ]
    return _Outcome(changes, len(event.changes) - len(changes), details or {})


def _take_rename_back(event: LabelEvent, by: User | None) -> _Outcome:
    old, new = event.details["from"], event.details["to"]
    label = Label.objects.filter(project=event.project, pk=event.details["label"]).first()
    if label is None or label.name != new:
        raise CannotUndo(f"The label “{new}” was renamed or deleted since.")
    others = Label.objects.filter(project=event.project).exclude(pk=label.pk)
    if old.lower() in {other.name.lower() for other in others}:
        raise CannotUndo(f"Another label has the name “{old}” now.")
    label.name = old
    label.save(update_fields=["name"])
    return _Outcome([], 0, {"label": label.pk, "from": new, "to": old})


def _bring_label_back(event: LabelEvent, by: User | None) -> _Outcome:
    """The label again, on the images whose other labels are still what they were; who and when are kept."""
    project = event.project
    label = _label_again(project, event.details["label"])
    then = {
        name: pk for name, pk in event.details["labels"].items() if name != event.details["label"]["name"]
    }
    ids = _LabelIds(project, then, set())
    left_with = {change["image"]: ids.of(change["to"]) for change in event.changes}
    same = {
        held.image_id
        for held in held_by(project, left_with, with_bin=True)
        if held.labels == left_with[held.image_id]
    }
    _annotate_again(label, [row for row in event.details["annotations"] if row[0] in same])
    return _swapped(event, sorted(same), {"label": label.pk})


def _label_again(project: Project, was: Mapping[str, Any]) -> Label:
    """The label of that name that somebody made since, else a new one with its colour and, if free, key."""
    others = list(Label.objects.filter(project=project))
    for other in others:
        if other.name.lower() == was["name"].lower():
            return other
    return Label.objects.create(
        project=project,
        name=was["name"],
        colour=was["colour"],
        position=free_position(others, was["position"]),
        hot_key=free_hot_key(others, was.get("hot_key", "")),
    )


def _annotate_again(label: Label, rows: list[list[Any]]) -> None:
    users = set(User.objects.filter(pk__in={row[1] for row in rows if row[1]}).values_list("pk", flat=True))
    Annotation.objects.bulk_create(
        Annotation(
            image_id=image_id,
            label=label,
            by_id=by_id if by_id in users else None,
            how=how,
            at=datetime.fromisoformat(at),
            confidence=confidence,
        )
        for image_id, by_id, how, at, confidence in rows
    )
    mark_labeled([row[0] for row in rows], True)


def _take_images_back(event: LabelEvent, by: User | None) -> _Outcome:
    """Out of the bin again, or into it again, those that are still where the deed put them."""
    was_deleted = event.kind == Kind.DELETE_IMAGES
    images = Image.objects.filter(project=event.project)
    images = images.binned() if was_deleted else images.alive()
    moved = which(images, [change["image"] for change in event.changes])
    set_binned(moved, by, not was_deleted)
    return _swapped(event, moved)


_BACK: dict[Kind, Callable[[LabelEvent, User | None], _Outcome]] = {
    Kind.LABEL: _take_labels_back,
    Kind.CONFIRM: _take_labels_back,
    Kind.IMPORT: _take_labels_back,
    Kind.RENAME_LABEL: _take_rename_back,
    Kind.DELETE_LABEL: _bring_label_back,
    Kind.DELETE_IMAGES: _take_images_back,
    Kind.RESTORE_IMAGES: _take_images_back,
}
