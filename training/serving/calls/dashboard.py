"""The monitoring page's read model: counted minutes added up to the time steps of a window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone

from training.engine.evaluation.metrics import Rate, wilson
from training.models import CallMinute, Service, TrainingVersion
from training.serving.calls.counters import quantile_ms

WINDOWS = {  # hours → (name, minutes of a step)
    1: ("1 hour", 1),
    6: ("6 hours", 5),
    24: ("24 hours", 20),
    168: ("7 days", 120),
    720: ("30 days", 720),
}
QUANTILES = (0.5, 0.95, 0.99)
MAX_LABELS = 8
MIN_PREDICTIONS = 30  # fewer predictions give no sentence on drift
MIN_SHARE_CHANGE = 0.1  # smaller changes of a label's share give no sentence


@dataclass(slots=True)
class CallTotals:
    """Counts of one or several minutes."""

    calls: int = 0
    failed: int = 0
    unknown: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, row: CallMinute) -> None:
        self.calls += row.calls
        self.failed += row.failed
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
        """p50, p95 and p99 in ms, exact to 19 %."""
        return [quantile_ms(self.buckets, share) for share in QUANTILES]


class TimeStep(NamedTuple):
    begins_at: datetime
    sum: CallTotals


@dataclass(frozen=True)
class Dashboard:
    """A window of a service: totals, time steps in order (empty ones too), totals of each version."""

    hours: int
    step: timedelta
    whole: CallTotals
    steps: list[TimeStep]
    versions: list[tuple[TrainingVersion, CallTotals]]


def load_dashboard(service: Service, hours: int) -> Dashboard:
    """The counts of the last `hours`, a key of WINDOWS."""
    step = timedelta(minutes=WINDOWS[hours][1])
    now = timezone.now()
    first = _floor(now - timedelta(hours=hours), step) + step
    sums = [TimeStep(first + number * step, CallTotals()) for number in range(int((now - first) / step) + 1)]
    whole, by_version = CallTotals(), dict[int, CallTotals]()
    for row in service.minutes.filter(minute__gte=first).iterator():
        sums[min(int((row.minute - first) / step), len(sums) - 1)].sum.add(row)
        whole.add(row)
        by_version.setdefault(row.training_version_id, CallTotals()).add(row)
    versions = TrainingVersion.objects.in_bulk(list(by_version))
    pairs = [(versions[key], total) for key, total in by_version.items()]
    return Dashboard(hours, step, whole, sums, sorted(pairs, key=lambda pair: -pair[0].number))


def _floor(moment: datetime, step: timedelta) -> datetime:
    """`moment` rounded down to a whole number of steps since midnight UTC."""
    since = moment.timestamp()
    return datetime.fromtimestamp(since - since % step.total_seconds(), tz=moment.tzinfo)


# --- drift ---


@dataclass(frozen=True)
class LabelShare:
    """A label's share of the predictions now, and of those in the evaluation."""

    label: str
    calls: int
    now: float
    then: float | None


@dataclass(frozen=True)
class Drift:
    shares: list[LabelShare]
    sentences: list[str]


def find_drift(version: TrainingVersion, seen: CallTotals) -> Drift:
    """Compare the predictions with the evaluation's; a sentence only where 95 % intervals are disjoint."""
    then, known = _count_evaluated(version)
    predictions, evaluated = sum(seen.labels.values()), sum(then.values())
    names = [label for label, _ in seen.labels.most_common(MAX_LABELS)]
    shares = [
        LabelShare(
            label,
            seen.labels[label],
            seen.labels[label] / predictions,
            then[label] / evaluated if evaluated else None,
        )
        for label in names
    ]
    if predictions < MIN_PREDICTIONS or evaluated < MIN_PREDICTIONS:
        return Drift(shares, [])
    found = [
        _label_sentence(label, seen.labels[label], predictions, then[label], evaluated) for label in names
    ]
    unknown_then = sum(one is False for one in known)
    if any(one is not None for one in known):
        found.append(_unknown_sentence(seen.unknown, seen.answered, unknown_then, len(known)))
    return Drift(shares, [one for one in found if one])


def _count_evaluated(version: TrainingVersion) -> tuple[Counter[str], list[bool | None]]:
    """The evaluation's predictions of each label, and `is_known` of each evaluated image."""
    rows = version.evaluated_images.order_by().values_list("predicted", "is_known")
    labels, known = Counter[str](), list[bool | None]()
    for predicted, is_known in rows.iterator():
        labels.update(predicted)
        known.append(is_known)
    return labels, known


def _label_sentence(label: str, now: int, of_now: int, then: int, of_then: int) -> str:
    """Empty unless the 95 % intervals are disjoint and the shares differ by MIN_SHARE_CHANGE."""
    new, old = wilson(now, of_now), wilson(then, of_then)
    if not _are_disjoint(new, old) or abs((new.value or 0) - (old.value or 0)) < MIN_SHARE_CHANGE:
        return ""
    word = "more" if (new.value or 0) > (old.value or 0) else "less"
    return (
        f"“{label}” is predicted {word} often than in the evaluation: {_percent(new)} of the pictures "
        f"against {_percent(old)}."
    )


def _unknown_sentence(now: int, of_now: int, then: int, of_then: int) -> str:
    new, old = wilson(now, of_now), wilson(then, of_then)
    if not _are_disjoint(new, old) or (new.value or 0) < (old.value or 0):
        return ""
    return (
        f"More pictures are unknown to the model than in its evaluation: {_percent(new)} against "
        f"{_percent(old)}. Look at them under Collected, and train again with some of them."
    )


def _are_disjoint(one: Rate, other: Rate) -> bool:
    if None in (one.low, one.high, other.low, other.high):
        return False
    return bool(one.low > other.high or one.high < other.low)  # type: ignore[operator]


def _percent(rate: Rate) -> str:
    return f"{100 * (rate.value or 0):.0f} %"


# --- charts ---

WIDTH, HEIGHT = 720, 120
MAX_BANDS = 6  # labels of the chart; more colours are hard to distinguish
OTHERS, OTHERS_COLOUR = "others", 9


class CallBar(NamedTuple):
    """One time step of the chart of calls; failed calls are drawn at the bottom."""

    x: float
    width: float
    height: float
    failed_height: float
    words: str

    @property
    def y(self) -> float:
        return round(HEIGHT - self.height, 2)

    @property
    def failed_y(self) -> float:
        return round(HEIGHT - self.failed_height, 2)


class LatencyLine(NamedTuple):
    name: str
    paths: list[str]  # SVG points "x,y x,y", one text for each stretch without gaps


def call_bars(steps: Sequence[TimeStep]) -> tuple[list[CallBar], int]:
    """The bars of the chart of calls, and the calls at full height."""
    most = max((one.sum.calls for one in steps), default=0) or 1
    width = WIDTH / max(len(steps), 1)
    found = [
        CallBar(
            round(number * width, 2),
            round(max(width - 1, 0.5), 2),
            round(HEIGHT * one.sum.calls / most, 2),
            round(HEIGHT * one.sum.failed / most, 2),
            f"{one.begins_at:%m-%d %H:%M}: {one.sum.calls} calls, {one.sum.failed} failed",
        )
        for number, one in enumerate(steps)
        if one.sum.calls
    ]
    return found, most


def latency_lines(steps: Sequence[TimeStep]) -> tuple[list[LatencyLine], float]:
    """The lines of the latency quantiles, and the ms at full height."""
    known = [one.sum.latencies_ms if one.sum.calls else None for one in steps]
    most = max((values[-1] or 0 for values in known if values), default=0) or 1.0
    width = WIDTH / max(len(steps), 1)
    found = []
    for place, share in enumerate(QUANTILES):
        points = [
            None if values is None or values[place] is None else (number * width + width / 2, values[place])
            for number, values in enumerate(known)
        ]
        found.append(LatencyLine(f"p{100 * share:.0f}", list(_polylines(points, most))))
    return found, most


def _polylines(points: Iterable[tuple[float, float | None] | None], most: float) -> Iterable[str]:
    stretch: list[str] = []
    for point in [*points, None]:
        if point is not None and point[1] is not None:
            stretch.append(f"{point[0]:.1f},{HEIGHT - HEIGHT * point[1] / most:.1f}")
        elif stretch:
            yield " ".join(stretch if len(stretch) > 1 else [stretch[0], stretch[0]])
            stretch = []


class LabelBand(NamedTuple):
    """A label's share of one time step's predictions, stacked on the labels before."""

    x: float
    y: float
    width: float
    height: float
    colour: int  # index in the legend
    words: str


class LabelBands(NamedTuple):
    key: list[tuple[str, int]]  # names and colours, most frequent first; OTHERS last
    bands: list[LabelBand]


def label_bands(steps: Sequence[TimeStep], whole: CallTotals) -> LabelBands:
    """The shares of the MAX_BANDS most frequent labels and of the others in each time step."""
    names = [label for label, _ in whole.labels.most_common(MAX_BANDS)]
    key = [(name, colour) for colour, name in enumerate(names)]
    if len(whole.labels) > MAX_BANDS:
        key.append((OTHERS, OTHERS_COLOUR))
    width = WIDTH / max(len(steps), 1)
    bands = []
    for number, one in enumerate(steps):
        total, below = sum(one.sum.labels.values()), 0
        counts = [one.sum.labels[label] for label in names]
        for place, count in enumerate([*counts, total - sum(counts)]):
            if count:
                name, colour = key[place]
                bands.append(
                    LabelBand(
                        x=round(number * width, 2),
                        y=round(HEIGHT - HEIGHT * (below + count) / total, 2),
                        width=round(max(width - 1, 0.5), 2),
                        height=round(HEIGHT * count / total, 2),
                        colour=colour,
                        words=f"{one.begins_at:%m-%d %H:%M}: {name} {count} of {total}",
                    )
                )
            below += count
    return LabelBands(key, bands)


def errors_of(whole: CallTotals) -> list[tuple[str, int]]:
    return whole.errors.most_common()
