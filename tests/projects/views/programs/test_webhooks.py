"""The pages of webhooks: created with a secret shown once, tested, watched, turned off."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from standardwebhooks.webhooks import Webhook as Verifier

from projects.models import AuditEvent, Project, Webhook, WebhookDelivery
from projects.webhooks import deliver
from tests.factories import make_project, make_team
from tests.pages import html_of
from tests.projects.webhooks.receivers import EVENTS, Receiver, answer, make_webhook, names, receiver

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.org/exeml"


@pytest.fixture
def project(db: None, monkeypatch: Any) -> Project:
    names(monkeypatch, hooks_example_org=["8.8.8.8"], inner_example_org=["10.0.0.1"])
    return make_project(images=0)


def at(name: str, *more: int) -> str:
    return reverse(name, args=[make_team().pk, *more])


def test_the_secret_of_a_new_webhook_is_shown_once_and_signs(alice: Client, settings: Any) -> None:
    settings.EXEML_WEBHOOK_ALLOW = ["127.0.0.1"]
    with receiver() as made:
        created = alice.post(at("create_webhook"), {"url": made.url, "events": EVENTS})
        webhook = Webhook.objects.get()
        secret = created.context["secret"]
        assert secret in html_of(created) and secret not in webhook.secret
        assert secret not in html_of(alice.get(at("show_webhook", webhook.pk)))
        assert alice.post(at("test_webhook", webhook.pk)).status_code == 303
        assert 'hx-trigger="every 2s"' in html_of(alice.get(at("show_webhook", webhook.pk)))
        deliver.deliver()
        _, headers, body = made.requests[0]
        assert Verifier(secret).verify(body, headers)["data"]["team"]["name"] == "Greenhouse"
    log = html_of(alice.get(at("show_webhook", webhook.pk), headers={"HX-Request": "true"}))
    assert "Delivered" in log and "HTTP 200" in log and "thank you" in log and "<html" not in log
    assert "hx-trigger" not in log  # nothing waits
    assert AuditEvent.objects.get(kind="webhook.created").target == made.url.removesuffix("/hook")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"url": "http://inner.example.org/"}, "inner.example.org leads to 10.0.0.1"),
        ({"url": ""}, "Enter the URL that receives the events."),
        ({"url": "http://127.0.0.1:8000/"}, "127.0.0.1 leads to 127.0.0.1"),
        ({"url": URL, "events": []}, "Choose at least one event."),
        ({"url": URL, "project": "999999"}, "999999"),
    ],
)
def test_what_cannot_be_saved_gets_a_sentence(
    alice: Client, project: Project, fields: dict[str, Any], sentence: str
) -> None:
    answered = alice.post(at("create_webhook"), {"events": EVENTS, **fields})
    assert answered.status_code == 422 and sentence in html_of(answered)
    assert not Webhook.objects.exists()
    webhook, _ = make_webhook(URL, project)
    if "project" not in fields:
        answered = alice.post(at("show_webhook", webhook.pk), {"events": EVENTS, **fields})
        assert answered.status_code == 422 and sentence in html_of(answered)
        webhook.refresh_from_db()
        assert (webhook.url, webhook.events) == (URL, EVENTS)


def test_settings_are_changed(alice: Client, project: Project) -> None:
    webhook, _ = make_webhook(URL, project)
    Webhook.objects.update(failing_since=timezone.now())
    fields = {"url": "https://hooks.example.org/b", "events": ["batch.ended"]}
    assert alice.post(at("show_webhook", webhook.pk), fields).status_code == 303
    webhook.refresh_from_db()
    assert (webhook.url, webhook.events, webhook.failing_since) == (*fields.values(), None)


def test_a_project_shows_its_webhooks_and_those_of_its_team(alice: Client, project: Project) -> None:
    make_webhook(f"{URL}/mine", project)
    make_webhook(f"{URL}/all", project, is_of_team=True)
    make_webhook(f"{URL}/other", make_project("tulips", images=0))
    of_project = html_of(alice.get(f"{at('team_webhooks')}?project={project.pk}"))
    assert ["/mine" in of_project, "/all" in of_project, "/other" in of_project] == [True, True, False]
    assert "/other" in html_of(alice.get(at("team_webhooks")))
    form = html_of(alice.get(f"{at('create_webhook')}?project={project.pk}"))
    assert f'<option value="{project.pk}" selected>' in form
    for wrong in ("x", "999999", "99999999999999999999999"):
        assert alice.get(f"{at('team_webhooks')}?project={wrong}").status_code == 404
    alice.post(at("create_webhook"), {"url": URL, "events": EVENTS, "project": str(project.pk)})
    assert Webhook.objects.get(url=URL).project == project


def test_a_webhook_that_turned_itself_off_says_why_and_is_turned_on(alice: Client, project: Project) -> None:
    webhook, _ = make_webhook(URL, project)
    Webhook.objects.update(is_on=False, off_cause=deliver.FAILING, off_at=timezone.now())
    assert deliver.FAILING in html_of(alice.get(at("team_webhooks")))
    assert deliver.FAILING in html_of(alice.get(at("show_webhook", webhook.pk)))
    refused = alice.post(at("test_webhook", webhook.pk))
    assert refused.status_code == 409 and "Turn it on first." in html_of(refused)
    alice.post(at("switch_webhook", webhook.pk), {"on": "yes"})
    webhook.refresh_from_db()
    assert (webhook.is_on, webhook.off_cause) == (True, "")
    alice.post(at("switch_webhook", webhook.pk), {"on": "no"})
    assert "neither noted nor sent" in html_of(alice.get(at("show_webhook", webhook.pk)))
    kinds = AuditEvent.objects.filter(kind__startswith="webhook.").order_by("pk")
    assert [event.kind for event in kinds] == ["webhook.on", "webhook.off"]


def test_a_failed_delivery_is_shown_with_its_attempts_and_sent_again(alice: Client, local: Receiver) -> None:
    webhook, _ = make_webhook(local.url)
    local.answer = lambda handler: answer(handler, 500, b"<script>out of order</script>")
    alice.post(at("test_webhook", webhook.pk))
    for _ in range(2):
        deliver.deliver()
        WebhookDelivery.objects.update(next_attempt_at=timezone.now())
    shown = html_of(alice.get(at("show_webhook", webhook.pk)))
    assert "HTTP 500" in shown and "&lt;script&gt;out of order" in shown and "1 earlier" in shown
    assert "Nothing was delivered since" in shown
    WebhookDelivery.objects.update(status="Failed", next_attempt_at=None)
    delivery = WebhookDelivery.objects.get()
    assert alice.post(at("resend_delivery", webhook.pk, delivery.pk)).status_code == 303
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempt_count) == ("Waiting", 0)


def test_the_log_has_pages(alice: Client, project: Project) -> None:
    webhook, _ = make_webhook(URL, project)
    for number in range(60):
        webhook.deliveries.create(
            event="webhook.test", body="{}", message_id=f"m{number}", next_attempt_at=None
        )
    first = html_of(alice.get(at("show_webhook", webhook.pk)))
    older = html_of(alice.get(f"{at('show_webhook', webhook.pk)}?before={webhook.deliveries.all()[49].pk}"))
    assert ">m59<" in first and ">m9<" not in first and "?before=" in first
    assert ">m9<" in older and ">m59<" not in older


def test_a_renewed_secret_is_shown_and_the_former_one_named(alice: Client, project: Project) -> None:
    webhook, _ = make_webhook(URL, project)
    renewed = html_of(alice.post(at("rotate_webhook_secret", webhook.pk)))
    assert "whsec_" in renewed and "two signatures" in renewed
    Webhook.objects.update(former_secret_until=timezone.now() - timedelta(minutes=1))
    assert "two signatures" not in html_of(alice.get(at("show_webhook", webhook.pk)))


def test_a_deleted_webhook_is_gone_with_what_waits(alice: Client, project: Project) -> None:
    webhook, _ = make_webhook(URL, project)
    webhook.deliveries.create(event="webhook.test", body="{}")
    assert alice.post(at("delete_webhook", webhook.pk)).status_code == 303
    assert not Webhook.objects.exists() and not WebhookDelivery.objects.exists()
    assert "No webhook" in html_of(alice.get(at("team_webhooks")))


def test_a_team_has_at_most_fifty_webhooks(alice: Client, project: Project) -> None:
    for _ in range(50):
        make_webhook(URL, project)
    answered = alice.post(at("create_webhook"), {"url": URL, "events": EVENTS})
    assert answered.status_code == 422 and "at most 50 webhooks" in html_of(answered)


def test_the_list_takes_the_same_queries_for_many(
    alice: Client, project: Project, django_assert_max_num_queries: Any
) -> None:
    for _ in range(30):
        make_webhook(URL, project)
    with django_assert_max_num_queries(20):
        alice.get(at("team_webhooks"))
