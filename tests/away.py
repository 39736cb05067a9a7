"""A database that really does not respond, in tests that commit (`transaction=True`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from exeml_site.lib.outages import parts
from tests.supervisor_process import free_port
from training.serving.calls.memory import call_memory


@contextmanager
def database_away() -> Iterator[None]:
    """Every new connection of this process fails: nobody listens, or there is no such folder."""
    changed = {"PORT": str(free_port())} if connection.vendor == "postgresql" else {"NAME": "/nowhere/db"}
    parts._reported_at.clear()
    kept = {name: connection.settings_dict[name] for name in changed}
    connection.settings_dict.update(changed)
    connection.close()
    try:
        yield
    finally:
        connection.settings_dict.update(kept)
        connection.close()
        call_memory.forget()
