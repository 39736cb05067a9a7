"""What a team, or the whole site, used in a month, as tables of the page and rows of a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from django.db.models import FloatField, Sum
from django.utils import timezone
from django.utils.translation import gettext_lazy

from exeml_site.lib.display import iso_month
from exeml_site.lib.params import parse_date
from projects.models import Team, Usage, UsageKind
from projects.usage.ledger import month_of

NO_MONTH = gettext_lazy("Choose a month, such as 2026-11.")
MAX_MONTHS = 120  # that the page offers
FILE_COLUMNS = (
    "month",
    "team",
    "project",
    "person",
    "kind",
    "flavor",
    "price_per_hour",
    "quantity",
    "unit",
    "cost",
)
UNITS = {
    UsageKind.TRAINING: "hours",
    UsageKind.SERVICE: "hours",
    UsageKind.CALLS: "calls",
    UsageKind.IMAGES: "images",
    UsageKind.STORAGE: "GB",
}
DIVISORS: dict[str, float] = {UsageKind.TRAINING: 3600.0, UsageKind.SERVICE: 3600.0, UsageKind.STORAGE: 1e9}


@dataclass(frozen=True)
class UsageLine:
    """What a person used of one kind in a project, at one price."""

    kind: UsageKind
    team: str
    project: str
    person: str
    flavor: str
    price_per_hour: float
    quantity: float  # in UNITS

    @property
    def cost(self) -> float:
        """Only trainings have a price."""
        return self.quantity * self.price_per_hour if self.kind == UsageKind.TRAINING else 0.0


@dataclass(frozen=True)
class MonthlyUsage:
    """The usage of one month, of a team or, without one, of all teams."""

    month: date
    team: Team | None = None

    @cached_property
    def lines(self) -> list[UsageLine]:
        names = ("kind", "team_name", "project_name", "user_name", "flavor_name", "price_per_hour")
        rows = Usage.objects.filter(month=self.month)
        if self.team is not None:
            rows = rows.filter(team=self.team)
        sums = rows.order_by(*names).values_list(*names).annotate(Sum("quantity", output_field=FloatField()))
        return [
            UsageLine(
                UsageKind(kind),
                team,
                project,
                person,
                flavor,
                float(price),
                quantity / DIVISORS.get(kind, 1.0),
            )
            for kind, team, project, person, flavor, price, quantity in sums
        ]

    @property
    def trainings(self) -> list[UsageLine]:
        return self._of(UsageKind.TRAINING)

    @property
    def services(self) -> list[tuple[UsageLine, float]]:
        """The hours of each, and its calls."""
        calls = {_owner(line): line.quantity for line in self._of(UsageKind.CALLS)}
        hours = {_owner(line): line for line in self._of(UsageKind.SERVICE)}
        without = [line for line in self._of(UsageKind.CALLS) if _owner(line) not in hours]
        empty = [UsageLine(UsageKind.SERVICE, *_owner(line), "", 0.0, 0.0) for line in without]
        return [(line, calls.get(_owner(line), 0.0)) for line in [*hours.values(), *empty]]

    @property
    def stored(self) -> list[tuple[UsageLine, float]]:
        """The GB of each, and the images."""
        images = {_owner(line): line.quantity for line in self._of(UsageKind.IMAGES)}
        return [(line, images.get(_owner(line), 0.0)) for line in self._of(UsageKind.STORAGE)]

    def total(self, kind: UsageKind) -> float:
        return sum(line.quantity for line in self._of(kind))

    @property
    def totals(self) -> dict[str, float]:
        return {kind.value: self.total(kind) for kind in UsageKind}

    @property
    def cost(self) -> float:
        return sum(line.cost for line in self.trainings)

    def file_rows(self) -> Iterator[list[object]]:
        yield list(FILE_COLUMNS)
        for line in self.lines:
            yield [
                iso_month(self.month),
                *(line.team, line.project, line.person, line.kind.value, line.flavor),
                *(line.price_per_hour, round(line.quantity, 6), UNITS[line.kind], round(line.cost, 4)),
            ]

    def _of(self, kind: UsageKind) -> list[UsageLine]:
        return [line for line in self.lines if line.kind == kind]


def _owner(line: UsageLine) -> tuple[str, str, str]:
    return line.team, line.project, line.person


def asked_month(text: str | None) -> date | None:
    """The month of “2026-11”; this month without a text, None for what is no month."""
    return parse_date(f"{text}-01") if text else month_of(timezone.now())


def months(team: Team | None) -> list[date]:
    """The months with usage, and this one; the newest first."""
    rows = Usage.objects.filter(team=team) if team is not None else Usage.objects.all()
    used = rows.order_by("-month").values_list("month", flat=True).distinct()[:MAX_MONTHS]
    return sorted({month_of(timezone.now()), *used}, reverse=True)
