"""The monitoring page's read model: counted minutes added up to the time steps of a window."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext_lazy

from training.engine.evaluation.metrics import Rate, wilson
from training.models import CallMinute, Service, TrainingVersion
from training.serving.calls.counters import quantile_ms

WINDOWS = {  # hours → (name, minutes of a step)
    1: (gettext_lazy("1 hour"), 1),
    6: (gettext_lazy("6 hours"), 5),
    24: (gettext_lazy("24 hours"), 20),
    168: (gettext_lazy("7 days"), 120),
    720: (gettext_lazy("30 days"), 720),
}
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(slots=True)
class CallTotals:
    """Counts of one or several minutes."""

    calls: int = 0
    failed: int = 0
    images: int = 0
    unknown: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, row: CallMinute) -> None:
        self.calls += row.calls
        self.failed += row.failed
        # Rows of before did not count images; a call has one at least, and as many as were unknown.
        self.images += row.images or max(row.calls - row.failed, row.unknown)
        self.unknown += row.unknown
        self.errors.update(row.errors)
        self.labels.update(row.labels)
        self.buckets.update({int(bucket): calls for bucket, calls in row.buckets.items()})

    @property
    def answered(self) -> int:
        return self.calls - self.failed

    @property
    def failures(self) -> Rate:
        return wilson(self.failed, self.calls)

    @property
    def latencies_ms(self) -> list[float | None]:
        """p50, p95 and p99 of the answered calls in ms, interpolated in buckets 19 % apart."""
        return [quantile_ms(self.buckets, share) for share in QUANTILES]


class TimeStep(NamedTuple):
    begins_at: datetime
    counts: CallTotals


@dataclass(frozen=True)
class Dashboard:
    """A window of a service: totals, time steps in order (empty ones too), totals of each version."""

    hours: int
    step: timedelta
    total: CallTotals
    steps: list[TimeStep]
    versions: list[tuple[TrainingVersion, CallTotals]]

    def counts_of(self, version: TrainingVersion) -> CallTotals:
        return next((counts for answered, counts in self.versions if answered == version), CallTotals())


def load_dashboard(service: Service, hours: int) -> Dashboard:
    """The counts of the last `hours`, a key of WINDOWS."""
    step = timedelta(minutes=WINDOWS[hours][1])
    now = timezone.now()
    first = _floor(now - timedelta(hours=hours), step) + step
    steps = [TimeStep(first + index * step, CallTotals()) for index in range(int((now - first) / step) + 1)]
    total, by_version = CallTotals(), dict[int, CallTotals]()
    for row in service.minutes.filter(minute__gte=first).iterator():
        steps[min(int((row.minute - first) / step), len(steps) - 1)].counts.add(row)
        total.add(row)
        by_version.setdefault(row.training_version_id, CallTotals()).add(row)
    versions = TrainingVersion.objects.in_bulk(list(by_version))
    pairs = [(versions[version_id], counts) for version_id, counts in by_version.items()]
    return Dashboard(hours, step, total, steps, sorted(pairs, key=lambda pair: -pair[0].number))


def calls_since(service: Service, moment: datetime) -> int:
    """The calls since a moment, refused ones included; those of the last two seconds may be missing."""
    minutes = service.minutes.filter(minute__gte=moment)
    return minutes.aggregate(total=Sum("calls"))["total"] or 0


def _floor(moment: datetime, step: timedelta) -> datetime:
    """`moment` rounded down to a total number of steps since midnight UTC."""
    since = moment.timestamp()
    return datetime.fromtimestamp(since - since % step.total_seconds(), tz=moment.tzinfo)
