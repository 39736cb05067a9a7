"""The audit log of a team, for its managers, and of the whole site, for operators."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from exeml_site.lib.http import page
from projects import audit
from projects.access import PageRequest, operator_page, team_page
from projects.formats.csv_text import write_csv
from projects.forms.records.audit import AuditFilterForm
from projects.models import AuditEvent, Role, Team
from projects.models.records.audit import AuditQuerySet

PAGE_SIZE = 100
COLUMNS = [field.name for field in AuditEvent._meta.concrete_fields]
CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


@team_page(Role.MANAGER)
@require_safe
def team_audit(request: PageRequest, team: Team) -> HttpResponse:
    return _page(request, team)


@team_page(Role.MANAGER)
@require_safe
def team_audit_file(request: PageRequest, team: Team, ending: str) -> HttpResponseBase:
    return _file(request, team, ending)


@operator_page("projects.view_auditevent")
@require_safe
def site_audit(request: PageRequest) -> HttpResponse:
    return _page(request, None)


@operator_page("projects.view_auditevent")
@require_safe
def site_audit_file(request: PageRequest, ending: str) -> HttpResponseBase:
    return _file(request, None, ending)


def _page(request: PageRequest, team: Team | None) -> HttpResponse:
    form = AuditFilterForm(request.GET, of_one_team=team is not None)
    events = list(_events(form, team)[: PAGE_SIZE + 1])
    older = request.GET.copy()
    older["before"] = str(events[PAGE_SIZE - 1].pk) if len(events) > PAGE_SIZE else ""
    filters = request.GET.copy()
    filters.pop("before", None)
    arguments = [team.pk] if team else []
    prefix = "team" if team else "site"
    context: dict[str, Any] = {
        "team": team,
        "form": form,
        "events": events[:PAGE_SIZE],
        "older": older.urlencode() if older["before"] else "",
        "filters": filters.urlencode(),
        "is_filtered": any(request.GET.values()),
        "address": reverse(f"{prefix}_audit", args=arguments),
        "csv": reverse(f"{prefix}_audit_csv", args=arguments),
        "jsonl": reverse(f"{prefix}_audit_jsonl", args=arguments),
    }
    return page(request, "audit/audit.html", context, status=200 if form.is_valid() else 422)


def _events(form: AuditFilterForm, team: Team | None) -> AuditQuerySet:
    if not form.is_valid():
        return AuditEvent.objects.none()
    return form.events().filter(team_id=team.pk) if team else form.events()


def _file(request: PageRequest, team: Team | None, ending: str) -> HttpResponseBase:
    """The events of the filters as a file; `before` is left out, so that it holds all of them."""
    form = AuditFilterForm(request.GET, of_one_team=team is not None)
    if not form.is_valid():
        return _page(request, team)
    name = f"audit-{team.pk if team else 'site'}.{ending}"
    lines = _csv_lines if ending == "csv" else _json_lines
    audit.record(audit.Kind.DOWNLOADED, team=team, target=name)
    response = StreamingHttpResponse(lines(_events(form, team)), content_type=CONTENT_TYPES[ending])
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _csv_lines(events: AuditQuerySet) -> Iterator[bytes]:
    yield write_csv([COLUMNS])
    for event in events.iterator(chunk_size=2000):
        fields = event.as_json()
        fields["details"] = json.dumps(fields["details"], ensure_ascii=False) if fields["details"] else ""
        yield write_csv([["" if fields[name] is None else fields[name] for name in COLUMNS]])


def _json_lines(events: AuditQuerySet) -> Iterator[bytes]:
    for event in events.iterator(chunk_size=2000):
        yield json.dumps(event.as_json(), ensure_ascii=False).encode() + b"\n"
