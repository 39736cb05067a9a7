"""Is one model better than another on the same images? Exactly, and how many more images would tell. Pure."""

from __future__ import annotations

from math import ceil, exp, lgamma, log, sqrt

LEVEL = 0.05  # of false verdicts, at most
Z_LEVEL, Z_POWER = 1.959963984540054, 0.8416212335729143  # two-sided 5 %, power 80 %


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """The exact two-sided test of McNemar (1947): of the images that one of two models alone got right, how
    likely is a division at least so uneven, were both equally good? 1 where they never differ."""
    differing, fewer = only_first + only_second, min(only_first, only_second)
    if differing == 0:
        return 1.0
    whole = lgamma(differing + 1) - differing * log(2)
    tail = sum(exp(whole - lgamma(k + 1) - lgamma(differing - k + 1)) for k in range(fewer + 1))
    return min(1.0, 2 * tail)


def images_needed(only_first: int, only_second: int, images: int) -> int | None:
    """On how many images this difference would be told in four of five tries (Miettinen 1968), were it as
    large as it looks; None where none is seen."""
    if only_first == only_second or not images:
        return None
    share = (only_first + only_second) / images
    gap = abs(only_first - only_second) / images
    root = Z_LEVEL * sqrt(share) + Z_POWER * sqrt(max(share - gap**2, 0.0))
    return ceil((root / gap) ** 2)


def holm_adjusted(values: list[float]) -> list[float]:
    """The p-values of several comparisons so that all of them together keep the level (Holm 1979)."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    found, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        found[place] = highest
    return found
