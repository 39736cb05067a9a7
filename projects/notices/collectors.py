"""Notices that follow from the state of projects: opinions that differ."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db.models import Count
from django.utils import timezone

from projects.models import Membership, NoticeKind, Opinion, OpinionState, Project, Role
from projects.notices import notices


def collect() -> None:
    """Tell reviewers about opinions that differ: at most once a day and project."""
    # From the opinions, which are few: no index of images begins with their state.
    disputed = Opinion.objects.filter(image__opinion=OpinionState.DIFFERS, image__deleted_at=None)
    alive = disputed.filter(image__project__deleted_at=None).order_by()
    counts = dict(alive.values_list("image__project").annotate(Count("pk")))
    today = timezone.localdate()
    for project in Project.objects.filter(pk__in=list(counts)).select_related("team"):
        source = f"review {project.pk} {today}"
        notices.add(NoticeKind.REVIEW, reviewers(project), project, source, images=counts[project.pk])


def reviewers(project: Project) -> list[User]:
    members = Membership.objects.people().filter(team=project.team_id, role__gte=Role.REVIEWER)
    return [member.user for member in members.select_related("user")]
