"""Preparation at every start: migrations, static files, and `manage.py setup`."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections

from exeml_site.supervisor.console import Log
from exeml_site.supervisor.preflight import CannotStart


def prepare_data(log: Log) -> list[str]:
    """Migrate the database, collect static files, and return the output of `manage.py setup`.

    A second run changes nothing. Raises CannotStart if no database answers.
    """
    _migrate(log)
    _collect_static(log)
    lines = _setup(log)
    connections.close_all()
    return lines


def _setup(log: Log) -> list[str]:
    """Output lines of `manage.py setup`, called by name since this package imports no app."""
    out = io.StringIO()
    try:
        call_command("setup", stdout=out, log=log)
    except CommandError as error:
        raise CannotStart(str(error)) from error
    return out.getvalue().splitlines()


def _migrate(log: Log) -> None:
    try:
        connection.ensure_connection()
    except OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        raise CannotStart(f"The database does not answer: {reason}") from error
    log("Updating the database.")
    call_command("migrate", interactive=False, verbosity=0)


def _collect_static(log: Log) -> None:
    """Run collectstatic only if a file changed, since hashing and compressing them takes seconds."""
    fingerprint_file = Path(settings.STATIC_ROOT) / "fingerprint"
    fingerprint = _fingerprint_of_static()
    if fingerprint_file.is_file() and fingerprint_file.read_text() == fingerprint:
        return
    log("Preparing the static files.")
    call_command("collectstatic", interactive=False, verbosity=0)
    fingerprint_file.write_text(fingerprint)


def _fingerprint_of_static() -> str:
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            digest.update(f"{path} {storage.size(path)} {storage.get_modified_time(path)}\n".encode())
    return digest.hexdigest()
