"""Emptying the bin: images deleted longer ago than EXEML_BIN_DAYS go for good, with their files."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from projects.models import Image

BATCH = 500


def empty_bins() -> int:
    """Remove every image whose time in the bin is over; how many went. Safe to run twice."""
    removed = 0
    while batch := _remove_rows(BATCH):
        for image in batch:
            default_storage.delete(image.file_name)
            default_storage.delete(image.thumbnail_name)
        removed += len(batch)
    return removed


@transaction.atomic
def _remove_rows(limit: int) -> list[Image]:
    """The rows go first: a crash then leaves files without rows, never rows without files."""
    since = timezone.now() - timedelta(days=settings.EXEML_BIN_DAYS)
    expired = Image.objects.binned().filter(deleted_at__lt=since).order_by("pk")
    batch = list(expired.select_for_update()[:limit])
    Image.objects.filter(pk__in=[image.pk for image in batch]).delete()
    return batch
