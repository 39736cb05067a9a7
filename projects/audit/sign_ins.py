"""Records who signs in and out, and whose sign-in failed, whatever the way: Django signals each."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from django.contrib.auth import BACKEND_SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from projects.audit.record import record
from projects.models import AuditKind

HEADER_BACKEND = "projects.sign_in.remote_user.TrustedHeaderBackend"
METHODS = {"socialaccount": "provider"}  # django-allauth's names, where they are not ours


@receiver(user_logged_in)
def _signed_in(request: HttpRequest, user: User, **signal: Any) -> None:
    record(AuditKind.SIGNED_IN, by=user, methods=_methods(request, user))


def _methods(request: HttpRequest, user: User) -> list[str]:
    """Such as password and totp, in their order; empty where a program began the session."""
    if request.session[BACKEND_SESSION_KEY] == HEADER_BACKEND:
        return ["trusted header"]
    records = get_authentication_records(request, user)
    names = [str(record.get("type") or record["method"]) for record in records]
    return list(dict.fromkeys(METHODS.get(name, name) for name in names))


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
