from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.projects.webhooks.receivers import Receiver, receiver


@pytest.fixture
def local(settings: Any) -> Iterator[Receiver]:
    """A receiver on this machine, which the operator allowed."""
    settings.EXEML_WEBHOOK_ALLOW = ["127.0.0.1"]
    with receiver() as made:
        yield made
