"""Reads and writes annotations in bulk, with their LabelEvent; all actions are built on this module.

Call inside a transaction that holds `lock_project(project)`, so that `is_labeled`, annotations and event
agree.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from exeml_site.lib import jobs
from exeml_site.lib.bulk import chunks
from projects.labels import audited, second_opinions
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
from projects.models.label import HOT_KEYS, LABEL_COLOURS, LABEL_NAME, MAX_LABELS, too_many_labels


@dataclass(frozen=True)
class ImageLabels:
    """The labels of one image. `annotations`: label id → annotation id.

    `is_suggested`: the image has a suggestion. `has_opinion`: a second opinion is wanted or given.
    """

    image_id: int
    annotations: Mapping[int, int]
    is_suggested: bool = False
    has_opinion: bool = False

    @cached_property
    def labels(self) -> frozenset[int]:
        return frozenset(self.annotations)


@dataclass(frozen=True)
class LabelChange:
    """A change of one image's labels: `current` labels, and ids of the labels it will have (`target`)."""

    current: ImageLabels
    target: frozenset[int]

    @property
    def becomes_labeled(self) -> bool:
        return bool(self.target) and not self.current.labels

    @property
    def becomes_unlabeled(self) -> bool:
        return bool(self.current.labels) and not self.target


def lock_project(project: Project) -> None:
    """Lock the project (SQLite: the database) until the transaction ends: nobody else labels in it."""
    Project.objects.select_for_update(no_key=True).only("pk").get(pk=project.pk)


def labels_by_id(project: Project) -> dict[int, Label]:
    return {label.pk: label for label in Label.objects.filter(project=project)}


def load_image_labels(
    project: Project, image_ids: Iterable[int], *, with_bin: bool = False
) -> list[ImageLabels]:
    """Labels of the images among `image_ids` that belong to this project, ordered by image id."""
    images = Image.objects.filter(project=project).order_by("pk")
    images = images if with_bin else images.alive()
    result: list[ImageLabels] = []
    for chunk in chunks(sorted(set(image_ids))):
        rows_of_images = images.filter(pk__in=chunk).values_list("pk", "suggestion_id", "opinion")
        annotations: dict[int, dict[int, int]] = {pk: {} for pk, *_ in rows_of_images}
        # No join here: for it PostgreSQL would read every annotation.
        rows = Annotation.objects.filter(image_id__in=list(annotations)).order_by()
        for pk, image_id, label_id in rows.values_list("pk", "image_id", "label_id"):
            annotations[image_id][label_id] = pk
        result.extend(
            ImageLabels(pk, annotations[pk], suggestion is not None, opinion != "")
            for pk, suggestion, opinion in rows_of_images
        )
    return result


def write_annotations(
    label_changes: Sequence[LabelChange],
    by: User | None,
    source: AnnotationSource = AnnotationSource.HUMAN,
    given: Mapping[tuple[int, int], Mapping[str, Any]] | None = None,
) -> None:
    """Insert and delete annotations until the images have their target labels.

    `given`: (image id, label id) → annotation fields that an import file names.
    """
    removed = [
        pk
        for change in label_changes
        for label, pk in change.current.annotations.items()
        if label not in change.target
    ]
    for chunk in chunks(removed):
        Annotation.objects.filter(pk__in=chunk).delete()
    default = {"by_id": by and by.pk, "source": source, "at": timezone.now()}
    Annotation.objects.bulk_create(_new_annotations(label_changes, default, given or {}))
    mark_labeled([change.current.image_id for change in label_changes if change.becomes_labeled], True)
    mark_labeled([change.current.image_id for change in label_changes if change.becomes_unlabeled], False)


def _new_annotations(
    label_changes: Sequence[LabelChange],
    default: Mapping[str, Any],
    given: Mapping[tuple[int, int], Mapping[str, Any]],
) -> Iterator[Annotation]:
    """Yield an annotation for each added label, with the `given` fields before the `default` ones."""
    for change in label_changes:
        image_id = change.current.image_id
        for label_id in sorted(change.target - change.current.labels):
            fields = {**default, **given.get((image_id, label_id), {})}
            yield Annotation(image_id=image_id, label_id=label_id, **fields)


def change_entry(current: ImageLabels, target: Iterable[int], labels: dict[int, Label]) -> dict[str, Any]:
    """The entry of an image in an event's `changes`."""
    return {
        "image": current.image_id,
        "from": sorted(labels[pk].name for pk in current.labels),
        "to": sorted(labels[pk].name for pk in target),
    }


def record_label_changes(
    project: Project,
    kind: LabelEvent.Kind,
    by: User | None,
    label_changes: Sequence[LabelChange],
    labels: dict[int, Label],
    details: Mapping[str, Any] | None = None,
) -> LabelEvent:
    """Write the event of an action that labels images outside the bin. `details` is added to the event."""
    changes = [change_entry(change.current, change.target, labels) for change in label_changes]
    has_opinion = any(change.current.has_opinion for change in label_changes)
    all_details = {**_event_details(label_changes, labels), **(details or {})}
    return record_event(project, kind, by, changes, all_details, has_opinion=has_opinion)


def label_ids_by_name(label_changes: Sequence[LabelChange], labels: Mapping[int, Label]) -> dict[str, int]:
    """Label name → id of all labels that the changes add, keep or remove; for the details of the event."""
    label_ids = sorted({pk for change in label_changes for pk in change.current.labels | change.target})
    return {labels[pk].name: pk for pk in label_ids}


def _event_details(label_changes: Sequence[LabelChange], labels: Mapping[int, Label]) -> dict[str, Any]:
    """Details of the event, from which `labels.counts` updates its cached counts without a query."""
    newly = [change for change in label_changes if change.becomes_labeled]
    return {
        "labels": label_ids_by_name(label_changes, labels),
        "suggested": sum(change.current.is_suggested for change in newly),
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
    """Write the event of an action, update second opinions, and enqueue the jobs that follow changed labels.

    `has_opinion`: whether any of the images may have a second opinion.
    """
    event = LabelEvent.objects.create(
        project=project, kind=kind, by=by, changes=changes, details=details or {}, undoes=undoes
    )
    image_ids = sorted({change["image"] for change in changes})
    LabelEventImage.objects.bulk_create(LabelEventImage(event=event, image_id=pk) for pk in image_ids)
    if has_opinion or project.opinion_share:
        second_opinions.update_states(project, changes)
    if "into" in event.details:
        second_opinions.recompute_states(project)
    audited.record_in_audit_log(event)
    if "transfer" not in event.details:  # an import asks for suggestions once, at its end
        jobs.after("labels_changed", project.pk)
    return event


def mark_labeled(image_ids: Sequence[int], is_labeled: bool) -> None:
    """Set `is_labeled`, and clear the suggestion: the workers compute one for unlabeled images."""
    for chunk in chunks(image_ids):
        Image.objects.filter(pk__in=chunk).update(
            is_labeled=is_labeled, suggestion=None, confidence=None, acquisition_score=None
        )
        if is_labeled:
            Assignment.objects.filter(image_id__in=chunk).delete()


def existing_ids(images: ImageQuerySet, image_ids: Iterable[int]) -> list[int]:
    """The ids among `image_ids` that the query set `images` contains, sorted."""
    ids: list[int] = []
    for chunk in chunks(sorted(set(image_ids))):
        ids.extend(images.filter(pk__in=chunk).order_by("pk").values_list("pk", flat=True))
    return ids


def set_binned(image_ids: Sequence[int], by: User | None, is_deleted: bool) -> None:
    deleted_at, deleted_by = (timezone.now(), by) if is_deleted else (None, None)
    for chunk in chunks(image_ids):
        Image.objects.filter(pk__in=chunk).update(deleted_at=deleted_at, deleted_by=deleted_by)


def normalized_name(name: str) -> str:
    """The label name as stored: Unicode NFC, single spaces, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def find_or_create_labels(
    project: Project, names: Iterable[str], existing: dict[int, Label] | None = None
) -> list[Label]:
    """The labels with these names (any case), in this order. Missing ones are created.

    `existing`: result of `labels_by_id` if the caller has it; created labels are added to it. Raises
    ValidationError for an invalid label name, or for more than MAX_LABELS labels.
    """
    existing = labels_by_id(project) if existing is None else existing
    by_name = {label.name.lower(): label for label in existing.values()}
    wanted: dict[str, str] = {}
    for name in map(normalized_name, names):
        wanted.setdefault(name.lower(), name)
    missing = [name for key, name in wanted.items() if key not in by_name]
    for label in _make_labels(project, missing, existing):
        by_name[label.name.lower()] = existing[label.pk] = label
    return [by_name[key] for key in wanted]


def _make_labels(project: Project, names: Sequence[str], others: Mapping[int, Label]) -> list[Label]:
    """Create labels at the first free positions, which set their colours, with free hot keys."""
    for name in names:
        LABEL_NAME(name)
    if names and len(others) + len(names) > MAX_LABELS:
        raise too_many_labels(len(others), len(names))
    positions = {label.position for label in others.values()}
    free_positions = (position for position in itertools.count() if position not in positions)
    keys = _free_hot_keys(names, {label.hot_key for label in others.values()})
    return Label.objects.bulk_create(
        Label(
            project=project,
            name=name,
            position=position,
            colour=position % LABEL_COLOURS,
            hot_key=key,
        )
        for name, position, key in zip(names, free_positions, keys, strict=False)
    )


def _free_hot_keys(names: Sequence[str], taken: set[str]) -> Iterator[str]:
    """The keys of new labels with these names; empty ones where all are taken."""
    reserved = {own_hot_key(name) for name in names}
    for name in names:
        key = free_hot_key(name, taken, reserved=reserved)
        taken.add(key)
        yield key


def free_position(others: Iterable[Label], preferred: int | None = None) -> int:
    """`preferred` if no label has that position, or else the first free one."""
    taken = {label.position for label in others}
    if preferred is not None and preferred not in taken:
        return preferred
    return next(position for position in range(len(taken) + 1) if position not in taken)


def free_hot_key(
    name: str, taken: Collection[str], preferred: str = "", reserved: Collection[str] = ()
) -> str:
    """The key of a label with this name: `preferred`, its own or the first free one; empty if all are taken.

    The label “3” has its own key 3, the label “B” the key b. `reserved`: the own keys of labels that are
    created at the same time; no other label gets one of them while another key is free.
    """
    for key in (preferred, own_hot_key(name)):
        if key and key not in taken:
            return key
    free = [key for key in HOT_KEYS if key not in taken]
    return next((key for key in free if key not in reserved), free[0] if free else "")


def own_hot_key(name: str) -> str:
    """The key that a name of one digit or letter is; empty for other names."""
    key = name.lower()
    return key if len(key) == 1 and key in HOT_KEYS else ""


def set_look(project: Project, looks: Mapping[str, Sequence[Any]]) -> None:
    """Set [colour, hot key] of labels by id.

    Hot keys are cleared first: they are unique per project, and labels may swap theirs.
    """
    labels = [label for label in Label.objects.filter(project=project) if str(label.pk) in looks]
    Label.objects.filter(pk__in=[label.pk for label in labels]).update(hot_key="")
    for label in labels:
        label.colour, label.hot_key = looks[str(label.pk)]
    Label.objects.bulk_update(labels, ["colour", "hot_key"])
