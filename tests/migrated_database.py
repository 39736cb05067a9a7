"""Migrated tables, which the workers and the installations of the tests copy: migrating takes long."""

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
        self.digest = hashlib.sha256(content).hexdigest()
        self.file = folder / f"{self.digest}.sqlite3"
        self.lock = (folder / "lock").open("w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def prepare(self) -> bool:
        """Copies the file to the test's database, if it is there; Django then migrates what is missing."""
        if not self.file.exists():
            return False
        shutil.copyfile(self.file, connection.settings_dict["TEST"]["NAME"])
        return True

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


class MigratedTemplate(MigratedDatabase):
    """The same on a PostgreSQL server: a database there, from which those of the tests are created."""

    PREFIX = "exeml_tests_"

    def prepare(self) -> bool:
        """False: Django creates its database, as a copy of the template if that is there."""
        if f"{self.PREFIX}{self.digest[:16]}" in self._names():
            connection.settings_dict["TEST"]["TEMPLATE"] = f"{self.PREFIX}{self.digest[:16]}"
        return False

    def save(self) -> None:
        """Makes the template, where there is none yet, deletes earlier ones, and releases the lock."""
        own, name = connection.settings_dict["NAME"], f"{self.PREFIX}{self.digest[:16]}"
        connection.close()
        if name not in (names := self._names()):
            with connection._nodb_cursor() as cursor:
                for earlier in names:
                    cursor.execute(f'DROP DATABASE IF EXISTS "{earlier}"')
                cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{own}"')
        self.lock.close()

    def _names(self) -> set[str]:
        with connection._nodb_cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{self.PREFIX}%"])
            return {name for (name,) in cursor.fetchall()}
