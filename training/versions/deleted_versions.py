"""Deleted training versions. An operator restores one within EXEML_BIN_DAYS; then its files go."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import ProtectedError
from django.utils import timezone

from exeml_site.lib import storage
from projects import audit
from training.models import TrainingVersion
from training.versions.lifecycle import TrainingRefused

NAMED_STILL = "Services and batches still name it: {}. Purge them first."  # not translated: for operators
PROJECT_FIRST = "Its project was deleted. Restore the project first."  # not translated: for operators
FILES_GONE = "Its files have been deleted for good."  # not translated: for operators
# Files that could not be deleted, since the storage or every machine was away, are deleted within this time.
DELETE_WITHIN = timedelta(days=90)


def restore(version: TrainingVersion, by: User) -> bool:
    """Bring a deleted version back as it was. False if it is not deleted.

    Raises TrainingRefused if its project was deleted or its files are gone.
    """
    with transaction.atomic():
        deleted = TrainingVersion.objects.filter(pk=version.pk, deleted_at__isnull=False)
        if not deleted.exists():
            return False
        if version.project.deleted_at:
            raise TrainingRefused(PROJECT_FIRST)
        is_empty = version.is_completed and not storage.folder_size(version.folder)
        if is_empty or not deleted.filter(deleted_at__gt=_expiry()).update(deleted_at=None):
            raise TrainingRefused(FILES_GONE)
        audit.record(audit.Kind.TRAINING_RESTORED, project=version.project, target=version, by=by)
    version.refresh_from_db()
    return True


def purge(version: TrainingVersion) -> bool:
    """Delete rows and files of a deleted version: evaluation, candidates, curves. False if it is not deleted.

    The number of the version is not given again while a later one exists. Raises TrainingRefused while
    deleted services or their batches still name it. If the storage is away, the rows stay.
    """
    with transaction.atomic():
        deleted = TrainingVersion.objects.filter(pk=version.pk, deleted_at__isnull=False)
        try:
            number, _ = deleted.delete()
        except ProtectedError as problem:
            names = ", ".join(sorted({str(row) for row in problem.protected_objects}))
            raise TrainingRefused(NAMED_STILL.format(names)) from problem
        if number:
            audit.record(audit.Kind.TRAINING_PURGED, project=version.project, target=version)
            storage.delete_folder(version.folder)
    return bool(number)


def delete_expired_files() -> int:
    """Delete the files of versions that can no longer be restored; of how many. Runs once a day."""
    expired = TrainingVersion.objects.filter(
        deleted_at__lte=_expiry(), deleted_at__gt=_expiry() - DELETE_WITHIN
    )
    return sum(storage.try_to_delete_folder(version.folder) for version in expired)


def _expiry() -> datetime:
    """What was deleted until then is deleted for good."""
    return timezone.now() - timedelta(days=settings.EXEML_BIN_DAYS)
