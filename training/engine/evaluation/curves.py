"""An evaluation at every threshold: counts, calibration, coverage. numpy only, as web pages compute it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 101  # thresholds 0.00, 0.01 … 1.00
BINS = 10
FOLDS = 5
MILLION = 1_000_000

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The decisions with a confidence in one tenth: their number, mean confidence, and how many are right.

    A decision is an image where images carry one label, else an image and a label.
    """

    images: int
    confidence: float
    right: int


def in_millionths(scores: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Scores as whole millionths, the precision of answers, compared exactly as by `decision.reaches`."""
    return np.asarray(np.rint(scores.astype(np.float64) * MILLION), np.int64)


def threshold_counts(scores: Floats, truth: Bools) -> list[list[int]]:
    """[STEPS] of [hits, predicted]: images of one label whose score [N] reaches each threshold."""
    steps = np.clip(in_millionths(scores) * (STEPS - 1) // MILLION, 0, STEPS - 1)
    predicted = np.bincount(steps, minlength=STEPS)[::-1].cumsum()[::-1]
    hits = np.bincount(steps[truth], minlength=STEPS)[::-1].cumsum()[::-1]
    return [[int(hit), int(count)] for hit, count in zip(hits, predicted, strict=True)]


def precision_recall(scores: Floats, truth: Bools) -> tuple[Floats, Floats, Floats]:
    """(precision, recall, threshold) [D] at each distinct score of one label, falling from the highest.

    All are empty where no image carries the label.
    """
    if not truth.any():
        return np.zeros(0), np.zeros(0), np.zeros(0)
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], truth[order].cumsum()
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    return hits[ends] / (ends + 1), hits[ends] / hits[-1], ranked[ends]


def average_precision(scores: Floats, truth: Bools) -> float | None:
    """Σ (R_n - R_{n-1}) P_n over the distinct scores [N], falling; None where no image carries the label."""
    if not truth.any():
        return None
    precision, recall, _ = precision_recall(scores, truth)
    return float((np.diff(recall, prepend=0) * precision).sum())


def calibration(confidence: Floats, right: Bools) -> list[CalibrationBin]:
    """The confidences [N] in BINS bins of equal width, for a reliability diagram.

    An upper end belongs to its bin, as in scikit-learn's `calibration_curve`.
    """
    tenths = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)
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


@dataclass(frozen=True, slots=True)
class TunedF1:
    """Macro-F1 at the best thresholds of these images: on the same images, and on images left out."""

    same_images: float
    left_out: float


def tuned_f1(scores: Floats, truth: Bools) -> TunedF1:
    """What thresholds [C] promise that are chosen on the images [N, C] on which they are judged.

    `left_out` chooses them on four fifths of the images and judges the last fifth, five times over.
    """
    folds = np.random.default_rng(0).permutation(len(scores)) % FOLDS
    same, left_out = np.zeros_like(truth), np.zeros_like(truth)
    for column in range(scores.shape[1]):
        of_label, carried = scores[:, column], truth[:, column]
        same[:, column] = of_label >= best_threshold(of_label, carried)
        for fold in range(FOLDS):
            inside = folds == fold
            limit = best_threshold(of_label[~inside], carried[~inside])
            left_out[inside, column] = of_label[inside] >= limit
    return TunedF1(_macro_f1(truth, same), _macro_f1(truth, left_out))


def best_threshold(scores: Floats, truth: Bools) -> float:
    """The score [N] with the best F1 of one label, in the middle to the next lower one; 1 without images."""
    precision, recall, thresholds = precision_recall(scores, truth)
    if not len(thresholds):
        return 1.0
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(np.argmax(f1))
    below = thresholds[best + 1] if best + 1 < len(thresholds) else 0.0
    return float((thresholds[best] + below) / 2)


def _macro_f1(truth: Bools, predicted: Bools) -> float:
    hits, total = (truth & predicted).sum(axis=0), truth.sum(axis=0) + predicted.sum(axis=0)
    used = total > 0
    return float(np.mean(2 * hits[used] / total[used])) if used.any() else 0.0
