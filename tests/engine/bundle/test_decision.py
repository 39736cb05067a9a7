"""The rule from scores to answers: exact at the threshold, in every precision in which a score is stored."""

from __future__ import annotations

import json

import numpy as np
import pytest

from training.engine.bundle.decision import OWN, AnswerSettings, DecisionRule, ranked, reaches
from training.engine.evaluation.scoring import best_thresholds

GRID = np.linspace(0.05, 0.95, 37)  # the thresholds that a training chooses from


@pytest.mark.parametrize("threshold", GRID.tolist())
def test_a_score_at_its_threshold_reaches_it_however_both_are_stored(threshold: float) -> None:
    stored = [threshold, float(np.float32(threshold)), round(threshold, 6), json.loads(json.dumps(threshold))]
    for limit in stored:
        assert all(reaches(score, limit) for score in [*stored, np.float32(threshold)])
        assert not reaches(round(threshold, 6) - 1e-6, limit)


def test_the_training_judges_a_score_at_the_threshold_as_the_answer_does() -> None:
    """In float64, the float32 score 0.175 would be below the threshold 0.175, and F1 there 0."""
    scores, targets = np.array([[0.175], [0.1]], np.float32), np.array([[1], [0]], np.float32)
    (threshold,) = best_thresholds(scores, targets)
    assert threshold == pytest.approx(0.175)
    rule = DecisionRule(("a",), True, (threshold,))
    assert [rule.decide(row.tolist()).labels for row in scores] == [("a",), ()]


def test_with_several_labels_each_has_its_own_threshold_unless_it_was_changed() -> None:
    rule = DecisionRule(("a", "b", "c"), True, (0.175, 0.55, 0.5))
    assert rule.decide([0.2, 0.5, 0.5]).labels == ("a", "c")
    changed = AnswerSettings({"b": 0.5, "c": 0.6})
    assert rule.decide([0.2, 0.5, 0.5], changed).labels == ("a", "b")
    assert rule.in_force(changed) == [0.175, 0.5, 0.6]
    assert rule.stated(changed, ["b"]) == {"thresholds": {"b": 0.5}, "min_familiarity": None}
    assert rule.decide([0, 0, 0], AnswerSettings(dict.fromkeys("abc", 0.0))).labels == ("a", "b", "c")
    assert rule.decide([0.2, 0.5, 0.5], AnswerSettings(min_confidence=1)).labels == ("a", "c")


@pytest.mark.parametrize(("best", "labels", "is_known"), [(0.8, ("b",), True), (0.799999, (), False)])
def test_with_one_label_a_score_below_the_minimum_confidence_is_unknown(
    best: float, labels: tuple[str, ...], is_known: bool
) -> None:
    rule = DecisionRule(("a", "b"), False, (0.5, 0.5))
    decision = rule.decide([1 - best, best], AnswerSettings(min_confidence=0.8), True, 0.9)
    assert (decision.labels, decision.is_known) == (labels, is_known)
    assert rule.decide([1 - best, best], OWN, True, 0.9).labels == ("b",)


@pytest.mark.parametrize(
    ("limit", "own", "familiarity", "expected"),
    [
        (None, False, 0.5, False),  # the model's own limits
        (0.5, False, 0.5, True),
        (0.5, True, 0.499999, False),
        (0.0, False, 0.0, True),
        (0.5, None, None, None),  # a model that cannot tell
    ],
)
def test_familiarity_replaces_the_models_own_limits(
    limit: float | None, own: bool | None, familiarity: float | None, expected: bool | None
) -> None:
    rule, settings = DecisionRule(("a", "b"), False, (0.5, 0.5)), AnswerSettings(min_familiarity=limit)
    assert rule.decide([0.4, 0.6], settings, own, familiarity).is_known is expected


def test_of_equal_scores_the_first_comes_first() -> None:
    assert ranked([0.2, 0.4, 0.4, 0.1]) == [1, 2, 0, 3]
    assert DecisionRule(("a", "b", "c"), False, (0.5,) * 3).decide([0.3, 0.35, 0.35]).labels == ("b",)


def test_settings_survive_json_and_empty_ones_are_nothing() -> None:
    for settings in (OWN, AnswerSettings({"a": 0.2}, 0.3, 0.0), AnswerSettings(min_familiarity=1.0)):
        assert AnswerSettings.from_json(json.loads(json.dumps(settings.as_json()))) == settings
    assert OWN.as_json() == {} and OWN.text == "" and AnswerSettings.from_json(None) == OWN
    assert AnswerSettings({"a": 0.2}, 0.3).text == "thresholds a 0.200; min. confidence 0.300"
