"""Create, describe, delete and restore projects. A deleted one keeps its data until `purge` deletes it."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.text import get_text_list
from django.utils.translation import gettext, gettext_lazy, ngettext

from exeml_site.lib.display import count
from exeml_site.lib.errors import Refused
from projects import audit
from projects.apps import delete_blockers
from projects.models import Project, Team

NAME_TAKEN = gettext_lazy("Your team already has a project with this name.")


class ProjectRefused(Refused):
    """A rule forbids the change; the message is for the user."""


class NameTaken(ProjectRefused):
    """Another project of the team has this name."""


def is_full(team: Team) -> bool:
    """Whether the team has reached its limit of projects."""
    return team.projects.alive().count() >= settings.EXEML_MAX_PROJECTS_PER_TEAM


def limit_text() -> str:
    sentence = gettext("The team has reached its limit of projects (%(limit)s). Delete one first.")
    return sentence % {"limit": count(settings.EXEML_MAX_PROJECTS_PER_TEAM)}


@transaction.atomic
def create_project(
    team: Team, *, name: str, description: str = "", is_multi_label: bool = False, by: User
) -> Project:
    """Create a project. Raises `NameTaken`, or `ProjectRefused` if the team is at its limit."""
    _check_new_project(team.pk, name)
    project = Project.objects.create(
        team=team, name=name, description=description, is_multi_label=is_multi_label, created_by=by
    )
    audit.record(audit.Kind.PROJECT_CREATED, project=project, by=by)
    return project


@transaction.atomic
def update_description(project: Project, description: str) -> None:
    """Change the description. Name and kind of labels can never be changed."""
    Project.objects.filter(pk=project.pk).update(description=description)
    audit.record(audit.Kind.PROJECT_CHANGED, project=project, description=description)


@transaction.atomic
def delete_project(project: Project, *, by: User) -> None:
    """Hide the project from everybody. Raises `ProjectRefused` while something in it runs."""
    Project.objects.select_for_update().get(pk=project.pk)
    running = running_work(project)
    if running:
        sentence = ngettext("%(running)s. Stop it first.", "%(running)s. Stop them first.", len(running))
        raise ProjectRefused(sentence % {"running": get_text_list(running, gettext("and"))})
    alive = Project.objects.alive().filter(pk=project.pk)
    if alive.update(deleted_at=timezone.now(), deleted_by=by):
        audit.record(audit.Kind.PROJECT_DELETED, project=project, by=by)


@transaction.atomic
def restore_project(project: Project) -> None:
    """Restore a project. Raises `NameTaken` if its name is taken, `ProjectRefused` at the team's limit."""
    if Project.objects.alive().filter(pk=project.pk).exists():
        return
    _check_new_project(project.team_id, project.name)
    Project.objects.filter(pk=project.pk).update(deleted_at=None, deleted_by=None)
    audit.record(audit.Kind.PROJECT_RESTORED, project=project)


def running_work(project: Project) -> list[str]:
    """What prevents deleting the project, as in “V002 is Running”; other apps register `delete_blockers`."""
    return [sentence for blocker in delete_blockers for sentence in blocker(project)]


def _check_new_project(team_id: int, name: str) -> None:
    """Check limit and name under a row lock, so that two simultaneous requests cannot both pass."""
    team = Team.objects.select_for_update().get(pk=team_id)
    if is_full(team):
        raise ProjectRefused(limit_text())
    if team.projects.alive().filter(name__iexact=name).exists():
        raise NameTaken(NAME_TAKEN)
