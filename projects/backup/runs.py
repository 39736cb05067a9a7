"""Backups that were made: each attempt is a row, which the operators' page shows."""

from __future__ import annotations

import socket
from datetime import datetime
from pathlib import Path

from django.db import DatabaseError, close_old_connections, connection, transaction
from django.utils import timezone

from exeml_site.lib.errors import Refused
from projects import audit
from projects.backup.create import BackupCounts, Log, create_backup
from projects.models import Backup

KEPT_ROWS = 200


def make_backup(target: Path, log: Log = lambda _: None, *, is_scheduled: bool = False) -> BackupCounts:
    """Make a backup and note it, also where it fails. Raises Refused and OSError."""
    started = timezone.now()
    try:
        counts = create_backup(target, log)
    except (Refused, OSError) as problem:
        _renew_connection()
        note_failure(target, started, str(problem), is_scheduled=is_scheduled)
        raise
    except DatabaseError as problem:
        raise Refused(f"The database did not answer: {problem}") from problem
    _renew_connection()
    made = Backup(
        path=str(target.absolute()),
        host=socket.gethostname(),
        started_at=started,
        finished_at=timezone.now(),
        is_scheduled=is_scheduled,
        row_count=sum(counts.rows.values()),
        file_count=counts.files,
        size_bytes=target.stat().st_size,
        vanished_count=counts.vanished_count,
    )
    with transaction.atomic():
        made.save()
        audit.record(
            audit.Kind.BACKUP_MADE,
            target=made.path,
            host=made.host,
            is_scheduled=is_scheduled,
            rows=made.row_count,
            files=made.file_count,
        )
    return counts


def _renew_connection() -> None:
    """A backup takes hours; the server may have closed the connection meanwhile."""
    if not connection.in_atomic_block:
        close_old_connections()


def note_failure(target: Path, started: datetime, problem: str, *, is_scheduled: bool) -> None:
    Backup.objects.create(
        path=str(target.absolute()),
        host=socket.gethostname(),
        started_at=started,
        is_scheduled=is_scheduled,
        problem=problem,
    )
    kept = Backup.objects.order_by("-pk").values_list("pk", flat=True)[:KEPT_ROWS]
    Backup.objects.filter(pk__lt=min(kept)).delete()


def note_verified(target: Path) -> None:
    _renew_connection()
    Backup.objects.filter(path=str(target.absolute()), problem="").update(verified_at=timezone.now())


def note_not_verified(target: Path, problem: str) -> None:
    _renew_connection()
    Backup.objects.filter(path=str(target.absolute()), problem="").update(
        finished_at=None, problem=f"It was written, but cannot be restored. {problem}"
    )
