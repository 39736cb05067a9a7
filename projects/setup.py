"""First start: creates an administrator, a team and the sample project."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from exeml_site.lib.errors import Refused
from projects import audit
from projects.models import Membership, Project, Role, Team
from projects.workspace.initial_password import require_change

NAME_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is read as something else
FIRST_TEAM = "My team"


@dataclass(frozen=True)
class Administrator:
    """The first administrator. `password` is empty except in the run that generated it."""

    name: str
    password: str = ""
    is_new: bool = False

    @property
    def password_line(self) -> str:
        """The text about the password for the terminal."""
        if self.password:
            return f"{self.password}   (shown this once; the first sign-in asks for a new one)"
        if self.is_new:
            return "the one in EXEML_ADMIN_PASSWORD"
        return f"set at the first start (forgotten? .venv/bin/python manage.py changepassword {self.name})"


@transaction.atomic
def make_administrator() -> Administrator:
    """Create the first superuser with a team, unless there is a superuser already.

    A password that is made up and shown has to be changed; EXEML_ADMIN_PASSWORD was chosen by the operator.
    """
    existing = User.objects.filter(is_superuser=True).order_by("pk").first()
    if existing is not None:
        return Administrator(existing.username)
    name, given = _chosen_name() or _made_up_name(), os.environ.get("EXEML_ADMIN_PASSWORD", "")
    password = given or secrets.token_urlsafe(12)
    user = User.objects.create_superuser(name, password=password)
    audit.record(audit.Kind.ACCOUNT_CREATED, target=user, is_superuser=True)
    if not given:
        require_change(user)
    team, _ = Team.objects.get_or_create(name=FIRST_TEAM)
    Membership.objects.create(team=team, user=user, role=Role.MANAGER)
    return Administrator(name, "" if given else password, is_new=True)


def _made_up_name() -> str:
    """A name that nobody can guess, so that nobody can guess passwords for it."""
    return "operator-" + "".join(secrets.choice(NAME_ALPHABET) for _ in range(6))


def _chosen_name() -> str:
    """The name in EXEML_ADMIN_NAME. Raises Refused if no account can have it."""
    name = os.environ.get("EXEML_ADMIN_NAME", "").strip()
    if not name:
        return ""
    try:
        User(username=name, password="x").clean_fields()
    except ValidationError as error:
        raise Refused(f"EXEML_ADMIN_NAME cannot be {name!r}. {error.messages[0]}") from error
    if User.objects.filter(username=name).exists():
        raise Refused(f"EXEML_ADMIN_NAME is {name!r}, which is the name of another account.")
    return name


def make_sample(log: Callable[[str], None]) -> None:
    """Create the sample project, once: a deleted sample project does not come back."""
    from projects.workspace.sample_project import make_sample_project  # imports scikit-learn

    marker = settings.DATA_DIR / "sample-made"
    team = Team.objects.filter(name=FIRST_TEAM).first()
    if marker.exists() or team is None or Project.objects.exists():
        return
    log("Creating the sample project from scikit-learn's handwritten digits.")
    membership = team.memberships.people().select_related("user").first()
    make_sample_project(team, membership.user if membership else None)
    marker.touch()
