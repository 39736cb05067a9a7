"""Curves and calibration equal those of scikit-learn, also with ties and with scores at the ends of bins."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

from training.engine.bundle.decision import reaches
from training.engine.evaluation import curves


def scores_and_truth(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """300 scores of three decimals, so that many are equal, some at 0, 1, and the ends of bins."""
    dice = np.random.default_rng(seed)
    truth = dice.random(300) < 0.3
    scores = np.clip(dice.normal(0.3 + 0.4 * truth, 0.25), 0, 1).round(3)
    scores[:22] = np.tile(np.linspace(0, 1, 11), 2)
    return scores, truth


@pytest.mark.parametrize("seed", range(5))
def test_precision_recall_and_average_precision(seed: int) -> None:
    scores, truth = scores_and_truth(seed)
    precision, recall, thresholds = curves.precision_recall(scores, truth)
    expected = precision_recall_curve(truth, scores)
    assert np.allclose(precision, expected[0][:-1][::-1]) and np.allclose(recall, expected[1][:-1][::-1])
    assert np.array_equal(thresholds, expected[2][::-1])
    assert curves.average_precision(scores, truth) == pytest.approx(average_precision_score(truth, scores))


@pytest.mark.parametrize("seed", range(5))
def test_calibration(seed: int) -> None:
    scores, truth = scores_and_truth(seed)
    bins = curves.calibration(scores, truth)
    filled = [bin_ for bin_ in bins if bin_.images]
    shares, means = calibration_curve(truth, scores, n_bins=curves.BINS)
    assert [bin_.right / bin_.images for bin_ in filled] == pytest.approx(shares.tolist())
    assert [bin_.confidence for bin_ in filled] == pytest.approx(means.tolist())
    assert sum(bin_.images for bin_ in bins) == len(scores)
    weights = np.array([bin_.images for bin_ in filled]) / len(scores)
    assert curves.calibration_error(bins) == pytest.approx(float((weights * abs(shares - means)).sum()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_counts_at_each_of_the_101_thresholds(dtype: type) -> None:
    scores = np.array([number / 100 for number in range(101)] + [0.125, 0.5049999, 0.7], dtype)
    truth = np.arange(len(scores)) % 2 == 0
    for step, (hits, predicted) in enumerate(curves.threshold_counts(scores.astype(np.float64), truth)):
        is_predicted = np.array([reaches(score, step / 100) for score in scores])
        assert (hits, predicted) == ((is_predicted & truth).sum(), is_predicted.sum()), step


def test_the_best_threshold_has_the_best_f1() -> None:
    scores, truth = scores_and_truth(1)
    best = curves.best_threshold(scores, truth)
    candidates = [f1_score(truth, scores >= threshold) for threshold in np.unique(scores)]
    assert f1_score(truth, scores >= best) == pytest.approx(max(candidates))


def test_thresholds_chosen_on_noise_promise_what_they_do_not_keep() -> None:
    dice = np.random.default_rng(3)
    scores, truth = dice.random((60, 4)), dice.random((60, 4)) < 0.3
    tuned = curves.tuned_f1(scores, truth)
    best = np.array([curves.best_threshold(scores[:, c], truth[:, c]) for c in range(4)])
    assert tuned.same_images == pytest.approx(f1_score(truth, scores >= best, average="macro"))
    assert tuned.left_out < tuned.same_images
