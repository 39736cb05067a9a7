"""A webhook that is deleted at the moment of an event: neither stops the other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from django.db import connection, transaction

from projects import webhooks
from projects.models import Webhook, WebhookDelivery
from projects.webhooks import lifecycle
from tests.factories import make_project, make_user


@pytest.mark.django_db(transaction=True)
def test_a_webhook_is_deleted_while_an_event_is_stored() -> None:
    project, alice = make_project(labels=0), make_user("alice")
    webhook = Webhook.objects.create(
        team=project.team, url="https://192.0.2.1/", events=["training.completed"], secret="", site=""
    )

    def delete() -> bool:
        try:
            return lifecycle.delete(webhook, by=alice)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            webhooks.raise_event(webhooks.Event.TRAINING_COMPLETED, project)
            deletion = pool.submit(delete)
            wait([deletion], timeout=0.5)  # it comes as far as it gets
            project.description = "changed in the transaction of the event"
            project.save()
        assert deletion.result()
    project.refresh_from_db()
    assert project.description and not Webhook.objects.exists() and not WebhookDelivery.objects.exists()


@pytest.mark.django_db
def test_an_event_finds_a_webhook_that_is_gone() -> None:
    project = make_project(labels=0)
    webhook = Webhook(pk=2**31 - 1, team=project.team, url="https://192.0.2.1/")
    assert not webhooks.events.locked([webhook]).exists()
