"""Geometry of the charts that pages draw themselves, so that they are interactive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from exeml_site.lib.display import percent
from training.engine.evaluation.metrics import Rate, wilson
from training.models import Curve

PLOT_UNITS = 100  # width and height of a chart
THRESHOLD_COUNT = 101


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


def precision_recall_line(points: Sequence[Sequence[int]]) -> str:
    """SVG points with recall to the right and precision upwards; no predictions, no precision."""
    carried = points[0][0]
    coordinates = [(hits / carried, hits / predicted) for hits, predicted in points if predicted and carried]
    return _polyline_points(coordinates)


class CoverageStep(NamedTuple):
    """Coverage and accuracy if answers below a confidence threshold are rejected."""

    threshold: float
    answered: Rate  # of all images
    right: Rate  # of the answered ones

    @property
    def unanswered(self) -> int:
        return self.answered.support - self.answered.hits


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


def calibration_text(bins: Sequence[CalibrationBar], error: float | None) -> str:
    """Mean confidence against accuracy, as a sentence; empty if unknown."""
    images = sum(bin_.rate.support for bin_ in bins)
    if not images or error is None:
        return ""
    confidence = sum(bin_.confidence * bin_.rate.support for bin_ in bins) / images
    accuracy = sum(bin_.rate.hits for bin_ in bins) / images
    rate = wilson(sum(bin_.rate.hits for bin_ in bins), images)
    text = f"On average the confidence is {percent(confidence)} and the accuracy {percent(accuracy)}"
    if rate.low is not None and rate.high is not None and rate.low <= confidence <= rate.high:
        return f"{text}: with {images} images, there is no reliable difference."
    return f"{text}: the model is {'over' if confidence > accuracy else 'under'}confident."


def _polyline_points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{PLOT_UNITS * x:.2f},{PLOT_UNITS * (1 - y):.2f}" for x, y in points)
