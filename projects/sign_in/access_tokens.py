"""Tokens of the API: created, shown once, found by their hash, revoked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from exeml_site.lib.errors import Refused
from projects import audit
from projects.models import AccessToken, ServiceAccount
from projects.models.access_token import AccessTokenQuerySet
from projects.workspace.secret_token import Token, new_token

PREFIX = "exeml_"  # by which scanners find a token in a repository
REVOKE_FIELD = "revoke_tokens"  # of forms that offer it with a new password
MAX_TOKENS = 50  # valid tokens of an account
USE_RECORDED_EVERY = timedelta(minutes=1)


class AccessTokenRefused(Refused):
    """The token cannot be created; the message tells the user why."""


def create(
    owner: User,
    name: str,
    scopes: Iterable[str],
    *,
    by: User,
    days: int | None = None,
    has_second_factor: bool = False,
) -> tuple[AccessToken, Token]:
    """A token and its plain text, which is stored nowhere. `days`: until it expires; None: never.

    Raises AccessTokenRefused for a name that a valid token of the owner has, and at MAX_TOKENS;
    User.DoesNotExist for one who was switched off meanwhile.
    """
    with transaction.atomic():
        locked = User.objects.select_for_update().get(pk=owner.pk, is_active=True)
        valid = AccessToken.objects.valid().filter(user=locked)
        if valid.filter(name__iexact=name).exists():
            text = gettext("There is already a token “%(name)s”. Choose another name.")
            raise AccessTokenRefused(text % {"name": name})
        if valid.count() >= MAX_TOKENS:
            text = gettext("An account has at most %(limit)s tokens. Revoke one first.")
            raise AccessTokenRefused(text % {"limit": MAX_TOKENS})
        token = new_token(PREFIX)
        row = AccessToken.objects.create(
            user=owner,
            name=name,
            token_hash=token.hash,
            hint=token.hint,
            scopes=sorted(scopes),
            has_second_factor=has_second_factor,
            created_by=by,
            expires_at=timezone.now() + timedelta(days=days) if days is not None else None,
        )
        _record(audit.Kind.ACCESS_TOKEN_CREATED, row, by, scopes=row.scopes, days=days)
    return row, token


def revoke(token: AccessToken, *, by: User) -> bool:
    """The token stops working at once. False if it was revoked before."""
    with transaction.atomic():
        unrevoked = AccessToken.objects.filter(pk=token.pk, revoked_at=None)
        if not unrevoked.update(revoked_at=timezone.now()):
            return False
        _record(audit.Kind.ACCESS_TOKEN_REVOKED, token, by)
    return True


def revoke_all(owner: User, *, by: User) -> int:
    """Revoke every token of the account; how many."""
    with transaction.atomic():
        tokens = AccessToken.objects.filter(user=owner, revoked_at=None).select_related("user")
        return sum(revoke(token, by=by) for token in tokens)


def unrevoked(owner: User) -> AccessTokenQuerySet:
    """The tokens that pages list: also those that have expired."""
    return AccessToken.objects.filter(user=owner, revoked_at=None)


def find(plain: str) -> AccessToken | None:
    """The valid token of this plain text, with its owner; None if there is none."""
    tokens = AccessToken.objects.valid().select_related("user")
    return tokens.filter(token_hash=Token(plain).hash).first()


def record_use(token: AccessToken) -> None:
    """Note that the token was used, at most once a minute."""
    now = timezone.now()
    if token.last_used_at is None or token.last_used_at < now - USE_RECORDED_EVERY:
        AccessToken.objects.filter(pk=token.pk).update(last_used_at=now)


def _record(kind: audit.Kind, token: AccessToken, by: User, **details: Any) -> None:
    account = ServiceAccount.objects.filter(user=token.user_id).select_related("team").first()
    team = account.team if account else None
    audit.record(kind, team=team, target=token.name, by=by, owner=token.user.get_username(), **details)
