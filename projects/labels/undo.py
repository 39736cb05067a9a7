"""Undo and redo of actions. Images that somebody changed after the action are skipped and counted.

An UNDO event reverses an action, a REDO event reverses an UNDO and can be undone: `undoes` chains the events.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext

from exeml_site.lib.bulk import chunks
from exeml_site.lib.errors import Refused
from projects.labels import image_splits, merge, metadata, parts
from projects.labels.annotations import (
    ImageLabels,
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


class CannotUndo(Refused):
    """An action cannot be undone or redone; the text is a sentence for the user."""


@dataclass(frozen=True)
class UndoResult:
    """Result of an undo or redo: images `restored`, and images `skipped` because they changed since."""

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
    """`event`: the event to reverse; `root`: the original action; `is_redo`: whether that is done again.

    `is_last`: no further part of the action follows.
    """

    event: LabelEvent
    root: LabelEvent
    is_redo: bool
    by: User | None
    is_last: bool = True

    @property
    def limit(self) -> int | None:
        """How many images a part may change that is not the last one; the last one changes the rest."""
        return None if self.is_last else parts.PART_IMAGES

    @property
    def project(self) -> Project:
        return self.event.project


def last_action(project: Project, by: User) -> LabelEvent | None:
    """The last action of `by` in the project, done or redone, that is not undone."""
    own = LabelEvent.objects.filter(project=project, by=by, undone_by=None)
    return own.exclude(kind=Kind.UNDO).first()


def last_undo(project: Project, by: User) -> LabelEvent | None:
    """The last undo of `by` that can be redone; None after a newer action of `by`, as in every editor."""
    newest = LabelEvent.objects.filter(project=project, by=by, undone_by=None).first()
    return newest if newest and newest.kind == Kind.UNDO else _undo_before(project, by)


def _undo_before(project: Project, by: User) -> LabelEvent | None:
    """The newest undo that was not redone, unless a new action came after it."""
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
    """Undo an action on the images that nobody changed since. Raises CannotUndo."""
    if event.kind == Kind.UNDO:
        raise CannotUndo(gettext("An undo cannot be undone; redo it instead."))
    return _reverse_action(event, by, Kind.UNDO)


def redo(event: LabelEvent, by: User | None) -> UndoResult:
    """Redo the action that the UNDO `event` reversed. Raises CannotUndo."""
    if event.kind != Kind.UNDO:
        raise CannotUndo(gettext("This action has not been undone."))
    return _reverse_action(event, by, Kind.REDO)


def _reverse_action(event: LabelEvent, by: User | None, kind: LabelEvent.Kind) -> UndoResult:
    """Reverse all parts of the action, those that are not reversed yet, each in its own transaction."""
    if "text" in event.details:
        raise CannotUndo(gettext("This was done before the project came from a file. It cannot be undone."))
    events = parts.events_of_action(event)
    if len(events) == 1:
        return _reverse(event, by, kind, {})
    left = [one for one in events if not LabelEvent.objects.filter(undoes=one).exists()]
    group = uuid.uuid4().hex
    last = len(left or events) - 1
    results = [
        _reverse(one, by, kind, {"group": group, "part": part}, is_last=part == last)
        for part, one in enumerate(left or events)
    ]
    restored, skipped = sum(one.restored for one in results), sum(one.skipped for one in results)
    return UndoResult(results[-1].event, restored, skipped)


@transaction.atomic
def _reverse(
    event: LabelEvent, by: User | None, kind: LabelEvent.Kind, part: dict[str, Any], *, is_last: bool = True
) -> UndoResult:
    lock_project(event.project)
    if LabelEvent.objects.filter(undoes=event).exists():
        is_undo = kind == Kind.UNDO
        raise CannotUndo(
            gettext("This was undone already.") if is_undo else gettext("This was redone already.")
        )
    root, hops = event, 0
    while root.undoes is not None:
        root, hops = root.undoes, hops + 1
    outcome = _REVERSE_BY_KIND[Kind(root.kind)](_Reversal(event, root, hops % 2 == 1, by, is_last))
    details = {**outcome.details, **part}
    back = record_event(event.project, kind, by, outcome.changes, details, undoes=event)
    return UndoResult(back, len(outcome.changes), outcome.skipped)


# --- labels of images ---


def _reverse_labeling(reversal: _Reversal) -> _Outcome:
    """Set images to their labels and metadata before the event, where they still have those of after it.

    An event that left the labels of an image as they were is about its metadata alone.
    """
    event = reversal.event
    labeled = [change for change in event.changes if change["from"] != change["to"]]
    before = {name for change in labeled for name in change["from"]}
    ids = _LabelIds(reversal.project, event.details.get("labels", {}), before)
    by_image = {change["image"]: change for change in event.changes}
    unchanged = metadata.unchanged_since(event.changes)
    images = {
        image.image_id: image
        for image in load_image_labels(reversal.project, by_image, with_bin=True)
        if image.image_id in unchanged and _has_labels_of(image, by_image[image.image_id], ids)
    }
    label_changes = [
        LabelChange(image, ids.of(by_image[pk]["from"]))
        for pk, image in images.items()
        if by_image[pk]["from"] != by_image[pk]["to"]
    ]
    write_annotations(label_changes, reversal.by)
    try:
        metadata.restore_values(reversal.project, [by_image[pk] for pk in images])
    except ValidationError as problem:
        raise CannotUndo(problem.messages[0]) from problem
    return _reversed_outcome(event, list(images), {"labels": ids.by_name})


def _has_labels_of(image: ImageLabels, change: Mapping[str, Any], ids: _LabelIds) -> bool:
    """Whether the image has the labels of after the event, or the event did not change its labels."""
    return bool(change["from"] == change["to"] or image.labels == ids.of(change["to"]))


class _LabelIds:
    """Label names at the time of the event → label ids now: labels may be renamed or recreated since."""

    def __init__(self, project: Project, ids_then: Mapping[str, int], must_exist: set[str]) -> None:
        labels = labels_by_id(project)
        ids_by_name = {label.name: pk for pk, label in labels.items()}
        self.by_name = {
            name: pk if pk in labels else ids_by_name.get(name, 0) for name, pk in ids_then.items()
        }
        self.by_name = {name: pk for name, pk in self.by_name.items() if pk}
        gone = sorted(must_exist - self.by_name.keys())
        try:
            made = find_or_create_labels(project, gone, labels)
        except ValidationError as problem:
            raise CannotUndo(problem.messages[0]) from problem
        ids_now = {label.name.lower(): label.pk for label in made}
        self.by_name |= {name: ids_now[name.lower()] for name in gone}

    def of(self, names: list[str]) -> frozenset[int]:
        """Ids of the labels; 0, which no image has, for a label that is gone."""
        return frozenset(self.by_name.get(name, 0) for name in names)


def _reversed_outcome(
    event: LabelEvent, restored: list[int], details: dict[str, Any] | None = None
) -> _Outcome:
    restored_ids = set(restored)
    changes = [
        {"image": change["image"], "from": change["to"], "to": change["from"], **_swapped_values(change)}
        for change in event.changes
        if change["image"] in restored_ids
    ]
    return _Outcome(changes, len(event.changes) - len(changes), details or {})


def _swapped_values(change: Mapping[str, Any]) -> dict[str, Any]:
    values = change.get("values")
    return {"values": {name: [new, old] for name, (old, new) in values.items()}} if values else {}


# --- labels ---


def _reverse_rename(reversal: _Reversal) -> _Outcome:
    old, new = reversal.event.details["from"], reversal.event.details["to"]
    label = Label.objects.filter(project=reversal.project, pk=reversal.event.details["label"]).first()
    if label is None or label.name != new:
        sentence = gettext("The label “%(label)s” was renamed or deleted since.")
        raise CannotUndo(sentence % {"label": new})
    others = Label.objects.filter(project=reversal.project).exclude(pk=label.pk)
    if old.lower() in {other.name.lower() for other in others}:
        raise CannotUndo(gettext("Another label has the name “%(label)s” now.") % {"label": old})
    label.name = old
    key_before, key_after = reversal.event.details.get("keys", [label.hot_key, label.hot_key])
    is_taken = bool(key_before) and key_before in {other.hot_key for other in others}
    if label.hot_key == key_after and not is_taken:
        label.hot_key = key_before
    label.save(update_fields=["name", "hot_key"])
    details = {"label": label.pk, "from": new, "to": old, "keys": [key_after, label.hot_key]}
    return _Outcome([], 0, details)


def _reverse_edit(reversal: _Reversal) -> _Outcome:
    """Set colours and keys back where nobody changed them since, except keys that another label has now."""
    details = reversal.event.details
    labels = {str(pk): label for pk, label in labels_by_id(reversal.project).items()}
    unchanged = {
        pk: look
        for pk, look in details["from"].items()
        if pk in labels and [labels[pk].colour, labels[pk].hot_key] == details["to"][pk]
    }
    if not unchanged:
        sentence = gettext("The label “%(label)s” was changed or deleted since.")
        raise CannotUndo(sentence % {"label": details["name"]})
    taken = {label.hot_key for pk, label in labels.items() if pk not in unchanged}
    looks = {pk: [colour, "" if key in taken else key] for pk, (colour, key) in unchanged.items()}
    set_look(reversal.project, looks)
    current = {pk: details["to"][pk] for pk in looks}
    return _Outcome([], 0, {"label": details["label"], "name": details["name"], "from": current, "to": looks})


def _reverse_delete(reversal: _Reversal) -> _Outcome:
    """Recreate the label on the images whose other labels did not change since; a redo deletes it again."""
    event = reversal.event
    if reversal.is_redo:
        label = _existing_label(reversal)
        changes, details = merge.remove_label(
            label,
            reversal.by,
            with_images="binned" in event.details,
            limit=reversal.limit,
            deletes=reversal.is_last,
        )
        return _Outcome(changes, 0, details)
    label, unchanged = _recreate_label(reversal)
    merge.restore_annotations(label, [row for row in event.details["annotations"] if row[0] in unchanged])
    details = {"label": label.pk, "name": label.name}
    if "binned" in event.details:
        details["binned"] = _restore_from_bin(reversal.project, event.details["binned"])
    return _reversed_outcome(event, sorted(unchanged), details)


def _reverse_merge(reversal: _Reversal) -> _Outcome:
    """Recreate the merged label on the images that still have the merge's labels; a redo merges it again."""
    event = reversal.event
    if reversal.is_redo:
        into = Label.objects.filter(project=reversal.project, pk=event.details["into"]["id"]).first()
        if into is None:
            raise _label_deleted(event.details["into"]["name"])
        label = _existing_label(reversal)
        changes, details = merge.merge_into(
            label, into, reversal.by, limit=reversal.limit, deletes=reversal.is_last
        )
        return _Outcome(changes, 0, details)
    label, unchanged = _recreate_label(reversal)
    moved = [image_id for image_id in event.details["moved"] if image_id in unchanged]
    for chunk in chunks(moved):
        Annotation.objects.filter(image_id__in=chunk, label=event.details["into"]["id"]).delete()
    merge.restore_annotations(label, [row for row in event.details["annotations"] if row[0] in unchanged])
    details = {"label": label.pk, "name": label.name, "into": event.details["into"]}
    return _reversed_outcome(event, sorted(unchanged), details)


def _recreate_label(reversal: _Reversal) -> tuple[Label, set[int]]:
    """The recreated label, and the ids of the images that did not change since the event."""
    event, former = reversal.event, reversal.event.details["label"]
    label = merge.recreate_label(reversal.project, former)
    ids_then = {name: pk for name, pk in event.details["labels"].items() if name != former["name"]}
    ids = _LabelIds(reversal.project, ids_then, set())
    labels_after = {change["image"]: ids.of(change["to"]) for change in event.changes}
    images = load_image_labels(reversal.project, labels_after, with_bin=True)
    return label, {image.image_id for image in images if image.labels == labels_after[image.image_id]}


def _existing_label(reversal: _Reversal) -> Label:
    label = Label.objects.filter(project=reversal.project, pk=reversal.event.details["label"]).first()
    if label is None:
        raise _label_deleted(reversal.event.details["name"])
    return label


def _label_deleted(name: str) -> CannotUndo:
    return CannotUndo(gettext("The label “%(label)s” was deleted since.") % {"label": name})


# --- images ---


def _reverse_bin(reversal: _Reversal) -> _Outcome:
    """Move images out of the bin, or into it, where they still are where the action put them."""
    was_deleted = (reversal.root.kind == Kind.DELETE_IMAGES) != reversal.is_redo
    images = Image.objects.filter(project=reversal.project)
    images = images.binned() if was_deleted else images.alive()
    moved = existing_ids(images, [change["image"] for change in reversal.event.changes])
    set_binned(moved, reversal.by, not was_deleted)
    return _reversed_outcome(reversal.event, moved)


def _reverse_split(reversal: _Reversal) -> _Outcome:
    """Set images to their split before the event, where they still have the one of after it."""
    splits = {int(pk): (before, after) for pk, (before, after) in reversal.event.details["splits"].items()}
    changed = image_splits.change_splits(
        reversal.project, {pk: (after, before) for pk, (before, after) in splits.items()}
    )
    details = {"split": reversal.event.details["split"], "splits": image_splits.as_details(changed)}
    return _reversed_outcome(reversal.event, list(changed), details)


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
    Kind.METADATA: _reverse_labeling,
    Kind.SET_SPLIT: _reverse_split,
}
