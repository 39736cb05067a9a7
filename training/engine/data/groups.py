"""Groups of images that are never divided: those with a name in common, such as a person, and duplicates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def join_groups(numbers: NDArray[np.int64], names: Sequence[str | None]) -> NDArray[np.int64]:
    """[N] group numbers, equal for rows that are connected by equal `numbers` [N] or by equal names.

    None names no group. The number of a group is the lowest of `numbers` in it.
    """
    parents = {int(number): int(number) for number in numbers}

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    first: dict[str, int] = {}
    for number, name in zip(numbers.tolist(), names, strict=True):
        if name is not None:
            one, other = root(number), root(first.setdefault(name, number))
            parents[max(one, other)] = min(one, other)
    return np.array([root(number) for number in numbers.tolist()], np.int64)
