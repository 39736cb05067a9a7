"""Rates with their intervals, from truths and predictions.

Written by hand with numpy alone, because web pages compute them too: importing sklearn.metrics costs every
web process 0.8 s and 95 MB more than numpy. Tests compare the figures with scikit-learn.

Undefined rates (0/0) are `None` for one label and count as 0 in a macro average, scikit-learn's
`zero_division=0`. Macro averages run over the labels that have support or were predicted, as
scikit-learn does when no labels are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Rate:
    """hits / support with the Wilson 95 % interval; `None` where support is 0."""

    value: float | None
    low: float | None
    high: float | None
    hits: int
    support: int


@dataclass(frozen=True, slots=True)
class LabelReport:
    """One label against the rest. `images`: how many carry the label.

    accuracy = (TP + TN) / all; precision = TP / predicted; recall = TP / images: the share of the
    label's images that were predicted correctly; f1 = 2 TP / (2 TP + FP + FN), None when 0/0.
    """

    label: str
    images: int
    accuracy: Rate
    precision: Rate
    recall: Rate
    f1: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """The whole evaluation. `accuracy`: images with exactly the right label or labels.

    `confusion[t][p]`: images of label t predicted as p; empty for multi-label.
    """

    accuracy: Rate
    macro_precision: float
    macro_recall: float
    macro_f1: float
    per_label: tuple[LabelReport, ...]
    confusion: tuple[tuple[int, ...], ...]
    n: int


def wilson(hits: int, support: int) -> Rate:
    """hits / support with the score interval of Wilson (1927), 95 %."""
    if support == 0:
        return Rate(None, None, None, hits, support)
    share = hits / support
    low, high = wilson_interval(share, support)
    return Rate(share, 0.0 if hits == 0 else low, 1.0 if hits == support else high, hits, support)


def wilson_interval(share: float, support: int) -> tuple[float, float]:
    """The 95 % score interval of Wilson (1927) of a share of `support` images."""
    z2 = Z_95**2
    centre = share + z2 / (2 * support)
    spread = Z_95 * float(np.sqrt(share * (1 - share) / support + z2 / (4 * support**2)))
    scale = 1 + z2 / support
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def report(
    labels: Sequence[str],
    truths: Sequence[Sequence[str]],
    predictions: Sequence[Sequence[str]],
    is_multi_label: bool = False,
) -> Report:
    """All figures of an evaluation. Raises KeyError for a label that is not among `labels`."""
    truth, predicted = _indicators(labels, truths), _indicators(labels, predictions)
    per_label = tuple(_label_report(label, truth[:, i], predicted[:, i]) for i, label in enumerate(labels))
    seen = [figures for i, figures in enumerate(per_label) if truth[:, i].any() or predicted[:, i].any()]
    correct = int((truth == predicted).all(axis=1).sum())
    return Report(
        accuracy=wilson(correct, len(truths)),
        macro_precision=_mean([figures.precision.value for figures in seen]),
        macro_recall=_mean([figures.recall.value for figures in seen]),
        macro_f1=_mean([figures.f1 for figures in seen]),
        per_label=per_label,
        confusion=() if is_multi_label else _confusion(truth, predicted),
        n=len(truths),
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


def _label_report(label: str, truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> LabelReport:
    hits = int((truth & predicted).sum())
    correct = int((truth == predicted).sum())
    images, predictions = int(truth.sum()), int(predicted.sum())
    return LabelReport(
        label=label,
        images=images,
        accuracy=wilson(correct, len(truth)),
        precision=wilson(hits, predictions),
        recall=wilson(hits, images),
        f1=2 * hits / (images + predictions) if images + predictions else None,
    )


def _confusion(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[tuple[int, ...], ...]:
    counts = truth.astype(np.int64).T @ predicted.astype(np.int64)
    return tuple(tuple(int(n) for n in row) for row in counts)


def _mean(values: Sequence[float | None]) -> float:
    return float(np.mean([value or 0.0 for value in values])) if values else 0.0
