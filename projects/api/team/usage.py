"""What a team used in a month."""

from __future__ import annotations

from django.conf import settings
from ninja import Field, Query, Router, Schema

from exeml_site.lib.display import iso_month
from projects.api.core import problems
from projects.api.core.access import ApiRequest, team_call
from projects.models import Role, Scope, Team
from projects.usage.report import NO_MONTH, UNITS, MonthlyUsage, UsageLine, asked_month

router = Router(tags=["Teams"])


class UsageLineOut(Schema):
    kind: str = Field(description="training, service, calls, images or storage.")
    project: str
    person: str
    flavor: str
    price_per_hour: float
    quantity: float = Field(description="In `unit`.")
    unit: str
    cost: float = Field(description="In the currency of the site. Only trainings have a price.")

    @classmethod
    def of(cls, line: UsageLine) -> UsageLineOut:
        return cls(
            kind=line.kind.value,
            project=line.project,
            person=line.person,
            flavor=line.flavor,
            price_per_hour=line.price_per_hour,
            quantity=line.quantity,
            unit=UNITS[line.kind],
            cost=line.cost,
        )


class UsageOut(Schema):
    month: str = Field(description="Such as 2026-11.")
    currency: str
    cost: float
    totals: dict[str, float] = Field(description="The quantities of each kind together.")
    items: list[UsageLineOut]


class UsageParams(Schema):
    month: str = Field("", max_length=10, description="Such as 2026-11; without it, this month.")
    fields: str = Field("", max_length=512, description="Names of the fields of a row, with commas.")


@router.get("/teams/{int:team_id}/usage", response=UsageOut)
@team_call(Role.MANAGER, Scope.READ)
def show_usage(request: ApiRequest, team: Team, params: Query[UsageParams]) -> UsageOut:
    """The rows of the usage page and its CSV file: what each person used of each kind in each project."""
    month = asked_month(params.month)
    if month is None:
        raise problems.invalid_field("month", NO_MONTH)
    usage = MonthlyUsage(month, team)
    return UsageOut(
        month=iso_month(month),
        currency=settings.EXEML_CURRENCY,
        cost=usage.cost,
        totals=usage.totals,
        items=[UsageLineOut.of(line) for line in usage.lines],
    )
