"""Which images of a project are copies of one another; looked for again only where images came or went."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from django.conf import settings

from projects.files import local_path
from projects.models import Image, Project
from training.findings import alive, write

MOST_COMPARED = 20_000  # images of one search


def find_copies(project: Project) -> int:
    """Give every living image the lowest id among its copies, or None; how many rows changed.

    A project of more than `MOST_COMPARED` images is not looked at, and its copies count as unknown.
    """
    images = list(alive(project).order_by("pk").only("pk", "project_id", "sha256"))
    if not images or len(images) > MOST_COMPARED:
        Project.objects.filter(pk=project.pk).exclude(copies_searched="").update(copies_searched="")
        return 0
    state = f"{len(images)}:{images[-1].pk}"
    if Project.objects.filter(pk=project.pk, copies_searched=state).exists():
        return 0
    changed = write(project, ("duplicate_group",), _groups(images))
    Project.objects.filter(pk=project.pk).update(copies_searched=state)
    return changed


def _groups(images: list[Image]) -> dict[int, tuple[int | None]]:
    from training.engine.duplicates import group_files

    threads = settings.EXEML_ENGINE_THREADS or os.cpu_count() or 1
    groups = group_files([_thumbnail(image) for image in images], threads)
    members: dict[int, list[int]] = defaultdict(list)
    for image, group in zip(images, groups.tolist(), strict=True):
        members[group].append(image.pk)
    return {pk: (ids[0] if len(ids) > 1 else None,) for ids in members.values() for pk in ids}


def _thumbnail(image: Image) -> Path:
    try:
        return local_path(image.thumbnail_name)
    except OSError:
        return Path(image.thumbnail_name)  # unreadable: alone
