"""Which images of a project are copies of one another; looked for again only where images came or went."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Count, Max, Sum

from exeml_site.lib.bulk import chunks
from exeml_site.lib.storage import local_path
from projects.models import Image, Miniature, Project
from training.assist.write_findings import alive, write

if TYPE_CHECKING:
    from training.engine.data.duplicates import Rows
    from training.engine.data.images import Pixels

MOST_COMPARED = 200_000  # images of one search, which needs 6 KB of memory for each
QUICK = 20_000  # images that a search compares within seconds
STORED_AT_ONCE = 500


def find_copies(project: Project, *, at_once: bool = True) -> int:
    """Give every living image the lowest id among its copies, or None; how many rows changed.

    Images that only came are compared with all; where one went or came back, all are compared again. A
    project of more than `MOST_COMPARED` images is not looked at, and its copies count as unknown. Unless
    `at_once`, a large project waits until its last image has been embedded, instead of being searched after
    every portion of an upload.
    """
    there = alive(project).aggregate(count=Count("pk"), last=Max("pk"), total=Sum("pk"))
    if not 0 < there["count"] <= MOST_COMPARED:
        Project.objects.filter(pk=project.pk).exclude(copies_searched="").update(copies_searched="")
        return 0
    searched = Project.objects.values_list("copies_searched", flat=True).get(pk=project.pk)
    if searched == _state(there["count"], there["last"], there["total"]):
        return 0
    if not at_once and there["count"] > QUICK and alive(project).filter(embedding=None).exists():
        return 0
    images = list(alive(project).order_by("pk").only("pk", "project_id", "sha256", "duplicate_group"))
    changed = write(project, ("duplicate_group",), _groups(images, _compared(images, searched)))
    Project.objects.filter(pk=project.pk).update(copies_searched=_state_of(images))
    return changed


def _state(count: int, last: int, total: int) -> str:
    """Tells images by number, highest id and sum of their ids."""
    return f"{count}:{last}:{total % 2**32}"


def _state_of(images: Sequence[Image]) -> str:
    return _state(len(images), images[-1].pk, sum(image.pk for image in images)) if images else ""


def _compared(images: Sequence[Image], searched: str) -> Sequence[Image]:
    """The oldest ones that were compared with each other, if they are those of that search."""
    count = int(searched.partition(":")[0] or 0)
    oldest = images[:count]
    return oldest if oldest and _state_of(oldest) == searched else []


def _groups(images: Sequence[Image], compared: Sequence[Image]) -> dict[int, tuple[int | None]]:
    import numpy as np

    from training.engine.data.duplicates import group_miniatures

    threads = settings.EXEML_ENGINE_THREADS or os.cpu_count() or 1
    known: Rows = np.array([image.duplicate_group or image.pk for image in compared], np.int64)
    small = _miniatures(images, threads)
    groups = group_miniatures(small, lambda row: _thumbnail(images[row]).read_bytes(), threads, known)
    members: dict[int, list[int]] = defaultdict(list)
    for image, group in zip(images, groups.tolist(), strict=True):
        members[group].append(image.pk)
    return {pk: (ids[0] if len(ids) > 1 else None,) for ids in members.values() for pk in ids}


def _miniatures(images: Sequence[Image], threads: int) -> Pixels:
    """[N, SIDE, SIDE, 3]; those that are not stored yet are made from the thumbnails."""
    import numpy as np

    from training.engine.data.duplicates import SIDE, miniatures

    small: Pixels = np.zeros((len(images), SIDE, SIDE, 3), np.uint8)
    missing = {image.pk: row for row, image in enumerate(images)}
    for ids in chunks(list(missing)):
        stored = Miniature.objects.filter(image_id__in=ids)
        for pk, pixels in stored.values_list("image_id", "pixels").iterator():
            small[missing.pop(pk)] = np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE, 3)
    rows = list(missing.values())
    for start in range(0, len(rows), STORED_AT_ONCE):
        part = rows[start : start + STORED_AT_ONCE]
        small[part] = miniatures([_thumbnail(images[row]) for row in part], threads)
        _store({images[row].pk: small[row] for row in part})
    return small


def _store(made: dict[int, Pixels]) -> None:
    """Of images that are still there; black ones could not be read, and are tried again."""
    there = Image.objects.filter(pk__in=made).values_list("pk", flat=True)
    Miniature.objects.bulk_create(
        [Miniature(image_id=pk, pixels=made[pk].tobytes()) for pk in there if made[pk].any()],
        ignore_conflicts=True,
    )


def _thumbnail(image: Image) -> Path:
    try:
        return local_path(image.thumbnail_name)
    except OSError:
        return Path(image.thumbnail_name)  # unreadable: alone
