"""Images that are never split: those that share a value of a column that is never split, or a duplicate."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from projects.models import Image, MetadataColumn, MetadataValue, Project


def bound_images(project: Project) -> dict[int, int]:
    """Image id → number of its group, for the images outside the bin that are bound by a value.

    A group is connected by values of all columns that are never split, and by duplicates; its number is the
    lowest image id. Empty without such a column.
    """
    columns = list(MetadataColumn.objects.filter(project=project, is_never_split=True))
    if not columns:
        return {}
    keys: dict[int, list[Hashable]] = defaultdict(list)
    values = MetadataValue.objects.filter(column__in=columns, image__deleted_at=None).order_by()
    for image_id, column_id, value in values.values_list("image_id", "column_id", "value"):
        keys[image_id].append((column_id, value))
    valued = set(keys)
    duplicates = Image.objects.alive().filter(project=project, duplicate_group__isnull=False)
    for image_id, group in duplicates.order_by().values_list("pk", "duplicate_group"):
        keys[image_id].append(group)
    numbers = connected(keys)
    with_value = {numbers[image_id] for image_id in valued}
    return {image_id: number for image_id, number in numbers.items() if number in with_value}


def never_split_report(
    project: Project, bound: Mapping[int, int], splits: Mapping[int, str]
) -> dict[str, Any]:
    """What the report of a split says: the columns, and the groups in each split; empty without columns."""
    if not bound:
        return {}
    columns = project.metadata_columns.filter(is_never_split=True).values_list("name", flat=True)
    groups = {(bound[pk], split) for pk, split in splits.items() if pk in bound}
    counted = Counter(split for _, split in groups)
    return {"columns": list(columns), "groups": dict(sorted(counted.items()))}


def evaluation_groups(project: Project, image_ids: Iterable[int | None]) -> list[int | None] | None:
    """The group of each evaluated image, which is one unit of evidence: never split, or duplicates.

    None for an image alone; None instead of the list if all are.
    """
    duplicates = Image.objects.filter(project=project, duplicate_group__isnull=False)
    numbers = {pk: -(group or 0) for pk, group in duplicates.values_list("pk", "duplicate_group")}
    numbers |= bound_images(project)
    groups = [numbers.get(pk) if pk is not None else None for pk in image_ids]
    return groups if any(group is not None for group in groups) else None


def connected(keys: Mapping[int, Iterable[Hashable]]) -> dict[int, int]:
    """Id → the lowest id that is connected with it by shared keys, directly or through others."""
    parents = {pk: pk for pk in keys}

    def root(pk: int) -> int:
        while parents[pk] != pk:
            parents[pk] = parents[parents[pk]]
            pk = parents[pk]
        return pk

    holders: dict[Hashable, int] = {}
    for pk in sorted(keys):
        for key in keys[pk]:
            one, other = root(pk), root(holders.setdefault(key, pk))
            parents[max(one, other)] = min(one, other)
    return {pk: root(pk) for pk in keys}
