"""Taking labeling deeds back and doing them again. What somebody changed since stays, and is counted.

An UNDO takes a deed back, a REDO takes an UNDO back and can be undone: events form a chain by `undoes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from projects.labels import merge
from projects.labels.annotations import (
    LabelChange,
    existing_ids,
    find_or_create_labels,
    labels_by_id,
    load_image_labels,
    lock_project,
    record_event,
    set_binned,
    set_look,
    write_annotations,
)
from projects.models import Annotation, Image, Label, LabelEvent, Project

Kind = LabelEvent.Kind


class CannotUndo(Exception):
    """The deed cannot be taken back, or not be done again; the text says why."""


@dataclass(frozen=True)
class UndoResult:
    """What taking a deed back did: images set back, and images left because they were changed since."""

    event: LabelEvent
    restored: int
    skipped: int


@dataclass(frozen=True)
class _Outcome:
    changes: list[dict[str, Any]]
    skipped: int
    details: dict[str, Any]


@dataclass(frozen=True)
class _Reversal:
    """Take `event` back, which by its `root` deed did something (or, with `is_redo`, took it back)."""

    event: LabelEvent
    root: LabelEvent
    is_redo: bool
    by: User | None

    @property
    def project(self) -> Project:
        return self.event.project


def last_action(project: Project, by: User) -> LabelEvent | None:
    """What `by` did last in the project, or did again, and has not taken back."""
    own = LabelEvent.objects.filter(project=project, by=by, undone_by=None)
    return own.exclude(kind=Kind.UNDO).first()


def last_undo(project: Project, by: User) -> LabelEvent | None:
    """What `by` took back last and may do again: a newer deed of hers ends that, as in every editor."""
    newest = LabelEvent.objects.filter(project=project, by=by, undone_by=None).first()
    return newest if newest and newest.kind == Kind.UNDO else _undo_before(project, by)


def _undo_before(project: Project, by: User) -> LabelEvent | None:
    """The undo before those that were done again, if nothing new came between."""
    own = LabelEvent.objects.filter(project=project, by=by)
    for event in own.only("pk", "kind").order_by("-pk")[:200]:
        if event.kind == Kind.REDO:
            continue
        if event.kind != Kind.UNDO:
            return None
        if not LabelEvent.objects.filter(undoes=event).exists():
            return LabelEvent.objects.get(pk=event.pk)
    return None


def undo(event: LabelEvent, by: User | None) -> UndoResult:
    """Take the deed back as far as nobody changed the same images since. Raises CannotUndo."""
    if event.kind == Kind.UNDO:
        raise CannotUndo("Taking back cannot be taken back; do it again instead.")
    return _reverse(event, by, Kind.UNDO)


def redo(event: LabelEvent, by: User | None) -> UndoResult:
    """Do again what the UNDO `event` took back. Raises CannotUndo."""
    if event.kind != Kind.UNDO:
        raise CannotUndo("This was not taken back.")
    return _reverse(event, by, Kind.REDO)


@transaction.atomic
def _reverse(event: LabelEvent, by: User | None, kind: LabelEvent.Kind) -> UndoResult:
    lock_project(event.project)
    if LabelEvent.objects.filter(undoes=event).exists():
        raise CannotUndo(
            "This was taken back already." if kind == Kind.UNDO else "This was done again already."
        )
    root, hops = event, 0
    while root.undoes is not None:
        root, hops = root.undoes, hops + 1
    outcome = _REVERSE_BY_KIND[Kind(root.kind)](_Reversal(event, root, hops % 2 == 1, by))
    back = record_event(event.project, kind, by, outcome.changes, outcome.details, undoes=event)
    return UndoResult(back, len(outcome.changes), outcome.skipped)


# --- labels of images ---


def _reverse_labeling(task: _Reversal) -> _Outcome:
    """Images that still carry what the deed left get what they carried before it."""
    event = task.event
    before = {name for change in event.changes for name in change["from"]}
    ids = _LabelIds(task.project, event.details.get("labels", {}), before)
    by_image = {change["image"]: change for change in event.changes}
    moves = [
        LabelChange(held, ids.of(by_image[held.image_id]["from"]))
        for held in load_image_labels(task.project, by_image, with_bin=True)
        if held.labels == ids.of(by_image[held.image_id]["to"])
    ]
    write_annotations(moves, task.by)
    return _reversed_outcome(event, [move.held.image_id for move in moves], {"labels": ids.known})


class _LabelIds:
    """Label names as they were at the deed → ids now: labels may have been renamed or made anew since."""

    def __init__(self, project: Project, ids_then: Mapping[str, int], must_exist: set[str]) -> None:
        living = labels_by_id(project)
        named = {label.name: pk for pk, label in living.items()}
        self.known = {name: pk if pk in living else named.get(name, 0) for name, pk in ids_then.items()}
        self.known = {name: pk for name, pk in self.known.items() if pk}
        for name in sorted(must_exist - self.known.keys()):
            self.known[name] = find_or_create_labels(project, [name])[0].pk

    def of(self, names: list[str]) -> frozenset[int]:
        """A name that no label has any more counts as 0, which no image carries."""
        return frozenset(self.known.get(name, 0) for name in names)


def _reversed_outcome(
    event: LabelEvent, restored: list[int], details: dict[str, Any] | None = None
) -> _Outcome:
    done = set(restored)
    changes = [
        {"image": change["image"], "from": change["to"], "to": change["from"]}
        for change in event.changes
        if change["image"] in done
    ]
    return _Outcome(changes, len(event.changes) - len(changes), details or {})


# --- labels ---


def _reverse_rename(task: _Reversal) -> _Outcome:
    old, new = task.event.details["from"], task.event.details["to"]
    label = Label.objects.filter(project=task.project, pk=task.event.details["label"]).first()
    if label is None or label.name != new:
        raise CannotUndo(f"The label “{new}” was renamed or deleted since.")
    others = Label.objects.filter(project=task.project).exclude(pk=label.pk)
    if old.lower() in {other.name.lower() for other in others}:
        raise CannotUndo(f"Another label has the name “{old}” now.")
    label.name = old
    label.save(update_fields=["name"])
    return _Outcome([], 0, {"label": label.pk, "from": new, "to": old})


def _reverse_edit(task: _Reversal) -> _Outcome:
    """Colours and keys as they were, where nobody changed them since; a taken key stays where it is."""
    details = task.event.details
    living = {str(pk): label for pk, label in labels_by_id(task.project).items()}
    same = {
        pk: look
        for pk, look in details["from"].items()
        if pk in living and [living[pk].colour, living[pk].hot_key] == details["to"][pk]
    }
    if not same:
        raise CannotUndo(f"The label “{details['name']}” was changed or deleted since.")
    taken = {one.hot_key for pk, one in living.items() if pk not in same}
    wanted = {pk: [colour, "" if key in taken else key] for pk, (colour, key) in same.items()}
    set_look(task.project, wanted)
    was = {pk: details["to"][pk] for pk in wanted}
    return _Outcome([], 0, {"label": details["label"], "name": details["name"], "from": was, "to": wanted})


def _reverse_delete(task: _Reversal) -> _Outcome:
    """The label again, on the images whose other labels are still what they were; or deleted again."""
    event = task.event
    if task.is_redo:
        label = _existing_label(task)
        is_wide = "binned" in event.details
        changes, details = merge.remove_label(label, task.by, with_images=is_wide)
        return _Outcome(changes, 0, details)
    label, same = _recreate_label(task)
    merge.restore_annotations(label, [row for row in event.details["annotations"] if row[0] in same])
    details = {"label": label.pk, "name": label.name}
    if "binned" in event.details:
        details["binned"] = _restore_from_bin(task.project, event.details["binned"])
    return _reversed_outcome(event, sorted(same), details)


def _reverse_merge(task: _Reversal) -> _Outcome:
    """The merged label again, on the images that still carry what the merge left; or merged again."""
    event = task.event
    if task.is_redo:
        into = Label.objects.filter(project=task.project, pk=event.details["into"]["id"]).first()
        if into is None:
            raise CannotUndo(f"The label “{event.details['into']['name']}” was deleted since.")
        changes, details = merge.merge_into(_existing_label(task), into, task.by)
        return _Outcome(changes, 0, details)
    label, same = _recreate_label(task)
    moved = [image_id for image_id in event.details["moved"] if image_id in same]
    for start in range(0, len(moved), 5_000):
        part = moved[start : start + 5_000]
        Annotation.objects.filter(image_id__in=part, label=event.details["into"]["id"]).delete()
    merge.restore_annotations(label, [row for row in event.details["annotations"] if row[0] in same])
    details = {"label": label.pk, "name": label.name, "into": event.details["into"]}
    return _reversed_outcome(event, sorted(same), details)


def _recreate_label(task: _Reversal) -> tuple[Label, set[int]]:
    """The label that the event took away, and the images that still are as the event left them."""
    event, was = task.event, task.event.details["label"]
    label = merge.recreate_label(task.project, was)
    then = {name: pk for name, pk in event.details["labels"].items() if name != was["name"]}
    ids = _LabelIds(task.project, then, set())
    left_with = {change["image"]: ids.of(change["to"]) for change in event.changes}
    held = load_image_labels(task.project, left_with, with_bin=True)
    return label, {one.image_id for one in held if one.labels == left_with[one.image_id]}


def _existing_label(task: _Reversal) -> Label:
    label = Label.objects.filter(project=task.project, pk=task.event.details["label"]).first()
    if label is None:
        raise CannotUndo(f"The label “{task.event.details['name']}” was deleted since.")
    return label


# --- images ---


def _reverse_bin(task: _Reversal) -> _Outcome:
    """Out of the bin again, or into it again, those that are still where the deed put them."""
    was_deleted = (task.root.kind == Kind.DELETE_IMAGES) != task.is_redo
    images = Image.objects.filter(project=task.project)
    images = images.binned() if was_deleted else images.alive()
    moved = existing_ids(images, [change["image"] for change in task.event.changes])
    set_binned(moved, task.by, not was_deleted)
    return _reversed_outcome(task.event, moved)


def _restore_from_bin(project: Project, image_ids: list[int]) -> list[int]:
    binned = existing_ids(Image.objects.filter(project=project).binned(), image_ids)
    set_binned(binned, None, False)
    return binned


_REVERSE_BY_KIND: dict[Kind, Callable[[_Reversal], _Outcome]] = {
    Kind.LABEL: _reverse_labeling,
    Kind.CONFIRM: _reverse_labeling,
    Kind.IMPORT: _reverse_labeling,
    Kind.RENAME_LABEL: _reverse_rename,
    Kind.EDIT_LABEL: _reverse_edit,
    Kind.DELETE_LABEL: _reverse_delete,
    Kind.MERGE_LABELS: _reverse_merge,
    Kind.DELETE_IMAGES: _reverse_bin,
    Kind.RESTORE_IMAGES: _reverse_bin,
}
