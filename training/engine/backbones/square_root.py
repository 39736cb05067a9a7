"""The square root of a covariance matrix by the iterations of Newton and Schulz, in numpy: no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ITERATIONS = 5  # as in Li et al. 2018 (arXiv 1712.01034); more bring nothing
EPSILON = 1e-6  # of the trace: rounding of a map without any variance stays nothing


def newton_schulz(covariance: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any], float]:
    """(root [K, K], inverse root [K, K], trace [1]) of a covariance [K, K] that is divided by its trace.

    root = covariance / trace @ inverse root, exactly, after any number of iterations.
    """
    trace, identity = float(np.trace(covariance)) + EPSILON, np.eye(len(covariance))
    root, inverse = covariance / trace, identity
    for _ in range(ITERATIONS):
        step = 1.5 * identity - 0.5 * inverse @ root
        root, inverse = root @ step, step @ inverse
    return root, inverse, trace


def pair_gains(count: int) -> NDArray[np.float32]:
    """[K (K + 1) / 2]: values beside the diagonal stand for two, so that the norm is the matrix's."""
    rows, columns = np.triu_indices(count)
    return np.where(rows == columns, 1, 2**0.5).astype(np.float32)


def symmetric(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """[C, K, K] whose product with a symmetric matrix is that of weights [C, K (K + 1) / 2] on its pairs."""
    count = round((2 * weights.shape[1] + 0.25) ** 0.5 - 0.5)
    rows, columns = np.triu_indices(count)
    full = np.zeros((len(weights), count, count), np.float32)
    full[:, rows, columns] = full[:, columns, rows] = weights / pair_gains(count)
    return full
