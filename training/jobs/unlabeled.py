"""The images of a project that have no label: a training may use them to make one network of many."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

from django.conf import settings

from exeml_site.lib import storage
from projects.datasets.groups import bound_images
from projects.formats.manifest import Entry
from projects.models import Image, Project, Split

MAX_IMAGES = 2000
HELD_OUT = (Split.EVAL, Split.TEST)


class LocalFiles(Sequence[Path]):
    """Files of the storage as local paths; a file of a remote storage is downloaded when it is asked for.

    A file that is missing, or cannot be downloaded now, gives a path at which nothing is.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = tuple(names)
        self._is_away = False  # no second wait for a storage that does not answer

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, place: int) -> Path: ...
    @overload
    def __getitem__(self, place: slice) -> LocalFiles: ...
    def __getitem__(self, place: int | slice) -> Path | LocalFiles:
        if isinstance(place, slice):
            return LocalFiles(self.names[place])
        try:
            if not self._is_away:
                return storage.local_path(self.names[place])
        except Exception as problem:
            self._is_away = storage.is_away(problem)
            if not self._is_away and not isinstance(problem, FileNotFoundError):
                raise
        return Path(settings.WORK_DIR) / "missing" / self.names[place]


def unlabeled_files(project: Project, entries: Sequence[Entry]) -> LocalFiles:
    """At most MAX_IMAGES images without a label, chosen at random, that tell nothing of the held-out images.

    Left out: the images of the manifest `entries`, images that are or were held out, the duplicates of such
    and the images that may not be separated from them.
    """
    listed = {entry.image_id for entry in entries}
    held_out = {entry.image_id for entry in entries if entry.usage in HELD_OUT}
    held_out |= set(project.images.filter(split__in=HELD_OUT).order_by().values_list("pk", flat=True))
    duplicates = Image.objects.filter(project=project, duplicate_group__isnull=False).order_by()
    groups = dict(duplicates.values_list("pk", "duplicate_group"))
    bound = bound_images(project)
    closed_groups = {groups[pk] for pk in held_out if pk in groups}
    closed_bound = {bound[pk] for pk in held_out if pk in bound}
    free = [
        pk
        for pk in Image.objects.unlabeled()
        .filter(project=project)
        .order_by("pk")
        .values_list("pk", flat=True)
        if pk not in listed
        and pk not in held_out
        and groups.get(pk) not in closed_groups
        and bound.get(pk) not in closed_bound
    ]
    chosen = random.Random(project.pk).sample(free, min(len(free), MAX_IMAGES))
    images = Image.objects.in_bulk(chosen)
    return LocalFiles(images[pk].file_name for pk in chosen if pk in images)
