"""Limit of the calls of each access token, counted in Redis for all web processes, minute by minute.

django-ninja's own throttle keeps the time of every call in a list, which each call reads and writes again.
"""

from __future__ import annotations

import time

from django.conf import settings
from django.core.cache import caches
from redis.exceptions import RedisError

from exeml_site.lib.outages.parts import Part, report
from projects.models import AccessToken

MINUTE_S = 60
NOT_ASKED_S = 10.0  # after Redis did not respond, this process counts nothing for so long

_not_asked_until = 0.0


def count_call(token: AccessToken) -> int:
    """Count a call of the token; the seconds to wait where it is one too many, or else 0.

    While Redis is away every call passes.
    """
    global _not_asked_until
    limit = settings.EXEML_API_CALLS_PER_MINUTE
    if not limit or time.monotonic() < _not_asked_until:
        return 0
    minute, second = divmod(int(time.time()), MINUTE_S)
    try:
        calls = _count(f"calls:{token.pk}:{minute}")
    except RedisError as problem:
        _not_asked_until = time.monotonic() + NOT_ASKED_S
        report(Part.QUEUE, problem)
        return 0
    return MINUTE_S - second if calls > limit else 0


def _count(key: str) -> int:
    """The calls under this key, with this one."""
    counters = caches["shared"]
    try:
        return counters.incr(key)
    except ValueError:  # the first one
        return 1 if counters.add(key, 1, 2 * MINUTE_S) else counters.incr(key)
