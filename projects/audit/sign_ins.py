"""Records who signs in and out, and whose sign-in failed, whatever the way: Django signals each."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver

from projects.audit.record import record
from projects.models import AuditKind


@receiver(user_logged_in)
def _signed_in(user: User, **signal: Any) -> None:
    record(AuditKind.SIGNED_IN, by=user)


@receiver(user_logged_out)
def _signed_out(user: User | None, **signal: Any) -> None:
    if user is not None:
        record(AuditKind.SIGNED_OUT, by=user)


@receiver(user_login_failed)
def _failed(credentials: dict[str, Any], **signal: Any) -> None:
    """Names the account that was tried. A name of no account is not kept: people type passwords there."""
    typed = str(credentials.get("username") or "")
    known = User.objects.filter(username__iexact=typed).values_list("username", flat=True).first()
    record(AuditKind.SIGN_IN_FAILED, target=known or "", is_known=known is not None)
