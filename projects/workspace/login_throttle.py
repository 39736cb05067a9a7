"""A brake on guessing passwords: ten wrong tries for a name from one address, then five minutes of rest.

It counts in Django's cache, so every web process counts for itself unless the cache is shared.
"""

from __future__ import annotations

import hashlib

from django.core.cache import cache
from django.http import HttpRequest

MAX_FAILURES = 10
LOCKOUT_S = 300


def is_throttled(username: str, address: str) -> bool:
    return int(cache.get(_key(username, address), 0)) >= MAX_FAILURES


def count_failure(username: str, address: str) -> None:
    """The first failure starts the five minutes; later ones do not lengthen them."""
    key = _key(username, address)
    if cache.add(key, 1, LOCKOUT_S):
        return
    try:
        cache.incr(key)
    except ValueError:  # the five minutes ended in between
        cache.set(key, 1, LOCKOUT_S)


def clear_failures(username: str, address: str) -> None:
    cache.delete(_key(username, address))


def client_address(request: HttpRequest) -> str:
    """Where a request comes from. Behind a proxy this is the proxy, and the brake is the name's alone."""
    return str(request.META.get("REMOTE_ADDR", ""))


def _key(username: str, address: str) -> str:
    """Hashed: what is typed as a name may be long, or a password."""
    typed = f"{username.strip().lower()} {address}".encode()
    return f"sign-in-failures-{hashlib.sha256(typed).hexdigest()}"
