"""The evaluation of a version under answer settings, from its stored predictions.

The metrics of a version stay those of its training; only pages that say so show these figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.bundle.decision import AnswerSettings, Decision, DecisionRule
from training.engine.evaluation import curves
from training.engine.evaluation.metrics import LabelReport, Rate, report, wilson
from training.models import TrainingVersion


@dataclass(frozen=True)
class StoredPredictions:
    """The stored predictions of a version. `labels` are those of the scores [N, C]."""

    labels: tuple[str, ...]
    truths: list[list[str]]
    scores: list[list[float]]
    is_known: list[bool | None]
    familiarity: list[float | None]

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def detects_unknown(self) -> bool:
        return any(value is not None for value in self.familiarity)

    def of_label(self, label: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Scores [N] of a label, and which images carry it."""
        column = self.labels.index(label)
        return np.array([row[column] for row in self.scores]), np.array([label in row for row in self.truths])

    @property
    def tuned_f1(self) -> curves.TunedF1:
        truth = np.array([[label in row for label in self.labels] for row in self.truths])
        return curves.tuned_f1(np.array(self.scores), truth)


@dataclass(frozen=True)
class LabelFigures:
    """One label under the settings. `own` is the model's own threshold, `threshold` the one in force."""

    number: int
    own: float
    threshold: float
    report: LabelReport


@dataclass(frozen=True)
class AnswerFigures:
    """Figures under the settings. `answered`: images that get a label and are not called unknown."""

    answered: Rate
    right: Rate  # of the answered
    right_of_all: Rate
    unknown: int
    without_label: int  # of those that are not unknown
    exact: Rate  # images with exactly the right labels, known or not
    macro_precision: float
    macro_recall: float
    macro_f1: float
    labels: list[LabelFigures]

    @property
    def wrong(self) -> int:
        return self.right.support - self.right.hits

    def as_json(self) -> dict[str, Any]:
        """For the archive, whose program computes them again."""
        rates = {name: getattr(self, name) for name in ("answered", "right", "exact")}
        return {name: {"hits": rate.hits, "support": rate.support} for name, rate in rates.items()} | {
            "macro_precision": self.macro_precision,
            "macro_recall": self.macro_recall,
            "macro_f1": self.macro_f1,
        }


def stored_predictions(version: TrainingVersion) -> StoredPredictions | None:
    """The predictions of the evaluated images; None where no scores are stored."""
    fields = ("truth", "scores", "is_known", "familiarity")
    rows = list(version.evaluated_images.order_by("pk").values_list(*fields))
    size = len(rows[0][1]) if rows else 0
    labels = tuple(version.confusion.get("labels", [])[:size])
    if not labels or any(len(row[1]) != len(labels) for row in rows):
        return None
    truths, scores, is_known, familiarity = (list(column) for column in zip(*rows, strict=True))
    return StoredPredictions(labels, truths, scores, is_known, familiarity)


def decide(rule: DecisionRule, predictions: StoredPredictions, settings: AnswerSettings) -> list[Decision]:
    """The answer to each evaluated image under the settings."""
    rows = zip(predictions.scores, predictions.is_known, predictions.familiarity, strict=True)
    return [rule.decide(scores, settings, known, familiarity) for scores, known, familiarity in rows]


def figures_under(
    rule: DecisionRule, predictions: StoredPredictions, settings: AnswerSettings
) -> AnswerFigures:
    """Every image decided again under the settings, by the function that also answers calls."""
    decisions = decide(rule, predictions, settings)
    others = sorted({label for truth in predictions.truths for label in truth} - set(rule.labels))
    answers = [decision.labels for decision in decisions]
    counted = report([*rule.labels, *others], predictions.truths, answers, is_multi_label=True)
    is_answered = [bool(one.labels) and one.is_known is not False for one in decisions]
    is_right = [
        set(one.labels) == set(truth) for one, truth in zip(decisions, predictions.truths, strict=True)
    ]
    answered, right = sum(is_answered), sum(a and b for a, b in zip(is_answered, is_right, strict=True))
    unknown = sum(one.is_known is False for one in decisions)
    return AnswerFigures(
        answered=wilson(answered, len(predictions)),
        right=wilson(right, answered),
        right_of_all=wilson(right, len(predictions)),
        unknown=unknown,
        without_label=len(predictions) - answered - unknown,
        exact=counted.accuracy,
        macro_precision=counted.macro_precision,
        macro_recall=counted.macro_recall,
        macro_f1=counted.macro_f1,
        labels=_label_figures(rule, settings, counted.per_label),
    )


def _label_figures(
    rule: DecisionRule, settings: AnswerSettings, reports: Sequence[LabelReport]
) -> list[LabelFigures]:
    """The labels of the model; one that only images carry has no threshold."""
    limits = zip(rule.thresholds, rule.in_force(settings), reports, strict=False)
    return [LabelFigures(number, *of_label) for number, of_label in enumerate(limits)]
