"""Empties the bin: deletes images and their files permanently after EXEML_BIN_DAYS in the bin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from exeml_site.lib.bulk import chunks
from projects import audit
from projects.labels import metadata
from projects.models import Image, Project
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


def _empty(images: ImageQuerySet) -> int:
    removed = 0
    while batch := _remove_rows(images, BATCH):
        for image in batch:
            default_storage.delete(image.file_name)
            default_storage.delete(image.thumbnail_name)
            default_storage.delete(image.rendition_name)
        removed += len(batch)
    return removed


@transaction.atomic
def _remove_rows(images: ImageQuerySet, limit: int) -> list[Image]:
    """Delete the rows before the files: a crash then leaves files without rows, never rows without files."""
    batch = list(
        images.order_by("pk").select_related("project__team").select_for_update(of=("self",))[:limit]
    )
    Image.objects.filter(pk__in=[image.pk for image in batch]).delete()
    for project, count in Counter(image.project for image in batch).items():
        audit.record(audit.Kind.IMAGES_PURGED, project=project, images=count)
    return batch
