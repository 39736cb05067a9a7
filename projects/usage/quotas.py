"""The limits of a team: storage here, trainings in `training.versions.quotas`."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import Sum
from django.utils.translation import gettext

from exeml_site.lib.display import decimal
from exeml_site.lib.errors import Refused
from projects.models import Image, Team, TeamQuota

# What apps above store for a team, in bytes: they add a function in `ready()`.
stored_elsewhere: list[Callable[[Team], int]] = []


class QuotaReached(Refused):
    """A limit of the team does not leave room; the message says which, what is used, and who can raise it."""


def quota_of(team: Team) -> TeamQuota:
    """The limits of the team; a row without limits where operators have set none."""
    return TeamQuota.objects.filter(team=team).first() or TeamQuota(team=team)


def stored_bytes(team: Team) -> int:
    """Bytes of the team's images and models, the bin and deleted projects included."""
    images = Image.objects.filter(project__team=team).aggregate(total=Sum("size_bytes"))["total"]
    return (images or 0) + sum(count(team) for count in stored_elsewhere)


def check_storage(team: Team, more_bytes: int) -> None:
    """Raise QuotaReached where the team has no room for so many bytes more."""
    limit_gb = quota_of(team).max_storage_gb
    if limit_gb is None or (used := stored_bytes(team)) + more_bytes <= limit_gb * 1e9:
        return
    sentence = gettext(
        "%(team)s has used %(used)s of its %(limit)s GB. Delete images or models, or ask an operator to "
        "raise the limit."
    )
    amounts = {"used": decimal(used / 1e9, 3), "limit": decimal(limit_gb, 3)}
    raise QuotaReached(sentence % {"team": team, **amounts})
