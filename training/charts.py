"""The charts of an evaluation as SVG, drawn once by the worker.

The page shows them by <img>, so an SVG brings its own colours for light and dark: it is drawn in stand-in
colours, which become CSS variables that follow `prefers-color-scheme`. Text stays text.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from training.engine.metrics import Rate, Report
from training.results import MOST_ROWS

MOST_TICKS = 40  # labels named on an axis of the matrix
MOST_COUNTS = 20  # up to here every cell carries its number
LONGEST = 18  # characters of a label on an axis

# Stand-in colour while drawing: (CSS variable, light, dark). The values are those of static/css/tokens.css.
COLOURS = {
    "#010101": ("ink", "#171c25", "#e8ebf0"),
    "#020202": ("soft", "#586271", "#a3adbb"),
    "#030303": ("line", "#dfe3e9", "#2c3340"),
    "#040404": ("right", "#1f5fd0", "#7fb0ff"),
    "#050505": ("wrong", "#b3261e", "#ff938a"),
    "#060606": ("second", "#a8480a", "#f0b95a"),
}
INK, SOFT, LINE, RIGHT, WRONG, SECOND = COLOURS
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "exeml",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "grid.color": LINE,
    "legend.frameon": False,
}


def render(found: Report, curve: Sequence[Sequence[float]]) -> dict[str, bytes]:
    """Every chart that this evaluation has, by name: same input, same bytes.

    `curve`: (seconds, accuracy of the best model so far).
    """
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has more fonts than we
        charts = {
            "confusion-matrix": _confusion_matrix(found),
            "precision-recall": _precision_recall(found),
            "learning-curve": _learning_curve(found, curve),
        }
        return {name: _svg(chart) for name, chart in charts.items() if chart is not None}


def _confusion_matrix(found: Report) -> Figure | None:
    """Rows are the true labels; the strength of a cell is its share of the row. None for several labels."""
    if not found.confusion:
        return None
    labels = [one.label for one in found.per_label]
    side = min(8.4, max(4.2, 0.36 * len(labels) + 2.0))
    figure, axes = _blank(side + 0.6, side)
    _cells(axes, found.confusion)
    ticks = range(0, len(labels), 1 + (len(labels) - 1) // MOST_TICKS)
    names = [_cut(labels[i]) for i in ticks]
    size = 10 if len(labels) <= MOST_COUNTS else 8
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
    """Level while the names fit side by side, then tilted, then upright."""
    if max(map(len, names)) * len(names) <= 36:
        return 0
    return 30 if len(names) <= 6 else 90


def _cells(axes: Axes, confusion: Sequence[Sequence[int]]) -> None:
    """A square for each count that is not zero: the right ones, on the diagonal, in a colour of their own."""
    squares: dict[str, list[tuple[Rectangle, float]]] = {RIGHT: [], WRONG: []}
    for true, row in enumerate(confusion):
        for predicted, count in enumerate(row):
            if count:
                square = Rectangle((predicted - 0.47, true - 0.47), 0.94, 0.94)
                squares[RIGHT if true == predicted else WRONG].append((square, count / sum(row)))
                if len(confusion) <= MOST_COUNTS:
                    axes.text(predicted, true, str(count), ha="center", va="center")
    for colour, found in squares.items():
        if found:
            least = 0.12 if len(confusion) <= MOST_COUNTS else 0.4  # a dot of two pixels must still be seen
            strengths = [least + (0.6 - least) * share for _, share in found]
            axes.add_collection(
                PatchCollection([one for one, _ in found], facecolor=colour, alpha=strengths, linewidth=0)
            )


def _precision_recall(found: Report) -> Figure:
    """A row for each label with both rates and intervals; the weakest where there are too many."""
    rows = [one for one in found.per_label if one.images or one.precision.support]
    if len(rows) > MOST_ROWS:
        rows = sorted(rows, key=lambda one: one.f1 or 0.0)[:MOST_ROWS]
    figure, axes = _blank(5.8, 1.1 + 0.32 * len(rows))
    for offset, colour, marker, name in ((-0.14, RIGHT, "o", "Precision"), (0.14, SECOND, "s", "Recall")):
        rates = [one.precision if name == "Precision" else one.recall for one in rows]
        _rates(axes, rates, offset, colour, marker, name)
    axes.set_yticks(range(len(rows)), [_cut(one.label) for one in rows])
    axes.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.5, -0.5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def _rates(axes: Axes, rates: Sequence[Rate], offset: float, colour: str, marker: str, name: str) -> None:
    known = [(place + offset, rate) for place, rate in enumerate(rates) if rate.support]
    heights = [height for height, _ in known]
    lows, highs = [rate.low or 0.0 for _, rate in known], [rate.high or 0.0 for _, rate in known]
    axes.hlines(heights, lows, highs, color=colour, alpha=0.45)
    values = [rate.value or 0.0 for _, rate in known]
    axes.plot(values, heights, marker, color=colour, markersize=5.5, label=name)


def _learning_curve(found: Report, curve: Sequence[Sequence[float]]) -> Figure | None:
    """The best model's accuracy on held-back training images over time; the evaluation's as a line."""
    if not curve:
        return None
    figure, axes = _blank(5.8, 2.8)
    minutes = [point[0] / 60 for point in curve]
    shares = [point[1] for point in curve]
    axes.plot(
        minutes,
        shares,
        color=RIGHT,
        linewidth=2,
        drawstyle="steps-post",
        label="Best model so far, held-back",
    )
    axes.plot(minutes[:-1] or minutes, shares[:-1] or shares, "o", color=RIGHT, markersize=4)
    if found.accuracy.value is not None:
        axes.axhline(found.accuracy.value, color=SECOND, linestyle="--", linewidth=1.4, label="Evaluation")
    floor = min([*shares, found.accuracy.value or 1.0])
    axes.set(ylim=(max(0.0, floor - 0.1), 1.02), xlim=(0, max(minutes) * 1.05 or 1), xlabel="Minutes")
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
    axes.grid(axis="y", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def _blank(width: float, height: float) -> tuple[Figure, Axes]:
    """A transparent sheet in inches; a figure of its own, so nothing is kept between trainings."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _svg(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue().decode()
    for stand_in, (variable, _, _) in COLOURS.items():
        text = text.replace(stand_in, f"var(--{variable})")
    text = re.sub(r"font-family: [^;\"]+", "font-family: system-ui, sans-serif", text)
    text = re.sub(r"(font: [\d.]+px) [^;\"]+", r"\1 system-ui, sans-serif", text)
    return text.replace("<defs>", f"<style>{_style()}</style>\n <defs>", 1).encode()


def _style() -> str:
    light, dark = (
        ";".join(f"--{variable}:{(day, night)[dark]}" for variable, day, night in COLOURS.values())
        for dark in (0, 1)
    )
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
