"""The images on which several models can be ranked: those that all of them held out.

Models that held out different images have accuracies that differ by the images alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.engine.evaluation.significance import holm_adjusted, mcnemar_p_value

Mask = NDArray[np.bool_]


def common_rows(held_out: Sequence[Mask], chosen: int) -> tuple[Mask, list[bool]]:
    """The rows [N] that all ranked models held out, and for each model whether it is ranked.

    A model that held out none of the rows that the `chosen` one and those before it share is not ranked.
    Models with many held-out rows come first, so that a single odd one is left out and not the others.
    """
    rows, is_ranked = held_out[chosen].copy(), [False] * len(held_out)
    is_ranked[chosen] = True
    for index in sorted(range(len(held_out)), key=lambda index: -int(held_out[index].sum())):
        shared = rows & held_out[index]
        if shared.any():
            rows, is_ranked[index] = shared, True
    return rows, is_ranked


def p_values_against(chosen: Mask, others: Sequence[Mask]) -> list[float]:
    """For each of the `others` the p-value of its difference from the chosen model, adjusted (Holm).

    The masks [K] say which of the common images each model predicts correctly.
    """
    return holm_adjusted(
        [mcnemar_p_value(int((chosen & ~other).sum()), int((other & ~chosen).sum())) for other in others]
    )
