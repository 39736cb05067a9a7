"""First start: creates an administrator, a team and the sample project."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from projects.models import Membership, Project, Role, Team

ADMIN_NAME = "admin"
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
            return f"{self.password}   (shown this once; change it after signing in)"
        if self.is_new:
            return "the one in EXEML_ADMIN_PASSWORD"
        return f"set at the first start (forgotten? .venv/bin/python manage.py changepassword {self.name})"


@transaction.atomic
def make_administrator() -> Administrator:
    """Create the first superuser with a team, unless there is a superuser already."""
    existing = User.objects.filter(is_superuser=True).order_by("pk").first()
    if existing is not None:
        return Administrator(existing.username)
    given = os.environ.get("EXEML_ADMIN_PASSWORD", "")
    password = given or secrets.token_urlsafe(12)
    user = User.objects.create_superuser(ADMIN_NAME, password=password)
    team, _ = Team.objects.get_or_create(name=FIRST_TEAM)
    Membership.objects.create(team=team, user=user, role=Role.MANAGER)
    return Administrator(ADMIN_NAME, "" if given else password, is_new=True)


def make_sample(log: Callable[[str], None]) -> None:
    """Create the sample project, once: a deleted sample project does not come back."""
    from projects.workspace.sample_project import make_sample_project  # imports scikit-learn

    marker = settings.DATA_DIR / "sample-made"
    team = Team.objects.filter(name=FIRST_TEAM).first()
    if marker.exists() or team is None or Project.objects.exists():
        return
    log("Creating the sample project from scikit-learn's handwritten digits.")
    membership = team.memberships.select_related("user").first()
    make_sample_project(team, membership.user if membership else None)
    marker.touch()
