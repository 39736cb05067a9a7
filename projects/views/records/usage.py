"""Usage and cost of a team, for its managers, and of the whole site, for operators."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from exeml_site.lib.display import iso_month, month_text
from exeml_site.lib.http import page
from projects import audit
from projects.access import PageRequest, operator_page, team_page
from projects.formats.csv_text import write_csv
from projects.models import Role, Team
from projects.usage.ledger import month_of
from projects.usage.quotas import quota_of
from projects.usage.report import NO_MONTH, MonthlyUsage, asked_month, months


@team_page(Role.MANAGER)
@require_safe
def team_usage(request: PageRequest, team: Team) -> HttpResponse:
    return _page(request, team)


@team_page(Role.MANAGER)
@require_safe
def team_usage_file(request: PageRequest, team: Team) -> HttpResponse:
    return _file(request, team)


@operator_page("projects.view_usage")
@require_safe
def site_usage(request: PageRequest) -> HttpResponse:
    return _page(request, None)


@operator_page("projects.view_usage")
@require_safe
def site_usage_file(request: PageRequest) -> HttpResponse:
    return _file(request, None)


def _page(request: PageRequest, team: Team | None) -> HttpResponse:
    month = asked_month(request.GET.get("month"))
    problem = "" if month else str(NO_MONTH)
    usage = MonthlyUsage(month or month_of(timezone.now()), team)
    arguments, prefix = ([team.pk], "team") if team else ([], "site")
    context: dict[str, Any] = {
        "team": team,
        "usage": usage,
        "totals": usage.totals,
        "quota": quota_of(team) if team else None,
        "month": iso_month(usage.month),
        "months": [
            (iso_month(month), month_text(month))
            for month in sorted({usage.month, *months(team)}, reverse=True)
        ],
        "problem": problem,
        "currency": settings.EXEML_CURRENCY,
        "address": reverse(f"{prefix}_usage", args=arguments),
        "csv": reverse(f"{prefix}_usage_csv", args=arguments),
    }
    return page(request, "usage/usage.html", context, status=422 if problem else 200)


def _file(request: PageRequest, team: Team | None) -> HttpResponse:
    month = asked_month(request.GET.get("month"))
    if month is None:
        return _page(request, team)
    name = f"usage-{team.pk if team else 'site'}-{iso_month(month)}.csv"
    audit.record(audit.Kind.DOWNLOADED, team=team, target=name)
    content = write_csv(MonthlyUsage(month, team).file_rows())
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(content, content_type="text/csv; charset=utf-8", headers=headers)
