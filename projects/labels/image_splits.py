"""Setting images aside as test images, and giving them back to training and validation.

Duplicates of the images go with them: a model would be tested on what it was trained on otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from exeml_site.lib.bulk import chunks
from projects.labels import parts
from projects.labels.annotations import (
    change_entry,
    labels_by_id,
    load_image_labels,
    lock_project,
    record_event,
)
from projects.models import Image, LabelEvent, Project, Split

Splits = Mapping[int, tuple[str, str]]  # image id → split before, split after


def keep_as_test(project: Project, image_ids: Iterable[int], by: User | None) -> LabelEvent | None:
    """Make images and their duplicates test images. None where all of them are; else the last event."""
    return _set_split(project, image_ids, Split.TEST, by)


def use_for_training(project: Project, image_ids: Iterable[int], by: User | None) -> LabelEvent | None:
    """Give test images and their duplicates back: the next dataset version splits them as new images.

    Other images keep their split. None where none of them is a test image; else the last event.
    """
    return _set_split(project, image_ids, "", by)


def changed_images(event: LabelEvent) -> dict[int, str]:
    """Image id → split before the action, of all parts of the action."""
    return {
        int(pk): before
        for part in parts.events_of_action(event)
        for pk, (before, _) in part.details["splits"].items()
    }


def change_splits(project: Project, splits: Splits) -> dict[int, tuple[str, str]]:
    """Set the split of living images that still have the one before; the images that changed.

    Call inside a transaction that holds `lock_project(project)`.
    """
    current: dict[int, str] = {}
    for chunk in chunks(sorted(splits)):
        rows = Image.objects.filter(project=project, pk__in=chunk).order_by()
        current |= dict(rows.values_list("pk", "split"))
    changed = {pk: splits[pk] for pk, split in current.items() if split == splits[pk][0] != splits[pk][1]}
    for after in {after for _, after in changed.values()}:
        for chunk in chunks([pk for pk, (_, wanted) in changed.items() if wanted == after]):
            Image.objects.filter(pk__in=chunk).update(split=after)
    return changed


def as_details(splits: Splits) -> dict[str, list[str]]:
    """The splits as the details of an event hold them."""
    return {str(pk): list(pair) for pk, pair in sorted(splits.items())}


def _set_split(project: Project, image_ids: Iterable[int], split: str, by: User | None) -> LabelEvent | None:
    events = [
        _set_part(project, ids, split, by, details)
        for ids, details in parts.split_ids(_with_duplicates(project, image_ids))
    ]
    return next((event for event in reversed(events) if event is not None), None)


def _with_duplicates(project: Project, image_ids: Iterable[int]) -> set[int]:
    """The living images among `image_ids`, and the duplicates of them."""
    images = Image.objects.alive().filter(project=project).order_by()
    ids, groups = set[int](), set[int]()
    for chunk in chunks(sorted(set(image_ids))):
        rows = list(images.filter(pk__in=chunk).values_list("pk", "duplicate_group"))
        ids |= {pk for pk, _ in rows}
        groups |= {group for _, group in rows if group is not None}
    for chunk in chunks(sorted(groups)):
        ids |= set(images.filter(duplicate_group__in=chunk).values_list("pk", flat=True))
    return ids


@transaction.atomic
def _set_part(
    project: Project, image_ids: list[int], split: str, by: User | None, details: dict[str, Any]
) -> LabelEvent | None:
    lock_project(project)
    images = Image.objects.alive().filter(project=project, pk__in=image_ids).order_by()
    images = images.exclude(split=Split.TEST) if split == Split.TEST else images.filter(split=Split.TEST)
    wanted = {pk: (before, split) for pk, before in images.values_list("pk", "split")}
    changed = change_splits(project, wanted)
    if not changed:
        return None
    labels = labels_by_id(project)
    changes = [change_entry(image, image.labels, labels) for image in load_image_labels(project, changed)]
    details = {**details, "split": split, "splits": as_details(changed)}
    return record_event(project, LabelEvent.Kind.SET_SPLIT, by, changes, details, has_opinion=False)
