"""Limit of the calls of each access token, counted in Redis for all web processes, minute by minute.

django-ninja's own throttle keeps the time of every call in a list, which each call reads and writes again.
Django's cache asks Redis twice for a counter: 0.43 ms of the processor a call, and 0.16 ms with this client.
"""

from __future__ import annotations

import time
from functools import cache

from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from exeml_site.lib.outages.parts import Part, report
from exeml_site.lib.outages.queue import answer_at_once
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
        calls = _count(f"exeml:calls:{token.pk}:{minute}")
    except RedisError as problem:
        _not_asked_until = time.monotonic() + NOT_ASKED_S
        report(Part.QUEUE, problem)
        return 0
    return MINUTE_S - second if calls > limit else 0


def _count(key: str) -> int:
    """The calls under this key, with this one."""
    counters = _client(settings.QUEUE_URL)
    calls = int(counters.incr(key))
    if calls == 1:
        counters.expire(key, 2 * MINUTE_S)
    return calls


@cache
def _client(url: str) -> Redis:
    """The client of this process; its connections are for all threads."""
    client = Redis.from_url(url)
    answer_at_once(client)
    return client
