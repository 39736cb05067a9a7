"""How the time is spread: pure functions from facts and limits to numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

HEADS_SHARE = 0.5  # of the limit may go to frozen features and their heads
READING_SHARE = 0.3  # of the limit may go to decoding
TUNING_SHARE = 0.15  # of the limit may go to fine-tuning: beyond that more time was not worth it
LEAST_TUNING_S = 240.0  # but so much is always worth it
EXPORT_S = 6.0  # kept back for the last export
MIN_EPOCHS = 2


@dataclass(frozen=True, slots=True)
class TuningBudget:
    """`folds` trial runs of `epochs` on part of the rows, then (`is_refit`) one on all rows."""

    folds: int
    epochs: int
    is_refit: bool


def evaluation_reserve_s(eval_images: int, image_s: float = 0.05) -> float:
    """Seconds kept back for the evaluation after the fit, and for loading the model."""
    return 3 + 1.3 * eval_images * image_s


def rows_that_fit(rows: int, image_s: float, max_seconds: float) -> int:
    """How many of the rows can be read in the time meant for reading, at `image_s` each."""
    return min(rows, max(100, int(READING_SHARE * max_seconds / max(image_s, 1e-6))))


def cache_side(long_sides: list[int], largest: int) -> int:
    """Side of the cached squares: that of the largest network, less where all pictures are tiny."""
    if not long_sides:
        return largest
    typical = sorted(long_sides)[int(0.9 * (len(long_sides) - 1))]
    return max(32, min(largest, math.ceil(typical / 16) * 16))


def fold_count(rows: int) -> int:
    """Folds of the cross-validation of heads."""
    return 5 if rows < 1000 else 3


def wanted_epochs(rows: int) -> int:
    """Small sets need more passes. In the spirit of BiT's rule (Kolesnikov et al. 2020)."""
    return int(min(12, max(3, round(240 / math.sqrt(rows)))))


def tuning_seconds(left_s: float, max_seconds: float) -> float:
    """Seconds meant for fine-tuning, out of what is left."""
    return min(left_s - EXPORT_S, max(TUNING_SHARE * max_seconds, LEAST_TUNING_S)) * 0.9


def tuning_budget(rows: int, image_s: float, left_s: float, max_seconds: float) -> TuningBudget | None:
    """The longest fine-tuning that fits, or None where not even a short one does.

    `image_s`: seconds of one training image. A trial leaves one fifth of the rows out.
    """
    allowed = tuning_seconds(left_s, max_seconds)
    epoch_s = rows * image_s
    for folds in (2, 1) if rows < 600 else (1,):
        passes = 0.8 * folds + 1
        if wanted_epochs(rows) * passes * epoch_s <= allowed:
            return TuningBudget(folds, wanted_epochs(rows), True)
    epochs = int(allowed / (1.8 * epoch_s))
    if epochs >= 4:
        return TuningBudget(1, min(epochs, wanted_epochs(rows)), True)
    epochs = int(allowed / (0.8 * epoch_s))
    if epochs >= MIN_EPOCHS:
        return TuningBudget(1, min(epochs, wanted_epochs(rows)), False)
    return None
