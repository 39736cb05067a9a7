"""docs/webhooks.md: its programs run as they stand, and its table names every event."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from projects import webhooks
from projects.models import WebhookEvent
from projects.webhooks import deliver
from tests.projects.webhooks.receivers import Receiver, make_webhook

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "webhooks.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.mark.django_db
@pytest.mark.parametrize("program", PROGRAMS, ids=["with the library", "without"])
def test_the_signature_is_checked_as_described(program: str, local: Receiver) -> None:
    namespace: dict[str, Any] = {}
    exec(program, namespace)
    webhook, secret = make_webhook(local.url)
    webhooks.raise_event(webhooks.Event.BATCH_ENDED, webhook.project)
    deliver.deliver()
    _, headers, body = local.requests[0]
    receive = namespace["receive"]
    assert receive(headers, body, secret)["type"] == "batch.ended"
    assert receive(headers, body + b" ", secret) is None
    assert receive({**headers, "webhook-id": "msg_other"}, body, secret) is None
    assert receive({**headers, "webhook-timestamp": "1700000000"}, body, secret) is None


def test_every_event_stands_in_the_table() -> None:
    first_table = DOCUMENT.partition("| `type` |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `([a-z_.]+)` \|", first_table, re.MULTILINE)
    assert named == [event.value for event in WebhookEvent]
    assert len(PROGRAMS) == 2
