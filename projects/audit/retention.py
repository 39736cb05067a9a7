"""Deletes events of the audit log that are older than EXEML_AUDIT_DAYS."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from projects.models import AuditEvent

AT_ONCE = 1000


def forget_old() -> int:
    """Delete old events in small transactions, and return their number. Safe to run twice."""
    since = timezone.now() - timedelta(days=settings.EXEML_AUDIT_DAYS)
    deleted = 0
    while some := AuditEvent.objects.forget_before(since, AT_ONCE):
        deleted += some
    return deleted
