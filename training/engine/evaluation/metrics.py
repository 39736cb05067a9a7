"""Rates with their intervals, from truths and predictions.

Written by hand with numpy alone, because web pages compute them too: importing sklearn.metrics costs every
web process 0.8 s and 95 MB more than numpy. Tests compare the figures with scikit-learn.

Undefined rates (0/0) are `None` for one label and count as 0 in a macro average, scikit-learn's
`zero_division=0`. Macro averages run over the labels that have support or were predicted, as
scikit-learn does when no labels are given.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.engine.evaluation import intervals
from training.engine.evaluation.intervals import Interval


@dataclass(frozen=True, slots=True)
class Rate:
    """hits / support with its 95 % interval (intervals.py); `None` where support is 0."""

    value: float | None
    low: float | None
    high: float | None
    hits: int
    support: int


@dataclass(frozen=True, slots=True)
class LabelReport:
    """One label against the rest. `images`: how many carry the label.

    accuracy = (TP + TN) / all; precision = TP / predicted; recall = TP / images: the share of the
    label's images that were predicted correctly; f1 = 2 TP / (2 TP + FP + FN), None when 0/0, as is its
    interval.
    """

    label: str
    images: int
    accuracy: Rate
    precision: Rate
    recall: Rate
    f1: float | None
    f1_interval: Interval | None


@dataclass(frozen=True, slots=True)
class MacroIntervals:
    """95 % intervals of the macro averages; None where there is no image."""

    precision: Interval | None = None
    recall: Interval | None = None
    f1: Interval | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The whole evaluation. `accuracy`: images with exactly the right label or labels.

    `confusion[t][p]`: images of label t predicted as p; empty for multi-label.
    """

    accuracy: Rate
    macro_precision: float
    macro_recall: float
    macro_f1: float
    macro_intervals: MacroIntervals
    per_label: tuple[LabelReport, ...]
    confusion: tuple[tuple[int, ...], ...]
    n: int


def wilson(hits: int, support: int, effect: float = 1.0) -> Rate:
    """hits / support with the score interval of Wilson (1927), 95 %, of support / `effect` images."""
    if support == 0:
        return Rate(None, None, None, hits, support)
    low, high = intervals.wilson_interval(hits / support, support / effect)
    return Rate(hits / support, low, high, hits, support)


def report(
    labels: Sequence[str],
    truths: Sequence[Sequence[str]],
    predictions: Sequence[Sequence[str]],
    is_multi_label: bool = False,
    groups: Sequence[Hashable] | None = None,
) -> Report:
    """All figures of an evaluation. Raises KeyError for a label that is not among `labels`.

    Images of one group are no independent evidence: their intervals are wider. A group of None is an image
    alone.
    """
    truth, predicted = _indicators(labels, truths), _indicators(labels, predictions)
    correct = (truth == predicted).all(axis=1)
    effects = _GroupEffects.of(correct, intervals.group_numbers(groups, len(truths)))
    per_label = tuple(
        _label_report(label, truth[:, i], predicted[:, i], effects) for i, label in enumerate(labels)
    )
    is_seen = (truth | predicted).any(axis=0)
    seen = [per_label[i] for i in np.flatnonzero(is_seen)]
    return Report(
        accuracy=wilson(int(correct.sum()), len(truths), effects.of_all),
        macro_precision=_mean([figures.precision.value for figures in seen]),
        macro_recall=_mean([figures.recall.value for figures in seen]),
        macro_f1=_mean([figures.f1 for figures in seen]),
        macro_intervals=_macro_intervals(
            truth[:, is_seen], predicted[:, is_seen], is_multi_label, effects.of_all
        ),
        per_label=per_label,
        confusion=() if is_multi_label else _confusion(truth, predicted),
        n=len(truths),
    )


@dataclass(frozen=True, slots=True)
class _GroupEffects:
    """The design effect of the groups [N], of all images and of some of them."""

    groups: NDArray[np.int64]
    correlation: float
    of_all: float

    @classmethod
    def of(cls, correct: NDArray[np.bool_], groups: NDArray[np.int64]) -> _GroupEffects:
        correlation = intervals.group_correlation(correct, groups) if len(groups) else 1.0
        return cls(groups, correlation, intervals.design_effect(groups, correlation))

    def of_some(self, images: NDArray[np.bool_]) -> float:
        if self.of_all == 1:
            return 1.0
        return intervals.design_effect(self.groups[images], self.correlation)


def _macro_intervals(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], is_multi_label: bool, effect: float
) -> MacroIntervals:
    if not truth.size:
        return MacroIntervals()
    hits = truth & predicted
    return MacroIntervals(
        precision=intervals.macro_share_interval(hits, predicted, effect),
        recall=intervals.macro_share_interval(hits, truth, effect),
        f1=intervals.macro_f1_interval(truth, predicted, is_multi_label, effect),
    )


def macro_f1(truth: NDArray[np.intp], predicted: NDArray[np.intp], classes: int) -> float:
    """Macro-F1 of class numbers [N], over the classes that have support or were predicted."""
    hits = np.bincount(truth[truth == predicted], minlength=classes)
    total = np.bincount(truth, minlength=classes) + np.bincount(predicted, minlength=classes)
    return float(np.mean(2 * hits[total > 0] / total[total > 0])) if total.any() else 0.0


def _indicators(labels: Sequence[str], chosen: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """[N, C] whether image n carries label c."""
    position = {label: i for i, label in enumerate(labels)}
    table = np.zeros((len(chosen), len(labels)), dtype=np.bool_)
    for row, names in enumerate(chosen):
        for name in names:
            table[row, position[name]] = True
    return table


def _label_report(
    label: str, truth: NDArray[np.bool_], predicted: NDArray[np.bool_], effects: _GroupEffects
) -> LabelReport:
    union = truth | predicted
    hits, correct = int((truth & predicted).sum()), int((truth == predicted).sum())
    images, predictions, either = int(truth.sum()), int(predicted.sum()), int(union.sum())
    return LabelReport(
        label=label,
        images=images,
        accuracy=wilson(correct, len(truth), effects.of_all),
        precision=wilson(hits, predictions, effects.of_some(predicted)),
        recall=wilson(hits, images, effects.of_some(truth)),
        f1=2 * hits / (hits + either) if either else None,
        f1_interval=intervals.f1_interval(hits, either, effects.of_some(union)) if either else None,
    )


def _confusion(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[tuple[int, ...], ...]:
    counts = truth.astype(np.int64).T @ predicted.astype(np.int64)
    return tuple(tuple(int(n) for n in row) for row in counts)


def _mean(values: Sequence[float | None]) -> float:
    return float(np.mean([value or 0.0 for value in values])) if values else 0.0
