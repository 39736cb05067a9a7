"""Charts of the monitoring page: calls, latencies and predicted labels as SVG coordinates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.utils.translation import gettext, gettext_lazy, ngettext

from exeml_site.lib.display import count, date_time_text
from training.serving.calls.counters import MAX_TIMED_MS
from training.serving.calls.dashboard import QUANTILES, CallTotals, TimeStep

WIDTH, HEIGHT = 720, 120
MAX_BANDS = 6  # labels of the chart; more colours are hard to distinguish
OTHERS, OTHERS_COLOUR = gettext_lazy("others"), 9


class CallBar(NamedTuple):
    """One time step of the chart of calls; failed calls are drawn at the bottom."""

    x: float
    width: float
    height: float
    failed_height: float
    title: str

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
    max_value = max((step.counts.calls for step in steps), default=0) or 1
    width = WIDTH / max(len(steps), 1)
    bars = [
        CallBar(
            round(index * width, 2),
            round(max(width - 1, 0.5), 2),
            round(HEIGHT * step.counts.calls / max_value, 2),
            round(HEIGHT * step.counts.failed / max_value, 2),
            _bar_text(step),
        )
        for index, step in enumerate(steps)
        if step.counts.calls
    ]
    return bars, max_value


def _bar_text(step: TimeStep) -> str:
    text = ngettext(
        "%(time)s: %(count)s call, %(failed)s failed",
        "%(time)s: %(count)s calls, %(failed)s failed",
        step.counts.calls,
    )
    calls, failed = count(step.counts.calls), count(step.counts.failed)
    return text % {"time": date_time_text(step.begins_at), "count": calls, "failed": failed}


def latency_lines(steps: Sequence[TimeStep]) -> tuple[list[LatencyLine], float]:
    """The lines of the latency quantiles, and the ms at full height."""
    latencies = [
        [None if ms is None else min(ms, MAX_TIMED_MS) for ms in step.counts.latencies_ms] for step in steps
    ]
    max_value = max((values[-1] or 0 for values in latencies), default=0) or 1.0
    width = WIDTH / max(len(steps), 1)
    lines = []
    for rank, quantile in enumerate(QUANTILES):
        points = [
            None if values[rank] is None else (index * width + width / 2, values[rank])
            for index, values in enumerate(latencies)
        ]
        lines.append(LatencyLine(f"p{100 * quantile:.0f}", list(_polylines(points, max_value))))
    return lines, max_value


def _polylines(points: Iterable[tuple[float, float | None] | None], max_value: float) -> Iterable[str]:
    stretch: list[str] = []
    for point in [*points, None]:
        if point is not None and point[1] is not None:
            stretch.append(f"{point[0]:.1f},{HEIGHT - HEIGHT * point[1] / max_value:.1f}")
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
    title: str


class LabelBands(NamedTuple):
    legend: list[tuple[str, int]]  # names and colours, most frequent first; OTHERS last
    bands: list[LabelBand]


def label_bands(steps: Sequence[TimeStep], total: CallTotals) -> LabelBands:
    """The shares of the MAX_BANDS most frequent labels and of the others in each time step."""
    names = [label for label, _ in total.labels.most_common(MAX_BANDS)]
    legend = [(name, colour) for colour, name in enumerate(names)]
    if len(total.labels) > MAX_BANDS:
        legend.append((str(OTHERS), OTHERS_COLOUR))
    width = WIDTH / max(len(steps), 1)
    bands = []
    for index, step in enumerate(steps):
        step_total, below = sum(step.counts.labels.values()), 0
        counts = [step.counts.labels[label] for label in names]
        for rank, number in enumerate([*counts, step_total - sum(counts)]):
            if number:
                name, colour = legend[rank]
                bands.append(
                    LabelBand(
                        x=round(index * width, 2),
                        y=round(HEIGHT - HEIGHT * (below + number) / step_total, 2),
                        width=round(max(width - 1, 0.5), 2),
                        height=round(HEIGHT * number / step_total, 2),
                        colour=colour,
                        title=_band_text(step, name, number, step_total),
                    )
                )
            below += number
    return LabelBands(legend, bands)


def _band_text(step: TimeStep, name: str, number: int, total: int) -> str:
    text = gettext("%(time)s: %(label)s %(number)s of %(total)s")
    numbers = {"number": count(number), "total": count(total)}
    return text % {"time": date_time_text(step.begins_at), "label": name, **numbers}
