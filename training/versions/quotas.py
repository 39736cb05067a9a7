"""The limits of a team on trainings: how many at a time, and hours and cost in a month."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.db.models import F, FloatField, Sum
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from exeml_site.lib.display import count, decimal
from projects.models import Project, Team, Usage, UsageKind
from projects.usage.ledger import month_of
from projects.usage.quotas import QuotaReached, quota_of
from training.models import TrainingVersion
from training.versions import usage


def check(project: Project, minutes: int, price_per_hour: Decimal) -> None:
    """Raise QuotaReached where a training of so many minutes breaks a limit of the team.

    A training counts its whole limit until it ends. The team's row is locked, so that two at once cannot both
    pass: call inside the transaction that submits the training.
    """
    team = Team.objects.select_for_update().get(pk=project.team_id)
    quota = quota_of(team)
    limits = (quota.max_concurrent_trainings, quota.max_training_hours, quota.max_cost)
    if limits == (None, None, None):
        return
    active = list(TrainingVersion.objects.active().filter(project__team=team, promoted_candidate=None))
    _check_number(team, len(active), quota.max_concurrent_trainings)
    ended = _ended(team, active)
    hours = ended["seconds"] / 3600 + sum(version.max_training_minutes for version in active) / 60
    _check_hours(team, hours, minutes / 60, quota.max_training_hours)
    cost = ended["cost"] / 3600 + sum(
        version.max_training_minutes / 60 * float(version.price_per_hour) for version in active
    )
    _check_cost(team, cost, minutes / 60 * float(price_per_hour), quota.max_cost)


def _ended(team: Team, active: list[TrainingVersion]) -> dict[str, float]:
    """Seconds, and seconds × price per hour, of the trainings of this month that have ended."""
    usage.measure(team)  # what ended within the last minute
    rows = Usage.objects.filter(team=team, kind=UsageKind.TRAINING, month=month_of(timezone.now()))
    rows = rows.exclude(source__in=[usage.source_of(version) for version in active])
    sums = rows.aggregate(
        seconds=Sum("quantity"), cost=Sum(F("quantity") * F("price_per_hour"), output_field=FloatField())
    )
    return {name: float(value or 0) for name, value in sums.items()}


def _check_number(team: Team, active: int, limit: int | None) -> None:
    if limit is not None and active >= limit:
        sentence = ngettext(
            "%(team)s may have %(limit)s training at a time and has %(active)s. Wait until one ends, or ask "
            "an operator to raise the limit.",
            "%(team)s may have %(limit)s trainings at a time and has %(active)s. Wait until one ends, or ask "
            "an operator to raise the limit.",
            limit,
        )
        raise QuotaReached(sentence % {"team": team, "limit": count(limit), "active": count(active)})


def _check_hours(team: Team, used: float, more: float, limit: float | None) -> None:
    if limit is not None and used + more > limit:
        sentence = gettext(
            "%(team)s has used %(used)s of its %(limit)s training hours of this month, with those that "
            "active trainings may take; this one may take %(more)s. Choose a shorter time, or ask an "
            "operator to raise the limit."
        )
        raise QuotaReached(sentence % _named(team, used, more, limit))


def _check_cost(team: Team, used: float, more: float, limit: Decimal | None) -> None:
    if limit is not None and used + more > float(limit):
        sentence = gettext(
            "%(team)s has used %(used)s of its %(limit)s %(currency)s for trainings of this month, with what "
            "active trainings may cost; this one may cost %(more)s. Choose a shorter time or another flavor, "
            "or ask an operator to raise the limit."
        )
        raise QuotaReached(sentence % _named(team, used, more, float(limit)))


def _named(team: Team, used: float, more: float, limit: float) -> dict[str, str]:
    amounts = {"used": used, "more": more, "limit": limit}
    return {
        "team": team.name,
        "currency": settings.EXEML_CURRENCY,
        **{name: decimal(amount, 2) for name, amount in amounts.items()},
    }
