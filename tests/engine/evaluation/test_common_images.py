"""The images on which models are ranked: those that all of them held out."""

from __future__ import annotations

import numpy as np
import pytest

from training.engine.evaluation.common_images import common_rows, p_values_against


def mask(*rows: int, count: int = 10) -> np.ndarray:
    held_out = np.zeros(count, np.bool_)
    held_out[list(rows)] = True
    return held_out


def test_models_are_ranked_on_the_images_that_all_held_out() -> None:
    everything, part = mask(*range(10)), mask(0, 1, 2, 3)
    for chosen in (0, 1):
        rows, is_ranked = common_rows([everything, part], chosen)
        assert np.flatnonzero(rows).tolist() == [0, 1, 2, 3]
        assert is_ranked == [True, True]


def test_a_model_without_an_image_in_common_is_not_ranked_and_costs_the_others_nothing() -> None:
    rows, is_ranked = common_rows([mask(0, 1, 2, 3), mask(8, 9), mask(1, 2, 3, 4)], 0)
    assert np.flatnonzero(rows).tolist() == [1, 2, 3]
    assert is_ranked == [True, False, True]


def test_a_difference_is_tested_on_pairs_and_adjusted_for_their_number() -> None:
    chosen, worse, equal = mask(*range(10)), mask(0, 1), mask(*range(9))
    alone = p_values_against(chosen, [worse])
    assert alone == [pytest.approx(2 * 0.5**8)]  # the exact test: 8 of 8 for the chosen one
    assert p_values_against(chosen, [worse, equal]) == [pytest.approx(2 * alone[0]), 1.0]
