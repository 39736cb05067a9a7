"""Statistics of a dataset version: annotators, and histograms of size, brightness and sharpness.

Computed once from the manifest and stored in the row, which pages read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from django.utils.translation import gettext, gettext_lazy, gettext_noop

from exeml_site.lib.bulk import chunks
from exeml_site.lib.display import decimal
from projects.datasets import publish
from projects.formats.manifest import Entry
from projects.models import DatasetVersion, Image, Split

BINS = 12
COMPARED = (Split.TRAIN, Split.EVAL)
MEASURES = ("size", "brightness", "sharpness")
MEASURE_TEXT = {
    "size": (gettext_lazy("Size"), gettext_lazy("shorter side, pixels")),
    "brightness": (gettext_lazy("Brightness"), gettext_lazy("mean luminance, 0 (black) to 255 (white)")),
    "sharpness": (
        gettext_lazy("Sharpness"),
        gettext_lazy("variance of the thumbnail’s Laplacian; low: blurred"),
    ),
}
# In the place of a person; stored in English.
SOURCES = {"sample": gettext_noop("from the sample project"), "import": gettext_noop("imported")}
UNKNOWN_PERSON = gettext_noop("unknown")


class HistogramBar(NamedTuple):
    """One bin of a histogram: its edges, its counts, and bar heights from 0 to 1 (the highest bar)."""

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
    summary: str


def statistics_of(version: DatasetVersion) -> dict[str, Any]:
    """Statistics of the version, computed on first use. Raises ManifestDamaged.

    `people`: [[name, labels given]], the most first; `measures`: name → edges and counts of each split;
    `gone`: number of images that were deleted since.
    """
    portrait: dict[str, Any] = version.statistics
    if not portrait:
        portrait = version.statistics = compute_statistics(publish.read_entries(version))
        DatasetVersion.objects.filter(pk=version.pk).update(statistics=portrait)
    people = [[_shown(person), labels] for person, labels in portrait.get("people", [])]
    return portrait | {"people": people}


def _shown(person: str) -> str:
    return gettext(person) if person in (*SOURCES.values(), UNKNOWN_PERSON) else person


def compute_statistics(entries: Sequence[Entry]) -> dict[str, Any]:
    splits = {entry.image_id: entry.usage for entry in entries if entry.image_id is not None}
    measured: dict[str, dict[str, list[float]]] = {
        name: {split: [] for split in COMPARED} for name in MEASURES
    }
    existing = 0
    for chunk in chunks(list(splits)):
        rows = Image.objects.filter(pk__in=chunk).order_by()
        for pk, width, height, brightness, sharpness in rows.values_list(
            "pk", "width", "height", "brightness", "sharpness"
        ):
            existing += 1
            values = (min(width, height), brightness, sharpness)
            for name, value in zip(MEASURES, values, strict=True):
                if value is not None and splits[pk] in COMPARED:
                    measured[name][splits[pk]].append(float(value))
    people = Counter(
        _who(entry_label.annotated_by) for entry in entries for entry_label in entry.entry_labels
    )
    return {
        "people": [list(person) for person in people.most_common()],
        "measures": {
            name: _bin_counts(by_split, name) for name, by_split in measured.items() if any(by_split.values())
        },
        "gone": len(entries) - existing,
    }


def histograms(portrait: dict[str, Any]) -> list[Histogram]:
    """The histograms, each split as fractions of its own images."""
    return [_histogram_of(name, measured) for name, measured in portrait.get("measures", {}).items()]


def _who(annotated_by: str) -> str:
    """“human/anna” → “anna”; annotations without a person are named by their source."""
    source, _, person = annotated_by.partition("/")
    return person or SOURCES.get(source, UNKNOWN_PERSON)


def _bin_counts(values: dict[str, list[float]], name: str) -> dict[str, Any]:
    all_values = np.array([value for split in values.values() for value in split])
    low, high = float(all_values.min()), float(all_values.max())
    if name == "brightness":
        edges = np.linspace(0, 255, BINS + 1)
    elif low > 0 and high / low > 4:
        edges = np.geomspace(low, high, BINS + 1)
    else:
        edges = np.linspace(low, max(high, low + 1), BINS + 1)
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    counts = {
        split: np.histogram(values_of_split, edges)[0].tolist() for split, values_of_split in values.items()
    }
    median = float(np.median(all_values))
    measured = {"median": median, "least": low, "most": high}
    return {"edges": [round(float(edge), 3) for edge in edges], **counts, **measured}


def _histogram_of(name: str, measured: dict[str, Any]) -> Histogram:
    title, unit = map(str, MEASURE_TEXT[name])
    shares = {split: _shares(measured[split]) for split in COMPARED}
    top = max([*shares[Split.TRAIN], *shares[Split.EVAL], 1e-9])
    heights = {split: [round(share / top, 4) for share in shares[split]] for split in COMPARED}
    edges = measured["edges"]
    counts, bar_heights = (
        (measured[Split.TRAIN], measured[Split.EVAL]),
        (heights[Split.TRAIN], heights[Split.EVAL]),
    )
    bars = [HistogramBar(*row) for row in zip(edges[:-1], edges[1:], *counts, *bar_heights, strict=True)]
    low, high = measured["least"], measured["most"]
    summary = gettext("%(measure)s: %(low)s to %(high)s, median %(median)s.")
    if low == high:
        summary = gettext("%(measure)s: %(low)s for all images.")
    numbers = {"low": low, "high": high, "median": measured["median"]}
    texts = {key: decimal(value, 0) for key, value in numbers.items()}
    return Histogram(title, unit, bars, summary % {"measure": title, **texts})


def _shares(counts: Iterable[int]) -> list[float]:
    counts = list(counts)
    total = sum(counts) or 1
    return [count / total for count in counts]
