"""The charts of a training, drawn once by the worker."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from training.engine.evaluation.metrics import Rate, Report
from training.evaluation.leaderboard import Point, ScoredCandidate, is_within_reach, points_of
from training.evaluation.plots.chart_style import (
    INK,
    RC_PARAMS,
    RIGHT,
    SECOND,
    SOFT,
    WRONG,
    new_figure,
    to_svg,
)
from training.evaluation.results import MAX_CHART_LABELS

MAX_TICKS = 40  # named labels on an axis of the matrix
MAX_COUNTED_LABELS = 20  # labels, up to which every cell shows its count
MAX_NAME_LENGTH = 18  # characters of a label on an axis
# Offsets of a name from its point, in points of type; the first two are clear of the front's steps.
NAME_OFFSETS = ((-9, 9), (9, -9), (9, 9), (-9, -9), (0, 13), (0, -13), (-13, 0), (13, 0))
WIDTH = 4.6  # inches: 331 px, the room of a card on a screen of 390 px, where text is still 11 px
POINT_MARGIN = 8  # points of type around a dot that stay free of names


def render(
    report: Report, curve: Sequence[Sequence[float]], candidates: Iterable[ScoredCandidate], limit_ms: float
) -> dict[str, bytes]:
    """The training's charts by name, as SVG: same input, same bytes.

    `curve`: (seconds, accuracy of the best model so far). `limit_ms`: time limit of one image.
    """
    with mpl.rc_context(RC_PARAMS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has more fonts than we
        charts = {
            "confusion-matrix": _confusion_matrix(report),
            "precision-recall": _precision_recall(report),
            "learning-curve": _learning_curve(report, curve),
            "accuracy-latency": _accuracy_latency(points_of(candidates), limit_ms),
        }
        return {name: to_svg(chart) for name, chart in charts.items() if chart is not None}


def _confusion_matrix(report: Report) -> Figure | None:
    """Rows are the true labels; the opacity of a cell is its share of the row. None for multi-label."""
    if not report.confusion:
        return None
    labels = [label.label for label in report.per_label]
    size_inches = min(8.4, max(4.2, 0.36 * len(labels) + 2.0))
    figure, axes = new_figure(size_inches + 0.6, size_inches)
    _cells(axes, report.confusion)
    ticks = range(0, len(labels), 1 + (len(labels) - 1) // MAX_TICKS)
    names = [_shorten(labels[i]) for i in ticks]
    size = 11 if len(labels) <= MAX_COUNTED_LABELS else 8
    rotation = _rotation(names)
    axes.set_xticks(ticks, names, rotation=rotation, fontsize=size)
    for name in axes.get_xticklabels():
        name.set_horizontalalignment("right" if rotation == 30 else "center")
    axes.set_yticks(ticks, names, fontsize=size)
    axes.set(xlim=(-0.5, len(labels) - 0.5), ylim=(len(labels) - 0.5, -0.5), aspect="equal")
    axes.set(xlabel="Predicted", ylabel="True label")
    axes.tick_params(length=0)
    return figure


def _rotation(names: Sequence[str]) -> int:
    """Degrees: 0 while the names fit side by side, then 30, then 90."""
    if max(map(len, names)) * len(names) <= 36:
        return 0
    return 30 if len(names) <= 6 else 90


def _cells(axes: Axes, confusion: Sequence[Sequence[int]]) -> None:
    """A square for each count that is not zero; the correct ones, on the diagonal, have their own colour."""
    has_counts = len(confusion) <= MAX_COUNTED_LABELS
    min_alpha = 0.12 if has_counts else 0.4  # a square of two pixels must be visible
    squares: dict[str, list[Rectangle]] = {RIGHT: [], WRONG: []}
    alphas: dict[str, list[float]] = {RIGHT: [], WRONG: []}
    for true, row in enumerate(confusion):
        for predicted, count in enumerate(row):
            if not count:
                continue
            colour = RIGHT if true == predicted else WRONG
            squares[colour].append(Rectangle((predicted - 0.47, true - 0.47), 0.94, 0.94))
            alphas[colour].append(min_alpha + (0.6 - min_alpha) * count / sum(row))
            if has_counts:
                axes.text(predicted, true, str(count), ha="center", va="center")
    for colour in squares:
        if squares[colour]:
            axes.add_collection(
                PatchCollection(squares[colour], facecolor=colour, alpha=alphas[colour], linewidth=0)
            )


def _precision_recall(report: Report) -> Figure:
    """Precision and recall of each label with their intervals; the weakest labels if there are too many."""
    rows = [label for label in report.per_label if label.images or label.precision.support]
    if len(rows) > MAX_CHART_LABELS:
        rows = sorted(rows, key=lambda row: row.f1 or 0.0)[:MAX_CHART_LABELS]
    figure, axes = new_figure(WIDTH, 1.3 + 0.32 * len(rows))
    for offset, colour, marker, name in ((-0.14, RIGHT, "o", "Precision"), (0.14, SECOND, "s", "Recall")):
        rates = [row.precision if name == "Precision" else row.recall for row in rows]
        _rates(axes, rates, offset, colour, marker, name)
    axes.set_yticks(range(len(rows)), [_shorten(row.label) for row in rows])
    axes.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.5, -0.5), xlabel="Share of images (%)", ylabel="Label")
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def _rates(axes: Axes, rates: Sequence[Rate], offset: float, colour: str, marker: str, name: str) -> None:
    counted = [(row + offset, rate) for row, rate in enumerate(rates) if rate.support]
    heights = [height for height, _ in counted]
    lows, highs = [rate.low or 0.0 for _, rate in counted], [rate.high or 0.0 for _, rate in counted]
    axes.hlines(heights, lows, highs, color=colour, alpha=0.45)
    values = [rate.value or 0.0 for _, rate in counted]
    axes.plot(values, heights, marker, color=colour, markersize=5.5, label=name)


def _learning_curve(report: Report, curve: Sequence[Sequence[float]]) -> Figure | None:
    """Best accuracy so far, on the same held-out training images; the evaluation's as a line."""
    if not curve:
        return None
    figure, axes = new_figure(WIDTH, 3.1)
    minutes = [point[0] / 60 for point in curve]
    shares = [point[1] for point in curve]
    axes.plot(
        minutes,
        shares,
        color=RIGHT,
        linewidth=2,
        drawstyle="steps-post",
        label="Best so far, held-out training images",
    )
    axes.plot(minutes[:-1] or minutes, shares[:-1] or shares, "o", color=RIGHT, markersize=4)
    if report.accuracy.value is not None:
        axes.axhline(
            report.accuracy.value,
            color=SECOND,
            linestyle="--",
            linewidth=1.4,
            label="Evaluation, validation images",
        )
    floor = min([*shares, report.accuracy.value or 1.0])
    axes.set(
        ylim=(max(0.0, floor - 0.1), 1.02),
        xlim=(0, max(minutes) * 1.05 or 1),
        xlabel="Training time (minutes)",
    )
    axes.set_ylabel("Accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.grid(axis="y", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1)
    return figure


def _accuracy_latency(points: Sequence[Point], limit_ms: float) -> Figure | None:
    """Accuracy over latency of the candidates. None for fewer than two."""
    if len(points) < 2:
        return None
    figure, axes = new_figure(WIDTH, 3.6)
    _frame(axes, points, limit_ms)
    front = [point for point in points if point.is_on_front]
    axes.step(*_coordinates(front), where="post", color=RIGHT, linewidth=1.4, alpha=0.6, zorder=1)
    fit = [point for point in points if point.candidate.is_admissible]
    others = [point for point in fit if not point.is_on_front]
    best = [point for point in fit if point.is_on_front]
    slow = [point for point in points if not point.candidate.is_admissible]
    chosen = [point for point in points if point.candidate.is_best]
    _dots(axes, best, "Best for its time", marker="o", markersize=6, color=RIGHT)
    _dots(axes, others, "Other", marker="o", markersize=5, color=SOFT, zorder=1.5)
    _dots(axes, slow, "Too slow", marker="X", markersize=7, color=WRONG)
    ring = {"markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.6}
    _dots(axes, chosen, "Chosen", marker="o", markersize=12, **ring)
    figure.legend(loc="outside upper center", ncols=3, columnspacing=1.2, handletextpad=0.3)
    _annotate_points(figure, axes, points)
    return figure


def _frame(axes: Axes, points: Sequence[Point], limit_ms: float) -> None:
    """Axes with room for names around the points, and the limit if it is within reach."""
    times, shares = _coordinates(points)
    if is_within_reach(limit_ms, points):
        times.append(limit_ms)
        axes.axvline(limit_ms, color=SECOND, linestyle="--", linewidth=1.4, label=f"Limit, {limit_ms:g} ms")
    wide = max(times) - min(times) or max(times)
    high = max(max(shares) - min(shares), 0.02)
    axes.set_xlim(max(0.0, min(times) - 0.2 * wide), max(times) + 0.2 * wide)
    axes.set_ylim(min(shares) - 0.2 * high, max(shares) + 0.25 * high)
    axes.set(xlabel="Single-image time (ms)", ylabel="Accuracy, same held-out images (%)")
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.grid(linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def _percent(share: float, _: int) -> str:
    return f"{100 * share:.4g} %" if share < 1.0005 else ""


def _coordinates(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.ms for point in points], [point.accuracy for point in points]


def _dots(axes: Axes, points: Sequence[Point], name: str, **look: Any) -> None:
    if points:
        axes.plot(*_coordinates(points), linestyle="none", label=name, **look)


def _annotate_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Name the chosen candidate, and those of the front that find a free place."""
    figure.draw_without_rendering()  # positions are known from here on
    occupied = _occupied_boxes(axes, points, POINT_MARGIN * figure.dpi / 72)
    to_name = [point for point in points if point.is_on_front or point.candidate.is_best]
    for point in sorted(to_name, key=lambda point: (not point.candidate.is_best, -point.accuracy)):
        name = _annotate(axes, point, occupied)
        if name is not None:
            occupied.append(name.get_window_extent())


def _occupied_boxes(axes: Axes, points: Sequence[Point], margin: float) -> list[Bbox]:
    """Boxes, in pixels, that a name may not cover: the points, the limit, the front's steps up."""
    to_pixels = axes.transData.transform
    spots = [to_pixels((point.ms, point.accuracy)) for point in points]
    front = [point for point in points if point.is_on_front]
    rises = [
        Bbox([to_pixels((after.ms, before.accuracy)), to_pixels((after.ms, after.accuracy))])
        for before, after in pairwise(front)
    ]
    limits = [line.get_window_extent() for line in axes.lines if line.get_linestyle() == "--"]
    return [*(Bbox([spot - margin, spot + margin]) for spot in spots), *rises, *limits]


def _annotate(axes: Axes, point: Point, occupied: Sequence[Bbox]) -> Annotation | None:
    """Name a point where nothing is covered; the chosen one is always named, where it covers the least."""
    attempts = [_annotate_at(axes, point, right, up) for right, up in NAME_OFFSETS]
    overlaps = [_overlap_count(axes, attempt, occupied) for attempt in attempts]
    best = overlaps.index(min(overlaps))
    for index, attempt in enumerate(attempts):
        if index != best or (min(overlaps) and not point.candidate.is_best):
            attempt.remove()
    return attempts[best] if not min(overlaps) or point.candidate.is_best else None


def _annotate_at(axes: Axes, point: Point, right: int, up: int) -> Annotation:
    return axes.annotate(
        point.name,
        (point.ms, point.accuracy),
        (right, up),
        textcoords="offset points",
        ha=("right", "center", "left")[(right > 0) - (right < 0) + 1],
        va=("top", "center", "bottom")[(up > 0) - (up < 0) + 1],
        fontweight="bold" if point.candidate.is_best else "normal",
        in_layout=False,
    )


def _overlap_count(axes: Axes, name: Annotation, occupied: Sequence[Bbox]) -> int:
    """How many dots, names and lines the name would cover; leaving the axes counts as all of them."""
    box = name.get_window_extent()
    is_inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
    is_inside = is_inside and axes.bbox.containsy(box.y0) and axes.bbox.containsy(box.y1)
    return sum(box.overlaps(other) for other in occupied) + (0 if is_inside else len(occupied))


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1] + "…"
