"""Counters of service calls: kept in memory by each process, written to the database every two seconds.

A CallMinute row belongs to one process, which overwrites it with its whole minute: writing twice changes
nothing, and processes never wait for each other. A killed process loses the counts of its last two seconds.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.db import Error, connection, transaction
from django.db.models import F
from django.utils import timezone

from exeml_site.lib.outages.parts import is_reported
from training.models import CallMinute, Service, ServiceToken

logger = logging.getLogger(__name__)

FLUSH_INTERVAL_S = 2.0
RETENTION_DAYS = 45
BUCKETS_PER_DOUBLING = 4  # latency buckets between a duration and its double: 19 % apart
MAX_TIMED_MS = 30_000.0  # calls that took longer share the last bucket
LAST_BUCKET = math.ceil(BUCKETS_PER_DOUBLING * math.log2(MAX_TIMED_MS)) + 1
TallyKey = tuple[UUID, int, datetime]


@dataclass(slots=True)
class Tally:
    """Counts of one process for one minute of a service and version. `buckets`: of answered calls only."""

    calls: int = 0
    failed: int = 0
    images: int = 0
    unknown: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    buckets: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Totals:
    """Counts of a service since the last flush."""

    calls: int = 0
    failed: int = 0
    unknown: int = 0
    buckets: Counter[str] = field(default_factory=Counter)

    def add(self, other: _Totals) -> None:
        self.calls += other.calls
        self.failed += other.failed
        self.unknown += other.unknown
        self.buckets.update(other.buckets)


_lock = threading.Lock()
_flush_lock = threading.Lock()
_process: tuple[int, UUID] = (0, uuid4())
_tallies: dict[TallyKey, Tally] = {}
_changed: set[TallyKey] = set()
_totals: dict[UUID, _Totals] = {}
_tokens: dict[int, datetime] = {}


def bucket_of(ms: float) -> int:
    """The bucket of a latency: 0 up to 1 ms, then BUCKETS_PER_DOUBLING for each doubling."""
    if ms > MAX_TIMED_MS:
        return LAST_BUCKET
    return max(0, math.ceil(BUCKETS_PER_DOUBLING * math.log2(max(ms, 1e-3))))


def upper_ms(bucket: int) -> float:
    """The upper edge of a bucket; infinite for LAST_BUCKET."""
    edge = float(2 ** (bucket / BUCKETS_PER_DOUBLING))
    return min(edge, MAX_TIMED_MS) if bucket < LAST_BUCKET else math.inf


def lower_ms(bucket: int) -> float:
    return upper_ms(min(bucket, LAST_BUCKET) - 1) if bucket > 0 else 0.0


def middle_ms(bucket: int) -> float:
    """What a call of the bucket counts in a sum."""
    upper = upper_ms(bucket)
    return lower_ms(bucket) if upper == math.inf else (lower_ms(bucket) + upper) / 2


def quantile_ms(buckets: Mapping[int, int], share: float) -> float | None:
    """A quantile of the latencies in ms, interpolated in its bucket, as Prometheus does.

    Infinite where it lies beyond MAX_TIMED_MS; None without calls.
    """
    total = sum(buckets.values())
    reached = 0
    for bucket in sorted(buckets):
        calls = buckets[bucket]
        if calls and reached + calls >= share * total:
            lower, upper = lower_ms(bucket), upper_ms(bucket)
            return lower + (upper - lower) * (share * total - reached) / calls
        reached += calls
    return None


def record_call(
    service_id: UUID,
    version_id: int,
    ms: float,
    *,
    error: str = "",
    images: int = 0,
    labels: Iterable[str] = (),
    unknown: int = 0,
    token_id: int | None = None,
) -> None:
    """Count one call: its error code, or its time, images, predicted labels and unknown images.

    The time of a failed call is not kept: a refused body may take a minute or none, and is no answer.
    """
    now = timezone.now()
    key = (service_id, version_id, now.replace(second=0, microsecond=0))
    with _lock:
        tally = _tallies.setdefault(key, Tally())
        total = _totals.setdefault(service_id, _Totals())
        tally.calls += 1
        total.calls += 1
        if error:
            tally.failed += 1
            total.failed += 1
            tally.errors[error] += 1
        else:
            tally.buckets[str(bucket_of(ms))] += 1
            total.buckets[str(bucket_of(ms))] += 1
            total.unknown += unknown
            tally.images += images
            tally.labels.update(labels)
            tally.unknown += unknown
        if token_id is not None:
            _tokens[token_id] = now
        _changed.add(key)


def flush() -> None:
    """Write the changed counts. If the database fails, they are kept for the next flush."""
    with _flush_lock:
        with _lock:
            keys, totals, tokens = set(_changed), dict(_totals), dict(_tokens)
            rows = [_row(key, _tallies[key]) for key in keys]
            _changed.clear()
            _totals.clear()
            _tokens.clear()
        try:
            _write(rows, totals, tokens)
        except Error as problem:
            if not is_reported(problem):
                logger.warning("The calls of the services could not be counted; trying again.", exc_info=True)
            _put_back(keys, totals, tokens)
        else:
            _drop_past_minutes()


def forget_old() -> int:
    """Delete minutes that no window of the dashboard shows any more; how many. Runs once a day.

    The totals in the Service rows stay.
    """
    old = CallMinute.objects.filter(minute__lt=timezone.now() - timedelta(days=RETENTION_DAYS))
    return old.delete()[0]


def begin() -> None:
    """Start the thread that flushes every two seconds; flush once more when the process ends."""
    threading.Thread(target=_run, name="call-counter", daemon=True).start()
    atexit.register(flush)


def _run() -> None:
    clock = threading.Event()
    while not clock.wait(FLUSH_INTERVAL_S):
        if _changed:
            flush()
            connection.close()


def _row(key: TallyKey, tally: Tally) -> CallMinute:
    service_id, version_id, minute = key
    return CallMinute(
        service_id=service_id,
        training_version_id=version_id,
        minute=minute,
        process=_this_process(),
        calls=tally.calls,
        failed=tally.failed,
        images=tally.images,
        unknown=tally.unknown,
        errors=dict(tally.errors),
        labels=dict(tally.labels),
        buckets=dict(tally.buckets),
    )


def _this_process() -> UUID:
    """The id of this process; a forked process gets its own."""
    global _process
    if _process[0] != os.getpid():
        _process = (os.getpid(), uuid4())
    return _process[1]


def _write(rows: list[CallMinute], totals: dict[UUID, _Totals], tokens: dict[int, datetime]) -> None:
    with transaction.atomic():
        alive = set(Service.objects.filter(pk__in=totals).values_list("pk", flat=True))
        CallMinute.objects.bulk_create(
            [row for row in rows if row.service_id in alive],
            update_conflicts=True,
            unique_fields=["service", "training_version", "minute", "process"],
            update_fields=["calls", "failed", "images", "unknown", "errors", "labels", "buckets"],
        )
        for service in Service.objects.select_for_update().filter(pk__in=alive).order_by("pk"):
            total = totals[service.pk]
            Service.objects.filter(pk=service.pk).update(
                calls=F("calls") + total.calls,
                failed_calls=F("failed_calls") + total.failed,
                unknown_pictures=F("unknown_pictures") + total.unknown,
                latency_buckets=dict(Counter(service.latency_buckets) + total.buckets),
            )
        for token_id, moment in tokens.items():
            ServiceToken.objects.filter(pk=token_id).update(last_used_at=moment)


def _put_back(keys: set[TallyKey], totals: dict[UUID, _Totals], tokens: dict[int, datetime]) -> None:
    with _lock:
        _changed.update(keys)
        for service_id, total in totals.items():
            _totals.setdefault(service_id, _Totals()).add(total)
        for token_id, moment in tokens.items():
            _tokens.setdefault(token_id, moment)


def _drop_past_minutes() -> None:
    this_minute = timezone.now().replace(second=0, microsecond=0)
    with _lock:
        for key in [key for key in _tallies if key[2] < this_minute and key not in _changed]:
            del _tallies[key]
