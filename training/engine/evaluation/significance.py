"""Tests of whether one model is better than another on the same images.

Written by hand, because web pages compute them too: importing scipy.stats costs every web process 0.6 s and
75 MB more than numpy. Tests compare with exact binomial values, and count errors in simulated comparisons.
"""

from __future__ import annotations

from math import ceil, exp, lgamma, log, sqrt

LEVEL = 0.05  # of significance
Z_LEVEL, Z_POWER = 1.959963984540054, 0.8416212335729143  # two-sided 5 %, power 80 %


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """The p-value of the exact two-sided test of McNemar (1947); 1 where the models never differ.

    `only_first` and `only_second` count the images that only one of the two models predicts correctly.
    """
    differing, fewer = only_first + only_second, min(only_first, only_second)
    if differing == 0:
        return 1.0
    whole = lgamma(differing + 1) - differing * log(2)
    tail = sum(exp(whole - lgamma(k + 1) - lgamma(differing - k + 1)) for k in range(fewer + 1))
    return min(1.0, 2 * tail)


def images_needed(only_first: int, only_second: int, images: int) -> int | None:
    """How many images show a difference as large as this one with a power of 80 % (Miettinen 1968).

    None where there is no difference.
    """
    if only_first == only_second or not images:
        return None
    share = (only_first + only_second) / images
    gap = abs(only_first - only_second) / images
    root = Z_LEVEL * sqrt(share) + Z_POWER * sqrt(max(share - gap**2, 0.0))
    return ceil((root / gap) ** 2)


def holm_adjusted(values: list[float]) -> list[float]:
    """The p-values of several comparisons, adjusted so that together they keep the level (Holm 1979)."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    results, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        results[place] = highest
    return results
