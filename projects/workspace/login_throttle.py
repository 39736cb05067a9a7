"""Limit of wrong passwords: ten for a name from one address, then none is accepted for five minutes.

Attempts are counted in Redis, so all web processes on all machines share the limit. An attempt is counted
before its password is checked, by an atomic increment: a crowd that tries at once gets no more than ten.
While Redis does not answer, each process counts for itself and people can still sign in.

django-axes does the same with three tables, in which names, addresses and browsers stay readable; here the
key is a hash and expires.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress

from django.core.cache import BaseCache, caches
from django.http import HttpRequest
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

MAX_FAILURES = 10
LOCKOUT_S = 300


def count_attempt(username: str, address: str) -> bool:
    """Count an attempt to sign in. False if MAX_FAILURES came before it, within LOCKOUT_S of the first."""
    key = _key(username, address)
    try:
        return _increment(caches["shared"], key) <= MAX_FAILURES
    except RedisError:
        logger.warning("Redis does not answer: this process alone counts wrong passwords.")
        return _increment(caches["default"], key) <= MAX_FAILURES


def clear_attempts(username: str, address: str) -> None:
    """Forget the attempts before one that succeeded."""
    key = _key(username, address)
    caches["default"].delete(key)
    with suppress(RedisError):
        caches["shared"].delete(key)


def client_address(request: HttpRequest) -> str:
    """The IP address of the client; behind a proxy the proxy's, so that the limit is the name's alone."""
    return str(request.META.get("REMOTE_ADDR", ""))


def _increment(cache: BaseCache, key: str) -> int:
    """The first attempt starts the LOCKOUT_S; later ones do not lengthen them."""
    if cache.add(key, 1, LOCKOUT_S):
        return 1
    try:
        return cache.incr(key)
    except ValueError:  # expired in between
        cache.set(key, 1, LOCKOUT_S)
        return 1


def _key(username: str, address: str) -> str:
    """A hash: what is typed as a name may be long, or a password."""
    typed = f"{username.strip().lower()} {address}".encode()
    return f"sign-in-attempts-{hashlib.sha256(typed).hexdigest()}"
