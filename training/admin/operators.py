"""The operators' page at the head of the admin: what runs, what waits, what failed, and alarms.

A panel is shown to operators who may see its rows; what they may not see is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db import connection
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from exeml_site.health.program import program_name
from exeml_site.health.readiness import OK, storage_state
from projects.admin.queues import PERMISSION as MAY_SEE_QUEUES
from projects.models import Machine
from projects.operators.alarms import backup_alarms, machine_alarms, queue_alarms
from projects.operators.backups import last_backup
from projects.operators.queues import JobLine, QueueFacts, queue_facts
from training.models import Service, Status, TrainingVersion

MAX_ROWS = 20  # of trainings and services; the lists of the admin have all
FAILED_WITHIN = timedelta(days=1)
WORKING = (Service.Status.RUNNING, Service.Status.DEPLOYING, Service.Status.FAILED)


def index(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
    """Django's index of the admin with what operators look at first."""
    own_teams = set(request.user.memberships.values_list("team", flat=True))  # type: ignore[union-attr]
    facts: dict[str, Any] = {"alarms": [], "own_teams": own_teams}
    for panel in (_machines, _queues, _trainings, _services):
        found = panel(request)
        facts["alarms"] += found.pop("alarms", [])
        facts |= found
    return AdminSite.index(admin.site, request, {**facts, **(extra_context or {})})


def _machines(request: HttpRequest) -> dict[str, Any]:
    if not request.user.has_perm("projects.view_machine"):
        return {}
    machines, storage = list(Machine.objects.all()), storage_state()
    return {
        "machines": machines,
        "alarms": [*machine_alarms(machines, storage), *backup_alarms()],
        "parts": [
            ("This page", program_name()),
            ("Database", "PostgreSQL" if connection.vendor == "postgresql" else "SQLite in the data folder"),
            ("Storage", _storage(storage)),
            ("Last backup", last_backup()),
        ],
    }


def _storage(state: str) -> str:
    place = "S3" if settings.STORAGE_URL else "the data folder"
    return f"{place}, answers" if state == OK else f"{place}, {state}"


def _queues(request: HttpRequest) -> dict[str, Any]:
    if not request.user.has_perm(MAY_SEE_QUEUES):
        return {}
    facts = queue_facts()
    programs = dict(Machine.objects.living().values_list("host", "program"))
    titles = _titles(facts)
    workers = [
        {"line": line, "program": programs.get(line.host, ""), "job": _titled(line.job, titles)}
        for line in facts.workers
    ]
    failed = [_titled(job, titles) for job in facts.failed]
    return {"queues": facts, "workers": workers, "failed_jobs": failed, "alarms": list(queue_alarms(facts))}


def _titles(facts: QueueFacts) -> dict[str, str]:
    """Project and version by the argument of a training's job."""
    jobs = [*facts.failed, *(worker.job for worker in facts.workers if worker.job)]
    keys = [int(job.argument) for job in jobs if job.name == "train_version" and job.argument.isdigit()]
    versions = TrainingVersion.objects.filter(pk__in=keys).select_related("project")
    return {str(version.pk): f"train {version.project} {version}" for version in versions}


def _titled(job: JobLine | None, titles: dict[str, str]) -> dict[str, Any] | None:
    if job is None:
        return None
    title = titles.get(job.argument, job.title) if job.name == "train_version" else job.title
    return {"line": job, "title": title, "is_retried_by_row": job.name == "train_version"}


def _trainings(request: HttpRequest) -> dict[str, Any]:
    """Active trainings, and those that have failed within a day."""
    if not request.user.has_perm("training.view_trainingversion"):
        return {}
    versions = TrainingVersion.objects.alive().select_related("project__team", "submitted_by")
    active = versions.active().order_by("submitted_at")
    since = timezone.now() - FAILED_WITHIN
    failed = versions.filter(status=Status.FAILED, finished_at__gt=since, project__deleted_at=None)
    return {
        "trainings": [*_first(active), *_first(failed.order_by("-finished_at"))],
        "may_operate": request.user.has_perm("training.change_trainingversion"),
    }


def _services(request: HttpRequest) -> dict[str, Any]:
    if not request.user.has_perm("training.view_service"):
        return {}
    services = Service.objects.alive().order_by()
    counts = dict(services.values_list("status").annotate(number=Count("pk")))
    shown = services.filter(status__in=WORKING).select_related("project__team", "training_version")
    return {
        "service_counts": [(status.label, counts[status]) for status in Service.Status if status in counts],
        "services": _first(shown.order_by("status", "-deployed_at")),
    }


def _first(rows: QuerySet[Any]) -> Sequence[Any]:
    return list(rows.defer(*_large(rows.model))[:MAX_ROWS])


def _large(model: Any) -> Iterable[str]:
    return ("traceback", "confusion") if model is TrainingVersion else ("answer_settings",)
