"""Records the accounts that a command of Django saves: it has no place of its own for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import User
from django.db.models.signals import post_save

from projects.audit.record import record
from projects.models import AuditKind


@contextmanager
def record_saved_accounts(kind: AuditKind, **details: Any) -> Iterator[None]:
    """Append `kind` for each account that is saved within, right after it."""

    def saved(instance: User, **signal: Any) -> None:
        record(kind, target=instance, **details)

    post_save.connect(saved, sender=User, weak=False)
    try:
        yield
    finally:
        post_save.disconnect(saved, sender=User)
