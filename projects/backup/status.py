"""What is known of the backups, for the operators' page and alarms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from projects.models import Backup

LATE_AFTER = timedelta(hours=26)  # a day, and time for making and verifying it


@dataclass(frozen=True)
class BackupStatus:
    """`last`: the newest that was made. `failure`: a newer attempt that failed. `is_scheduled`: whether this
    machine makes one every day. `is_late`: it should have made one since, or the newest attempt failed."""

    last: Backup | None
    failure: Backup | None
    is_scheduled: bool
    is_late: bool


def last_backup() -> BackupStatus:
    newest = Backup.objects.order_by("-started_at").first()
    last = Backup.objects.filter(problem="").order_by("-started_at").first()
    failure = newest if newest is not None and newest.problem else None
    is_scheduled = bool(settings.EXEML_BACKUP_DIR)
    is_old = last is None or last.started_at < timezone.now() - LATE_AFTER
    return BackupStatus(last, failure, is_scheduled, failure is not None or (is_scheduled and is_old))
