"""Preparation at every start: migrations, static files, and `manage.py setup`."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import time
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, ProgrammingError, connection, connections

from exeml_site.health.migrations import has_pending_migrations, newer_data
from exeml_site.supervisor.console import Log
from exeml_site.supervisor.preflight import DISK_IS_FULL, CannotStart, disk_is_full

DATABASE_INTERVAL_S = 2.0
UNUSED_STATIC = ["redoc*", "*.js.map"]  # of packages: large, and no page loads them


def prepare_data(log: Log) -> list[str]:
    """Migrate the database, collect static files, and return the output of `manage.py setup`.

    A second run changes nothing. Raises CannotStart if the database does not answer, is damaged or belongs to
    a newer version, or if the disk is full.
    """
    _migrate(log)
    try:
        _collect_static(log)
        lines = _setup(log)
    except (OperationalError, OSError) as error:
        raise _explained(error) from error
    connections.close_all()
    return lines


def await_data(log: Log) -> None:
    """Return when the database answers and has this version's tables, which machines with web servers make.

    Raises CannotStart if the database belongs to a newer version.
    """
    reason = ""
    while waits_for := _missing():
        if waits_for != reason:
            log(f"Waiting {waits_for}.")
        reason = waits_for
        connections.close_all()
        time.sleep(DATABASE_INTERVAL_S)
    connections.close_all()


def _missing() -> str:
    """What a machine without a web server waits for; empty if the database is ready."""
    try:
        _refuse_newer_data()
        is_behind = has_pending_migrations()
    except OperationalError as error:
        return f"for the database: {_reason(error)}"
    return "until a machine with a web server has updated the database" if is_behind else ""


def _refuse_newer_data() -> None:
    if sentence := newer_data():
        raise CannotStart(sentence)


def _setup(log: Log) -> list[str]:
    """Output lines of `manage.py setup`, called by name since this package imports no app."""
    out = io.StringIO()
    try:
        call_command("setup", stdout=out, log=log)
    except CommandError as error:
        raise CannotStart(str(error)) from error
    return out.getvalue().splitlines()


def _migrate(log: Log) -> None:
    if connection.vendor == "sqlite":
        _check_sqlite()
    try:
        connection.ensure_connection()
    except OperationalError as error:
        raise CannotStart(f"The database does not answer: {_reason(error)}") from error
    _refuse_newer_data()
    log("Updating the database.")
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except (OperationalError, ProgrammingError) as error:
        raise _explained(error) from error


def _check_sqlite() -> None:
    """Raises CannotStart if the file is no database, cut off or damaged.

    The check reads every page, but does not compare indexes with their tables: 0.4 s for each GB.
    """
    file = Path(str(connection.settings_dict["NAME"]))
    if file.is_file() and not file.stat().st_size and any(Path(settings.FILES_DIR).glob("*")):
        raise CannotStart(_is_damaged(file, "it is empty, but there are files of an installation"))
    try:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA quick_check(1)")
            found = str(cursor.fetchone()[0])
    except DatabaseError as error:
        raise _explained(error) from error
    finally:
        connection.close()
    if found != "ok":
        raise CannotStart(_is_damaged(file, " ".join(found.split()).strip("* .")))


def _explained(error: Exception) -> CannotStart:
    """The error of a database or a file as a sentence for the person at the terminal."""
    code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF  # without the extension
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) in DISK_IS_FULL:
        return CannotStart(disk_is_full(settings.DATA_DIR))
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CannotStart(_is_damaged(Path(str(connection.settings_dict["NAME"])), _reason(error)))
    return CannotStart(f"The data cannot be prepared: {_reason(error)}")


def _is_damaged(file: Path, finding: str) -> str:
    remedy = "Put a backup in its place, or move it away to start with an empty one."
    return f"The database {file} is damaged ({finding}). {remedy}"


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _collect_static(log: Log) -> None:
    """Run collectstatic only if a file changed, since hashing and compressing them takes seconds."""
    fingerprint_file = Path(settings.STATIC_ROOT) / "fingerprint"
    fingerprint = _fingerprint_of_static()
    if fingerprint_file.is_file() and fingerprint_file.read_text() == fingerprint:
        return
    log("Preparing the static files.")
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=UNUSED_STATIC)
    fingerprint_file.write_text(fingerprint)


def _fingerprint_of_static() -> str:
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            digest.update(f"{path} {storage.size(path)} {storage.get_modified_time(path)}\n".encode())
    return digest.hexdigest()
