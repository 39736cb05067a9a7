"""Deliveries to a real receiver: signed, tried again over a day, nothing lost, nobody blocked."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import django_rq
import pytest
from django.conf import settings as site_settings
from django.db import transaction
from django.utils import timezone
from rq.queue import Queue
from rq.worker import SimpleWorker
from standardwebhooks.webhooks import Webhook as Verifier

from exeml_site.lib.jobs import NamedJob
from projects import webhooks
from projects.models import AuditEvent, MailNotice, Membership, Project, Role, Webhook, WebhookDelivery
from projects.webhooks import deliver, lifecycle, post
from projects.webhooks.deliver import PAUSES_S
from tests.factories import make_project, make_user
from tests.projects.notices.test_notices import send_after, with_mail
from tests.projects.webhooks.receivers import Receiver, answer, make_webhook, names, pass_time, receiver

pytestmark = pytest.mark.django_db
Status = WebhookDelivery.Status


def refuse(handler: Any) -> None:
    answer(handler, 500, b"out of order")


def happen(project: Project, **data: Any) -> None:
    webhooks.raise_event(webhooks.Event.TRAINING_COMPLETED, project, **data)


def only() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def test_an_event_arrives_once_and_its_signature_is_right(local: Receiver) -> None:
    webhook, secret = make_webhook(local.url)
    happen(webhook.project, version={"number": 3, "url": "/projects/1/versions/3/"})
    deliver.deliver()
    deliver.deliver()
    [(path, headers, body)] = local.requests
    assert path == "/hook" and headers["Content-Type"] == "application/json"
    payload = Verifier(secret).verify(body, headers)
    assert payload["type"] == "training.completed" and payload["data"]["project"]["name"] == "flowers"
    assert payload["data"]["version"]["url"] == "https://exeml.example.org/projects/1/versions/3/"
    assert payload["data"]["project"]["api_url"].startswith("https://exeml.example.org/api/v1/projects/")
    assert (only().status, only().next_attempt_at, only().message_id) == (
        Status.DELIVERED,
        None,
        headers["webhook-id"],
    )
    attempt = only().last_attempt
    assert attempt is not None and (attempt["status"], attempt["answer"]) == (200, "thank you")


def test_the_former_secret_signs_for_a_day_after_a_rotation(local: Receiver) -> None:
    webhook, former = make_webhook(local.url)
    new = lifecycle.rotate_secret(webhook, by=make_user("alice"))
    happen(webhook.project)
    deliver.deliver()
    _, headers, body = local.requests[0]
    for secret in (former, new):
        assert Verifier(secret).verify(body, headers)
    Webhook.objects.update(former_secret_until=timezone.now() - timedelta(seconds=1))
    happen(webhook.project)
    deliver.deliver()
    assert local.requests[1][1]["webhook-signature"].count("v1,") == 1


def test_a_receiver_that_is_down_for_an_hour_gets_everything_in_the_end(local: Receiver) -> None:
    webhook, _ = make_webhook(local.url)
    local.answer = refuse
    for number in range(3):
        happen(webhook.project, number=number)
    passed, pauses = 0.0, []
    while passed < 3600:
        deliver.deliver()
        due = max(WebhookDelivery.objects.values_list("next_attempt_at", flat=True))
        pauses.append((due - timezone.now()).total_seconds())
        passed += pauses[-1] + 1
        pass_time(seconds=pauses[-1] + 10)
    assert pauses == [pytest.approx(1.1 * planned, rel=0.11) for planned in PAUSES_S[: len(pauses)]]
    assert len(pauses) < 7 and Webhook.objects.get().failing_since is not None
    before = len(local.requests)
    local.answer = lambda handler: answer(handler, 204)
    pass_time(hours=3)
    deliver.deliver()
    arrived = [payload["data"]["number"] for payload in local.payloads[before:]]
    assert sorted(arrived) == [0, 1, 2]
    assert set(WebhookDelivery.objects.values_list("status", flat=True)) == {Status.DELIVERED}
    assert Webhook.objects.get().failing_since is None


def test_after_more_than_a_day_a_delivery_has_failed_and_can_be_sent_again(local: Receiver) -> None:
    webhook, _ = make_webhook(local.url)
    local.answer = refuse
    happen(webhook.project)
    for _ in range(len(PAUSES_S) + 3):
        deliver.deliver()
        pass_time(hours=13)
    assert sum(PAUSES_S) > 24 * 3600
    assert (only().status, only().next_attempt_at) == (Status.FAILED, None)
    assert len(local.requests) == len(PAUSES_S) + 1
    assert only().last_attempt == {**only().last_attempt, "status": 500, "answer": "out of order"}
    local.answer = lambda handler: answer(handler, 200)
    lifecycle.resend(only())
    deliver.deliver()
    assert only().status == Status.DELIVERED
    assert len({headers["webhook-id"] for _, headers, _ in local.requests}) == 1


def test_a_slow_receiver_delays_no_other(local: Receiver) -> None:
    """The slow one answers only after the quick one has everything."""
    slow, _ = make_webhook(local.url)
    everything, waited = threading.Event(), []
    local.answer = lambda handler: (waited.append(everything.wait(8)), answer(handler, 200))
    happen(slow.project)
    with receiver() as quick:
        quick.answer = lambda handler: (
            len(quick.requests) == 4 and everything.set(),
            answer(handler, 200),
        )
        make_webhook(quick.url, slow.project)
        for _ in range(4):
            happen(slow.project)
        deliver.deliver()
    assert len(quick.requests) == 4 and waited == [True] * 5


def test_a_receiver_that_does_not_answer_in_time_is_asked_again(local: Receiver, monkeypatch: Any) -> None:
    monkeypatch.setattr(post, "READ_S", 0.2)
    webhook, _ = make_webhook(local.url)
    local.answer = lambda handler: time.sleep(0.5)
    happen(webhook.project)
    deliver.deliver()
    assert (only().status, only().last_attempt["problem"]) == (Status.WAITING, post.NO_ANSWER)
    assert only().next_attempt_at > timezone.now()


def test_the_address_is_checked_again_at_each_delivery(
    local: Receiver, settings: Any, monkeypatch: Any
) -> None:
    names(monkeypatch, hooks_example_org=["127.0.0.1"])
    webhook, _ = make_webhook(f"http://hooks.example.org:{local.port}/")
    settings.EXEML_WEBHOOK_ALLOW = []
    happen(webhook.project)
    deliver.deliver()
    assert local.requests == [] and only().status == Status.WAITING
    assert "leads to 127.0.0.1" in only().last_attempt["problem"]


def test_what_is_rolled_back_is_told_to_nobody(local: Receiver) -> None:
    webhook, _ = make_webhook(local.url)
    with transaction.atomic():
        happen(webhook.project)
        transaction.set_rollback(True)
    assert not WebhookDelivery.objects.exists()


def test_events_wait_in_the_database_while_redis_is_away(
    local: Receiver, django_capture_on_commit_callbacks: Any
) -> None:
    webhook, _ = make_webhook(local.url)
    with django_capture_on_commit_callbacks(execute=True):
        happen(webhook.project)
        deliver.resume()
    assert WebhookDelivery.objects.due(timezone.now()).count() == 1


def test_the_sweep_asks_for_what_is_due(
    local: Receiver, redis: Any, django_capture_on_commit_callbacks: Any
) -> None:
    webhook, _ = make_webhook(local.url)
    queue = Queue(site_settings.QUEUE_WEBHOOKS, connection=redis)
    with django_capture_on_commit_callbacks(execute=True):
        deliver.resume()
    assert queue.job_ids == []
    happen(webhook.project)
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            deliver.resume()
    assert queue.job_ids == ["deliver_webhooks"]
    assert site_settings.JOBS["deliver_webhooks"] == queue.jobs[0].func_name


@pytest.mark.django_db(transaction=True)
def test_a_worker_of_the_queue_delivers(local: Receiver, redis: Any) -> None:
    webhook, _ = make_webhook(local.url)
    happen(webhook.project)
    queue = django_rq.get_queue(site_settings.QUEUE_WEBHOOKS)
    SimpleWorker([queue], connection=redis, job_class=NamedJob).work(burst=True)
    assert only().status == Status.DELIVERED and len(local.requests) == 1


def test_an_attempt_whose_process_died_is_made_again(local: Receiver) -> None:
    webhook, _ = make_webhook(local.url)
    happen(webhook.project)
    assert len(deliver._claim_due(set(), {}, 1)) == 1
    assert deliver._claim_due(set(), {}, 1) == []  # another machine takes it not as well
    pass_time(minutes=3)
    deliver.deliver()
    assert only().status == Status.DELIVERED


def test_a_webhook_is_told_only_what_it_wants_of_its_project(local: Receiver) -> None:
    webhook, _ = make_webhook(local.url, events=["import.ended"])
    make_webhook(local.url, webhook.project, is_of_team=True)
    happen(webhook.project)
    happen(make_project("tulips", images=0))
    assert {row.webhook.project for row in WebhookDelivery.objects.all()} == {None}
    assert WebhookDelivery.objects.count() == 2


# --- turned off ---


def test_days_without_a_success_turn_a_webhook_off(local: Receiver) -> None:
    webhook, _ = make_webhook(local.url)
    local.answer = refuse
    for _ in range(3):
        happen(webhook.project)
        deliver.deliver()
        assert Webhook.objects.get().is_on
        pass_time(days=2)
    happen(webhook.project)
    deliver.deliver()
    row = Webhook.objects.get()
    assert (row.is_on, row.off_cause) == (False, deliver.FAILING) and row.off_at is not None
    assert AuditEvent.objects.filter(kind="webhook.off").count() == 1
    sent = len(local.requests)
    happen(webhook.project)
    pass_time(days=1)
    deliver.deliver()
    assert len(local.requests) == sent
    local.answer = lambda handler: answer(handler, 200)
    lifecycle.turn_on(row, by=make_user("alice"))
    deliver.deliver()
    assert row.is_on and len(local.requests) > sent
    assert not WebhookDelivery.objects.filter(status=Status.WAITING).exists()


def test_a_receiver_that_is_gone_turns_its_webhook_off_at_once(local: Receiver) -> None:
    webhook, _ = make_webhook(local.url)
    local.answer = lambda handler: answer(handler, 410)
    happen(webhook.project)
    deliver.deliver()
    assert (Webhook.objects.get().is_on, Webhook.objects.get().off_cause) == (False, deliver.GONE)


def test_managers_get_a_mail_when_a_webhook_is_turned_off_by_itself(
    local: Receiver, settings: Any, monkeypatch: Any
) -> None:
    settings.MAIL, settings.SITE_URL = {"EMAIL_HOST": "mail"}, "https://exeml.example.org"
    webhook, _ = make_webhook(local.url)
    alice, _ = with_mail("alice"), with_mail("bob")  # a manager and a labeler
    local.answer = lambda handler: answer(handler, deliver.GONE_STATUS)
    happen(webhook.project)
    happen(webhook.project)
    deliver.deliver()
    (sent,) = send_after(40, monkeypatch)
    subject = f"The webhook http://127.0.0.1:{local.port} of {webhook.team.name} was turned off."
    assert (sent.to, sent.subject) == ([alice.email], subject)
    assert deliver.GONE in sent.body and "/hook" not in sent.body
    assert f"https://exeml.example.org/teams/{webhook.team_id}/webhooks/{webhook.pk}/" in sent.body


def test_a_former_manager_gets_no_mail_of_a_webhook(local: Receiver, settings: Any, monkeypatch: Any) -> None:
    settings.MAIL = {"EMAIL_HOST": "mail"}
    webhook, _ = make_webhook(local.url)
    alice = with_mail("alice")
    local.answer = lambda handler: answer(handler, deliver.GONE_STATUS)
    happen(webhook.project)
    deliver.deliver()
    assert MailNotice.objects.get().user == alice
    Membership.objects.filter(user=alice).update(role=Role.REVIEWER)
    assert send_after(40, monkeypatch) == []


def test_a_receiver_may_ask_for_a_longer_pause(local: Receiver) -> None:
    webhook, _ = make_webhook(local.url)
    local.answer = lambda handler: answer(handler, 429, Retry_After="1800")
    happen(webhook.project)
    deliver.deliver()
    assert only().next_attempt_at > timezone.now() + timedelta(minutes=29)


def test_a_secret_that_cannot_be_read_is_said(local: Receiver, settings: Any) -> None:
    webhook, _ = make_webhook(local.url)
    settings.SECRET_KEY = "another"
    happen(webhook.project)
    deliver.deliver()
    assert only().last_attempt["problem"] == deliver.SECRET_LOST and local.requests == []


def test_old_deliveries_are_forgotten(local: Receiver) -> None:
    webhook, _ = make_webhook(local.url)
    happen(webhook.project)
    assert deliver.forget_old() == 0
    WebhookDelivery.objects.update(created_at=timezone.now() - timedelta(days=31))
    assert deliver.forget_old() == 1
