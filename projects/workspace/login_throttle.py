"""Limits of wrong passwords and wrong tokens, counted in the database for all machines together.

Each attempt to sign in has three counters: of the account from one address; of the account from everywhere
(many addresses try one account); of the address (one password is tried on many accounts). It counts before
the password is checked, in one transaction, so a crowd that tries at once gets no more than the limit. A
refused attempt is not counted, so a limit ends with its window.

A browser in which somebody has signed in keeps a signed cookie, and the account's attempts from there have a
counter of their own: whoever guesses from elsewhere cannot keep the owner out. (OWASP: device cookies.)

django-axes counts after the check, has one limit for all kinds, keeps what is typed as a name readable, and
keeps the owner out together with the attacker.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_network

from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from exeml_site.logs.client_address import client_address, parsed_address
from projects import audit
from projects.models import FailedAttempts

Kind = FailedAttempts.Kind
# Attempts, and the window in which they count. The window begins with the first of them.
LIMITS = {
    Kind.ACCOUNT_ADDRESS: (10, timedelta(minutes=5)),
    Kind.BROWSER: (10, timedelta(minutes=5)),
    Kind.ACCOUNT: (50, timedelta(minutes=15)),
    Kind.ADDRESS: (100, timedelta(minutes=15)),
    Kind.TOKENS: (60, timedelta(minutes=5)),
    Kind.SECOND: (20, timedelta(hours=1)),
    Kind.MAILS: (10, timedelta(hours=1)),
}
FORGIVEN = (Kind.ACCOUNT_ADDRESS, Kind.BROWSER, Kind.SECOND)
COOKIE_AGE = timedelta(days=365)
COOKIE_SALT = "known-browser"


@dataclass(frozen=True)
class Counter:
    kind: FailedAttempts.Kind
    subject: str
    who: str  # for operators

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.kind} {self.subject}".encode(errors="surrogatepass")).hexdigest()


@dataclass
class Attempt:
    """An attempt that was counted; or, if it `waits`, was refused."""

    counters: Sequence[Counter] = field(default_factory=tuple)
    wait: timedelta = timedelta()
    filled: Sequence[Counter] = field(
        default_factory=tuple
    )  # whose limit it has reached: it was the last one

    @property
    def is_refused(self) -> bool:
        return bool(self.wait)

    @property
    def wait_s(self) -> int:
        return math.ceil(self.wait.total_seconds())

    def record_block(self, kind: audit.Kind) -> None:
        """The password or token was wrong: the audit log hears of the last attempt before a limit."""
        if self.filled:
            audit.record(kind, target=", ".join(filter(None, (counter.who for counter in self.filled))))

    def forgive(self) -> None:
        """The password was right: forget the attempts before it from this address or browser.

        The other counters lose this attempt alone: an attacker who has an account must not clear them.
        """
        own = [counter.key for counter in self.counters if counter.kind in FORGIVEN]
        FailedAttempts.objects.filter(key__in=own).delete()
        others = [counter.key for counter in self.counters if counter.key not in own]
        FailedAttempts.objects.filter(key__in=others, count__gt=0).update(count=F("count") - 1)


def count_sign_in(request: HttpRequest, username: str) -> Attempt:
    """Count an attempt to sign in, unless one of its limits is reached."""
    account, address = normalized(username), _network(client_address(request))
    known = User.objects.filter(username__iexact=account).values_list("username", flat=True).first()
    who = known or ""
    browser = known_browser(request, account)
    if browser:
        return _count([Counter(Kind.BROWSER, f"{account} {browser}", who)])
    return _count(
        [
            Counter(
                Kind.ACCOUNT_ADDRESS, f"{account} {address}", f"{who} from {address}" if who else address
            ),
            Counter(Kind.ACCOUNT, account, who),
            Counter(Kind.ADDRESS, address, address),
        ]
    )


def count_second_factor(request: HttpRequest, username: str) -> Attempt:
    """Count a code, whoever enters it from wherever: they know the password already."""
    return _count([Counter(Kind.SECOND, normalized(username), username)])


def count_reset_mail(request: HttpRequest) -> Attempt:
    """Count a mail that somebody asks for to reset a password."""
    address = _network(client_address(request))
    return _count([Counter(Kind.MAILS, address, address)])


def count_wrong_token(request: HttpRequest) -> Attempt:
    """Count a call whose token is wrong. A right token is never counted and never refused."""
    address = _network(client_address(request))
    attempt = _count([Counter(Kind.TOKENS, address, address)])
    attempt.record_block(audit.Kind.TOKENS_BLOCKED)
    return attempt


def _count(counters: Sequence[Counter]) -> Attempt:
    now, counted = (
        timezone.now(),
        FailedAttempts.objects.filter(key__in=[counter.key for counter in counters]),
    )
    if wait := _wait(counted, now):
        return Attempt(wait=wait)  # nothing is written, however many come
    with transaction.atomic():
        FailedAttempts.objects.bulk_create(
            [_fresh(counter, now) for counter in counters], ignore_conflicts=True
        )
        rows = list(counted.select_for_update().order_by("key"))  # all transactions lock in one order
        if wait := _wait(rows, now):
            return Attempt(wait=wait)
        for row in rows:
            if row.ends_at <= now:
                row.count, row.ends_at = 0, now + LIMITS[Kind(row.kind)][1]
            row.count += 1
        FailedAttempts.objects.bulk_update(rows, ["count", "ends_at"])
    full = {row.key for row in rows if row.count >= LIMITS[Kind(row.kind)][0]}
    return Attempt(counters, filled=[counter for counter in counters if counter.key in full])


def _fresh(counter: Counter, now: datetime) -> FailedAttempts:
    ends_at = now + LIMITS[counter.kind][1]
    return FailedAttempts(key=counter.key, kind=counter.kind, who=counter.who, ends_at=ends_at)


def _wait(rows: Iterable[FailedAttempts], now: datetime) -> timedelta:
    """Until the last of the reached limits ends; zero if none is reached."""
    reached = [row.ends_at - now for row in rows if row.count >= LIMITS[Kind(row.kind)][0]]
    return max([timedelta(), *reached])


def forget_old() -> None:
    """Delete the counters whose window has ended."""
    FailedAttempts.objects.filter(ends_at__lt=timezone.now()).delete()


def normalized(username: str) -> str:
    """The account that a typed name means: as Django's UsernameField, and without case."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).strip().casefold())


def _network(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one subscriber of IPv6 has."""
    parsed = parsed_address(address)
    if parsed and ":" in parsed:
        return str(ip_network(f"{parsed}/64", strict=False))
    return parsed or address


def _cookie_name(account: str) -> str:
    return f"known-{hashlib.sha256(account.encode(errors='surrogatepass')).hexdigest()[:16]}"


def known_browser(request: HttpRequest, account: str) -> str:
    """The id of a browser in which `account` has signed in; empty for any other browser."""
    cookie = request.COOKIES.get(_cookie_name(account), "")
    try:
        of, browser = signing.loads(cookie, salt=COOKIE_SALT, max_age=COOKIE_AGE)
    except (signing.BadSignature, ValueError):
        return ""
    return str(browser) if of == account else ""


def remember_browser(request: HttpRequest, response: HttpResponseBase, username: str) -> None:
    """Give the browser the cookie of an account that has just signed in there."""
    account = normalized(username)
    browser = known_browser(request, account) or secrets.token_hex(8)
    response.set_cookie(
        _cookie_name(account),
        signing.dumps([account, browser], salt=COOKIE_SALT),
        max_age=COOKIE_AGE,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
