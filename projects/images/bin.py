"""Empties the bin: deletes images and their files permanently after EXEML_BIN_DAYS in the bin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from exeml_site.lib import storage
from exeml_site.lib.bulk import chunks
from projects import audit
from projects.labels import actions, metadata, parts
from projects.models import Image, Label, LabelEvent, Project, Role
from projects.models.image import ImageQuerySet

BATCH = 100  # deleting them takes about 0.1 s


def empty_bins() -> int:
    """Delete all images whose time in the bin is over, and return their number. Safe to run twice."""
    since = timezone.now() - timedelta(days=settings.EXEML_BIN_DAYS)
    removed = _empty(Image.objects.binned().filter(deleted_at__lt=since))
    metadata.remove_empty_columns()
    return removed


def purge(project: Project, image_ids: Sequence[int]) -> int:
    """Permanently delete images in the bin now, with their files, and return their number."""
    binned = Image.objects.binned().filter(project=project)
    return sum(_empty(binned.filter(pk__in=chunk)) for chunk in chunks(image_ids))


class LabelDeletion(NamedTuple):
    """The event, None where no image had the label; images that lost it, in the bin, and gone for good."""

    event: LabelEvent | None
    changed: int
    binned: int
    purged: int


def delete_label(label: Label, mode: str, by: User, role: int) -> LabelDeletion:
    """Delete a label.

    `mode`: what happens to images without another label: `label` keeps them, `images` moves them to the bin,
    `files` deletes them with their files, which needs a Manager (PermissionDenied).
    """
    if mode == "files" and role < Role.MANAGER:
        raise PermissionDenied("Only a Manager may delete files for good.")  # not translated: for programs
    project = label.project
    event = actions.delete_label(label, by, with_images=mode != "label")
    changed, binned = parts.count_images(event), parts.binned_ids(event) if event else []
    purged = purge(project, binned) if mode == "files" else 0
    return LabelDeletion(event, changed, len(binned), purged)


def _empty(images: ImageQuerySet) -> int:
    removed = 0
    while batch := _remove(images, BATCH):
        for image in batch:  # again: one may have been made meanwhile, by somebody who still saw the row
            _delete_made_files(image)
        removed += len(batch)
    return removed


@transaction.atomic
def _remove(images: ImageQuerySet, limit: int) -> list[Image]:
    """Delete files and rows. If the storage is away, the rows stay in the bin for the next run."""
    batch = list(
        images.order_by("pk").select_related("project__team").select_for_update(of=("self",))[:limit]
    )
    for image in batch:
        storage.delete_file(image.file_name)
        _delete_made_files(image)
    Image.objects.filter(pk__in=[image.pk for image in batch]).delete()
    for project, count in Counter(image.project for image in batch).items():
        audit.record(audit.Kind.IMAGES_PURGED, project=project, images=count)
    return batch


def _delete_made_files(image: Image) -> None:
    storage.delete_file(image.thumbnail_name)
    storage.delete_file(image.rendition_name)


def gone_images(names: Sequence[str]) -> set[str]:
    """Those of the stored files `images/<project>/…/<sha256>.<format>` that belong to no image any more."""
    sha256s: dict[int, dict[str, str]] = {}
    for name in names:
        _, project, _, last = name.split("/")
        if project.isdecimal():
            sha256s.setdefault(int(project), {})[last.partition(".")[0]] = name
    gone = set[str]()
    for project_id, files in sha256s.items():
        for chunk in chunks(list(files)):
            known = Image.objects.filter(project=project_id, sha256__in=chunk)
            gone |= {files[sha256] for sha256 in set(chunk) - set(known.values_list("sha256", flat=True))}
    return gone
