"""Measures the time of trainings and the bytes of their models."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Q, Sum
from django.utils import timezone

from projects.models import Project, Team, UsageKind
from projects.usage.ledger import Measure, month_of, seconds_by_month, write
from training.models import TrainingVersion

# Trainings that ended before were measured after their end.
MEASURED_AGAIN = timedelta(days=2)


def measure(team: Team | None = None) -> None:
    """Measure the trainings, of one team or all, that run or ended lately. Runs every minute."""
    lately = timezone.now() - MEASURED_AGAIN
    open_ones = Q(finished_at=None) | Q(finished_at__gte=lately)
    versions = TrainingVersion.objects.filter(open_ones, started_at__isnull=False)
    if team is not None:
        versions = versions.filter(project__team=team)
    write_times(versions.select_related("project__team", "submitted_by"))


def write_times(versions: Iterable[TrainingVersion]) -> None:
    """Write the time from start to end, or to now, of each: also what a Retry is about to clear."""
    now = timezone.now()
    write(
        [
            Measure(
                month,
                UsageKind.TRAINING,
                source_of(version),
                version.project,
                seconds,
                version.submitted_by,
                version.flavor_name,
                version.price_per_hour,
            )
            for version in versions
            if version.started_at
            for month, seconds in seconds_by_month(version.started_at, version.finished_at or now)
        ]
    )


def source_of(version: TrainingVersion) -> str:
    """Names the run of a version: a Retry begins another one, a takeover goes on with it."""
    began = version.started_at.timestamp() if version.started_at else 0
    return f"training {version.pk} {began:.3f}"


def measure_models() -> None:
    """The bytes of each project's models. Runs once an hour. Safe to run twice."""
    month = month_of(timezone.now())
    alive = TrainingVersion.objects.alive().order_by().exclude(model_bytes=None)
    sizes = dict(alive.values_list("project").annotate(Sum("model_bytes")))
    projects = Project.objects.select_related("team").in_bulk(sizes)
    write(
        [
            Measure(month, UsageKind.STORAGE, f"models {pk}", project, sizes[pk])
            for pk, project in projects.items()
        ]
    )


def model_bytes(team: Team) -> int:
    alive = TrainingVersion.objects.alive().filter(project__team=team)
    return alive.aggregate(total=Sum("model_bytes"))["total"] or 0
