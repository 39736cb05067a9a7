"""Bulk update of image columns that jobs compute; only rows that differ are written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from projects.models import Image, Project
from projects.models.image import ImageQuerySet

BATCH_SIZE = 1_000


def alive_images(project: Project) -> ImageQuerySet:
    return Image.objects.alive().filter(project=project).order_by()


def write_changed(project: Project, columns: Sequence[str], new_values: Mapping[int, tuple[Any, ...]]) -> int:
    """Update the living images whose columns differ from `wanted` (image id → values); returns how many.

    Images that get the same values share an UPDATE.
    """
    ids_of: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for pk, *values in alive_images(project).values_list("pk", *columns):
        new = new_values.get(pk)
        if new is not None and new != tuple(values):
            ids_of[new].append(pk)
    changed = 0
    for values, ids in ids_of.items():
        for start in range(0, len(ids), BATCH_SIZE):
            with transaction.atomic():
                part = Image.objects.filter(pk__in=ids[start : start + BATCH_SIZE])
                changed += part.update(**dict(zip(columns, values, strict=True)))
    return changed
