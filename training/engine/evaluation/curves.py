"""An evaluation at every threshold: counts, calibration, coverage. numpy only, as web pages compute it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS = 101  # thresholds 0.00, 0.01 … 1.00
BINS = 10
ROUNDING = 1e-9

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The images with a confidence in one tenth: their number, mean confidence, and how many are correct."""

    images: int
    confidence: float
    right: int


def threshold_counts(scores: Floats, truth: Bools) -> list[list[int]]:
    """[STEPS] of [hits, predicted]: images of one label whose score [N] reaches each threshold."""
    steps = np.clip(np.floor((scores + ROUNDING) * (STEPS - 1)).astype(np.int64), 0, STEPS - 1)
    predicted = np.bincount(steps, minlength=STEPS)[::-1].cumsum()[::-1]
    hits = np.bincount(steps[truth], minlength=STEPS)[::-1].cumsum()[::-1]
    return [[int(hit), int(count)] for hit, count in zip(hits, predicted, strict=True)]


def average_precision(scores: Floats, truth: Bools) -> float | None:
    """Σ (R_n - R_{n-1}) P_n over the distinct scores [N], falling; None where no image carries the label."""
    if not truth.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], truth[order].cumsum()
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    recall, precision = hits[ends] / hits[-1], hits[ends] / (ends + 1)
    return float((np.diff(recall, prepend=0) * precision).sum())


def calibration(confidence: Floats, right: Bools) -> list[CalibrationBin]:
    """The confidences [N] in BINS bins of equal width, for a reliability diagram."""
    tenths = np.clip((confidence * BINS).astype(np.int64), 0, BINS - 1)
    bins = []
    for number in range(BINS):
        inside = tenths == number
        images = int(inside.sum())
        mean = float(confidence[inside].mean()) if images else (number + 0.5) / BINS
        bins.append(CalibrationBin(images, mean, int((inside & right).sum())))
    return bins


def calibration_error(bins: list[CalibrationBin]) -> float:
    """The expected calibration error (Naeini et al. 2015), 0 to 1.

    It is the mean difference between confidence and accuracy, bins weighted by their number of images.
    """
    total = sum(bin_.images for bin_ in bins) or 1
    return sum(abs(bin_.right - bin_.confidence * bin_.images) for bin_ in bins) / total


def coverage(confidence: Floats, right: Bools) -> list[list[int]]:
    """[STEPS] of [correct, answered]: images that are left when lower confidences are refused."""
    return threshold_counts(confidence, right)
