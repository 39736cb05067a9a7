"""Monitoring of a service, and the metrics of all services for Prometheus."""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from exeml_site.lib.display import count
from exeml_site.lib.http import page, public
from exeml_site.lib.params import parse_int
from projects.access import PageRequest, project_page
from projects.models import Project, Role
from projects.workspace.login_throttle import Attempt, count_wrong_token
from training.forms.services import deployable_versions
from training.models import Service
from training.serving import metrics as site_metrics
from training.serving.calls import charts, dashboard, drift, feedback
from training.serving.shadow_comparison import compare_shadow
from training.views.services import get_service

DEFAULT_HOURS, SHOWN_EVENTS, SHOWN_DISAGREEMENTS = 24, 12, 24


@project_page(Role.VIEWER)
@require_safe
@never_cache
def service_monitoring(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """Charts and numbers of a window (`?hours=`); the page polls."""
    service = get_service(project, service_id)
    hours = parse_int(request.GET.get("hours"))
    hours = hours if hours in dashboard.WINDOWS else DEFAULT_HOURS
    board = dashboard.load_dashboard(service, hours)
    bars, max_calls = charts.call_bars(board.steps)
    lines, max_ms = charts.latency_lines(board.steps)
    context = {
        "project": project,
        "service": service,
        "tab": "monitoring",
        "hours": hours,
        "windows": [(number, name) for number, (name, _) in dashboard.WINDOWS.items()],
        "dashboard": board,
        "first": board.steps[0].begins_at,
        "step_text": _step_text(board.step),
        "latencies": list(zip(("p50", "p95", "p99"), board.total.latencies_ms, strict=True)),
        "bars": bars,
        "max_calls": max_calls,
        "lines": lines,
        "max_ms": max_ms,
        "labels": charts.label_bands(board.steps, board.total),
        "drift": drift.drift_of(service, board),
        "errors": board.total.errors.most_common(),
        "live": feedback.live_accuracy(service),
        "events": service.events.select_related("by")[:SHOWN_EVENTS],
    }
    context |= _shadow_context(request, service)
    return page(request, "services/monitoring.html", context, fragment="services/_monitoring.html")


def _shadow_context(request: PageRequest, service: Service) -> dict[str, Any]:
    compared = compare_shadow(service)
    others = deployable_versions(service.project).exclude(pk=service.training_version_id)
    disagreements = compared.disagreements if compared else []
    return {
        "compared": compared,
        "disagreements": disagreements[:SHOWN_DISAGREEMENTS],
        "more_disagreements": max(len(disagreements) - SHOWN_DISAGREEMENTS, 0),
        "can_add_shadow": service.is_running and service.canary_version is None and others.exists(),
        "can_manage": request.membership.role >= Role.MANAGER,
        "can_label": request.membership.role >= Role.LABELER,
        "label_names": list(service.project.labels.values_list("name", flat=True)),
    }


def _step_text(step: timedelta) -> str:
    minutes = int(step.total_seconds() // 60)
    if minutes == 60:
        return gettext("an hour")
    if minutes == 1:
        return gettext("a minute")
    if minutes > 60:
        hours = minutes // 60
        return ngettext("%(count)s hour", "%(count)s hours", hours) % {"count": count(hours)}
    return ngettext("%(count)s minute", "%(count)s minutes", minutes) % {"count": count(minutes)}


@public
@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Metrics for Prometheus. Needs the bearer token EXEML_METRICS_TOKEN, or an operator who is signed in."""
    if not _may_scrape(request):
        attempt = count_wrong_token(request) if "Authorization" in request.headers else Attempt()
        if attempt.is_refused:
            headers = {"Retry-After": str(attempt.wait_s)}
            text = "Too many wrong tokens. A right one is answered at once.\n"  # not translated: of programs
            return HttpResponse(text, content_type="text/plain", status=429, headers=headers)
        way = "Authorization: Bearer <EXEML_METRICS_TOKEN>"  # not translated: a header
        message = f"Send {way}, or sign in as an operator.\n"  # not translated: of programs
        return HttpResponse(message, content_type="text/plain", status=401)
    return HttpResponse(site_metrics.exposition(), content_type=CONTENT_TYPE_LATEST)


def _may_scrape(request: HttpRequest) -> bool:
    if request.user.is_active and request.user.is_staff:
        return True
    token = settings.EXEML_METRICS_TOKEN
    given = request.headers.get("Authorization", "")
    return bool(token) and hmac.compare_digest(given.encode(), f"Bearer {token}".encode())
