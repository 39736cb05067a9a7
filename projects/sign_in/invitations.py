"""Invitations into a team: a link, good once and for some days, with which a person joins."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy

from exeml_site.lib.errors import Refused
from projects import audit
from projects.models import Invitation, Role, Team
from projects.workspace import members

SESSION_KEY = "invitation"  # the token of the invitation that this browser has opened
GONE = gettext_lazy("This invitation has expired, was used already or was withdrawn. Ask for a new one.")


class InvitationRefused(Refused):
    """The invitation is no longer good; the message is for the person."""


@transaction.atomic
def invite(team: Team, role: Role, days: int, by: User, email: str = "") -> tuple[Invitation, str]:
    """An invitation and its token, which is stored nowhere. `email`: where the link is sent by mail."""
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        team=team,
        role=role,
        email=email,
        token_hash=_hash(token),
        invited_by=by,
        expires_at=timezone.now() + timedelta(days=days),
    )
    _record(audit.Kind.INVITATION_MADE, invitation, by=by, days=days)
    return invitation, token


@transaction.atomic
def withdraw(invitation: Invitation) -> bool:
    """False if it was accepted or withdrawn meanwhile."""
    is_withdrawn = bool(Invitation.objects.filter(pk=invitation.pk, accepted_at=None).delete()[0])
    if is_withdrawn:
        _record(audit.Kind.INVITATION_WITHDRAWN, invitation)
    return is_withdrawn


def find(token: str) -> Invitation | None:
    """The invitation of a token, while it is good."""
    good = Invitation.objects.filter(accepted_at=None, expires_at__gt=timezone.now())
    return good.select_related("team", "invited_by").filter(token_hash=_hash(token)).first()


def is_open(request: HttpRequest) -> bool:
    """Whether this browser has opened an invitation that is good."""
    return SESSION_KEY in request.session and find(request.session[SESSION_KEY]) is not None


@transaction.atomic
def accept(token: str, user: User) -> Invitation:
    """Make `user` a member, once. Raises `InvitationRefused`. A member never gets a lower role by it."""
    invitation = find(token)
    now = timezone.now()
    is_first = invitation is not None and Invitation.objects.filter(
        pk=invitation.pk, accepted_at=None
    ).update(accepted_at=now, accepted_by=user)
    if invitation is None or not is_first:
        raise InvitationRefused(GONE)
    _record(audit.Kind.INVITATION_ACCEPTED, invitation, by=user)
    role, invited_by = Role(invitation.role), str(invitation.invited_by or "")
    members.give_role(invitation.team, user, role, is_lowered=False, invited_by=invited_by)
    return invitation


@transaction.atomic
def register(token: str, username: str, password: str) -> User:
    """A new account of the invited person, member of the team. Raises `InvitationRefused`.

    It has the e-mail of the invitation: the link was sent there, so whoever has it reads that mail.
    """
    invitation = find(token)
    if invitation is None:
        raise InvitationRefused(GONE)
    user = User.objects.create_user(username, invitation.email, password)
    audit.record(
        audit.Kind.ACCOUNT_CREATED, target=user, by=user, invited_by=str(invitation.invited_by or "")
    )
    accept(token, user)
    return user


def forget_old() -> None:
    """Delete invitations that ended a month ago."""
    Invitation.objects.filter(expires_at__lt=timezone.now() - timedelta(days=30)).delete()


def _record(kind: audit.Kind, invitation: Invitation, by: User | None = None, **details: Any) -> None:
    """An invitation has no name but the address that it went to."""
    role = Role(invitation.role).name.title()
    audit.record(kind, team=invitation.team, target=invitation.email, by=by, role=role, **details)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
