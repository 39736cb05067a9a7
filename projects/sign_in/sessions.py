"""Sessions of an account: listed, ended, and ended by age (EXEML_SESSION_HOURS, EXEML_SESSION_IDLE_HOURS)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import SESSION_KEY as USER_KEY
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from projects import audit
from projects.access import PageRequest
from projects.sign_in.adapters import UNKNOWN_ADDRESS

SIGNED_IN_AT, SEEN_AT = "signed-in-at", "seen-at"
# In a session that began at the provider, and in its row: which one it is there, or an empty text.
PROVIDER_SESSION = "provider_session"
# A session is written so many times within the time after which it would end idle.
WRITES_PER_IDLE_TIME = 20
BROWSERS = (
    *(("Edge", r"Edg"), ("Opera", r"OPR"), ("Firefox", r"Firefox|FxiOS"), ("Chrome", r"Chrome|CriOS")),
    ("Safari", r"Safari"),
)
SYSTEMS = (
    *(("Android", r"Android"), ("iOS", r"iPhone|iPad"), ("Windows", r"Windows")),
    ("macOS", r"Mac OS X"),  # not translated: sent by browsers
    ("Linux", r"Linux|X11"),
)


@dataclass(frozen=True)
class SignedInSession:
    pk: int
    browser: str
    system: str
    address: str
    signed_in_at: datetime
    is_current: bool


def sessions_of(request: PageRequest) -> list[SignedInSession]:
    """Of the person, the newest first; the one of this request is among them."""
    if not UserSession.objects.filter(session_key=request.session.session_key).exists():
        UserSession.objects.create_from_request(request)
    rows = UserSession.objects.purge_and_list(request.user)
    return [_described(row, request) for row in sorted(rows, key=lambda row: row.created_at, reverse=True)]


def _described(row: UserSession, request: PageRequest) -> SignedInSession:
    return SignedInSession(
        pk=row.pk,
        browser=_first(BROWSERS, row.user_agent),
        system=_first(SYSTEMS, row.user_agent),
        address="" if row.ip == UNKNOWN_ADDRESS else row.ip,
        signed_in_at=row.created_at,
        is_current=row.session_key == request.session.session_key,
    )


def _first(names: tuple[tuple[str, str], ...], user_agent: str) -> str:
    return next((name for name, pattern in names if re.search(pattern, user_agent)), "")


@transaction.atomic
def end(user: User, pk: int) -> bool:
    """End one session of `user`. Returns False if there is none."""
    row = UserSession.objects.filter(user=user, pk=pk).first()
    if row is None:
        return False
    row.end()
    record_end(user, 1)
    return True


def record_end(user: User, sessions: int, **details: Any) -> None:
    audit.record(audit.Kind.SESSIONS_ENDED, target=user, sessions=sessions, **details)


@transaction.atomic
def end_others(request: PageRequest) -> int:
    """End every session of the person but this one, also those that began before sessions were listed."""
    others = [
        session.session_key
        for session in Session.objects.filter(expire_date__gt=timezone.now())
        .exclude(session_key=request.session.session_key)
        .iterator()
        if session.get_decoded().get(USER_KEY) == str(request.user.pk)
    ]
    UserSession.objects.filter(user=request.user, session_key__in=others).delete()
    ended = Session.objects.filter(session_key__in=others).delete()[0]
    if ended:
        record_end(request.user, ended)
    return ended


@transaction.atomic
def end_of_provider(provider: str, user: User | None, provider_session: str, until: datetime) -> int:
    """End sessions that began at the provider up to `until`; how many.

    Those of one session there and, of a person, those of which it is not known; else all of the person.
    """
    rows = UserSession.objects.filter(created_at__lte=until, data__has_key=PROVIDER_SESSION)
    if user is not None:
        rows = rows.filter(user=user)
    if provider_session:
        names = {provider_session} if user is None else {provider_session, ""}
        rows = rows.filter(**{f"data__{PROVIDER_SESSION}__in": names})
    by_user: dict[User, int] = {}
    for row in rows.select_related("user"):
        row.end()
        by_user[row.user] = by_user.get(row.user, 0) + 1
    for person, ended in by_user.items():
        record_end(person, ended, provider=provider)
    return sum(by_user.values())


@receiver(user_logged_in)
def _begin(request: HttpRequest, user: User, **kwargs: object) -> None:
    """Every way to sign in passes here."""
    request.session[SIGNED_IN_AT] = request.session[SEEN_AT] = int(time.time())
    if (provider_session := request.session.get(PROVIDER_SESSION)) is not None:
        request.session.save()  # allauth, which is called later, deletes rows of sessions that nobody has
        UserSession.objects.create_from_request(request)
        row = UserSession.objects.filter(session_key=request.session.session_key)
        row.update(data={PROVIDER_SESSION: provider_session})


class SessionAgeMiddleware:
    """Ends sessions that are too old or were idle for too long. Installed only where one is limited."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if settings.SESSION_COOKIE_NAME in request.COOKIES and USER_KEY in request.session:
            now = int(time.time())
            if _is_too_old(request, now):
                logout(request)
            elif now - request.session[SEEN_AT] > _idle_s() / WRITES_PER_IDLE_TIME > 0:
                request.session[SEEN_AT] = now
        return self.get_response(request)


def _is_too_old(request: HttpRequest, now: int) -> bool:
    """A session of before the limits has no times and is too old."""
    limits = {SIGNED_IN_AT: settings.SESSION_HOURS * 3600, SEEN_AT: _idle_s()}
    return any(limit and now - request.session.get(key, 0) > limit for key, limit in limits.items())


def _idle_s() -> int:
    return int(settings.SESSION_IDLE_HOURS * 3600)
