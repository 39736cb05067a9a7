"""Label suggestions: calibrated probabilities, and leave-one-out scores in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from training.engine.assist import label_suggestions
from training.engine.assist.label_suggestions import (
    DIVERSE_ROWS,
    Floats,
    _discriminant,
    _handicap,
    acquisition_scores,
    fit,
    out_of_fold_probabilities,
    share_with_neighbours,
)

WIDTH = 24


def clouds(labels: int, each: int, seed: int = 0, spread: float = 0.35) -> tuple[Floats, Floats]:
    """Features [labels · each, WIDTH] of length 1 around one direction for each label, and targets."""
    random = np.random.default_rng(seed)
    middles = np.random.default_rng(99).standard_normal((labels, WIDTH))
    mine = np.repeat(np.arange(labels), each)
    rows = middles[mine] / np.linalg.norm(middles[mine], axis=1, keepdims=True)
    rows = rows + spread / np.sqrt(WIDTH) * 3 * random.standard_normal(rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.eye(labels, dtype=np.float32)[mine]


@pytest.mark.parametrize("each", [2, 5, 40])
def test_few_labels_are_enough_to_tell_new_pictures_apart(each: int) -> None:
    fitted = fit(*clouds(4, each), False)
    features, targets = clouds(4, 50, seed=1)
    assert fitted is not None
    likely = fitted.probabilities(features)
    assert np.allclose(likely.sum(1), 1, atol=1e-4)
    assert (likely.argmax(1) == targets.argmax(1)).mean() > 0.9


def test_scores_that_leave_a_row_out_are_those_of_a_fit_without_it() -> None:
    features, targets = clouds(3, 12, spread=0.8)
    known = np.ones(3, np.bool_)
    _, _, left_out, _ = _discriminant(features, targets, known)
    for row in (0, 13, 35):
        rest = np.delete(np.arange(36), row)
        weight, bias, _, _ = _discriminant(features[rest], targets[rest], known)
        anew = features[row] @ weight + bias
        mine, others = left_out[row] - left_out[row].mean(), anew - anew.mean()
        assert np.allclose(mine, others, rtol=0.08, atol=0.05 * np.abs(others).max())


@pytest.mark.parametrize("each", [2, 3, 5])
def test_with_few_images_a_label_probabilities_neither_claim_too_much_nor_know_nothing(each: int) -> None:
    stated, right, confident = [], [], []
    for seed in range(20):
        fitted = fit(*clouds(5, each, seed=100 + seed, spread=0.55), False)
        features, targets = clouds(5, 60, seed=seed, spread=0.55)
        likely = share_with_neighbours(features, fitted.probabilities(features))
        is_right = likely.argmax(1) == targets.argmax(1)
        stated.append(likely.max(1).mean())
        right.append(is_right.mean())
        confident.append(is_right[likely.max(1) > 0.8])
    assert np.mean(right) > 0.6
    assert np.mean(right) - 0.25 < np.mean(stated) < np.mean(right) + 0.03
    assert np.concatenate(confident).mean() > 0.85


def test_left_out_scores_are_as_high_as_those_of_new_images() -> None:
    own_left_out, own_new = [], []
    for seed in range(30):
        features, targets = clouds(4, 3, seed=seed, spread=0.8)
        weight, bias, scores, distances = _discriminant(features, targets, np.ones(4, np.bool_))
        scores += targets * _handicap(targets, distances)
        new, new_targets = clouds(4, 20, seed=500 + seed, spread=0.8)
        own_left_out.append(_lead(scores, targets))
        own_new.append(_lead(new @ weight + bias, new_targets))
    assert np.mean(own_left_out) == pytest.approx(np.mean(own_new), rel=0.15)


def _lead(scores: Floats, targets: Floats) -> float:
    """How much higher the score of the true label is than the mean of the others, on average."""
    own = (scores * targets).sum(1)
    return float((own - (scores.sum(1) - own) / (scores.shape[1] - 1)).mean())


def test_neighbours_correct_a_mistake_and_make_nothing_more_certain() -> None:
    features, targets = clouds(3, 100)
    likely = 0.8 * targets + 0.2 / 3
    likely[5] = [0.45, 0.5, 0.05]
    shared = share_with_neighbours(features, likely.astype(np.float32))
    assert (shared.argmax(1) == targets.argmax(1)).all()
    assert np.allclose(shared.sum(1), 1, atol=1e-4) and shared.max() <= likely.max() + 1e-6


def test_with_few_unlabeled_images_neighbours_change_nothing() -> None:
    features, targets = clouds(3, 60)
    assert np.array_equal(share_with_neighbours(features, targets), targets)


def test_neighbours_are_found_among_many_images() -> None:
    features, targets = clouds(3, 2000, spread=0.8)
    noisy = np.random.default_rng(0).dirichlet([1, 1, 1], 6000).astype(np.float32) + 0.6 * targets
    noisy /= noisy.sum(1, keepdims=True)
    shared = share_with_neighbours(features, noisy)
    own = targets.argmax(1)
    assert (shared.argmax(1) == own).mean() > (noisy.argmax(1) == own).mean() + 0.05


def test_a_probability_means_what_it_says() -> None:
    fitted = fit(*clouds(5, 30, spread=1.2), False)
    features, targets = clouds(5, 400, seed=2, spread=1.2)
    likely = fitted.probabilities(features)
    is_right = likely.argmax(1) == targets.argmax(1)
    assert 0.5 < is_right.mean() < 0.97  # neither trivial nor hopeless
    assert abs(likely.max(1).mean() - is_right.mean()) < 0.08


def test_with_four_pictures_nothing_is_sure() -> None:
    features, targets = clouds(2, 2)
    assert fit(features, targets, False).probabilities(features).max() < 0.95


def test_a_label_with_one_picture_is_never_suggested_and_one_label_teaches_nothing() -> None:
    features, targets = clouds(3, 6)
    keep = np.r_[0:12, 12]
    likely = fit(features[keep], targets[keep], False).probabilities(features)
    assert np.all(likely[:, 2] == 0) and np.allclose(likely.sum(1), 1, atol=1e-4)
    assert fit(features[:6], targets[:6], False) is None
    assert fit(features[:0], targets[:0], False) is None


def test_a_wrong_label_stands_out_when_it_is_left_out() -> None:
    features, targets = clouds(3, 30)
    targets[4] = [0, 1, 0]
    likely = out_of_fold_probabilities(features, targets)
    assert likely[4].argmax() == 0 and likely[4, 0] > 0.8
    assert (likely.argmax(1) == targets.argmax(1)).sum() == 89


def test_several_labels_a_picture_are_judged_one_by_one() -> None:
    random = np.random.default_rng(3)
    middles = random.standard_normal((3, WIDTH))
    targets = (random.random((200, 3)) < 0.4).astype(np.float32)
    rows = targets @ middles + 0.4 * random.standard_normal((200, WIDTH))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    likely = fit(rows[:120], targets[:120], True).probabilities(rows[120:])
    assert ((likely > 0.5) == (targets[120:] > 0)).mean() > 0.85


def test_the_most_useful_pictures_are_spread_over_all_kinds_before_there_are_labels() -> None:
    features, targets = clouds(6, 50)
    order = np.argsort(-acquisition_scores(features, None, 0))
    assert set(targets.argmax(1)[order[:12]]) == set(range(6))


def test_with_labels_enough_the_unsure_ones_come_first_and_the_order_never_ends() -> None:
    features, _ = clouds(2, 400)
    likely = np.full((800, 2), [0.99, 0.01], np.float32)
    likely[100:140] = [0.51, 0.49]
    useful = acquisition_scores(features, likely, 50)
    first = np.argsort(-useful)[:20]
    assert np.isin(first, np.arange(100, 140)).mean() > 0.7
    assert np.isfinite(useful).all() and (useful > 1).sum() == DIVERSE_ROWS
    assert np.array_equal(useful, acquisition_scores(features, likely, 50))


def test_no_picture_is_no_order() -> None:
    assert label_suggestions.acquisition_scores(np.zeros((0, 8), np.float32), None, 0).shape == (0,)
