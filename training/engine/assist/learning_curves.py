"""Learning curves: how much more images of a label would raise its recall.

The classifier of the suggestions is fitted on many subsets, each with another share of every label, and
evaluated on the other images. The share of a label's images that it misses falls about as a·n^-b with the
number n of its images (Hestness et al. 2017); this power law is fitted to the logarithms. The interval comes
from drawing the runs again (bootstrap), and from the deviation of single runs from the law. numpy only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.engine.assist import label_suggestions

SUBSET_SHARES = (0.2, 0.35, 0.55, 0.8)
RUNS = 36
BOOTSTRAP_RUNS = 300
MIN_IMAGES = 8  # per label, below which no curve is fitted
MAX_ROWS = 6_000
MAX_EXPONENT = 1.0  # of b: a fall faster than 1/n is chance

Floats = NDArray[np.float32]
Curve = NDArray[np.float64]  # [K, 3]: run, log n, log of the share that is missed


@dataclass(frozen=True, slots=True)
class Gain:
    """The expected gain in recall of a label with `pictures` images, with its 95 % interval; `now` is its
    recall."""

    pictures: int
    now: float
    gain: float
    low: float
    high: float


def expected_gains(
    features: Floats,
    targets: Floats,
    groups: NDArray[np.int64],
    more: int,
    is_multi_label: bool = False,
    seed: int = 0,
) -> list[Gain | None]:
    """For each label [C] the gain from `more` images of it; None where no curve can be fitted.

    Rows are images: features [N, F] of length 1, targets [N, C] of 0 and 1; rows of a group are duplicates
    and stay together.
    """
    random = np.random.default_rng(seed)
    if len(features) > MAX_ROWS:
        rows = np.sort(random.choice(len(features), MAX_ROWS, replace=False))
        features, targets, groups = features[rows], targets[rows], groups[rows]
    seen: list[list[tuple[int, float, float]]] = [[] for _ in range(targets.shape[1])]
    for run in range(RUNS):
        _run_once(features, targets, groups, is_multi_label, random, run, seen)
    counts = targets.sum(0)
    return [
        _gain(np.array(points), int(count), more, random)
        if count >= MIN_IMAGES and len(points) > RUNS // 2
        else None
        for points, count in zip(seen, counts, strict=True)
    ]


def _run_once(
    features: Floats,
    targets: Floats,
    groups: NDArray[np.int64],
    is_multi_label: bool,
    random: np.random.Generator,
    run: int,
    seen: list[list[tuple[int, float, float]]],
) -> None:
    """Fit a share of each label's groups, and add to `seen` for each label what is missed of the others."""
    share = random.choice(SUBSET_SHARES, targets.shape[1])[targets.argmax(1)]
    names, first, place = np.unique(groups, return_index=True, return_inverse=True)
    is_fitted = (random.random(len(names)) < share[first])[place]
    fitted = label_suggestions.fit(features[is_fitted], targets[is_fitted], is_multi_label)
    if fitted is None or is_fitted.all():
        return
    probabilities = fitted.probabilities(features[~is_fitted])
    predicted = (
        probabilities >= 0.5 if is_multi_label else probabilities == probabilities.max(1, keepdims=True)
    )
    truth = targets[~is_fitted] > 0
    fitted_counts, carried = targets[is_fitted].sum(0), truth.sum(0)
    missed = (truth & ~predicted).sum(0)
    for label in np.flatnonzero((fitted_counts >= label_suggestions.MIN_PER_LABEL) & (carried >= 3)).tolist():
        # Of few images, none missed does not mean never missed: half an image is added.
        rest = (missed[label] + 0.5) / (carried[label] + 1)
        seen[label].append((run, float(np.log(fitted_counts[label])), float(np.log(rest))))


def _gain(points: Curve, pictures: int, more: int, random: np.random.Generator) -> Gain:
    now, gain = _recall_and_gain(points, pictures, more)
    drawn = np.array(
        [
            _recall_and_gain(points[random.integers(len(points), size=len(points))], pictures, more)
            for _ in range(BOOTSTRAP_RUNS)
        ]
    )
    low, high = np.percentile(drawn[:, 1], [2.5, 97.5])
    # The runs share most images, so the bootstrap shows too little of what other images would change. The
    # deviation of single runs from the law, in logarithms, stands for it.
    deviation = float(np.std(points[:, 2] - _power_law(points)(points[:, 1])))
    spread = 1.96 * (1 - now) * deviation * np.log1p(more / pictures)
    return Gain(
        pictures, now, gain, float(max(min(low, gain) - spread, 0.0)), float(max(high, gain) + spread)
    )


def _power_law(points: Curve) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The power law: from log n to the log of the share that is missed, which never rises."""
    x, y = points[:, 1], points[:, 2]
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread else 0.0
    slope = min(max(slope, -MAX_EXPONENT), 0.0)
    return lambda log_n: y.mean() + slope * (log_n - x.mean())


def _recall_and_gain(points: Curve, pictures: int, more: int) -> tuple[float, float]:
    """Recall with this number of images, and what `more` add to it, by the law through the points."""
    now, later = np.minimum(np.exp(_power_law(points)(np.log([pictures, pictures + more]))), 1.0).tolist()
    return 1 - now, now - later
