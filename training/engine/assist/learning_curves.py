"""What more pictures of a label would bring: learning curves from subsets, and a power law through them.

Many subsets of the pictures, each with another share of every label, are learned from and judged by all the
others, on frozen features with the quick model of the suggestions. The share of a label's pictures that is
missed falls about as a·n^-b with the number n of its pictures (Hestness et al. 2017); the law is fitted to
the logarithms. Its doubt comes from drawing the runs again (bootstrap), and from how far one run lies from
the law. numpy only.
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
MIN_IMAGES = 8  # pictures of a label, below which no curve can be seen
MAX_ROWS = 6_000
MAX_EXPONENT = 1.0  # of the exponent b: faster than 1/n is chance

Floats = NDArray[np.float32]
Curve = NDArray[np.float64]  # [K, 3]: run, logarithm of n, logarithm of the share that is missed


@dataclass(frozen=True, slots=True)
class Gain:
    """Recall expected from `more` pictures of a label, with its 95 % interval; shares. `now` at present."""

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
    """For each label [C] what `more` of its pictures would bring; None where no curve can be seen.

    Rows are pictures: features [N, F] of length 1, targets [N, C] of 0 and 1; rows of a group are copies and
    stay together.
    """
    dice = np.random.default_rng(seed)
    if len(features) > MAX_ROWS:
        rows = np.sort(dice.choice(len(features), MAX_ROWS, replace=False))
        features, targets, groups = features[rows], targets[rows], groups[rows]
    seen: list[list[tuple[int, float, float]]] = [[] for _ in range(targets.shape[1])]
    for run in range(RUNS):
        _run_once(features, targets, groups, is_multi_label, dice, run, seen)
    counts = targets.sum(0)
    return [
        _gain(np.array(points), int(count), more, dice)
        if count >= MIN_IMAGES and len(points) > RUNS // 2
        else None
        for points, count in zip(seen, counts, strict=True)
    ]


def _run_once(
    features: Floats,
    targets: Floats,
    groups: NDArray[np.int64],
    is_multi_label: bool,
    dice: np.random.Generator,
    run: int,
    seen: list[list[tuple[int, float, float]]],
) -> None:
    """Learn from some share of each label's groups, note for each label what is missed of the others."""
    share = dice.choice(SUBSET_SHARES, targets.shape[1])[targets.argmax(1)]
    names, first, place = np.unique(groups, return_index=True, return_inverse=True)
    is_taught = (dice.random(len(names)) < share[first])[place]
    fitted = label_suggestions.fit(features[is_taught], targets[is_taught], is_multi_label)
    if fitted is None or is_taught.all():
        return
    likely = fitted.probabilities(features[~is_taught])
    named = likely >= 0.5 if is_multi_label else likely == likely.max(1, keepdims=True)
    truth = targets[~is_taught] > 0
    taught, carried = targets[is_taught].sum(0), truth.sum(0)
    missed = (truth & ~named).sum(0)
    for label in np.flatnonzero((taught >= label_suggestions.MIN_PER_LABEL) & (carried >= 3)).tolist():
        rest = (missed[label] + 0.5) / (carried[label] + 1)  # of few, none missed is not never missed
        seen[label].append((run, float(np.log(taught[label])), float(np.log(rest))))


def _gain(points: Curve, pictures: int, more: int, dice: np.random.Generator) -> Gain:
    now, gain = _recall_and_gain(points, pictures, more)
    drawn = np.array(
        [
            _recall_and_gain(points[dice.integers(len(points), size=len(points))], pictures, more)
            for _ in range(BOOTSTRAP_RUNS)
        ]
    )
    low, high = np.percentile(drawn[:, 1], [2.5, 97.5])
    # The law is drawn through runs that share most pictures: what lies between two draws of pictures is that
    # of one run, whose share of missed pictures differs from the law by `apart` (of logarithms).
    apart = float(np.std(points[:, 2] - _power_law(points)(points[:, 1])))
    spread = 1.96 * (1 - now) * apart * np.log1p(more / pictures)
    return Gain(
        pictures, now, gain, float(max(min(low, gain) - spread, 0.0)), float(max(high, gain) + spread)
    )


def _power_law(points: Curve) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The logarithm of what is missed, by the logarithm of the number of pictures: it never rises."""
    x, y = points[:, 1], points[:, 2]
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread else 0.0
    slope = min(max(slope, -MAX_EXPONENT), 0.0)
    return lambda at: y.mean() + slope * (at - x.mean())


def _recall_and_gain(points: Curve, pictures: int, more: int) -> tuple[float, float]:
    """Recall at `pictures`, and what `more` add to it, on the law through the points."""
    now, later = np.minimum(np.exp(_power_law(points)(np.log([pictures, pictures + more]))), 1.0).tolist()
    return 1 - now, now - later
