"""Makes a backup: one archive of all rows, all stored files and the secret key, while the product runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections, models
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from exeml_site import __version__
from exeml_site.lib.errors import Refused
from projects.backup import files
from projects.backup.archive import ArchiveWriter, written_whole
from projects.backup.rows import write_rows
from projects.backup.snapshot import snapshot

FORMAT, FORMAT_VERSION = "exeml backup", 1
SECRET_KEY = "secret-key"
LEFT_OUT = {"sessions.session"}  # whoever was signed in signs in again
MAX_NAMED = 1000  # of the vanished files; all are counted
Log = Callable[[str], None]


@dataclass(frozen=True)
class BackupCounts:
    """What a backup holds. `rows`: by table. `vanished`: files that rows name, but the storage has not."""

    rows: dict[str, int]
    files: int
    file_bytes: int
    vanished: list[str]
    vanished_count: int
    seconds: float = field(compare=False)


def create_backup(target: Path, log: Log = lambda _: None) -> BackupCounts:
    """Write a backup to `target`, which must not exist. Raises Refused; then nothing is left there."""
    started = time.monotonic()
    if not target.parent.is_dir():
        raise Refused(f"The folder {target.parent} does not exist.")
    with written_whole(target) as file, tempfile.TemporaryFile(dir=target.parent) as names:
        with snapshot() as alias:
            log("Copying the database.")
            archive = ArchiveWriter(file, _head(alias))
            archive.add_bytes(SECRET_KEY, settings.SECRET_KEY.encode())
            rows = {
                model._meta.label_lower: write_rows(archive, model._base_manager.using(alias).order_by("pk"))
                for model in stored_models()
            }
            names.writelines(f"{name}\n".encode() for name in files.names_of_images(alias))
        log("Copying the files.")
        names.seek(0)
        originals = files.add_files(archive, (line.decode().rstrip("\n") for line in names))
        others = files.add_files(archive, files.other_names())
        vanished = originals[2]  # another file that is deleted during the copy is missed by no row
        counts = BackupCounts(
            rows,
            originals[0] + others[0],
            originals[1] + others[1],
            vanished[:MAX_NAMED],
            len(vanished),
            time.monotonic() - started,
        )
        archive.end(asdict(counts))
    return counts


def stored_models() -> list[type[models.Model]]:
    """The models whose rows a backup holds, those of other packages and of many-to-many tables included."""
    every = apps.get_models(include_auto_created=True)
    kept = [model for model in every if model._meta.managed and not model._meta.proxy]
    return [model for model in kept if model._meta.label_lower not in LEFT_OUT]


def _head(alias: str) -> dict[str, Any]:
    """Raises Refused while a migration is missing: the rows would not fit the tables of the program."""
    loader = MigrationLoader(connections[alias])
    applied = set(loader.applied_migrations)
    if missing := sorted(set(loader.graph.nodes) - applied):
        raise Refused(
            f"The database is older than the program ({'.'.join(missing[0])} is missing). "
            "Start the program once, or run manage.py migrate, then make the backup."
        )
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "program_version": __version__,
        "created_at": timezone.now().isoformat(),
        "database": connections[alias].vendor,
        "storage": "S3" if settings.STORAGE_URL else "folder",
        "migrations": sorted([app, name] for app, name in applied if (app, name) in loader.graph.nodes),
    }
