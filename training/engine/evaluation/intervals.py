"""95 % intervals of rates, of macro averages, and of rates whose images come in groups.

All of them are Wilson's score interval (1927) with an effective number of images, so none collapses to a
point when every image is right. numpy alone, no random numbers. `benchmarks/interval_coverage.py` measures
how often they hold the true value.

* Groups (duplicates, one person's images): N images count as N / design effect (Kish 1965), with Student's t
  for few groups (Korn and Graubard 1998). Where every image is a group of its own nothing changes.
* F1 = 2 J / (1 + J), where J = TP / (TP + FP + FN) is a share of images: Wilson's interval of J, transformed
  (Lam, Gopal and Qian 2023, "Wilson indirect").
* Macro averages: each label's rate, drawn towards the rate of all labels by PRIOR_IMAGES, has its binomial
  variance; the variance of their mean gives the number of images that Wilson's interval takes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054
PRIOR_IMAGES = 2  # by which the rate of a label is drawn towards that of all labels
PRIOR_ERRORS = 0.5  # by which the correlation within groups is drawn towards 1
FEW_DEGREES = {1: 12.706, 2: 4.303}  # quantiles of Student's t that the series does not reach

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Groups = NDArray[np.int64]


class Interval(NamedTuple):
    low: float
    high: float

    def including(self, value: float) -> Interval:
        return Interval(min(self.low, value), max(self.high, value))


def wilson_interval(share: float, support: float) -> Interval:
    """The score interval of Wilson (1927) of a share of `support` images, which may be a fraction."""
    z2 = Z_95**2
    centre = share + z2 / (2 * support)
    spread = Z_95 * float(np.sqrt(share * (1 - share) / support + z2 / (4 * support**2)))
    scale = 1 + z2 / support
    return Interval(
        0.0 if share == 0 else max(0.0, (centre - spread) / scale),
        1.0 if share == 1 else min(1.0, (centre + spread) / scale),
    )


def f1_interval(hits: int, union: int, effect: float = 1.0) -> Interval:
    """Of a label's F1 score; `union` images carry the label or are predicted as it, `hits` both."""
    low, high = wilson_interval(hits / union, union / effect)
    return Interval(2 * low / (1 + low), 2 * high / (1 + high))


def group_numbers(groups: Sequence[Hashable] | None, images: int) -> Groups:
    """[N] numbers, equal for images of one group; each image alone where there are no groups.

    An image whose group is None is alone.
    """
    if groups is None:
        return np.arange(images)
    numbers: dict[Hashable, int] = {}
    return np.array(
        [
            numbers.setdefault(("alone", i) if group is None else ("group", group), i)
            for i, group in enumerate(groups)
        ],
        np.int64,
    )


def group_correlation(correct: Bools, groups: Groups) -> float:
    """How much alike the answers [N] of one group are, 0 to 1.

    It is the intraclass correlation (analysis of variance), drawn towards 1 where few images are wrong, or
    few are right: then nothing says that the images of a group do not stand or fall together.
    """
    _, place = np.unique(groups, return_inverse=True)
    sizes = np.bincount(place).astype(np.float64)
    images, count = len(groups), len(sizes)
    fewer = min(int(correct.sum()), images - int(correct.sum()))
    if count in (1, images) or not fewer:
        return 1.0
    hits = np.bincount(place, weights=correct)
    between = float((sizes * (hits / sizes - correct.mean()) ** 2).sum()) / (count - 1)
    within = float((hits - hits**2 / sizes).sum()) / (images - count)
    typical = (images - float((sizes**2).sum()) / images) / (count - 1)
    total = between + (typical - 1) * within
    correlation = min(max((between - within) / total, 0.0), 1.0) if total > 0 else 0.0
    return (correlation * fewer + PRIOR_ERRORS) / (fewer + PRIOR_ERRORS)


def design_effect(groups: Groups, correlation: float) -> float:
    """How many images of these groups [N] tell as much as one image would alone; at least 1."""
    sizes = np.unique(groups, return_counts=True)[1].astype(np.float64)
    if not len(sizes) or sizes.max() == 1:
        return 1.0
    effect = 1 + (float((sizes**2).sum()) / len(groups) - 1) * correlation
    return effect * (_student_quantile(max(len(sizes) - 1, 1)) / Z_95) ** 2


def _student_quantile(degrees: int) -> float:
    """The 97.5 % quantile of Student's t, by the series of Cornish and Fisher to 0.03."""
    if degrees in FEW_DEGREES:
        return FEW_DEGREES[degrees]
    z, n = Z_95, degrees
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


def macro_share_interval(hits: Bools, cells: Bools, effect: float = 1.0) -> Interval:
    """Of the mean of the labels' recalls or precisions.

    `cells` [N, L]: the images that count for a label (that carry it, or that are predicted as it); `hits`
    [N, L]: those of them that are right. A label without images counts as 0 in the mean, as scikit-learn has
    it, and as any other label in the interval.
    """
    found, support = hits.sum(0), cells.sum(0)
    shares = _drawn_shares(found, support)
    ones = np.ones_like(shares)
    variance = _variance(ones, shares, support) * _label_effect(hits, cells, shares, ones)
    plain = float((found / np.maximum(support, 1)).mean())
    return _macro_interval(float(shares.mean()), variance * effect).including(plain)


def macro_f1_interval(truth: Bools, predicted: Bools, is_multi_label: bool, effect: float = 1.0) -> Interval:
    """Of the mean of the labels' F1 scores, from [N, L] whether an image carries a label, or is predicted so.

    With one label per image every wrong image lowers two labels, so the variance of a label's wrong images
    counts twice; with several labels it is measured how often one image has mistakes in more than one.
    """
    hits, union = truth & predicted, truth | predicted
    found, support = hits.sum(0), union.sum(0)
    shares = _drawn_shares(found, support)
    slopes = 2 / (1 + shares) ** 2
    if is_multi_label:
        variance = _variance(slopes, shares, support) * _label_effect(hits, union, shares, slopes)
    else:
        variance = _variance(slopes * np.sqrt(1 + shares), shares, support)
    scores = 2 * shares / (1 + shares)
    plain = float((2 * found / np.maximum(found + support, 1)).mean())
    return _macro_interval(float(scores.mean()), variance * effect).including(plain)


def _drawn_shares(found: NDArray[np.int64], support: NDArray[np.int64]) -> Floats:
    """[L] the share of each label, drawn towards that of all labels by PRIOR_IMAGES; never 0 or 1."""
    of_all = (found.sum() + 0.5) / (support.sum() + 1)
    return np.asarray((found + PRIOR_IMAGES * of_all) / (support + PRIOR_IMAGES), np.float64)


def _variance(slopes: Floats, shares: Floats, support: NDArray[np.int64]) -> float:
    """Of the mean of functions of independent shares, whose `slopes` are given."""
    return float((slopes**2 * shares * (1 - shares) / np.maximum(support, 1)).sum()) / len(shares) ** 2


def _label_effect(hits: Bools, cells: Bools, shares: Floats, slopes: Floats) -> float:
    """By how much the labels of one image that are right or wrong together raise the variance; at least 1."""
    influences = cells * (hits - shares) * (slopes / np.maximum(cells.sum(0), 1))
    alone = float((influences**2).sum())
    return max(1.0, float((influences.sum(1) ** 2).sum()) / alone) if alone else 1.0


def _macro_interval(mean: float, variance: float) -> Interval:
    return wilson_interval(mean, mean * (1 - mean) / variance)
