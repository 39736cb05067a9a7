"""What a dataset version's images are like: who labeled them, how large, bright and sharp they are.

Painted once from the manifest and kept in the row; pages read the row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from exeml_site.lib.bulk import chunks
from projects.datasets import publish
from projects.formats.manifest import Entry
from projects.models import DatasetVersion, Image, Split

BINS = 12
MEASURES = ("size", "brightness", "sharpness")
MEASURE_TEXT = {
    "size": ("Size", "shorter side, pixels"),
    "brightness": ("Brightness", "mean luminance, 0 black to 255 white"),
    "sharpness": ("Sharpness", "variance of the Laplacian of the thumbnail; low is blurred"),
}


class HistogramBar(NamedTuple):
    """One bin of a chart: where it begins and ends, and the share (0 to 1 of the highest) of each side."""

    low: float
    high: float
    train: int
    eval: int
    train_height: float
    eval_height: float


class Histogram(NamedTuple):
    title: str
    unit: str
    bars: list[HistogramBar]
    words: str


def statistics_of(version: DatasetVersion) -> dict[str, Any]:
    """`people`: [[who, labels given]], the most first; `measures`: name → edges and counts of each side;
    `gone`: images whose row is not there any more. Raises ManifestDamaged."""
    portrait: dict[str, Any] = version.statistics
    if not portrait:
        portrait = version.statistics = compute_statistics(publish.read_entries(version))
        DatasetVersion.objects.filter(pk=version.pk).update(statistics=portrait)
    return portrait


def compute_statistics(entries: Sequence[Entry]) -> dict[str, Any]:
    sides = {entry.image_id: entry.usage for entry in entries if entry.image_id is not None}
    measured: dict[str, dict[str, list[float]]] = {
        name: {side: [] for side in Split.values} for name in MEASURES
    }
    found = 0
    for chunk in chunks(list(sides)):
        rows = Image.objects.filter(pk__in=chunk).order_by()
        for pk, width, height, brightness, sharpness in rows.values_list(
            "pk", "width", "height", "brightness", "sharpness"
        ):
            found += 1
            values = (min(width, height), brightness, sharpness)
            for name, value in zip(MEASURES, values, strict=True):
                if value is not None and sides[pk] in Split.values:
                    measured[name][sides[pk]].append(float(value))
    people = Counter(_who(mark.annotated_by) for entry in entries for mark in entry.entry_labels)
    return {
        "people": [list(one) for one in people.most_common()],
        "measures": {name: _bin_counts(ones, name) for name, ones in measured.items() if any(ones.values())},
        "gone": len(entries) - found,
    }


def histograms(portrait: dict[str, Any]) -> list[Histogram]:
    """The distributions as bars, each side as shares of its own images."""
    return [_histogram_of(name, one) for name, one in portrait.get("measures", {}).items()]


def _who(annotated_by: str) -> str:
    """“human/anna” as “anna”; what came without a person says how it came."""
    source, _, person = annotated_by.partition("/")
    return person or {"sample": "came with the sample", "import": "imported"}.get(source, "nobody is named")


def _bin_counts(values: dict[str, list[float]], name: str) -> dict[str, Any]:
    together = np.array([value for side in values.values() for value in side])
    low, high = float(together.min()), float(together.max())
    if name == "brightness":
        edges = np.linspace(0, 255, BINS + 1)
    elif low > 0 and high / low > 4:
        edges = np.geomspace(low, high, BINS + 1)
    else:
        edges = np.linspace(low, max(high, low + 1), BINS + 1)
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    counts = {side: np.histogram(ones, edges)[0].tolist() for side, ones in values.items()}
    median = float(np.median(together))
    measured = {"median": median, "least": low, "most": high}
    return {"edges": [round(float(edge), 3) for edge in edges], **counts, **measured}


def _histogram_of(name: str, one: dict[str, Any]) -> Histogram:
    title, unit = MEASURE_TEXT[name]
    shares = {side: _shares(one[side]) for side in Split.values}
    top = max([*shares[Split.TRAIN], *shares[Split.EVAL], 1e-9])
    heights = {side: [round(share / top, 4) for share in shares[side]] for side in Split.values}
    edges = one["edges"]
    counts, tall = (one[Split.TRAIN], one[Split.EVAL]), (heights[Split.TRAIN], heights[Split.EVAL])
    bars = [HistogramBar(*row) for row in zip(edges[:-1], edges[1:], *counts, *tall, strict=True)]
    low, high = one["least"], one["most"]
    words = f"{title}: from {low:,.0f} to {high:,.0f}, half of the images below {one['median']:,.0f}."
    if low == high:
        words = f"{title}: {low:,.0f} for all images."
    return Histogram(title, unit, bars, words)


def _shares(counts: Iterable[int]) -> list[float]:
    counts = list(counts)
    total = sum(counts) or 1
    return [count / total for count in counts]
