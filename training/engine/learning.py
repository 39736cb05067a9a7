"""What more pictures of a label would bring: learning curves from subsets, and a power law through them.

Many subsets of the pictures are learned from and judged by all the others, on frozen features with the
quick model of the suggestions. The share of a label's pictures that is missed falls about as a·n^-b with the
number n of its pictures (Hestness et al. 2017); the law is fitted to the logarithms, and its doubt comes from
drawing the repetitions again (bootstrap). numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.engine import suggestions

SHARES = (0.2, 0.35, 0.55, 0.8)
REPEATS = 8
REDRAWN = 300
FEWEST = 8  # pictures of a label, below which no curve can be seen
MOST_ROWS = 6_000
STEEPEST = 1.0  # of the exponent b: faster than 1/n is chance

Floats = NDArray[np.float32]
Curve = NDArray[np.float64]  # [K, 3]: repetition, logarithm of n, logarithm of the share that is missed


@dataclass(frozen=True, slots=True)
class Gain:
    """Recall expected from `more` pictures of a label, with its 95 % interval; shares. `now` at present."""

    pictures: int
    now: float
    gain: float
    low: float
    high: float


def gains(
    features: Floats,
    targets: Floats,
    groups: NDArray[np.int64],
    more: int,
    is_multi_label: bool = False,
    seed: int = 0,
) -> list[Gain | None]:
    """For each label [C] what `more` of its pictures would bring; None where no curve can be seen.

    Rows are pictures: features [N, F] of length 1, targets [N, C] of 0 and 1; rows of a group are copies and
    stay together.
    """
    dice = np.random.default_rng(seed)
    if len(features) > MOST_ROWS:
        rows = np.sort(dice.choice(len(features), MOST_ROWS, replace=False))
        features, targets, groups = features[rows], targets[rows], groups[rows]
    seen: list[list[tuple[int, float, float]]] = [[] for _ in range(targets.shape[1])]
    for repetition in range(REPEATS):
        for share in SHARES:
            _learn_once(features, targets, groups, share, is_multi_label, dice, repetition, seen)
    counts = targets.sum(0)
    return [
        _gain(np.array(points), int(count), more, dice) if count >= FEWEST and len(points) > REPEATS else None
        for points, count in zip(seen, counts, strict=True)
    ]


def _learn_once(
    features: Floats,
    targets: Floats,
    groups: NDArray[np.int64],
    share: float,
    is_multi_label: bool,
    dice: np.random.Generator,
    repetition: int,
    seen: list[list[tuple[int, float, float]]],
) -> None:
    """Learn from about `share` of the groups, note for each label what is missed of the others."""
    names = np.unique(groups)
    is_taught = np.isin(groups, names[dice.random(len(names)) < share])
    fitted = suggestions.fit(features[is_taught], targets[is_taught], is_multi_label)
    if fitted is None or is_taught.all():
        return
    likely = fitted.probabilities(features[~is_taught])
    named = likely >= 0.5 if is_multi_label else likely == likely.max(1, keepdims=True)
    truth = targets[~is_taught] > 0
    taught, carried = targets[is_taught].sum(0), truth.sum(0)
    missed = (truth & ~named).sum(0)
    for label in np.flatnonzero((taught >= suggestions.FEWEST) & (carried >= 3)).tolist():
        rest = (missed[label] + 0.5) / (carried[label] + 1)  # of few, none missed is not never missed
        seen[label].append((repetition, float(np.log(taught[label])), float(np.log(rest))))


def _gain(points: Curve, pictures: int, more: int, dice: np.random.Generator) -> Gain:
    now, gain = _expected(points, pictures, more)
    repetitions = np.unique(points[:, 0])
    drawn = []
    for _ in range(REDRAWN):
        chosen = dice.choice(repetitions, len(repetitions))
        drawn.append(
            _expected(np.concatenate([points[points[:, 0] == one] for one in chosen]), pictures, more)[1]
        )
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Gain(pictures, now, gain, float(min(low, gain)), float(max(high, gain)))


def _expected(points: Curve, pictures: int, more: int) -> tuple[float, float]:
    """Recall at `pictures`, and what `more` add to it, on the law through the points."""
    x, y = points[:, 1], points[:, 2]
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread else 0.0
    slope = min(max(slope, -STEEPEST), 0.0)
    missed = [
        min(float(np.exp(y.mean() + slope * (np.log(count) - x.mean()))), 1.0)
        for count in (pictures, pictures + more)
    ]
    return 1 - missed[0], missed[0] - missed[1]
