"""A migrated SQLite file, which the tests and the installations that they start copy: migrating takes long."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
from pathlib import Path

from django.db import connection
from django.db.migrations.loader import MigrationLoader


class MigratedDatabase:
    """A migrated SQLite file in pytest's cache, which later runs and other workers copy.

    Its name is a hash of the migrations. The lock is held until the file is there: one worker makes it.
    """

    def __init__(self, folder: Path) -> None:
        classes = MigrationLoader(None).disk_migrations.values()
        sources = sorted({str(sys.modules[migration.__module__].__file__) for migration in classes})
        content = b"".join(Path(source).read_bytes() for source in sources)
        self.file = folder / f"{hashlib.sha256(content).hexdigest()}.sqlite3"
        self.lock = (folder / "lock").open("w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def save(self) -> None:
        """Copies the connection's database, where there is no file yet, and releases the lock."""
        if not self.file.exists():
            own = self.file.with_suffix(f".{os.getpid()}")
            with connection.cursor() as cursor:
                cursor.execute("VACUUM INTO %s", [str(own)])
            own.replace(self.file)
        self.lock.close()

    def give(self, data_folder: Path) -> Path:
        """The data folder, as an installation that is as new as the program and has no rows of people."""
        data_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(self.file, data_folder / "exeml.sqlite3")
        return data_folder
