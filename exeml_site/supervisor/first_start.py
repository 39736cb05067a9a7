"""What every start makes sure of (tables, static files) and what only the first one makes.

The first administrator, a team to work in, and the sample project.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import OperationalError, connection, connections, transaction

from exeml_site.supervisor.preflight import Refusal
from projects.models import Membership, Project, Role, Team

ADMIN_NAME = "admin"
FIRST_TEAM = "My team"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Administrator:
    """The first administrator; `password` only in the run that made it up."""

    name: str
    password: str = ""
    is_new: bool = False


def prepare(say: Say) -> Administrator:
    """Bring the data up to date. Again changes nothing. Raises Refusal where no database answers."""
    _migrate(say)
    _collect_static(say)
    administrator = make_administrator()
    make_sample(say)
    connections.close_all()
    return administrator


def _migrate(say: Say) -> None:
    try:
        connection.ensure_connection()
    except OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        raise Refusal(f"The database does not answer: {reason}") from error
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


@transaction.atomic
def make_administrator() -> Administrator:
    """The first superuser and its team, unless there is a superuser already."""
    existing = User.objects.filter(is_superuser=True).order_by("pk").first()
    if existing is not None:
        return Administrator(existing.username)
    given = os.environ.get("EXEML_ADMIN_PASSWORD", "")
    password = given or secrets.token_urlsafe(12)
    user = User.objects.create_superuser(ADMIN_NAME, password=password)
    team, _ = Team.objects.get_or_create(name=FIRST_TEAM)
    Membership.objects.create(team=team, user=user, role=Role.MANAGER)
    return Administrator(ADMIN_NAME, "" if given else password, is_new=True)


def make_sample(say: Say) -> None:
    """Once: a sample that was deleted does not come back."""
    from projects.workspace.sample_project import make_sample_project

    mark = settings.DATA_DIR / "sample-made"
    team = Team.objects.filter(name=FIRST_TEAM).first()
    if mark.exists() or team is None or Project.objects.exists():
        return
    say("Making the sample project from scikit-learn's handwritten digits.")
    membership = team.memberships.select_related("user").first()
    make_sample_project(team, membership.user if membership else None)
    mark.touch()
