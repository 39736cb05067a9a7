"""The job that delivers: every webhook on its own, several at once, so that a slow receiver delays no other.

A delivery that fails is tried again over a day, with growing pauses. Rows hold what is due; the job is safe
to run twice and on several machines, since each attempt claims its row.
"""

from __future__ import annotations

import logging
import random
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Min
from django.utils import timezone
from django.utils.translation import gettext_noop

from exeml_site.lib.display import iso_utc
from exeml_site.sign_in.secret_text import SecretUnreadable
from projects import audit
from projects.models import Membership, NoticeKind, Role, Webhook, WebhookDelivery
from projects.notices import notices
from projects.webhooks import events
from projects.webhooks.post import ReceiverAnswer, post
from projects.webhooks.signature import signed_headers

logger = logging.getLogger(__name__)

LANES = 16  # deliveries that wait for their receivers at the same time, one for each webhook
SLICE_S = 300.0  # then the job ends, and the sweep begins another
# An attempt whose result is not stored after this time is made again: its process died.
CLAIMED_FOR = timedelta(minutes=2)
MINUTE, HOUR = 60, 3600
PAUSES_S = (5, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR)  # 27 hours
JITTER = 0.2  # of a pause, so that what failed together does not come back together
LONGEST_PAUSE_S = 12 * HOUR  # that a receiver may ask for by Retry-After
KEPT_ATTEMPTS = 20
KEPT_FOR = timedelta(days=30)
OFF_AFTER = timedelta(days=5)
GONE_STATUS = 410
GONE = gettext_noop("The receiver answered 410 Gone: it wants no more events.")
FAILING = gettext_noop("Nothing was delivered for five days.")
SECRET_LOST = gettext_noop("The secret cannot be read, since EXEML_SECRET_KEY was changed. Renew the secret.")


def resume() -> None:
    """Enqueue the delivery of what is due; run every 15 seconds."""
    if WebhookDelivery.objects.due(timezone.now()).exists():
        events.request_delivery()


def deliver() -> None:
    """Job: deliver what is due, until nothing is."""
    ends = time.monotonic() + SLICE_S
    tried: dict[int, float] = {}
    with ThreadPoolExecutor(LANES) as pool:
        running: dict[Future[ReceiverAnswer], WebhookDelivery] = {}
        while True:
            busy = {delivery.webhook_id for delivery in running.values()}
            free = LANES - len(running) if time.monotonic() < ends else 0
            for delivery in _claim_due(busy, tried, free):
                tried[delivery.webhook_id] = time.monotonic()
                running[pool.submit(_attempt, delivery)] = delivery
            if not running:
                return
            for future in wait(running, timeout=1, return_when=FIRST_COMPLETED).done:
                _store(running.pop(future), future.result())


def _claim_due(busy: set[int], tried: dict[int, float], count: int) -> list[WebhookDelivery]:
    """The next delivery of up to `count` webhooks that are not busy; those first that waited longest."""
    if not count:
        return []
    now = timezone.now()
    waiting = WebhookDelivery.objects.due(now).exclude(webhook__in=busy).order_by()
    oldest = waiting.values_list("webhook").annotate(at=Min("next_attempt_at"))
    webhooks = sorted(oldest, key=lambda pair: (tried.get(pair[0], 0.0), pair[1]))
    claimed = []
    for webhook_id, _ in webhooks[:count]:
        due = WebhookDelivery.objects.due(now).filter(webhook=webhook_id).select_related("webhook__team")
        delivery = due.order_by("next_attempt_at", "pk").first()
        if delivery is not None and _claim(delivery):
            claimed.append(delivery)
    return claimed


def _claim(delivery: WebhookDelivery) -> bool:
    until = timezone.now() + CLAIMED_FOR
    unclaimed = WebhookDelivery.objects.filter(pk=delivery.pk, next_attempt_at=delivery.next_attempt_at)
    is_claimed = bool(unclaimed.update(next_attempt_at=until))
    delivery.next_attempt_at = until
    return is_claimed


def _attempt(delivery: WebhookDelivery) -> ReceiverAnswer:
    """Send it, in a thread without the database."""
    body = delivery.body.encode()
    try:
        secrets = delivery.webhook.secrets
    except SecretUnreadable:
        return ReceiverAnswer(problem=SECRET_LOST)
    headers = signed_headers(delivery.message_id, int(time.time()), body, secrets)
    return post(delivery.webhook.url, body, {"Content-Type": "application/json", **headers})


# --- what came of it ---


@transaction.atomic
def _store(delivery: WebhookDelivery, answer: ReceiverAnswer) -> None:
    events.locked([delivery.webhook]).first()  # before its deliveries, as whoever deletes it
    row = WebhookDelivery.objects.select_for_update().filter(pk=delivery.pk).first()
    if row is None:
        return
    attempt = {"at": iso_utc(timezone.now()), **answer.as_json()}
    row.attempts = [*row.attempts, attempt][-KEPT_ATTEMPTS:]
    if answer.is_accepted or row.next_attempt_at == delivery.next_attempt_at:  # else: Resend
        row.attempt_count += 1
        row.next_attempt_at, row.status = _after(row, answer)
    row.save(update_fields=["attempts", "attempt_count", "next_attempt_at", "status"])
    if answer.is_accepted:
        Webhook.objects.filter(pk=row.webhook_id).exclude(failing_since=None).update(failing_since=None)
    else:
        logger.info("webhook %s: %s not delivered: %s", row.webhook_id, row.message_id, answer.problem)
        _note_failure(delivery.webhook, answer)


def _after(row: WebhookDelivery, answer: ReceiverAnswer) -> tuple[datetime | None, WebhookDelivery.Status]:
    """When the delivery is tried again, and its status."""
    if answer.is_accepted:
        return None, WebhookDelivery.Status.DELIVERED
    if row.attempt_count > len(PAUSES_S):
        return None, WebhookDelivery.Status.FAILED
    pause = PAUSES_S[row.attempt_count - 1] * random.uniform(1, 1 + JITTER)
    pause = max(pause, min(answer.retry_after_s, LONGEST_PAUSE_S))
    return timezone.now() + timedelta(seconds=pause), WebhookDelivery.Status.WAITING


def _note_failure(webhook: Webhook, answer: ReceiverAnswer) -> None:
    """Note since when nothing is delivered. Turn the webhook off after days, or when its receiver is gone."""
    now = timezone.now()
    rows = Webhook.objects.filter(pk=webhook.pk)
    rows.filter(failing_since=None).update(failing_since=now)
    if answer.status == GONE_STATUS:
        _turn_off(webhook, GONE)
    elif rows.filter(failing_since__lt=now - OFF_AFTER).exists():
        _turn_off(webhook, FAILING)


def _turn_off(webhook: Webhook, cause: str) -> None:
    changes: dict[str, Any] = {"is_on": False, "off_cause": cause, "off_at": timezone.now()}
    with transaction.atomic():
        if not Webhook.objects.filter(pk=webhook.pk, is_on=True).update(**changes):
            return
        audit.record(
            audit.Kind.WEBHOOK_OFF,
            team=webhook.team,
            project=webhook.project,
            target=webhook.origin,
            cause=cause,
        )
        managers = Membership.objects.people().filter(team=webhook.team_id, role__gte=Role.MANAGER)
        notices.add(
            NoticeKind.WEBHOOK,
            [member.user for member in managers.select_related("user")],
            webhook.team,
            f"webhook {webhook.pk} {changes['off_at'].isoformat()}",
            webhook=webhook.origin,
            id=webhook.pk,
            cause=cause,
        )


def forget_old() -> int:
    """Delete deliveries older than KEPT_FOR; how many. Runs once a day."""
    return WebhookDelivery.objects.filter(created_at__lt=timezone.now() - KEPT_FOR).delete()[0]
