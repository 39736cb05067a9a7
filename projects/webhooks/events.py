"""Events: one row for each webhook that is told, in the transaction of what happened.

What is rolled back is told to nobody, and what is committed is told even if Redis is away: the periodic sweep
finds the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import QuerySet
from django.urls import get_script_prefix, reverse
from django.utils import timezone

from exeml_site.lib import jobs
from exeml_site.lib.display import iso_utc
from projects.models import Project, Team, Webhook, WebhookDelivery, WebhookEvent

JOB = "deliver_webhooks"
JOB_TIMEOUT_S = 600
ADDRESSES = ("url", "api_url")  # keys of a payload that hold addresses of this site


def raise_event(event: WebhookEvent, project: Project, **data: Any) -> None:
    """Tell the webhooks of the project and of its team. `data`: what the payload says beside the project.

    Values of the keys `url` and `api_url` are addresses without the site.
    """
    concerned = Webhook.objects.told_of(project).select_related("team")
    webhooks = [webhook for webhook in concerned if event in webhook.events]
    if webhooks:
        with transaction.atomic():
            for webhook in locked(webhooks):
                add_delivery(webhook, event, {**_described(webhook.team, project), **data})
            request_delivery()


def locked(webhooks: Iterable[Webhook]) -> QuerySet[Webhook]:
    """Those of the webhooks that are still there. Nobody can delete them before the transaction ends.

    A delivery of a webhook that is gone would undo what happened, too.
    """
    rows = Webhook.objects.filter(pk__in=[webhook.pk for webhook in webhooks]).select_related("team")
    return rows.select_for_update(of=("self",), no_key=True).order_by("pk")


def is_told(event: WebhookEvent, project: Project) -> bool:
    """Whether a webhook would be told of such an event of the project."""
    webhooks = Webhook.objects.told_of(project)
    return any(event in events for events in webhooks.values_list("events", flat=True))


def add_delivery(webhook: Webhook, event: WebhookEvent, data: Mapping[str, Any]) -> WebhookDelivery:
    """Store an event for one webhook."""
    now = timezone.now()
    payload = {
        "type": event.value,
        "timestamp": iso_utc(now),
        "data": _with_site(data, settings.SITE_URL or webhook.site),
    }
    body = json.dumps(payload, cls=DjangoJSONEncoder, ensure_ascii=False)
    return WebhookDelivery.objects.create(
        webhook=webhook, event=event, body=body, created_at=now, next_attempt_at=now
    )


def request_delivery() -> None:
    """Enqueue the job that delivers, once this transaction is committed."""
    jobs.enqueue(JOB, queue=settings.QUEUE_WEBHOOKS, job_id=JOB, timeout_s=JOB_TIMEOUT_S)


def described_team(team: Team) -> dict[str, Any]:
    return {"id": team.pk, "name": team.name, "api_url": api_address(f"teams/{team.pk}")}


def _described(team: Team, project: Project) -> dict[str, Any]:
    described = {
        "id": project.pk,
        "name": project.name,
        "url": page_address("label_data", project.pk),
        "api_url": api_address(f"projects/{project.pk}"),
    }
    return {"team": described_team(team), "project": described}


def page_address(name: str, *arguments: Any) -> str:
    """The address of a page, without the site."""
    return reverse(name, args=arguments)


def api_address(path: str) -> str:
    """The address of something in the API, without the site; `path` as below `/api/v1/`."""
    return f"{get_script_prefix()}api/v1/{path}"


def _with_site(value: Any, site: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {
        key: f"{site}{part}" if key in ADDRESSES and part else _with_site(part, site)
        for key, part in value.items()
    }
