"""Linear heads on frozen features: multinomial (or per-label) logistic regression, regularization by
cross-validation.

The head is convex, takes seconds, and ranks the networks before anything expensive starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.engine.backbones.classifier import Head
from training.engine.search.scoring import Floats, Score, score_logits

STRENGTHS = (1e-3, 1e-4, 1e-5, 1e-6)
ITERATIONS = 60
TYPICAL_CURVATURE = 0.2  # of that at the start, over the way to the solution
SMALL_PRODUCT = 100_000_000  # multiply-adds
PROJECTION_COST = 39  # turning n rows costs as much as what n² / 39 columns cost a class of the fits
Tick = Callable[[], None]


@dataclass(frozen=True, slots=True)
class HeadFit:
    """A head fitted on all rows, and what it is worth: logits [N, C] of rows held out in turn."""

    head: Head
    held_out: Floats
    verdict: Score
    strength: float


@dataclass(frozen=True, slots=True)
class _Basis:
    """Features centred, scaled to mean square 1/F, and turned into as few columns as they span.

    Turning is exact for a head with an L2 penalty, and makes small sets fast.
    """

    rows: Tensor
    mean: Tensor
    scale: float
    turn: Tensor | None

    def unfold(self, solution: Tensor) -> Head:
        """The head on raw features for a solution [K + 1, C] on the rows."""
        weight = (self.turn @ solution[:-1] if self.turn is not None else solution[:-1]) / self.scale
        return Head(weight.T.contiguous(), solution[-1] - self.mean @ weight)


def cross_validate(
    features: Tensor,
    targets: Floats,
    folds: NDArray[np.int64],
    is_multi_label: bool,
    row_weights: NDArray[np.float64],
    tick: Tick,
    strengths: Sequence[float] = STRENGTHS,
) -> HeadFit:
    """Fit features [V, N, F] (V views of the same N pictures; view 0 is the plain one).

    Every fold is left out once with all its views and judged on its plain view; the best of the
    `strengths`, which fall, wins. `tick` is called often and may raise to stop.
    """
    basis = _basis(features.reshape(-1, features.shape[-1]), targets.shape[1])
    views, n = features.shape[:2]
    wanted = torch.from_numpy(targets).repeat(views, 1)
    weights = torch.from_numpy(row_weights).float().repeat(views)
    held_out = _cross_validated_logits(
        basis, wanted, weights, np.tile(folds, views), n, is_multi_label, tick, strengths
    )
    verdicts = [score_logits(logits, targets, is_multi_label) for logits in held_out]
    best = min(range(len(verdicts)), key=lambda i: verdicts[i].loss)
    path = _regularization_path(basis.rows, wanted, weights, strengths[: best + 1], is_multi_label, tick)
    return HeadFit(basis.unfold(path[-1]), held_out[best], verdicts[best], strengths[best])


def fit_head(
    features: Tensor,
    targets: Floats,
    strength: float,
    is_multi_label: bool,
    weights: NDArray[np.float64],
    tick: Tick,
) -> Head:
    """A head on features [N, F] at a known strength."""
    basis = _basis(features, targets.shape[1])
    path = [s for s in STRENGTHS if s > strength] + [strength]
    rows = torch.from_numpy(weights).float()
    return basis.unfold(
        _regularization_path(basis.rows, torch.from_numpy(targets), rows, path, is_multi_label, tick)[-1]
    )


def make_folds(
    targets: Floats, count: int, seed: int, groups: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """[N] fold numbers, stratified by the (rarest) label of each picture, so every fold sees each class.

    Rows of the same of the [N] `groups`, which are copies of one picture, share a fold.
    """
    if groups is not None:
        _, first, place = np.unique(groups, return_index=True, return_inverse=True)
        return make_folds(targets[first], count, seed)[place]
    rarity = np.where(targets > 0, targets.sum(axis=0)[None], np.inf)
    kind = np.where(targets.any(axis=1), rarity.argmin(axis=1), -1)
    random = np.random.default_rng(seed)
    folds = np.zeros(len(targets), dtype=np.int64)
    start = 0
    for one in np.unique(kind):
        rows = random.permutation(np.flatnonzero(kind == one))
        folds[rows] = (start + np.arange(len(rows))) % count
        start += len(rows)
    return folds


def _basis(features: Tensor, classes: int) -> _Basis:
    mean = features.mean(dim=0)
    centred = features - mean
    scale = max(float(centred.square().mean().sqrt()), 1e-6) * features.shape[1] ** 0.5
    rows = centred / scale
    if len(rows) ** 2 > PROJECTION_COST * (rows.shape[1] - len(rows)) * classes:  # turning would not pay
        return _Basis(rows, mean, scale, None)
    size, left = torch.linalg.eigh(
        (rows @ rows.T).double()
    )  # far quicker than a singular value decomposition
    kept = size > 1e-7 * size[-1]
    turn = (rows.T @ (left[:, kept] / size[kept].sqrt()).float()).contiguous()
    return _Basis(rows @ turn, mean, scale, turn)


def _cross_validated_logits(
    basis: _Basis,
    targets: Tensor,
    weights: Tensor,
    folds: NDArray[np.int64],
    n: int,
    is_multi_label: bool,
    tick: Tick,
    strengths: Sequence[float],
) -> list[Floats]:
    """For each strength the logits [n, C] of the plain rows, each from a head that did not see them."""
    tables = [np.zeros((n, targets.shape[1]), np.float32) for _ in strengths]
    for fold in np.unique(folds):
        seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds[:n] == fold)
        path = _regularization_path(
            basis.rows[seen], targets[seen], weights[seen], strengths, is_multi_label, tick
        )
        for table, solution in zip(tables, path, strict=True):
            table[unseen] = (basis.rows[unseen] @ solution[:-1] + solution[-1]).numpy()
    return tables


def _regularization_path(
    rows: Tensor,
    targets: Tensor,
    weights: Tensor,
    strengths: Sequence[float],
    is_multi_label: bool,
    tick: Tick,
) -> list[Tensor]:
    """Solutions [K + 1, C] from strong to weak regularization, each started from the one before."""
    solution = torch.zeros(rows.shape[1] + 1, targets.shape[1])
    path = []
    shares = weights / weights.sum()
    with _threads_for(rows.numel() * targets.shape[1]):
        for strength in strengths:
            solution = _solve(rows, targets, shares, strength, solution, is_multi_label, tick)
            path.append(solution)
    return path


@contextmanager
def _threads_for(operations: int) -> Iterator[None]:
    """One thread for small products: waiting for the others would take longer than the work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(threads if operations > SMALL_PRODUCT else 1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _solve(
    rows: Tensor,
    targets: Tensor,
    weights: Tensor,
    strength: float,
    start: Tensor,
    is_multi_label: bool,
    tick: Tick,
) -> Tensor:
    """L-BFGS on the weighted mean log loss + strength / 2 · |W|², in coordinates that make it round.

    The curvature along a column is at most its mean square times p (1 - p) (Böhning 1992), plus the strength.
    Divided by its root the columns weigh alike, and a third of the steps is enough.
    """
    curvature = TYPICAL_CURVATURE * _class_variance(targets.shape[1])
    spread = torch.cat([rows.square().T @ weights * curvature + strength, torch.tensor([curvature])])
    unit = spread.rsqrt()[:, None]
    point = start / unit
    optimizer = torch.optim.LBFGS(
        [point],
        max_iter=ITERATIONS,
        history_size=10,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-7,
        tolerance_change=1e-5,
    )

    def loss() -> Tensor:
        tick()
        solution = point * unit
        logits = (rows @ solution[:-1] + solution[-1]).requires_grad_()
        with torch.enable_grad():
            total = (weights * log_loss(logits, targets, is_multi_label)).sum()
            (slope,) = torch.autograd.grad(total, [logits])
        steepness = _transposed_product(rows, slope) + strength * solution[:-1]
        point.grad = torch.cat([steepness, slope.sum(dim=0)[None]]) * unit
        return total.detach() + strength / 2 * solution[:-1].square().sum()

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return point * unit


def _transposed_product(rows: Tensor, narrow: Tensor) -> Tensor:
    """rowsᵀ [F, N] times narrow [N, C]; with fewer than 16 columns the library takes eight times as long."""
    missing = -narrow.shape[1] % 16
    return (rows.T @ torch.nn.functional.pad(narrow, (0, missing)))[:, : narrow.shape[1]]


def _class_variance(classes: int) -> float:
    """p (1 - p) of one class among equals, where the search begins."""
    return (1 / classes) * (1 - 1 / classes)


def log_loss(logits: Tensor, targets: Tensor, is_multi_label: bool) -> Tensor:
    """[N] log loss of logits [N, C] against targets [N, C] in 0..1."""
    if is_multi_label:
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(
            dim=1
        )
    return -(targets * torch.log_softmax(logits, dim=1)).sum(dim=1)
