"""The score by which the search compares models: loss, accuracy and temperature of held-out logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.engine.evaluation.curves import in_millionths
from training.engine.evaluation.metrics import macro_f1

Floats = NDArray[np.float32]
TEMPERATURES = np.geomspace(0.05, 20, 61)


@dataclass(frozen=True, slots=True)
class Score:
    """`loss` decides, lower is better; `accuracy` and `macro_f1` are for people.

    `temperature` calibrates the scores; few rows never give one that makes them certain.
    """

    loss: float
    accuracy: float
    macro_f1: float
    temperature: float


def score_logits(logits: Floats, targets: Floats, is_multi_label: bool) -> Score:
    """The score of logits [N, C] against targets [N, C] of zeros and ones, at the best temperature.

    The loss is the mean of the plain and the class-balanced log loss, so that a rare class counts
    although few images show it. Log loss is far less noisy than accuracy on some hundred images.
    """
    weights = balanced_weights(targets)
    losses = [_log_loss(logits / t, targets, weights, is_multi_label) for t in TEMPERATURES]
    smoothed = _smoothed_targets(targets, is_multi_label)
    smoothed_losses = [_log_loss(logits / t, smoothed, weights, is_multi_label) for t in TEMPERATURES]
    accuracy, f1 = _accuracy_and_f1(logits, targets, is_multi_label)
    return Score(min(losses), accuracy, f1, float(TEMPERATURES[int(np.argmin(smoothed_losses))]))


def is_right(logits: Floats, targets: Floats, is_multi_label: bool) -> NDArray[np.bool_]:
    """[N] whether exactly the true labels are predicted."""
    if is_multi_label:
        return np.asarray(((logits > 0) == (targets > 0.5)).all(axis=1))
    return np.asarray(logits.argmax(axis=1) == targets.argmax(axis=1))


def row_losses(logits: Floats, targets: Floats, temperature: float, is_multi_label: bool) -> Floats:
    """[N] the loss of each row in the score of logits [N, C] at this temperature; their mean is the loss."""
    losses = _each_loss(logits / temperature, targets, is_multi_label) * balanced_weights(targets)
    return losses.astype(np.float32)


def _smoothed_targets(targets: Floats, is_multi_label: bool) -> Floats:
    """Targets [N, C] smoothed for N rows: (N + 1) / (N + 2) instead of 1 (Platt 1999)."""
    uncertainty = 1 / (len(targets) + 2)
    others = 1 if is_multi_label else max(targets.shape[1] - 1, 1)
    smoothed: Floats = (targets * (1 - uncertainty) + (1 - targets) * uncertainty / others).astype(np.float32)
    return smoothed


def balanced_weights(targets: Floats) -> NDArray[np.float64]:
    """[N] weights with mean one: half plain, half so that every class weighs the same."""
    counts = np.maximum(targets.sum(axis=0), 1)
    rarity = (targets / counts).sum(axis=1)
    rarity = rarity / max(rarity.mean(), 1e-12)
    return np.asarray(0.5 + 0.5 * rarity, dtype=np.float64)


def best_thresholds(scores: Floats, targets: Floats) -> list[float]:
    """For each label the score threshold, 0.05 to 0.95, with the best F1."""
    grid = np.linspace(0.05, 0.95, 37)
    return [
        float(grid[int(np.argmax(_f1_curve(scores[:, c], targets[:, c], grid)))])
        for c in range(scores.shape[1])
    ]


def _f1_curve(
    scores: NDArray[np.float32], truth: NDArray[np.float32], grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    # Whole millionths, as answers are decided: a score of 0.175 in float32 reaches the threshold 0.175.
    predicted = in_millionths(scores[None]) >= in_millionths(grid[:, None])
    hits = (predicted * truth[None]).sum(axis=1)
    curve = 2 * hits / np.maximum(predicted.sum(axis=1) + truth.sum(), 1)
    return np.asarray(
        curve - 1e-6 * np.abs(grid - 0.5), dtype=np.float64
    )  # of equal ones, the threshold nearest to one half


def _log_loss(logits: Floats, targets: Floats, weights: NDArray[np.float64], is_multi_label: bool) -> float:
    return float((_each_loss(logits, targets, is_multi_label) * weights).mean())


def _each_loss(logits: Floats, targets: Floats, is_multi_label: bool) -> NDArray[np.float64]:
    """[N] the unweighted loss of each row."""
    if is_multi_label:
        return np.asarray((np.logaddexp(0, logits) - targets * logits).mean(axis=1))
    top = logits.max(axis=1, keepdims=True)
    log_sum = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    return np.asarray(log_sum - (logits * targets).sum(axis=1))


def _accuracy_and_f1(logits: Floats, targets: Floats, is_multi_label: bool) -> tuple[float, float]:
    accuracy = float(is_right(logits, targets, is_multi_label).mean())
    if is_multi_label:
        predicted = logits > 0
        hits = (predicted & (targets > 0.5)).sum(axis=0)
        total = predicted.sum(axis=0) + targets.sum(axis=0)
        f1 = np.where(total > 0, 2 * hits / np.maximum(total, 1), 0)[total > 0]
        return accuracy, float(f1.mean() if f1.size else 0)
    return accuracy, macro_f1(targets.argmax(axis=1), logits.argmax(axis=1), targets.shape[1])
