"""A database that really does not respond, in tests that commit (`transaction=True`); a storage likewise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings

from exeml_site.environment import file_storage
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


@contextmanager
def storage_away() -> Iterator[None]:
    """The files are in an S3 at whose address nobody listens."""
    parts._reported_at.clear()
    far = file_storage(f"s3://bucket?endpoint=http://127.0.0.1:{free_port()}&region=x", settings.FILES_DIR)
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_MAX_ATTEMPTS": "1"}
    with (
        pytest.MonkeyPatch.context() as patch,
        override_settings(STORAGES={**settings.STORAGES, "default": far}),
    ):
        for name, value in keys.items():
            patch.setenv(name, value)
        yield
