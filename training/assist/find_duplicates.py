"""Duplicate groups of a project, searched again only after images were added, deleted or restored."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Count, Max, Sum

from exeml_site.lib.bulk import chunks
from projects.images.thumbnail import stored_thumbnail, thumbnails_of
from projects.models import DuplicateKey, Image, Project
from training.assist.write_findings import alive_images, write_changed

if TYPE_CHECKING:
    from training.engine.data.duplicates import Indices
    from training.engine.data.images import Pixels

MAX_COMPARED_IMAGES = 200_000  # of one search, which needs 6 KB of memory for each
BATCH_SIZE = 500


def update_duplicate_groups(project: Project, *, at_once: bool = True) -> int:
    """Set each `duplicate_group` to the lowest id of the group, or None; returns how many rows changed.

    If images were only added, they are compared with all; if one was deleted or restored, all are compared
    again. A project of more than MAX_COMPARED_IMAGES is not searched, and its duplicates count as unknown.
    Unless `at_once`, a project is searched only after its last image was embedded, not after every part of an
    upload.
    """
    totals = alive_images(project).aggregate(count=Count("pk"), last=Max("pk"), total=Sum("pk"))
    if not 0 < totals["count"] <= MAX_COMPARED_IMAGES:
        Project.objects.filter(pk=project.pk).exclude(duplicates_searched="").update(duplicates_searched="")
        return 0
    searched = Project.objects.values_list("duplicates_searched", flat=True).get(pk=project.pk)
    if searched == _fingerprint(totals["count"], totals["last"], totals["total"]):
        return 0
    if not at_once and alive_images(project).filter(embedding=None).exists():
        return 0
    images = list(
        alive_images(project).order_by("pk").only("pk", "project_id", "sha256", "format", "duplicate_group")
    )
    groups = _groups(images, _already_compared(images, searched))
    changed = write_changed(project, ("duplicate_group",), groups)
    Project.objects.filter(pk=project.pk).update(duplicates_searched=_fingerprint_of(images))
    return changed


def _fingerprint(count: int, last: int, total: int) -> str:
    """Identifies a set of images by their number, highest id and sum of ids."""
    return f"{count}:{last}:{total % 2**32}"


def _fingerprint_of(images: Sequence[Image]) -> str:
    return _fingerprint(len(images), images[-1].pk, sum(image.pk for image in images)) if images else ""


def _already_compared(images: Sequence[Image], searched: str) -> Sequence[Image]:
    """The oldest images, if they are the set that the last search compared."""
    count = int(searched.partition(":")[0] or 0)
    oldest = images[:count]
    return oldest if oldest and _fingerprint_of(oldest) == searched else []


def _groups(images: Sequence[Image], compared: Sequence[Image]) -> dict[int, tuple[int | None]]:
    import numpy as np

    from training.engine.data.duplicates import group_duplicate_keys

    threads = settings.EXEML_ENGINE_THREADS or os.cpu_count() or 1
    known_groups: Indices = np.array([image.duplicate_group or image.pk for image in compared], np.int64)
    keys = _duplicate_keys(images, threads)
    groups = group_duplicate_keys(keys, lambda row: _stored_file(images[row]), threads, known_groups)
    members: dict[int, list[int]] = defaultdict(list)
    for image, group in zip(images, groups.tolist(), strict=True):
        members[group].append(image.pk)
    return {pk: (ids[0] if len(ids) > 1 else None,) for ids in members.values() for pk in ids}


def _duplicate_keys(images: Sequence[Image], threads: int) -> Pixels:
    """[N, SIDE, SIDE, 3] uint8; keys of images that are not embedded yet are made from the thumbnails."""
    import numpy as np

    from training.engine.data.duplicates import KEY_SIDE, duplicate_keys

    keys: Pixels = np.zeros((len(images), KEY_SIDE, KEY_SIDE, 3), np.uint8)
    missing = {image.pk: row for row, image in enumerate(images)}
    for ids in chunks(list(missing)):
        stored = DuplicateKey.objects.filter(image_id__in=ids)
        for pk, pixels in stored.values_list("image_id", "pixels").iterator():
            keys[missing.pop(pk)] = np.frombuffer(pixels, np.uint8).reshape(KEY_SIDE, KEY_SIDE, 3)
    rows = list(missing.values())
    for start in range(0, len(rows), BATCH_SIZE):
        chunk = rows[start : start + BATCH_SIZE]
        keys[chunk] = duplicate_keys(thumbnails_of([images[row] for row in chunk], threads), threads)
        store_keys({images[row].pk: keys[row] for row in chunk})
    return keys


def store_keys(keys: Mapping[int, Pixels]) -> None:
    """Store the keys of images that still exist. Black keys are unreadable files, which are tried again."""
    existing = Image.objects.filter(pk__in=keys).values_list("pk", flat=True)
    DuplicateKey.objects.bulk_create(
        [DuplicateKey(image_id=pk, pixels=keys[pk].tobytes()) for pk in existing if keys[pk].any()],
        ignore_conflicts=True,
    )


def _stored_file(image: Image) -> bytes:
    """The thumbnail's file, in a thread without the database. Raises FileNotFoundError."""
    content = stored_thumbnail(image)
    if not content:
        raise FileNotFoundError(image.thumbnail_name)
    return content
