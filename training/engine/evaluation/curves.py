"""How an evaluation looks at every threshold: counts, calibration, coverage. numpy only; pure."""

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
    """Images whose confidence lies in one tenth: how many, how sure on average, and how many were right."""

    images: int
    confidence: float
    right: int


def threshold_counts(scores: Floats, truth: Bools) -> list[list[int]]:
    """[STEPS] of [hits, named]: images of one label with a score [N] of at least each threshold."""
    at = np.clip(np.floor((scores + ROUNDING) * (STEPS - 1)).astype(np.int64), 0, STEPS - 1)
    named = np.bincount(at, minlength=STEPS)[::-1].cumsum()[::-1]
    hits = np.bincount(at[truth], minlength=STEPS)[::-1].cumsum()[::-1]
    return [[int(hit), int(all_)] for hit, all_ in zip(hits, named, strict=True)]


def average_precision(scores: Floats, truth: Bools) -> float | None:
    """Σ (R_n - R_{n-1}) P_n over the distinct scores [N], falling; None where no image carries the label."""
    if not truth.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, found = scores[order], truth[order].cumsum()
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    recall, precision = found[ends] / found[-1], found[ends] / (ends + 1)
    return float((np.diff(recall, prepend=0) * precision).sum())


def calibration(confidence: Floats, right: Bools) -> list[CalibrationBin]:
    """BINS bins of equal width of the confidences [N]; of each, what a reliability diagram shows."""
    at = np.clip((confidence * BINS).astype(np.int64), 0, BINS - 1)
    bins = []
    for number in range(BINS):
        inside = at == number
        images = int(inside.sum())
        mean = float(confidence[inside].mean()) if images else (number + 0.5) / BINS
        bins.append(CalibrationBin(images, mean, int((inside & right).sum())))
    return bins


def calibration_error(bins: list[CalibrationBin]) -> float:
    """The expected calibration error (Naeini et al. 2015): how far confidence and share of right answers lie
    apart, bins weighted by their images; 0 to 1."""
    total = sum(one.images for one in bins) or 1
    return sum(abs(one.right - one.confidence * one.images) for one in bins) / total


def coverage(confidence: Floats, right: Bools) -> list[list[int]]:
    """[STEPS] of [right, answered]: what is left when less sure answers than each threshold are refused."""
    return threshold_counts(confidence, right)
