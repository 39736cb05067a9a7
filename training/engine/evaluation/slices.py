"""Rates by slice: the values of a column, each compared with the rest of the images.

Looking at many slices finds differences by chance; Holm's correction (1979) keeps the chance of even one
false "worse" or "better" at 5 %. numpy alone, the same numbers for the same images.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.engine.evaluation import intervals
from training.engine.evaluation.metrics import Rate
from training.engine.evaluation.significance import LEVEL, holm_adjusted

PERMUTATIONS = 9_999  # the smallest p-value is 1 in 10,000: Holm's correction can use it for 500 slices
MAX_CELLS = 2_000_000  # of permuted units at a time
TIE = 1 + 1e-7  # probabilities that differ by less are equal

Units = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SliceRate:
    """The images of one value; None is the slice without a value.

    `p` is that of the slice against the rest, adjusted for the number of slices; 1 where there is no rest.
    """

    value: str | None
    rate: Rate
    groups: int
    p: float
    verdict: Literal["worse", "better", ""]


def slice_rates(
    correct: Sequence[bool], values: Sequence[str | None], groups: Sequence[Hashable] | None = None
) -> list[SliceRate]:
    """The share of correct images of each value, the lowest first.

    `groups`: images of one group are one unit in intervals and tests, None is an image alone. A group that is
    a whole slice, and no part of another, says what its own images say: they count one by one.
    """
    right = np.asarray(correct, np.bool_)
    names = sorted(set(values), key=lambda value: (value is None, value or ""))
    place = {name: number for number, name in enumerate(names)}
    slices = np.array([place[value] for value in values], np.int64)
    numbers = _units(slices, intervals.group_numbers(groups, len(right)))
    correlation = intervals.group_correlation(right, numbers)
    p_values = holm_adjusted(_p_values(right, slices, numbers, len(names)))
    found = []
    for number, name in enumerate(names):
        inside = slices == number
        rate = _rate(right[inside], intervals.design_effect(numbers[inside], correlation))
        verdict = _verdict(
            p_values[number], right[inside].mean() - right[~inside].mean() if len(names) > 1 else 0
        )
        found.append(SliceRate(name, rate, len(np.unique(numbers[inside])), p_values[number], verdict))
    return sorted(found, key=lambda row: (row.rate.value or 0.0, -row.rate.support))


def _units(slices: NDArray[np.int64], groups: NDArray[np.int64]) -> Units:
    """[N] the unit of each image: its group within its slice, or the image where a group is a whole slice."""
    pairs = np.unique(np.stack([slices, groups]), axis=1, return_inverse=True)[1].reshape(-1)
    whole = [
        number
        for number in np.unique(slices)
        if len(np.unique(groups[slices == number])) == 1
        and not (slices[groups == groups[slices == number][0]] != number).any()
    ]
    alone = np.isin(slices, whole)
    return np.where(alone, len(slices) + np.arange(len(slices)), pairs)


def _rate(right: NDArray[np.bool_], effect: float) -> Rate:
    hits, support = int(right.sum()), len(right)
    low, high = intervals.wilson_interval(hits / support, support / effect)
    return Rate(hits / support, low, high, hits, support)


def _verdict(p: float, difference: float) -> Literal["worse", "better", ""]:
    if p >= LEVEL or not difference:
        return ""
    return "better" if difference > 0 else "worse"


def _p_values(right: NDArray[np.bool_], slices: NDArray[np.int64], units: Units, count: int) -> list[float]:
    """[S] of each slice against the rest: Fisher's exact test, or permutations of whole units."""
    if count < 2:
        return [1.0] * count
    if len(np.unique(units)) < len(units):
        return _permutation_p_values(right, slices, units, count)
    hits = np.bincount(slices, weights=right, minlength=count)
    sizes = np.bincount(slices, minlength=count)
    return [
        fisher_p_value(int(hit), int(size), int(right.sum()), len(right))
        for hit, size in zip(hits, sizes, strict=True)
    ]


def fisher_p_value(hits: int, size: int, all_hits: int, images: int) -> float:
    """The two-sided p-value of Fisher's exact test (1935): `hits` of `size` images against those of all."""
    logs = np.concatenate([[0.0], np.log(np.arange(1, images + 1)).cumsum()])  # of the factorials

    def log_choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(logs[n] - logs[k] - logs[n - k], np.float64)

    low = max(0, size + all_hits - images)
    possible = np.arange(low, min(size, all_hits) + 1)
    ways = log_choose(all_hits, possible) + log_choose(images - all_hits, size - possible)
    chances = np.exp(ways - log_choose(images, np.array(size)))
    return min(1.0, float(chances[chances <= chances[hits - low] * TIE].sum()))


def _permutation_p_values(
    right: NDArray[np.bool_], slices: NDArray[np.int64], units: Units, count: int
) -> list[float]:
    """The share of permutations of the units over the slices with a difference as large as the true one."""
    _, first, place = np.unique(units, return_index=True, return_inverse=True)
    sizes = np.bincount(place).astype(np.float64)
    hits = np.bincount(place, weights=right).astype(np.float64)
    owner = slices[first]
    observed = _differences(hits[None], sizes[None], owner, count)[0]
    random, reached, done = np.random.default_rng(0), np.zeros(count), 0
    step = max(1, MAX_CELLS // len(first))
    while done < PERMUTATIONS:
        runs = min(step, PERMUTATIONS - done)
        order = random.permuted(np.tile(np.arange(len(first)), (runs, 1)), axis=1)
        differences = _differences(hits[order], sizes[order], owner, count)
        reached += (np.abs(differences) >= np.abs(observed) - 1e-12).sum(0)
        done += runs
    return [float(p) for p in (reached + 1) / (PERMUTATIONS + 1)]


def _differences(
    hits: NDArray[np.float64], sizes: NDArray[np.float64], owner: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """[R, S] rate of each slice less that of the rest, for R arrangements of hits and sizes [R, U]."""
    members = np.eye(count)[owner]
    inside_hits, inside = hits @ members, sizes @ members
    rest = sizes.sum(1, keepdims=True) - inside
    rest_hits = hits.sum(1, keepdims=True) - inside_hits
    return np.asarray(inside_hits / inside - rest_hits / rest, np.float64)
