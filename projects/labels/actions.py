"""Actions on labels and images. Each is one transaction that writes one LabelEvent, so each can be undone.

An action on many images is several of them, which are undone together (`labels.parts`).

Actions of one project run one after the other (`lock_project`), and labels are added and removed one by one,
never overwritten as a set. So two people at once lose nothing, and the event holds what was replaced.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext, gettext_lazy

from projects.labels import merge, parts
from projects.labels.annotations import (
    LabelChange,
    change_entry,
    existing_ids,
    find_or_create_labels,
    labels_by_id,
    load_image_labels,
    lock_project,
    normalized_name,
    own_hot_key,
    record_event,
    record_label_changes,
    set_binned,
    set_look,
    write_annotations,
)
from projects.labels.undo import CannotUndo, UndoResult, last_action, last_undo, redo, undo
from projects.models import Annotation, AnnotationSource, Image, Label, LabelEvent, Project
from projects.models.label import LABEL_NAME

__all__ = [
    "CannotUndo",
    "UndoResult",
    "annotate",
    "apply",
    "delete_images",
    "delete_label",
    "edit_label",
    "ensure_labels",
    "last_action",
    "last_undo",
    "merge_labels",
    "move_label",
    "redo",
    "rename_label",
    "restore_images",
    "undo",
]

Kind = LabelEvent.Kind
LABEL_DELETED = gettext_lazy("Somebody deleted this label in the meantime.")


@transaction.atomic
def ensure_labels(project: Project, names: Iterable[str]) -> list[Label]:
    """The labels with these names (any case), in this order. Missing ones are created.

    Raises ValidationError for an invalid label name.
    """
    lock_project(project)
    return find_or_create_labels(project, names)


def apply(
    project: Project,
    image_ids: Iterable[int],
    *,
    add: Iterable[Label | str] = (),
    remove: Iterable[Label | str] = (),
    by: User | None,
    source: AnnotationSource = AnnotationSource.HUMAN,
) -> LabelEvent | None:
    """Add the labels `add`, created where missing, to the images and remove the labels `remove`.

    In a project with one label per image the added label replaces the present one. Images in the bin or of
    other projects are skipped. Returns None where nothing changes, else the last event. Raises
    ValidationError for an invalid label name, or for several labels in a project with one label per image.
    """
    names = _names(add), _names(remove)
    events = [
        _apply(project, ids, *names, by, source, details) for ids, details in parts.split_ids(image_ids)
    ]
    return next((event for event in reversed(events) if event is not None), None)


@transaction.atomic
def _apply(
    project: Project,
    image_ids: list[int],
    add: list[str],
    remove: list[str],
    by: User | None,
    source: AnnotationSource,
    details: dict[str, Any],
) -> LabelEvent | None:
    lock_project(project)
    labels = labels_by_id(project)
    added, removed = _added_and_removed(project, labels, add, remove)
    label_changes = [
        LabelChange(image, target)
        for image in load_image_labels(project, image_ids)
        if (target := image.labels - removed | added) != image.labels
    ]
    return _write(project, label_changes, labels, by, source, details)


def annotate(
    project: Project,
    labels_of_images: Mapping[int, Collection[str]],
    *,
    by: User | None,
    replaces: bool = False,
) -> LabelEvent | None:
    """`apply` with labels of its own for each image. `replaces`: an image loses its other labels.

    The labels must have passed `bulk_import.labels_problem`. Raises ValidationError for too many labels.
    """
    names = list(dict.fromkeys(name for names in labels_of_images.values() for name in names))
    events = [
        _annotate_part(project, {pk: labels_of_images[pk] for pk in ids}, names, by, replaces, details)
        for ids, details in parts.split_ids(labels_of_images)
    ]
    return next((event for event in reversed(events) if event is not None), None)


@transaction.atomic
def _annotate_part(
    project: Project,
    labels_of_images: Mapping[int, Collection[str]],
    names: Collection[str],
    by: User | None,
    replaces: bool,
    details: dict[str, Any],
) -> LabelEvent | None:
    """`names`: of all parts. The first one creates the missing labels, or nothing is written."""
    lock_project(project)
    labels = labels_by_id(project)
    find_or_create_labels(project, names, labels)
    by_name = {label.name.lower(): pk for pk, label in labels.items()}
    label_changes = []
    for image in load_image_labels(project, labels_of_images):
        given = {by_name[normalized_name(name).lower()] for name in labels_of_images[image.image_id]}
        keeps = not replaces and (project.is_multi_label or not given)
        target = frozenset(given | image.labels if keeps else given)
        if target != image.labels:
            label_changes.append(LabelChange(image, target))
    return _write(project, label_changes, labels, by, AnnotationSource.HUMAN, details)


def _write(
    project: Project,
    label_changes: list[LabelChange],
    labels: dict[int, Label],
    by: User | None,
    source: AnnotationSource,
    details: dict[str, Any],
) -> LabelEvent | None:
    if not label_changes:
        return None
    write_annotations(label_changes, by, source)
    return record_label_changes(project, Kind.LABEL, by, label_changes, labels, details)


def _names(labels: Iterable[Label | str]) -> list[str]:
    return [label if isinstance(label, str) else label.name for label in labels]


def _added_and_removed(
    project: Project, labels: dict[int, Label], add: list[str], remove: list[str]
) -> tuple[frozenset[int], frozenset[int]]:
    """Ids of the labels to add, which are created in `labels` where missing, and of those to remove."""
    added = frozenset(label.pk for label in find_or_create_labels(project, add, labels))
    if project.is_multi_label or not added:
        names = {normalized_name(name).lower() for name in remove}
        return added, frozenset(pk for pk, label in labels.items() if label.name.lower() in names) - added
    if len(added) > 1:
        raise ValidationError(gettext("This project allows one label per image. Choose one."))
    return added, frozenset(labels) - added


@transaction.atomic
def rename_label(label: Label, name: str, by: User | None) -> LabelEvent | None:
    """Rename the label; None where the name stays. A name of one digit or letter brings its key if free.

    Raises ValidationError for an invalid or taken name.
    """
    name = normalized_name(name)
    LABEL_NAME(name)
    lock_project(label.project)
    labels = labels_by_id(label.project)
    if label.pk not in labels:
        raise ValidationError(LABEL_DELETED)
    if any(other.name.lower() == name.lower() for other in labels.values() if other != label):
        sentence = gettext("This project already has a label “%(name)s”.")
        raise ValidationError(sentence % {"name": name})
    old, label.name = labels[label.pk].name, name
    if name == old:
        return None
    former_key = labels[label.pk].hot_key
    others = [other for other in labels.values() if other != label]
    own_key = own_hot_key(name)
    is_free = own_key != "" and all(other.hot_key != own_key for other in others)
    label.hot_key = own_key if is_free else former_key
    label.save(update_fields=["name", "hot_key"])
    details = {"label": label.pk, "from": old, "to": name, "keys": [former_key, label.hot_key]}
    return record_event(label.project, Kind.RENAME_LABEL, by, [], details)


@transaction.atomic
def edit_label(
    label: Label, by: User | None, *, colour: int, hot_key: str, swap: bool = False
) -> LabelEvent | None:
    """Set colour (0–9) and hot key of the label; None where both stay.

    `swap`: a label that has this key gets the former key of `label` instead of a ValidationError.
    """
    lock_project(label.project)
    labels = labels_by_id(label.project)
    if label.pk not in labels:
        raise ValidationError(LABEL_DELETED)
    holder = next((other for other in labels.values() if hot_key and other.hot_key == hot_key), None)
    current = labels[label.pk]
    if (current.colour, current.hot_key) == (colour, hot_key):
        return None
    if holder and holder != label and not swap:
        sentence = gettext("The key %(key)s belongs to “%(label)s”.")
        raise ValidationError(sentence % {"key": hot_key.upper(), "label": holder})
    before, after = {str(label.pk): [current.colour, current.hot_key]}, {str(label.pk): [colour, hot_key]}
    if holder and holder != label:
        before[str(holder.pk)] = [holder.colour, holder.hot_key]
        after[str(holder.pk)] = [holder.colour, current.hot_key]
    set_look(label.project, after)
    details = {"label": label.pk, "name": label.name, "from": before, "to": after}
    return record_event(label.project, Kind.EDIT_LABEL, by, [], details)


@transaction.atomic
def move_label(label: Label, step: int) -> None:
    """Move the label up (-1) or down (1) in All Labels. Reordering is not recorded in the history."""
    lock_project(label.project)
    ordered = list(Label.objects.filter(project=label.project))
    place = next((index for index, other in enumerate(ordered) if other == label), None)
    if place is None or not 0 <= place + step < len(ordered):
        return
    ordered[place], ordered[place + step] = ordered[place + step], ordered[place]
    for position, other in enumerate(ordered):
        other.position = position
    Label.objects.bulk_update(ordered, ["position"])


def delete_label(label: Label, by: User | None, *, with_images: bool = False) -> LabelEvent | None:
    """Delete the label, with its annotations on all images including the bin. None where it is gone already.

    `with_images`: images that have only this label are moved to the bin. Returns the last event.
    """
    merge.forget_suggestions(label)
    event, project = None, label.project
    for details in parts.details_of(Annotation.objects.filter(label=label).count()):
        deleted = _delete_part(project, label, by, with_images, details)
        event = deleted or event
        if deleted is None or label.pk is None:
            break
    return event


@transaction.atomic
def _delete_part(
    project: Project, label: Label, by: User | None, with_images: bool, part: dict[str, Any]
) -> LabelEvent | None:
    lock_project(project)
    if label.pk not in labels_by_id(project):
        return None
    limit = parts.PART_IMAGES if part else None
    changes, details = merge.remove_label(label, by, with_images=with_images, limit=limit)
    return record_event(project, Kind.DELETE_LABEL, by, changes, {**details, **part})


def merge_labels(label: Label, into: Label, by: User | None) -> LabelEvent:
    """Label all images of `label` with `into` instead and delete `label`; the last event.

    Raises ValidationError.
    """
    merge.forget_suggestions(label)
    for details in parts.details_of(Annotation.objects.filter(label=label).count()):
        event = _merge_part(label, into, by, details)
        if label.pk is None:
            break
    return event


@transaction.atomic
def _merge_part(label: Label, into: Label, by: User | None, part: dict[str, Any]) -> LabelEvent:
    lock_project(label.project)
    labels = labels_by_id(label.project)
    if label.pk not in labels or into.pk not in labels:
        raise ValidationError(LABEL_DELETED)
    if label == into:
        raise ValidationError(gettext("Choose another label to merge into."))
    limit = parts.PART_IMAGES if part else None
    changes, details = merge.merge_into(label, into, by, limit=limit)
    return record_event(label.project, Kind.MERGE_LABELS, by, changes, {**details, **part})


def delete_images(project: Project, image_ids: Iterable[int], by: User | None) -> LabelEvent | None:
    """Move images with their labels into the bin. None where all of them are in it already."""
    return _bin(project, image_ids, by, is_deleted=True)


def restore_images(project: Project, image_ids: Iterable[int], by: User | None) -> LabelEvent | None:
    """Restore images from the bin. None where none of them is in it."""
    return _bin(project, image_ids, by, is_deleted=False)


def _bin(
    project: Project, image_ids: Iterable[int], by: User | None, *, is_deleted: bool
) -> LabelEvent | None:
    """The last event of the action."""
    events = [
        _bin_part(project, ids, by, details, is_deleted=is_deleted)
        for ids, details in parts.split_ids(image_ids)
    ]
    return next((event for event in reversed(events) if event is not None), None)


@transaction.atomic
def _bin_part(
    project: Project, image_ids: list[int], by: User | None, details: dict[str, Any], *, is_deleted: bool
) -> LabelEvent | None:
    lock_project(project)
    labels = labels_by_id(project)
    images = Image.objects.filter(project=project)
    images = images.alive() if is_deleted else images.binned()
    moved = existing_ids(images, image_ids)
    if not moved:
        return None
    changes = [
        change_entry(image, image.labels, labels)
        for image in load_image_labels(project, moved, with_bin=True)
    ]
    set_binned(moved, by, is_deleted)
    kind = Kind.DELETE_IMAGES if is_deleted else Kind.RESTORE_IMAGES
    return record_event(project, kind, by, changes, details)
