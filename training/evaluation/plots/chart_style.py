"""Style of the drawn charts: an SVG with its own colours for light and dark.

Pages show charts as <img>, which no stylesheet of the page reaches: charts are drawn in placeholder
colours, which become CSS variables that follow `prefers-color-scheme`. Text stays text.
"""

from __future__ import annotations

import io
import re
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Placeholder colour: (CSS variable, light, dark). The values are those of static/css/tokens.css.
COLOURS = {
    "#010101": ("ink", "#171c25", "#e8ebf0"),
    "#020202": ("soft", "#586271", "#a3adbb"),
    "#030303": ("line", "#dfe3e9", "#2c3340"),
    "#040404": ("right", "#1f5fd0", "#7fb0ff"),
    "#050505": ("wrong", "#b3261e", "#ff938a"),
    "#060606": ("second", "#a8480a", "#f0b95a"),
}
INK, SOFT, LINE, RIGHT, WRONG, SECOND = COLOURS
RC_PARAMS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "exeml",
    "font.size": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
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


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A transparent figure, size in inches; not one of pyplot's, so nothing is kept between trainings."""
    figure = Figure(figsize=(width, height), layout="compressed")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG, its placeholder colours replaced by CSS variables."""
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
