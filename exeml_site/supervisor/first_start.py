"""What every start makes sure of: tables, static files, and what `manage.py setup` makes once."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import OperationalError, connection, connections

from exeml_site.supervisor.console import Say
from exeml_site.supervisor.preflight import CannotStart


def prepare_data(say: Say) -> list[str]:
    """Bring the data up to date and return what `manage.py setup` says of the first administrator.

    Again changes nothing. Raises Refusal where no database answers.
    """
    _migrate(say)
    _collect_static(say)
    lines = _setup(say)
    connections.close_all()
    return lines


def _setup(say: Say) -> list[str]:
    """Called by name, since this package imports no app."""
    out = io.StringIO()
    call_command("setup", stdout=out, say=say)
    return out.getvalue().splitlines()


def _migrate(say: Say) -> None:
    try:
        connection.ensure_connection()
    except OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        raise CannotStart(f"The database does not answer: {reason}") from error
    say("Bringing the database up to date.")
    call_command("migrate", interactive=False, verbosity=0)


def _collect_static(say: Say) -> None:
    """Compressing and naming the files takes seconds, so only when one of them changed."""
    mark = Path(settings.STATIC_ROOT) / "fingerprint"
    fingerprint = _fingerprint_of_static()
    if mark.is_file() and mark.read_text() == fingerprint:
        return
    say("Preparing the static files.")
    call_command("collectstatic", interactive=False, verbosity=0)
    mark.write_text(fingerprint)


def _fingerprint_of_static() -> str:
    found = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            found.update(f"{path} {storage.size(path)} {storage.get_modified_time(path)}\n".encode())
    return found.hexdigest()
