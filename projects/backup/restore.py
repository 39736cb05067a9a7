"""Restores a backup into an empty installation, on whatever database and storage it uses.

Nothing is written before the whole archive was read and every sha256 compared. Then the tables are made as
they were when the backup was made, the files are stored, all rows are inserted in one transaction, and the
tables are brought up to date, as at the start of a newer program.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from django.apps.registry import Apps
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import DatabaseError, connection, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from exeml_site import __version__
from exeml_site.lib import storage
from exeml_site.lib.errors import Refused
from projects import audit
from projects.backup import rows
from projects.backup.archive import ArchiveMember, ArchiveReader, BadArchive
from projects.backup.create import FORMAT, FORMAT_VERSION, SECRET_KEY, Log
from projects.backup.files import FILES_FOLDER

Key = tuple[str, str]  # app and name of a migration


class BackupArchive:
    """An archive that was checked: the file is whole, and this program can read it. Raises Refused."""

    def __init__(self, file: BinaryIO) -> None:
        self.archive = ArchiveReader(file)
        self.head = self.archive.head
        if self.head.get("format") != FORMAT:
            raise BadArchive("This file is not a backup of an installation.")
        self._require_known(self.head.get("format_version"))
        self.counts = self.archive.check()

    def _require_known(self, version: Any) -> None:
        """Raises Refused for the backup of a newer program."""
        known = set(MigrationLoader(None).graph.nodes)
        unknown = sorted(self.migrations - known)
        if version == FORMAT_VERSION and not unknown:
            return
        reason = f"it has {'.'.join(unknown[0])}" if unknown else f"its format is {version}"
        raise Refused(
            f"This backup was made by another version of the program ({self.head.get('program_version')}), "
            f"which this one ({__version__}) does not know: {reason}. Install that version or a newer one."
        )

    @property
    def migrations(self) -> set[Key]:
        try:
            return {(str(app), str(name)) for app, name in self.head["migrations"]}
        except (KeyError, TypeError, ValueError) as problem:
            raise BadArchive("The file is damaged: head.json names no migrations.") from problem

    @property
    def targets(self) -> list[Key]:
        """The last migrations of the backup."""
        graph, mine = MigrationLoader(None).graph, self.migrations
        followed = {
            parent.key for key in mine for parent in graph.node_map[key].parents if parent.key[0] == key[0]
        }
        return sorted(mine - followed)

    def files(self) -> Iterator[tuple[str, ArchiveMember]]:
        """The stored files: name in the storage, and member."""
        for member in self.archive.members():
            if member.name.startswith(f"{FILES_FOLDER}/"):
                yield member.name.removeprefix(f"{FILES_FOLDER}/"), member

    def extract(self, name: str, member: ArchiveMember) -> None:
        """Store a file; it is on the disk after `os.sync`."""
        storage.save_whole(name, cast(BinaryIO, self.archive.open(member)), is_flushed=False)


def restore(source: Path, *, force: bool = False, log: Log = lambda _: None) -> dict[str, Any]:
    """Restore the backup; return what it counted. Raises Refused, before anything is written.

    `force`: what is there now is deleted first.
    """
    with source.open("rb") as file, _nothing_runs():
        log("Reading the backup.")
        backup = BackupArchive(file)
        if not force:
            _require_empty()
        delete_files()
        restore_tables(backup, log)
        log("Storing the files.")
        for name, member in backup.files():
            backup.extract(name, member)
        os.sync()  # once: flushing each file takes many times longer
        log("Inserting the rows.")
        insert_rows(backup)
        _restore_secret_key(backup, log)
        log("Bringing the tables up to date.")
        call_command("migrate", interactive=False, verbosity=0)
        audit.record(  # after the tables are those of this program
            audit.Kind.BACKUP_RESTORED,
            target=source.absolute(),
            made_at=backup.head.get("created_at"),
            rows=sum(backup.counts["rows"].values()),
            files=backup.counts["files"],
        )
        (settings.DATA_DIR / "sample-made").touch()
    return backup.counts


@contextmanager
def _nothing_runs() -> Iterator[None]:
    """Holds the lock of the data folder, as `up` does. Raises Refused while `up` runs on it."""
    folder = Path(settings.DATA_DIR)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder / "up.lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            raise Refused("The program runs on this data folder. Stop it, then restore.") from problem
        yield


def _require_empty() -> None:
    """Raises Refused if there is a person or a project, or a stored file."""
    tables = set(connection.introspection.table_names())
    filled = []
    for table, word in (("auth_user", "people"), ("projects_project", "projects")):
        if table in tables:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT 1 FROM {connection.ops.quote_name(table)} LIMIT 1")
                filled += [word] if cursor.fetchone() else []
    filled += ["stored files"] if _has_files() else []
    if filled:
        raise Refused(
            f"This installation is not empty: it has {' and '.join(filled)}. Restore into an empty one. "
            "With --force everything that is there is deleted first."
        )


def _top_folders() -> list[str]:
    try:
        folders, _ = default_storage.listdir("")
    except FileNotFoundError:
        return []
    return [name for name in folders if name]


def _has_files() -> bool:
    return any(not name.startswith(".") for name in _top_folders())


def delete_files() -> None:
    """Delete all stored files, and what was made from them in the work folder."""
    for name in _top_folders():
        storage.delete_folder(name)
    shutil.rmtree(settings.WORK_DIR, ignore_errors=True)


def restore_tables(backup: BackupArchive, log: Log = lambda _: None) -> None:
    """Make all tables anew, as they were when the backup was made, with no row in them."""
    log("Making the tables.")
    _drop_tables()
    MigrationExecutor(connection).migrate(backup.targets)
    with _unchecked(), transaction.atomic(), connection.cursor() as cursor:
        for model in _models_of(_state_of(backup)):
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(model._meta.db_table)}")


def _drop_tables() -> None:
    ours = {*connection.introspection.django_table_names(), "django_migrations"}
    there = [name for name in connection.introspection.table_names() if name in ours]
    end = " CASCADE" if connection.vendor == "postgresql" else ""
    with _unchecked(), transaction.atomic(), connection.cursor() as cursor:
        for table in there:
            cursor.execute(f"DROP TABLE {connection.ops.quote_name(table)}{end}")


@contextmanager
def _unchecked() -> Iterator[None]:
    """SQLite checks no foreign keys meanwhile; PostgreSQL defers them."""
    connection.disable_constraint_checking()
    try:
        yield
    finally:
        connection.enable_constraint_checking()


def _state_of(backup: BackupArchive) -> Apps:
    """The models of the time of the backup."""
    return MigrationExecutor(connection).loader.project_state(backup.targets).apps


def _models_of(state: Apps) -> list[type[models.Model]]:
    every = state.get_models(include_auto_created=True)
    return [model for model in every if model._meta.managed and not model._meta.proxy]


def insert_rows(backup: BackupArchive) -> dict[str, int]:
    """Insert all rows in one transaction, and check that every reference leads to a row.

    Returns the rows of each table. Raises Refused; then there are none.
    """
    state = _state_of(backup)
    inserted: Counter[str] = Counter()
    tables = {model._meta.label_lower: model for model in _models_of(state)}
    try:
        with transaction.atomic():
            for member in backup.archive.members():
                if label := rows.table_of(member):
                    if label not in tables:
                        raise BadArchive(f"The file is damaged: there is no table {label}.")
                    read = rows.read_chunk(backup.archive, member)
                    inserted[label] += _insert(tables[label], read)
            connection.check_constraints()
            _reset_sequences(tables.values())
    except DatabaseError as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise Refused(f"The rows cannot be stored ({reason}). No row was written.") from problem
    if wrong := {name: count for name, count in backup.counts["rows"].items() if inserted[name] != count}:
        raise BadArchive(f"The backup is not complete: it names other numbers of rows for {sorted(wrong)}.")
    return dict(inserted)


def _insert(model: type[models.Model], read: Iterable[rows.Row]) -> int:
    return rows.insert(connection, model, (rows.to_python(model, row) for row in read))


def _reset_sequences(tables: Iterable[type[models.Model]]) -> None:
    with connection.cursor() as cursor:
        for sql in connection.ops.sequence_reset_sql(no_style(), list(tables)):
            cursor.execute(sql)


def _restore_secret_key(backup: BackupArchive, log: Callable[[str], None]) -> None:
    member = next((each for each in backup.archive.members() if each.name == SECRET_KEY), None)
    if member is None:
        return
    key = b"".join(backup.archive.chunks(member))
    if "EXEML_SECRET_KEY" in os.environ:
        if os.environ["EXEML_SECRET_KEY"].encode() != key:
            log("EXEML_SECRET_KEY is not the key of the backup: links and tokens signed with that are void.")
        return
    path = settings.DATA_DIR / "secret-key"
    part = path.with_name(f"secret-key-{os.getpid()}")
    part.touch(mode=0o600)
    part.write_bytes(key)
    os.replace(part, path)
