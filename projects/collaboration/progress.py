"""Labeling progress: labels per person, and the time that the unlabeled images will take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext

from projects.collaboration import assignments, presence
from projects.labels.counts import images_per_tab
from projects.models import Annotation, AnnotationSource, Membership, Project

# Imported labels are nobody's work here.
LABELED_BY_PEOPLE = Q(source__in=[AnnotationSource.HUMAN, AnnotationSource.SUGGESTION])


@dataclass(frozen=True)
class PersonProgress:
    """Number of labels of one person by period, and of assigned images (`waiting`)."""

    user: User
    role: str
    hour: int
    today: int
    week: int
    total: int
    waiting: int
    is_here: bool


@dataclass(frozen=True)
class TeamProgress:
    workers: list[PersonProgress]
    unlabeled: int

    @property
    def per_hour(self) -> int:
        """Labels of the whole team in the last hour."""
        return sum(worker.hour for worker in self.workers)

    @property
    def seconds_left(self) -> float | None:
        return 3600 * self.unlabeled / self.per_hour if self.per_hour and self.unlabeled else None


def team_progress(project: Project) -> TeamProgress:
    """Progress of members and of former members who labeled, in a constant number of queries."""
    now = timezone.now()
    counts = _counts(project, now)
    # A service account stands among the people only if it labels.
    team = Membership.objects.filter(team=project.team_id).filter(
        Q(user__service_account=None) | Q(user__in=list(counts))
    )
    members = {member.user_id: member.get_role_display() for member in team}
    users = User.objects.filter(pk__in={*members, *counts})
    waiting = assignments.assigned_by_user(project)
    present = {pk for pk, _ in presence.present_people(project)}
    workers = [
        PersonProgress(
            user,
            members.get(user.pk, gettext("left the team")),
            *counts.get(user.pk, (0, 0, 0, 0)),
            waiting=waiting.get(user.pk, 0),
            is_here=user.pk in present,
        )
        for user in users
    ]
    workers.sort(key=lambda worker: (-worker.total, worker.user.username))
    return TeamProgress(workers, images_per_tab(project)["unlabeled"])


def _counts(project: Project, now: datetime) -> dict[int, tuple[int, int, int, int]]:
    """User id → number of existing labels of the last hour, of today, of seven days, of all time."""
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    given = Annotation.objects.filter(LABELED_BY_PEOPLE, label__project=project, by__isnull=False).order_by()
    rows = given.values_list("by").annotate(
        hour=_count_since(now - timedelta(hours=1)),
        today=_count_since(midnight),
        week=_count_since(now - timedelta(days=7)),
        total=Count("pk"),
    )
    return {by: (hour, today, week, total) for by, hour, today, week, total in rows}


def _count_since(start: datetime) -> Count:
    return Count("pk", filter=Q(at__gte=start))
