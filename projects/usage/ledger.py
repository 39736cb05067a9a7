"""Writes what work used in a month. Writing the same again changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from exeml_site.lib.bulk import chunks
from projects.models import Project, Usage, UsageKind


@dataclass(frozen=True)
class Measure:
    """What one piece of work, named by `source`, has used in a month so far."""

    month: date
    kind: UsageKind
    source: str
    project: Project
    quantity: float
    by: User | None = None
    flavor: str = ""
    price_per_hour: Decimal = Decimal(0)


@transaction.atomic
def write(measures: Sequence[Measure]) -> None:
    """Insert or raise the quantities: one that shrank, as stored images do, keeps the most of its month."""
    now = timezone.now()
    for some in chunks(list(measures)):
        Usage.objects.bulk_create([_row(measure, now) for measure in some], ignore_conflicts=True)
        for measure in some:
            row = Usage.objects.filter(month=measure.month, kind=measure.kind, source=measure.source)
            row.filter(measured_at__lt=now).update(
                quantity=Greatest(F("quantity"), measure.quantity), measured_at=now
            )


def _row(measure: Measure, now: datetime) -> Usage:
    project = measure.project
    return Usage(
        month=measure.month,
        kind=measure.kind,
        source=measure.source,
        team=project.team,
        team_name=project.team.name,
        project_id=project.pk,
        project_name=project.name,
        user_name=measure.by.get_username() if measure.by else "",
        flavor_name=measure.flavor,
        price_per_hour=measure.price_per_hour,
        quantity=measure.quantity,
        measured_at=now,
    )


def month_of(moment: datetime) -> date:
    """The first day of the month, in the time zone of the site."""
    return timezone.localtime(moment).date().replace(day=1)


def begin_of(month: date) -> datetime:
    return timezone.make_aware(datetime(month.year, month.month, 1))


def next_month(month: date) -> date:
    return (month + timedelta(days=32)).replace(day=1)


def seconds_by_month(begin: datetime, end: datetime) -> Iterator[tuple[date, float]]:
    """How many seconds between two moments lie in each month."""
    while begin < end:
        month = month_of(begin)
        until = min(end, begin_of(next_month(month)))
        yield month, (until - begin).total_seconds()
        begin = until
