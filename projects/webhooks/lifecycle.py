"""Webhooks of a team: created, changed, tested, turned on and off, deleted; their secrets are renewed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from exeml_site.lib.errors import Refused
from exeml_site.sign_in import secret_text
from projects import audit
from projects.models import Project, Team, Webhook, WebhookDelivery, WebhookEvent
from projects.webhooks import events
from projects.webhooks.addresses import find_target
from projects.webhooks.signature import new_secret

MAX_WEBHOOKS = 50  # of a team
TEST_MESSAGE = "A test of this webhook."  # not translated: of programs
FORMER_VALID_FOR = timedelta(days=1)


class WebhookRefused(Refused):
    """The state of the webhook or the team forbids it; the message tells the user why."""


def create(
    team: Team, project: Project | None, url: str, chosen: Iterable[str], *, site: str, by: User
) -> tuple[Webhook, str]:
    """A webhook and its secret in plain text, which is shown once. `site`: with which its links begin.

    Raises AddressRefused for an address that may not be called, WebhookRefused at MAX_WEBHOOKS.
    """
    find_target(url)
    secret = new_secret()
    with transaction.atomic():
        if Team.objects.select_for_update().get(pk=team.pk).webhooks.shown().count() >= MAX_WEBHOOKS:
            text = gettext("A team has at most %(limit)s webhooks. Delete one first.")
            raise WebhookRefused(text % {"limit": MAX_WEBHOOKS})
        webhook = Webhook.objects.create(
            team=team,
            project=project,
            url=url,
            events=sorted(chosen),
            secret=secret_text.encrypt(secret),
            site=site,
            created_by=by,
        )
        _record(audit.Kind.WEBHOOK_CREATED, webhook, by, events=webhook.events)
    return webhook, secret


def change(webhook: Webhook, url: str, chosen: Iterable[str], *, by: User) -> None:
    """Send other events, or to another address, from the next attempt on. Raises AddressRefused."""
    changed = (url, sorted(chosen))
    if changed == (webhook.url, webhook.events):
        return
    find_target(url)
    with transaction.atomic():
        if url != webhook.url:
            webhook.failing_since = None
        webhook.url, webhook.events = changed
        webhook.save(update_fields=["url", "events", "failing_since"])
        _record(audit.Kind.WEBHOOK_CHANGED, webhook, by, events=webhook.events)


def rotate_secret(webhook: Webhook, *, by: User) -> str:
    """A new secret in plain text, which is shown once. The former one signs as well for a day."""
    secret = new_secret()
    with transaction.atomic():
        current = Webhook.objects.select_for_update().get(pk=webhook.pk).secret
        webhook.secret, webhook.former_secret = secret_text.encrypt(secret), current
        webhook.former_secret_until = timezone.now() + FORMER_VALID_FOR
        webhook.save(update_fields=["secret", "former_secret", "former_secret_until"])
        _record(audit.Kind.WEBHOOK_ROTATED, webhook, by)
    return secret


def turn_on(webhook: Webhook, *, by: User) -> bool:
    """Deliver again, also what waited. False if it was on."""
    changes: dict[str, Any] = {"is_on": True, "off_cause": "", "off_at": None, "failing_since": None}
    with transaction.atomic():
        has_changed = bool(Webhook.objects.filter(pk=webhook.pk, is_on=False).update(**changes))
        if has_changed:
            _record(audit.Kind.WEBHOOK_ON, webhook, by)
            events.request_delivery()
    webhook.refresh_from_db()
    return has_changed


def turn_off(webhook: Webhook, *, by: User) -> bool:
    """Deliver nothing and note no events, until it is turned on. False if it was off."""
    changes: dict[str, Any] = {"is_on": False, "off_cause": "", "off_at": timezone.now()}
    with transaction.atomic():
        has_changed = bool(Webhook.objects.filter(pk=webhook.pk, is_on=True).update(**changes))
        if has_changed:
            _record(audit.Kind.WEBHOOK_OFF, webhook, by)
    webhook.refresh_from_db()
    return has_changed


def delete(webhook: Webhook, *, by: User) -> bool:
    """Delete it with its log. False if it was deleted before."""
    with transaction.atomic():
        events.locked([webhook]).first()  # an event that is stored just now comes before
        is_deleted = bool(Webhook.objects.filter(pk=webhook.pk).delete()[0])
        if is_deleted:
            _record(audit.Kind.WEBHOOK_DELETED, webhook, by)
    return is_deleted


def send_test(webhook: Webhook) -> WebhookDelivery:
    """Store a test event, which is sent at once. Raises WebhookRefused while the webhook is off."""
    _check_is_on(webhook)
    with transaction.atomic():
        webhook = events.locked([webhook]).get()
        data = {"team": events.described_team(webhook.team), "message": TEST_MESSAGE}
        delivery = events.add_delivery(webhook, WebhookEvent.TEST, data)
        events.request_delivery()
    return delivery


def resend(delivery: WebhookDelivery) -> None:
    """Send the same message again at once, with all its attempts. Raises WebhookRefused."""
    _check_is_on(delivery.webhook)
    with transaction.atomic():
        WebhookDelivery.objects.filter(pk=delivery.pk).update(
            status=WebhookDelivery.Status.WAITING, next_attempt_at=timezone.now(), attempt_count=0
        )
        events.request_delivery()


def _check_is_on(webhook: Webhook) -> None:
    if not webhook.is_on:
        raise WebhookRefused(gettext("This webhook is off. Turn it on first."))


def _record(kind: audit.Kind, webhook: Webhook, by: User, **details: Any) -> None:
    audit.record(kind, team=webhook.team, project=webhook.project, target=webhook.origin, by=by, **details)
