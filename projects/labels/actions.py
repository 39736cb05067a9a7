"""Labeling deeds. Each is one transaction that writes one LabelEvent, so that every deed can be taken back.

Deeds of one project happen one after the other, which is why two people at once lose nothing: labels are
added and removed one by one, never overwritten as a set, and what was replaced stands in the event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from projects.labels import merge
from projects.labels.annotations import (
    Move,
    alone,
    change_of,
    dress,
    ensure,
    held_by,
    labels_by_id,
    record,
    record_moves,
    set_binned,
    tidy,
    which,
    write,
)
from projects.labels.undo import CannotUndo, Undone, last_deed, last_undo, redo, undo
from projects.models import How, Image, Label, LabelEvent, Project
from projects.models.label import LABEL_NAME

__all__ = [
    "CannotUndo",
    "Undone",
    "apply",
    "delete_images",
    "delete_label",
    "edit_label",
    "ensure_labels",
    "last_deed",
    "last_undo",
    "merge_labels",
    "move_label",
    "redo",
    "rename_label",
    "restore_images",
    "undo",
]

Kind = LabelEvent.Kind
GONE = "Somebody deleted this label meanwhile."


@transaction.atomic
def ensure_labels(project: Project, names: Iterable[str]) -> list[Label]:
    """The labels of these names in this order, made where missing; case does not make a difference.

    Raises ValidationError for a name that no label may have.
    """
    alone(project)
    return ensure(project, names)


@transaction.atomic
def apply(
    project: Project,
    image_ids: Iterable[int],
    *,
    add: Iterable[Label | str] = (),
    remove: Iterable[Label | str] = (),
    by: User | None,
    how: How = How.HUMAN,
) -> LabelEvent | None:
    """Give the images the labels `add`, made where missing, and take `remove` away.

    Where an image has one label, the added one takes its place. Images in the bin or of other projects are
    left out. Returns None where nothing changes. Raises ValidationError for an impossible label name or for
    several labels at once in a project with one per image.
    """
    alone(project)
    labels = labels_by_id(project)
    added = frozenset(label.pk for label in ensure(project, _names(add), labels))
    if len(added) > 1 and not project.is_multi_label:
        raise ValidationError("This project gives each image one label. Choose one.")
    gone = {name.lower() for name in map(tidy, _names(remove))}
    removed = frozenset(pk for pk, label in labels.items() if label.name.lower() in gone) - added
    if added and not project.is_multi_label:
        removed = frozenset(labels) - added
    moves = [Move(held, held.labels - removed | added) for held in held_by(project, image_ids)]
    return _label(project, [move for move in moves if move.wanted != move.held.labels], labels, by, how)


def _names(labels: Iterable[Label | str]) -> list[str]:
    return [label if isinstance(label, str) else label.name for label in labels]


def _label(
    project: Project, moves: Sequence[Move], labels: dict[int, Label], by: User | None, how: How
) -> LabelEvent | None:
    if not moves:
        return None
    write(moves, by, how)
    return record_moves(project, Kind.LABEL, by, moves, labels)


@transaction.atomic
def rename_label(label: Label, name: str, by: User | None) -> LabelEvent | None:
    """Give the label another name; None where it has it already. Raises ValidationError for a taken name."""
    name = tidy(name)
    LABEL_NAME(name)
    alone(label.project)
    labels = labels_by_id(label.project)
    if label.pk not in labels:
        raise ValidationError(GONE)
    if any(other.name.lower() == name.lower() for other in labels.values() if other != label):
        raise ValidationError(f"This project already has a label “{name}”.")
    old, label.name = labels[label.pk].name, name
    if name == old:
        return None
    label.save(update_fields=["name"])
    details = {"label": label.pk, "from": old, "to": name}
    return record(label.project, Kind.RENAME_LABEL, by, [], details)


@transaction.atomic
def edit_label(
    label: Label, by: User | None, *, colour: int, hot_key: str, swap: bool = False
) -> LabelEvent | None:
    """Give the label a colour and a key; None where it has them.

    Raises ValidationError for a key that another label has, unless they `swap`.
    """
    alone(label.project)
    labels = labels_by_id(label.project)
    if label.pk not in labels:
        raise ValidationError(GONE)
    holder = next((one for one in labels.values() if hot_key and one.hot_key == hot_key), None)
    was = labels[label.pk]
    if (was.colour, was.hot_key) == (colour, hot_key):
        return None
    if holder and holder != label and not swap:
        raise ValidationError(f"The key {hot_key.upper()} belongs to “{holder}”.")
    before, after = {str(label.pk): [was.colour, was.hot_key]}, {str(label.pk): [colour, hot_key]}
    if holder and holder != label:
        before[str(holder.pk)] = [holder.colour, holder.hot_key]
        after[str(holder.pk)] = [holder.colour, was.hot_key]
    dress(label.project, after)
    details = {"label": label.pk, "name": label.name, "from": before, "to": after}
    return record(label.project, Kind.EDIT_LABEL, by, [], details)


@transaction.atomic
def move_label(label: Label, step: int) -> None:
    """Move the label up (-1) or down (1) in All Labels; at an end it stays. An order is no deed."""
    alone(label.project)
    ordered = list(Label.objects.filter(project=label.project))
    place = next((at for at, one in enumerate(ordered) if one == label), None)
    if place is None or not 0 <= place + step < len(ordered):
        return
    ordered[place], ordered[place + step] = ordered[place + step], ordered[place]
    for position, one in enumerate(ordered):
        one.position = position
    Label.objects.bulk_update(ordered, ["position"])


@transaction.atomic
def delete_label(label: Label, by: User | None, *, with_images: bool = False) -> LabelEvent | None:
    """Take the label away from every image, also in the bin, and from the project. None where it is gone.

    `with_images`: images that have only this label go to the bin.
    """
    alone(label.project)
    if label.pk not in labels_by_id(label.project):
        return None
    changes, details = merge.remove(label, by, with_images=with_images)
    return record(label.project, Kind.DELETE_LABEL, by, changes, details)


@transaction.atomic
def merge_labels(label: Label, into: Label, by: User | None) -> LabelEvent:
    """Every image labeled `label` becomes labeled `into`, and `label` is gone. Raises ValidationError."""
    alone(label.project)
    labels = labels_by_id(label.project)
    if label.pk not in labels or into.pk not in labels:
        raise ValidationError(GONE)
    if label == into:
        raise ValidationError("Choose another label to merge into.")
    changes, details = merge.merge(label, into, by)
    return record(label.project, Kind.MERGE_LABELS, by, changes, details)


def delete_images(project: Project, image_ids: Iterable[int], by: User | None) -> LabelEvent | None:
    """Put images into the bin, with their labels. None where all of them are there already."""
    return _bin(project, image_ids, by, is_deleted=True)


def restore_images(project: Project, image_ids: Iterable[int], by: User | None) -> LabelEvent | None:
    """Take images out of the bin. None where none of them is in it."""
    return _bin(project, image_ids, by, is_deleted=False)


@transaction.atomic
def _bin(
    project: Project, image_ids: Iterable[int], by: User | None, *, is_deleted: bool
) -> LabelEvent | None:
    alone(project)
    labels = labels_by_id(project)
    images = Image.objects.filter(project=project)
    images = images.alive() if is_deleted else images.binned()
    moved = which(images, image_ids)
    if not moved:
        return None
    changes = [change_of(held, held.labels, labels) for held in held_by(project, moved, with_bin=True)]
    set_binned(moved, by, is_deleted)
    kind = Kind.DELETE_IMAGES if is_deleted else Kind.RESTORE_IMAGES
    return record(project, kind, by, changes)
