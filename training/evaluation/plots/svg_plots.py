"""Geometry of the charts that pages draw themselves, so that they are interactive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from django.utils.translation import gettext, ngettext
from numpy.typing import NDArray

from exeml_site.lib.display import count, percent
from training.engine.evaluation import curves
from training.engine.evaluation.intervals import wilson_interval
from training.engine.evaluation.metrics import Rate, wilson
from training.models import Curve

PLOT_UNITS = 100  # width and height of a chart
THRESHOLD_COUNT = 101
MAX_POINTS = 500  # of a line; a screen shows no more


class ThresholdStep(NamedTuple):
    """Precision and recall of a label at one threshold."""

    threshold: float
    precision: Rate
    recall: Rate

    @property
    def missed(self) -> int:
        return self.recall.support - self.recall.hits

    @property
    def false_alarms(self) -> int:
        return self.precision.support - self.precision.hits


def threshold_steps(points: Sequence[Sequence[int]], every: int = 10) -> list[ThresholdStep]:
    """Every `every`th threshold of a THRESHOLD curve. At threshold 0 every image is predicted, so its hits
    are all images that carry the label."""
    carried = points[0][0]
    return [
        ThresholdStep(number / (THRESHOLD_COUNT - 1), wilson(hits, predicted), wilson(hits, carried))
        for number, (hits, predicted) in enumerate(points)
        if number % every == 0
    ]


def precision_recall_line(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> str:
    """SVG points with recall to the right and precision upwards, at every distinct score of a label."""
    precision, recall, _ = curves.precision_recall(scores, truth)
    stride = max(1, len(recall) // MAX_POINTS)
    return _polyline_points(zip(recall[::stride].tolist(), precision[::stride].tolist(), strict=True))


class CoverageStep(NamedTuple):
    """Coverage and accuracy if answers below a confidence threshold are rejected."""

    threshold: float
    answered: Rate  # of all images
    right: Rate  # of the answered ones


def coverage_steps(points: Sequence[Sequence[int]], every: int = 10) -> list[CoverageStep]:
    total = points[0][1]
    return [
        coverage_step(right, answered, total, number / (THRESHOLD_COUNT - 1))
        for number, (right, answered) in enumerate(points)
        if number % every == 0
    ]


def coverage_step(right: int, answered: int, total: int, threshold: float = 0.0) -> CoverageStep:
    return CoverageStep(threshold, wilson(answered, total), wilson(right, answered))


def coverage_line(points: Sequence[Sequence[int]]) -> str:
    """SVG points with coverage to the right and accuracy upwards."""
    total = points[0][1]
    return _polyline_points((answered / total, right / answered) for right, answered in points if answered)


class CalibrationBar(NamedTuple):
    """A bin of the reliability diagram."""

    low: int
    high: int
    confidence: float
    rate: Rate
    x: float
    height: float


def calibration_bins(curve: Curve) -> list[CalibrationBar]:
    bins = []
    for number, (images, confidence, right) in enumerate(curve.points):
        rate = wilson(right, images)
        height = PLOT_UNITS * (rate.value or 0.0)
        bins.append(
            CalibrationBar(10 * number, 10 * number + 10, confidence, rate, 10 * number + 0.6, height)
        )
    return bins


def calibration_text(
    bins: Sequence[CalibrationBar], error: float | None, images: int, is_multi_label: bool = False
) -> str:
    """Mean confidence against the share that is right, as a sentence; empty if unknown.

    With several labels, the decisions on one image are not independent: the interval of the comparison is
    that of the number of images.
    """
    decisions = sum(bin_.rate.support for bin_ in bins)
    if not decisions or error is None:
        return ""
    confidence = sum(bin_.confidence * bin_.rate.support for bin_ in bins) / decisions
    share = sum(bin_.rate.hits for bin_ in bins) / decisions
    low, high = wilson_interval(share, images)
    text = gettext("Average confidence is %(confidence)s, and accuracy is %(share)s.")
    if is_multi_label:
        text = gettext(
            "The average score of a label is %(confidence)s, and %(share)s of the %(decisions)s decisions "
            "(one for each image and label) are a label of the image."
        )
    values = {"confidence": percent(confidence), "share": percent(share), "decisions": count(decisions)}
    if not low <= confidence <= high:
        return f"{text % values} {_miscalibration(confidence > share, is_multi_label)}"
    none = ngettext(
        "With %(count)s image, there is no reliable difference.",
        "With %(count)s images, there is no reliable difference.",
        images,
    )
    return f"{text % values} {none % {'count': count(images)}}"


def _miscalibration(is_too_high: bool, is_multi_label: bool) -> str:
    if is_multi_label:
        return gettext("Scores are too high.") if is_too_high else gettext("Scores are too low.")
    return gettext("The model is overconfident.") if is_too_high else gettext("The model is underconfident.")


def _polyline_points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{PLOT_UNITS * x:.2f},{PLOT_UNITS * (1 - y):.2f}" for x, y in points)
