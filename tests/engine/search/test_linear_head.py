"""Linear heads: the solution is scikit-learn's, duplicates share a fold, few rows give less certainty."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from training.engine.evaluation.scoring import score_logits
from training.engine.search import linear_head


def make_rows(rows: int, columns: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Features [N, F] of classes that overlap, with columns of very different size, and their targets."""
    random = np.random.default_rng(seed)
    kinds = np.arange(rows) % classes
    centres = random.normal(0, 1, (classes, columns))
    features = (centres[kinds] + random.normal(0, 3, (rows, columns))) * np.geomspace(0.01, 10, columns)
    return torch.from_numpy(features.astype(np.float32)), np.eye(classes, dtype=np.float32)[kinds]


@pytest.mark.parametrize(("rows", "columns"), [(300, 20), (60, 200)], ids=["many rows", "turned"])
def test_a_head_is_the_logistic_regression_of_scikit_learn(rows: int, columns: int) -> None:
    features, targets = make_rows(rows, columns, 3)
    strength = 1e-3

    head = linear_head.fit_head(features, targets, strength, False, np.ones(rows), lambda: None)

    basis = linear_head._basis(features, 3)
    scaled = ((features - basis.mean) / basis.scale).numpy()
    peer = LogisticRegression(C=1 / (strength * rows), tol=1e-8, max_iter=5000)
    peer.fit(scaled, targets.argmax(axis=1))
    ours = torch.softmax(features @ head.weight.T + head.bias, dim=1).numpy()
    assert np.abs(ours - peer.predict_proba(scaled)).max() < 0.02


def test_turning_the_rows_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    features, targets = make_rows(60, 200, 3)
    answers = []
    for cost in (0, linear_head.PROJECTION_COST):
        monkeypatch.setattr(linear_head, "PROJECTION_COST", cost)
        head = linear_head.fit_head(features, targets, 1e-3, False, np.ones(60), lambda: None)
        answers.append((features @ head.weight.T + head.bias).numpy())
    assert np.abs(answers[0] - answers[1]).max() < 0.05


def test_copies_share_a_fold_and_every_fold_sees_every_label() -> None:
    targets = np.eye(2, dtype=np.float32)[np.arange(40) % 2]
    groups = np.arange(40)
    groups[[3, 17, 29]] = 3

    folds = linear_head.make_folds(targets, 5, 0, groups)

    assert len(set(folds[[3, 17, 29]])) == 1
    assert all(targets[folds == fold].any(axis=0).all() for fold in range(5))


def test_few_rows_never_vouch_for_certainty() -> None:
    """Ten correct predictions are too few for a score near one."""
    for rows, most in ((10, 0.95), (1000, 1.0)):
        targets = np.eye(2, dtype=np.float32)[np.arange(rows) % 2]
        score = score_logits(20 * targets, targets, False)
        top = 1 / (1 + np.exp(-20 / score.temperature))
        assert score.accuracy == 1
        assert 0.85 < top <= most


def test_in_few_rows_one_wrong_answer_weighs() -> None:
    targets = np.eye(2, dtype=np.float32)[np.arange(10) % 2]
    logits = 20 * targets
    logits[0] = logits[0, ::-1]
    assert (
        score_logits(logits, targets, False).temperature
        > score_logits(20 * targets, targets, False).temperature
    )
