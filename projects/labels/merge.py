"""Deletes and merges labels, and restores them for undo.

The details returned for the event hold every deleted annotation with author and time, so nothing is lost.
Call inside a transaction that holds `lock_project(project)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User

from exeml_site.lib.bulk import chunks
from projects.labels.annotations import (
    ImageLabels,
    change_entry,
    free_hot_key,
    free_position,
    labels_by_id,
    load_image_labels,
    mark_labeled,
    set_binned,
)
from projects.models import Annotation, Image, Label, Project

Changes = list[dict[str, Any]]
FORGET_AT_ONCE = 500


def remove_label(
    label: Label,
    by: User | None,
    *,
    with_images: bool = False,
    limit: int | None = None,
    deletes: bool = True,
) -> tuple[Changes, dict[str, Any]]:
    """Remove the label from images and delete it; return the changes and details of the event.

    `with_images`: images that have no other label are moved to the bin. `limit`: at most so many images; the
    label is deleted once no image has it, if `deletes`.
    """
    labels = labels_by_id(label.project)
    images = _images_with(label, limit)
    changes = [change_entry(image, image.labels - {label.pk}, labels) for image in images]
    only_this = [image.image_id for image in images if image.labels == {label.pk}]
    details = _details(label, labels, images)
    if with_images:
        details["binned"] = _alive_ids(label.project, only_this)
        set_binned(details["binned"], by, True)
    mark_labeled(only_this, False)
    _delete_annotations(label, images)
    _delete_if_unused(label, deletes)
    return changes, details


def merge_into(
    label: Label, into: Label, by: User | None, *, limit: int | None = None, deletes: bool = True
) -> tuple[Changes, dict[str, Any]]:
    """Replace `label` by `into` on images, keeping author and time; return changes and details.

    `limit`, `deletes`: as for `remove_label`.
    """
    labels = labels_by_id(label.project)
    images = _images_with(label, limit)
    changes = [change_entry(image, image.labels - {label.pk} | {into.pk}, labels) for image in images]
    details = _details(label, labels | {into.pk: into}, images)
    details["labels"][into.name] = into.pk
    details["into"] = {"id": into.pk, "name": into.name}
    moved = [image.image_id for image in images if into.pk not in image.labels]
    details["moved"] = moved
    for chunk in chunks(moved):
        Annotation.objects.filter(image_id__in=chunk, label=label).update(label=into)
    _delete_annotations(label, images)
    _delete_if_unused(label, deletes)
    return changes, details


def _delete_annotations(label: Label, images: list[ImageLabels]) -> None:
    for chunk in chunks([image.image_id for image in images]):
        Annotation.objects.filter(image_id__in=chunk, label=label).delete()


def _delete_if_unused(label: Label, deletes: bool) -> None:
    if deletes and not Annotation.objects.filter(label=label).exists():
        label.delete()


def forget_suggestions(label: Label) -> None:
    """Clear the label as suggestion and as suspected label, in short transactions of its own."""
    for field in ("suggestion", "suspected_label"):
        images = Image.objects.filter(**{field: label})
        while ids := list(images.values_list("pk", flat=True)[:FORGET_AT_ONCE]):
            Image.objects.filter(pk__in=ids).update(**{field: None})


def recreate_label(project: Project, former: dict[str, Any]) -> Label:
    """The label that has the old name now, or else a new one with the old colour, and the old key if free.

    The new label has the old id, so that earlier events still refer to it.
    """
    others = list(Label.objects.filter(project=project))
    for other in others:
        if other.name.lower() == former["name"].lower():
            return other
    return Label.objects.create(
        pk=former.get("id"),
        project=project,
        name=former["name"],
        colour=former["colour"],
        position=free_position(others, former["position"]),
        hot_key=free_hot_key(former["name"], {other.hot_key for other in others}, former.get("hot_key", "")),
    )


def restore_annotations(label: Label, rows: Iterable[list[Any]]) -> None:
    """Insert the annotations of an event: `rows` of image id, user id, source, ISO time, confidence."""
    rows = list(rows)
    users = set(User.objects.filter(pk__in={row[1] for row in rows if row[1]}).values_list("pk", flat=True))
    Annotation.objects.bulk_create(
        Annotation(
            image_id=image_id,
            label=label,
            by_id=by_id if by_id in users else None,
            source=source,
            at=datetime.fromisoformat(time),
            confidence=confidence,
        )
        for image_id, by_id, source, time, confidence in rows
    )
    mark_labeled([row[0] for row in rows], True)


def _images_with(label: Label, limit: int | None) -> list[ImageLabels]:
    """Labels of the images that have this label, including the bin; the first `limit` of them."""
    image_ids = Annotation.objects.filter(label=label).order_by("image_id").values_list("image_id", flat=True)
    return load_image_labels(label.project, list(image_ids[:limit]), with_bin=True)


def _details(label: Label, labels: dict[int, Label], images: list[ImageLabels]) -> dict[str, Any]:
    ids = [image.image_id for image in images]
    rows = [
        row
        for chunk in chunks(ids)
        for row in Annotation.objects.filter(label=label, image_id__in=chunk).order_by("image_id")
    ]
    return {
        "label": {
            "id": label.pk,
            "name": label.name,
            "colour": label.colour,
            "position": label.position,
            "hot_key": label.hot_key,
        },
        "labels": {labels[pk].name: pk for image in images for pk in image.labels},
        "annotations": [
            [row.image_id, row.by_id, row.source, row.at.isoformat(), row.confidence] for row in rows
        ],
    }


def _alive_ids(project: Project, image_ids: list[int]) -> list[int]:
    alive: list[int] = []
    for chunk in chunks(image_ids):
        images = project.images.filter(pk__in=chunk, deleted_at=None)
        alive.extend(images.order_by("pk").values_list("pk", flat=True))
    return alive
