"""Taking a label out of a project: deleted, or merged into another. Nothing of it is lost: what is returned
for the event holds every annotation with who and when, so that it can be brought back.

Call inside a transaction that holds `label_rows.alone(project)`.
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
from projects.models import Annotation, Label, Project

Changes = list[dict[str, Any]]


def remove_label(
    label: Label, by: User | None, *, with_images: bool = False
) -> tuple[Changes, dict[str, Any]]:
    """Delete the label; `with_images` puts living images that have no other into the bin. For the event."""
    labels = labels_by_id(label.project)
    carriers = _carriers(label)
    changes = [change_entry(held, held.labels - {label.pk}, labels) for held in carriers]
    alone = [held.image_id for held in carriers if held.labels == {label.pk}]
    details = _details(label, labels, carriers)
    if with_images:
        details["binned"] = _alive_ids(label.project, alone)
        set_binned(details["binned"], by, True)
    mark_labeled(alone, False)
    label.delete()
    return changes, details


def merge_into(label: Label, into: Label, by: User | None) -> tuple[Changes, dict[str, Any]]:
    """Give every carrier of `label` the label `into` instead; who and when stay. For the event."""
    labels = labels_by_id(label.project)
    carriers = _carriers(label)
    changes = [change_entry(held, held.labels - {label.pk} | {into.pk}, labels) for held in carriers]
    details = _details(label, labels | {into.pk: into}, carriers)
    details["labels"][into.name] = into.pk
    details["into"] = {"id": into.pk, "name": into.name}
    moved = [held.image_id for held in carriers if into.pk not in held.labels]
    details["moved"] = moved
    for chunk in chunks(moved):
        Annotation.objects.filter(image_id__in=chunk, label=label).update(label=into)
    label.delete()
    return changes, details


def recreate_label(project: Project, was: dict[str, Any]) -> Label:
    """The label of that name that somebody made since, else the old one with its colour, and its key if free.

    It has its old id again, so that earlier deeds still know it.
    """
    others = list(Label.objects.filter(project=project))
    for other in others:
        if other.name.lower() == was["name"].lower():
            return other
    return Label.objects.create(
        pk=was.get("id"),
        project=project,
        name=was["name"],
        colour=was["colour"],
        position=free_position(others, was["position"]),
        hot_key=free_hot_key(others, was.get("hot_key", "")),
    )


def restore_annotations(label: Label, rows: Iterable[list[Any]]) -> None:
    """Annotations as the event kept them: image, person, how, when, confidence."""
    rows = list(rows)
    users = set(User.objects.filter(pk__in={row[1] for row in rows if row[1]}).values_list("pk", flat=True))
    Annotation.objects.bulk_create(
        Annotation(
            image_id=image_id,
            label=label,
            by_id=by_id if by_id in users else None,
            source=source,
            at=datetime.fromisoformat(at),
            confidence=confidence,
        )
        for image_id, by_id, source, at, confidence in rows
    )
    mark_labeled([row[0] for row in rows], True)


def _carriers(label: Label) -> list[ImageLabels]:
    """Also those in the bin."""
    carrying = Annotation.objects.filter(label=label).values_list("image_id", flat=True)
    return load_image_labels(label.project, list(carrying), with_bin=True)


def _details(label: Label, labels: dict[int, Label], carriers: list[ImageLabels]) -> dict[str, Any]:
    rows = Annotation.objects.filter(label=label).order_by("image_id")
    return {
        "label": {
            "id": label.pk,
            "name": label.name,
            "colour": label.colour,
            "position": label.position,
            "hot_key": label.hot_key,
        },
        "labels": {labels[pk].name: pk for held in carriers for pk in held.labels},
        "annotations": [
            [one.image_id, one.by_id, one.source, one.at.isoformat(), one.confidence] for one in rows
        ],
    }


def _alive_ids(project: Project, image_ids: list[int]) -> list[int]:
    living: list[int] = []
    for chunk in chunks(image_ids):
        images = project.images.filter(pk__in=chunk, deleted_at=None)
        living.extend(images.order_by("pk").values_list("pk", flat=True))
    return living
