"""The daily backup into EXEML_BACKUP_DIR: made, verified by restoring it, and old ones deleted."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from exeml_site.lib.errors import Refused
from projects.backup import runs
from projects.backup.verify import verify
from projects.models import Backup

PATTERN = "exeml-????????-??????.tar"
NOT_VERIFIED = ".not-verified"  # end of the name of one that cannot be restored; only the newest is kept
RETRY_AFTER = timedelta(hours=1)


def back_up_when_due() -> None:
    """Make the backup of the day, if it is time and none was made since; run every ten minutes.

    Does nothing where EXEML_BACKUP_DIR names no folder. A machine that was off at that time makes it when it
    is on again. One that failed is tried again an hour later.
    """
    if not settings.EXEML_BACKUP_DIR:
        return
    now = timezone.now()
    tried = Backup.objects.filter(is_scheduled=True, started_at__gte=due_since(now))
    if tried.filter(problem="").exists() or tried.filter(started_at__gt=now - RETRY_AFTER).exists():
        return
    back_up(Path(settings.EXEML_BACKUP_DIR), now)


def due_since(now: datetime) -> datetime:
    """The last time at which a backup was due."""
    due = datetime.combine(timezone.localdate(now), settings.EXEML_BACKUP_TIME)
    due = timezone.make_aware(due)
    return due if due <= now else due - timedelta(days=1)


def back_up(folder: Path, now: datetime) -> None:
    """One scheduled backup. A failure is noted in its row."""
    target = folder / f"exeml-{timezone.localtime(now):%Y%m%d-%H%M%S}.tar"
    try:
        runs.make_backup(target, is_scheduled=True)
    except (Refused, OSError):
        return
    try:
        verify(target)
    except (Refused, OSError) as problem:
        for earlier in folder.glob(f"{PATTERN}{NOT_VERIFIED}"):
            earlier.unlink()
        target.rename(target.with_name(target.name + NOT_VERIFIED))
        runs.note_not_verified(target, str(problem))
        return
    runs.note_verified(target)
    delete_old(folder)


def delete_old(folder: Path) -> None:
    """Keep the newest EXEML_BACKUP_KEEP of the backups that were made here."""
    for path in sorted(folder.glob(PATTERN))[: -settings.EXEML_BACKUP_KEEP]:
        path.unlink()
