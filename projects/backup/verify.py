"""Verifies a backup by restoring it: into a temporary SQLite database, in a process of its own.

Every member is read and its sha256 compared; all rows are inserted and counted; each image of a row has its
file; the newest model is stored and loaded. The other files are read, but not written a second time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.utils.module_loading import import_string

from exeml_site.lib.errors import Refused
from projects.backup.archive import BadArchive
from projects.backup.files import ORIGINALS
from projects.backup.restore import BackupArchive, insert_rows, restore_tables

COMMAND = "verify_backup"
FOLDER = "exeml-verify-"  # begin of the name of the temporary data folder
TIMEOUT_S = 24 * 3600
ELSEWHERE = ("DATABASE_URL", "STORAGE_URL", "REDIS_URL", "EXEML_SECRET_KEY")


def verify(source: Path) -> dict[str, Any]:
    """What the backup holds: `rows`, `files`, `file_bytes`, `vanished_count`, `checks`. Raises Refused."""
    source = source.resolve()
    with tempfile.TemporaryDirectory(prefix=FOLDER) as folder:
        environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        environment |= {"EXEML_DATA": folder, "DJANGO_SETTINGS_MODULE": "exeml_site.settings"}
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), COMMAND, str(source), "--here"]
        out, errors = Path(folder, "out"), Path(folder, "errors")
        with out.open("wb") as stdout, errors.open("wb") as stderr:
            process = subprocess.Popen(command, env=environment, stdout=stdout, stderr=stderr)
            try:
                code = process.wait(
                    TIMEOUT_S
                )  # looks often: a worker's job that never wakes up counts as hung
            finally:
                process.kill()
        lines, problems = out.read_text().splitlines(), errors.read_text().strip().splitlines()
    if code == 0 and lines:
        return dict(json.loads(lines[-1]))
    raise Refused((problems or [f"It ended with code {code}."])[-1].removeprefix("CommandError: "))


def verify_here(source: Path) -> dict[str, Any]:
    """Restore into this process's database and storage, which are temporary. Raises Refused."""
    if not settings.DATA_DIR.name.startswith(FOLDER) or settings.DATABASE_URL or settings.STORAGE_URL:
        raise Refused("--here replaces everything in its data folder, which must be a temporary one.")
    with source.open("rb") as file:
        backup = BackupArchive(file)
        restore_tables(backup)
        insert_rows(backup)
        _check_images(backup)
        call_command("migrate", interactive=False, verbosity=0)
        every = [import_string(name) for name in settings.BACKUP_CHECKS]
        checks = [check(lambda folder: _extract(backup, folder)) for check in every]
    return {**backup.counts, "head": backup.head, "checks": checks}


def _check_images(backup: BackupArchive) -> None:
    """Raises BadArchive where an image has no file, and the backup does not say so."""
    stored = sum(name.startswith(f"{ORIGINALS}/") for name, _ in backup.files())
    wanted = backup.counts["rows"].get("projects.image", 0)
    if stored + backup.counts["vanished_count"] != wanted:
        raise BadArchive(f"The backup is not complete: it has {stored} files for {wanted} images.")


def _extract(backup: BackupArchive, folder: str) -> None:
    """Store the files of a folder."""
    for name, member in backup.files():
        if name.startswith(f"{folder}/"):
            backup.extract(name, member)
