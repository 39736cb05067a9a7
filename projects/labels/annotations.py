"""Reading and writing which image carries which label, many rows at a time; the deeds are built on it.

Call inside a transaction that holds `alone(project)`: then `is_labeled`, the annotations and the event agree.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from exeml_site.lib import jobs
from exeml_site.lib.bulk import chunks
from projects.labels import second_opinions
from projects.models import (
    Annotation,
    AnnotationSource,
    Assignment,
    Image,
    Label,
    LabelEvent,
    LabelEventImage,
    Project,
)
from projects.models.image import ImageQuerySet
from projects.models.label import HOT_KEYS, LABEL_COLOURS, LABEL_NAME


@dataclass(frozen=True)
class ImageLabels:
    """What one image carries: label id → annotation id; whether a label is suggested for it, and whether
    somebody is asked for a second opinion or gave one."""

    image_id: int
    annotations: Mapping[int, int]
    is_suggested: bool = False
    has_opinion: bool = False

    @cached_property
    def labels(self) -> frozenset[int]:
        return frozenset(self.annotations)


@dataclass(frozen=True)
class LabelChange:
    """One image and the labels (ids) that it shall carry."""

    held: ImageLabels
    wanted: frozenset[int]


def lock_project(project: Project) -> None:
    """Until the transaction ends nobody else labels in this project (SQLite: in any)."""
    Project.objects.select_for_update(no_key=True).only("pk").get(pk=project.pk)


def labels_by_id(project: Project) -> dict[int, Label]:
    return {label.pk: label for label in Label.objects.filter(project=project)}


def load_image_labels(
    project: Project, image_ids: Iterable[int], *, with_bin: bool = False
) -> list[ImageLabels]:
    """What the images of this project among `image_ids` carry, in the order of their ids."""
    images = Image.objects.filter(project=project).order_by("pk")
    images = images if with_bin else images.alive()
    found: list[ImageLabels] = []
    for chunk in chunks(sorted(set(image_ids))):
        here = images.filter(pk__in=chunk).values_list("pk", "suggestion_id", "opinion")
        carried: dict[int, dict[int, int]] = {pk: {} for pk, *_ in here}
        # No join: PostgreSQL would read every annotation for it.
        rows = Annotation.objects.filter(image_id__in=list(carried)).order_by()
        for pk, image_id, label_id in rows.values_list("pk", "image_id", "label_id"):
            carried[image_id][label_id] = pk
        found.extend(
            ImageLabels(pk, carried[pk], suggestion is not None, opinion != "")
            for pk, suggestion, opinion in here
        )
    return found


def write_annotations(
    moves: Sequence[LabelChange],
    by: User | None,
    source: AnnotationSource = AnnotationSource.HUMAN,
    given: Mapping[tuple[int, int], Mapping[str, Any]] | None = None,
) -> None:
    """Make the rows say what the moves want.

    `given`: (image id, label id) → fields of the annotation that another installation already knew.
    """
    now, known = timezone.now(), given or {}
    gone = [pk for move in moves for label, pk in move.held.annotations.items() if label not in move.wanted]
    new = [
        Annotation(
            image_id=move.held.image_id,
            label_id=label,
            **{
                "by_id": by and by.pk,
                "source": source,
                "at": now,
                **known.get((move.held.image_id, label), {}),
            },
        )
        for move in moves
        for label in sorted(move.wanted - move.held.labels)
    ]
    for chunk in chunks(gone):
        Annotation.objects.filter(pk__in=chunk).delete()
    Annotation.objects.bulk_create(new)
    mark_labeled([move.held.image_id for move in moves if move.wanted and not move.held.labels], True)
    mark_labeled([move.held.image_id for move in moves if move.held.labels and not move.wanted], False)


def change_entry(held: ImageLabels, wanted: Iterable[int], labels: dict[int, Label]) -> dict[str, Any]:
    """One entry of an event's `changes`."""
    return {
        "image": held.image_id,
        "from": sorted(labels[pk].name for pk in held.labels),
        "to": sorted(labels[pk].name for pk in wanted),
    }


def record_label_changes(
    project: Project,
    kind: LabelEvent.Kind,
    by: User | None,
    moves: Sequence[LabelChange],
    labels: dict[int, Label],
) -> LabelEvent:
    """The event of a deed that labels living images."""
    changes = [change_entry(move.held, move.wanted, labels) for move in moves]
    has_opinion = any(move.held.has_opinion for move in moves)
    return record_event(project, kind, by, changes, _event_details(moves, labels), has_opinion=has_opinion)


def _event_details(moves: Sequence[LabelChange], labels: Mapping[int, Label]) -> dict[str, Any]:
    """`details` of the event; with them the counts go on without counting."""
    touched = sorted({pk for move in moves for pk in move.held.labels | move.wanted})
    newly = [move for move in moves if move.wanted and not move.held.labels]
    return {
        "labels": {labels[pk].name: pk for pk in touched},
        "suggested": sum(move.held.is_suggested for move in newly),
    }


def record_event(
    project: Project,
    kind: LabelEvent.Kind,
    by: User | None,
    changes: list[dict[str, Any]],
    details: dict[str, Any] | None = None,
    undoes: LabelEvent | None = None,
    *,
    has_opinion: bool = True,
) -> LabelEvent:
    """Write the event of a deed, and let the workers look at the project's labels anew.

    `has_opinion`: whether any of the images may have a second opinion.
    """
    event = LabelEvent.objects.create(
        project=project, kind=kind, by=by, changes=changes, details=details or {}, undoes=undoes
    )
    touched = sorted({change["image"] for change in changes})
    LabelEventImage.objects.bulk_create(LabelEventImage(event=event, image_id=pk) for pk in touched)
    if has_opinion or project.opinion_share:
        second_opinions.update_states(project, changes)
    if "into" in event.details:
        second_opinions.recompute_states(project)
    jobs.after("labels_changed", project.pk)
    return event


def mark_labeled(image_ids: Sequence[int], is_labeled: bool) -> None:
    """A labeled image needs no suggestion; one that lost its labels gets one from the workers."""
    for chunk in chunks(image_ids):
        Image.objects.filter(pk__in=chunk).update(
            is_labeled=is_labeled, suggestion=None, confidence=None, acquisition_score=None
        )
        if is_labeled:
            Assignment.objects.filter(image_id__in=chunk).delete()


def existing_ids(images: ImageQuerySet, image_ids: Iterable[int]) -> list[int]:
    """The ids among `image_ids` that `images` holds, in order."""
    found: list[int] = []
    for chunk in chunks(sorted(set(image_ids))):
        found.extend(images.filter(pk__in=chunk).order_by("pk").values_list("pk", flat=True))
    return found


def set_binned(image_ids: Sequence[int], by: User | None, is_deleted: bool) -> None:
    deleted_at, deleted_by = (timezone.now(), by) if is_deleted else (None, None)
    for chunk in chunks(image_ids):
        Image.objects.filter(pk__in=chunk).update(deleted_at=deleted_at, deleted_by=deleted_by)


def normalized_name(name: str) -> str:
    """A label name as it is stored: composed characters, single spaces, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def find_or_create_labels(
    project: Project, names: Iterable[str], living: dict[int, Label] | None = None
) -> list[Label]:
    """The labels of these names in this order, made where missing. Upper and lower case do not differ.

    `living`: `labels_by_id`, where the caller has it; what is made is added. Raises ValidationError for a
    name that no label may have.
    """
    living = labels_by_id(project) if living is None else living
    known = {label.name.lower(): label for label in living.values()}
    found: dict[str, Label] = {}
    for name in map(normalized_name, names):
        key = name.lower()
        if key not in known:
            LABEL_NAME(name)
            made = known[key] = _make_label(project, name, known.values())
            living[made.pk] = made
        found.setdefault(key, known[key])
    return list(found.values())


def _make_label(project: Project, name: str, others: Iterable[Label]) -> Label:
    """A label at the first free position, which decides its colour, with the first free hot key."""
    position = free_position(others)
    try:
        with transaction.atomic():
            return Label.objects.create(
                project=project,
                name=name,
                position=position,
                colour=position % LABEL_COLOURS,
                hot_key=free_hot_key(others),
            )
    except IntegrityError:  # somebody made it in this moment
        return Label.objects.get(project=project, name__iexact=name)


def free_position(others: Iterable[Label], wanted: int | None = None) -> int:
    """`wanted` if nobody stands there, else the first free one."""
    taken = {label.position for label in others}
    if wanted is not None and wanted not in taken:
        return wanted
    return next(position for position in range(len(taken) + 1) if position not in taken)


def free_hot_key(others: Iterable[Label], wanted: str = "") -> str:
    """`wanted` if no other label has it, else the first free key; nothing where all are taken."""
    taken = {label.hot_key for label in others}
    if wanted and wanted not in taken:
        return wanted
    return next((key for key in HOT_KEYS if key not in taken), "")


def set_look(project: Project, looks: Mapping[str, Sequence[Any]]) -> None:
    """Give labels, named by their ids, their [colour, key]; keys change hands without meeting."""
    labels = [one for one in Label.objects.filter(project=project) if str(one.pk) in looks]
    Label.objects.filter(pk__in=[one.pk for one in labels]).update(hot_key="")
    for label in labels:
        label.colour, label.hot_key = looks[str(label.pk)]
        label.save(update_fields=["colour", "hot_key"])
