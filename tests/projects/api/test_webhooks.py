"""Webhooks by API: the rules of the page, under projects and teams."""

from __future__ import annotations

from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from projects.models import AuditEvent, IdempotentCall, Webhook, WebhookDelivery
from projects.webhooks import deliver
from tests.factories import make_project, make_user
from tests.projects.api.callers import ApiClient
from tests.projects.webhooks.receivers import names, receiver

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> ApiClient:
    make_project(images=0)
    return ApiClient(make_user("alice"))


def paths() -> tuple[str, str]:
    project = make_project("tulips", images=0)
    return f"/projects/{project.pk}/webhooks", f"/teams/{project.team_id}/webhooks"


@pytest.mark.parametrize("place", [0, 1])
def test_a_webhook_is_created_tested_and_deleted(alice: ApiClient, place: int, settings: Any) -> None:
    settings.EXEML_WEBHOOK_ALLOW = ["127.0.0.1"]
    path = paths()[place]
    with receiver() as made:
        answer = alice.post(path, {"url": made.url, "events": ["training.completed"]})
        webhook = Webhook.objects.get()
        assert (answer.status_code, answer.json()["id"]) == (200, webhook.pk)
        assert (answer.json()["project_id"] is None) == (place == 1)
        assert webhook.site == "http://testserver"
        secret = answer.json()["secret"]
        assert "secret" not in alice.get(f"{path}/{webhook.pk}").json()
        delivery = alice.post(f"{path}/{webhook.pk}/test").json()
        deliver.deliver()
        _, headers, body = made.requests[0]
        assert Verifier(secret).verify(body, headers)["type"] == "webhook.test"
        (logged,) = alice.get(f"{path}/{webhook.pk}/deliveries?status=Delivered").json()["items"]
        assert (logged["id"], logged["attempts"][0]["status"]) == (delivery["id"], 200)
        again = alice.post(f"{path}/{webhook.pk}/deliveries/{delivery['id']}/resend")
        assert again.json()["status"] == "Waiting"
        renewed = alice.post(f"{path}/{webhook.pk}/secret").json()
        deliver.deliver()
        _, headers, body = made.requests[1]
        assert Verifier(secret).verify(body, headers) == Verifier(renewed["secret"]).verify(body, headers)
    assert [item["id"] for item in alice.get(path).json()["items"]] == [webhook.pk]
    assert alice.delete(f"{path}/{webhook.pk}").status_code == 204
    assert alice.get(f"{path}/{webhook.pk}").status_code == 404 and not WebhookDelivery.objects.exists()
    kinds = AuditEvent.objects.filter(kind__startswith="webhook.").values_list("kind", "way")
    assert set(kinds) == {(f"webhook.{kind}", "api") for kind in ("created", "rotated", "deleted")}


def test_the_sentences_stand_at_their_fields(alice: ApiClient, monkeypatch: Any) -> None:
    names(monkeypatch, hooks_example_org=["8.8.8.8"], inner_example_org=["10.0.0.1"])
    path = paths()[0]
    for body, field, sentence in [
        ({"url": "http://inner.example.org/"}, "url", "leads to 10.0.0.1"),
        ({"url": ""}, "url", "Enter the URL"),
        ({"url": "https://hooks.example.org/", "events": []}, "events", "at least one"),
        ({"url": "https://hooks.example.org/", "events": ["x"]}, "events", "x"),
        ({"url": "https://hooks.example.org/", "events": ["webhook.test"]}, "events", "webhook.test"),
    ]:
        answer = alice.post(path, body)
        [error] = answer.json()["errors"]
        assert (answer.status_code, error["field"]) == (422, field) and sentence in error["message"]
    assert not Webhook.objects.exists()
    created = alice.post(path, {"url": "https://hooks.example.org/"}).json()
    answer = alice.patch(f"{path}/{created['id']}", {"url": "http://inner.example.org/", "is_on": False})
    assert answer.status_code == 422 and Webhook.objects.get().is_on
    answer = alice.get(f"{path}/{created['id']}/deliveries?status=x")
    assert answer.json()["errors"][0]["field"] == "status"


def test_a_webhook_that_is_off_sends_no_test(alice: ApiClient, monkeypatch: Any) -> None:
    names(monkeypatch, hooks_example_org=["8.8.8.8"])
    path = paths()[1]
    created = alice.post(path, {"url": "https://hooks.example.org/"}).json()
    changed = alice.patch(f"{path}/{created['id']}", {"is_on": False, "events": ["batch.ended"]}).json()
    assert (changed["is_on"], changed["events"]) == (False, ["batch.ended"])
    answer = alice.post(f"{path}/{created['id']}/test")
    assert (answer.status_code, answer.json()["detail"]) == (409, "This webhook is off. Turn it on first.")
    assert alice.patch(f"{path}/{created['id']}", {"is_on": True}).json()["is_on"]


def test_a_repeated_call_creates_one_webhook(alice: ApiClient, monkeypatch: Any) -> None:
    names(monkeypatch, hooks_example_org=["8.8.8.8"])
    body, key = {"url": "https://hooks.example.org/"}, {"Idempotency-Key": "k"}
    first, second = (alice.post(paths_once(), body, **key) for _ in range(2))
    assert first.json()["id"] == second.json()["id"] and Webhook.objects.count() == 1


def paths_once() -> str:
    return f"/teams/{make_user('alice').memberships.get().team_id}/webhooks"


def test_the_webhooks_of_other_teams_are_not_found(alice: ApiClient, settings: Any) -> None:
    settings.EXEML_WEBHOOK_ALLOW = ["127.0.0.1"]
    created = alice.post(paths()[1], {"url": "http://127.0.0.1:8000/"}).json()
    mallory = ApiClient(make_user("mallory"))
    own = make_user("mallory").memberships.get().team_id
    assert mallory.get(f"/teams/{own}/webhooks/{created['id']}").status_code == 404
    assert mallory.get(f"/teams/{own}/webhooks").json()["items"] == []


def test_a_repeated_call_makes_no_second_webhook_and_its_secret_is_kept_nowhere(
    alice: ApiClient, settings: Any
) -> None:
    settings.EXEML_WEBHOOK_ALLOW = ["127.0.0.1"]
    path = paths()[1]
    call = {"url": "http://127.0.0.1:9000/", "events": ["training.completed"]}
    first, again = (alice.post(path, call, **{"Idempotency-Key": "k"}).json() for _ in range(2))
    assert first["id"] == again["id"] and Webhook.objects.count() == 1
    assert first["secret"].startswith("whsec_") and again["secret"] is None
    assert first["secret"] not in str(IdempotentCall.objects.get().answer)
