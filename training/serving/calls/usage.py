"""Measures the hours for which services run, and their calls."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Sum
from django.utils import timezone

from projects.models import Usage, UsageKind
from projects.usage.ledger import Measure, begin_of, month_of, next_month, seconds_by_month, write
from training.models import CallMinute, Service


def measure_hours() -> None:
    """Add the time since the last measure to each Running service. Runs every minute. Safe to run twice.

    A service that was started since then counts from its start.
    """
    for pk in Service.objects.filter(status=Service.Status.RUNNING).values_list("pk", flat=True):
        measure_service(pk)


@transaction.atomic
def measure_service(pk: UUID) -> None:
    """Add the time since the last measure if the service is Running. Whatever stops it calls this before."""
    running = Service.objects.select_for_update(of=["self"]).filter(pk=pk, status=Service.Status.RUNNING)
    service, now = running.select_related("project__team", "deployed_by").first(), timezone.now()
    if service is None:
        return
    rows = Usage.objects.filter(kind=UsageKind.SERVICE, source=_source(service))
    last = rows.aggregate(last=Max("measured_at"))["last"]
    begin = max(service.requested_at, last) if last else service.requested_at
    before = dict(rows.values_list("month", "quantity"))
    write(
        [
            Measure(
                month,
                UsageKind.SERVICE,
                _source(service),
                service.project,
                before.get(month, 0) + seconds,
                service.deployed_by,
            )
            for month, seconds in seconds_by_month(begin, now)
        ]
    )


def measure_calls() -> None:
    """Count the calls of this month, in its first days also of the last one. Runs once an hour."""
    now = timezone.now()
    months = {month_of(now), month_of(now - timedelta(days=2))}
    services = {
        service.pk: service for service in Service.objects.select_related("project__team", "deployed_by")
    }
    measures = []
    for month in months:
        of_month = {"minute__gte": begin_of(month), "minute__lt": begin_of(next_month(month))}
        minutes = CallMinute.objects.filter(**of_month)
        for service_id, calls in minutes.order_by().values_list("service").annotate(Sum("calls")):
            service = services[service_id]
            measures.append(
                Measure(month, UsageKind.CALLS, _source(service), service.project, calls, service.deployed_by)
            )
    write(measures)


def _source(service: Service) -> str:
    return f"service {service.pk}"
