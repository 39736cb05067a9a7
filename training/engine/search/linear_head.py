"""Linear heads on frozen features: multinomial or per-label logistic regression.

The regularization is chosen by cross-validation. The head is a convex problem that takes seconds, and its
loss ranks the networks before anything expensive starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.engine.backbones.classifier import Head
from training.engine.evaluation.scoring import Floats, Score, score_logits

STRENGTHS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # of the L2 penalty, falling
ITERATIONS = 60
# Stopping early is part of the regularization. Measured on hand signs of unseen people with 8,752 columns:
# 44 of 1,650 wrong, with a tenth of this tolerance 56, with a hundredth 57; elsewhere no difference.
TOLERANCE = 1e-5
TYPICAL_CURVATURE = 0.2  # of the curvature at the start, on the way to the solution
SMALL_PRODUCT = 100_000_000  # multiply-adds
PROJECTION_COST = 39  # projecting n rows costs as much as what n² / 39 columns cost a class of the fits
Tick = Callable[[], None]


@dataclass(frozen=True, slots=True)
class HeadFit:
    """A head fitted on all rows, and its cross-validated score.

    `held_out` [N, C] are the logits of each row from the fit that left it out, at the chosen `strength`.
    """

    head: Head
    held_out: Floats
    score: Score
    strength: float


@dataclass(frozen=True, slots=True)
class _Basis:
    """Features centred, scaled to mean square 1/F, and projected on as few columns as they span.

    The projection is exact for a head with an L2 penalty, and makes small sets fast.
    """

    rows: Tensor
    mean: Tensor
    scale: float
    projection: Tensor | None

    def unfold(self, solution: Tensor) -> Head:
        """The head on raw features for a solution [K + 1, C] on the rows."""
        weight = solution[:-1] if self.projection is None else self.projection @ solution[:-1]
        weight = weight / self.scale
        return Head(weight.T.contiguous(), solution[-1] - self.mean @ weight)


@dataclass(frozen=True, slots=True)
class _Problem:
    """A logistic regression: rows [N, K] of a basis, targets [N, C], and weights [N] of the rows."""

    rows: Tensor
    targets: Tensor
    weights: Tensor
    is_multi_label: bool
    tick: Tick

    def take(self, rows: NDArray[np.int64]) -> _Problem:
        return replace(self, rows=self.rows[rows], targets=self.targets[rows], weights=self.weights[rows])


def cross_validate(
    features: Tensor,
    targets: Floats,
    folds: NDArray[np.int64],
    is_multi_label: bool,
    row_weights: NDArray[np.float64],
    tick: Tick,
    strengths: Sequence[float] = STRENGTHS,
) -> HeadFit:
    """Fit features [V, N, F] (V views of the same N images; view 0 is the plain one).

    Every fold is left out once with all its views and scored on its plain view; the best of the `strengths`,
    which fall, is used for the head on all rows. `tick` is called often and may raise to stop.
    """
    # 1. One basis for all fits: centring with the held-out rows does not show their labels.
    basis = _basis(features.reshape(-1, features.shape[-1]), targets.shape[1])
    views, count = features.shape[:2]
    all_targets = torch.from_numpy(targets).repeat(views, 1)
    weights = torch.from_numpy(row_weights).float().repeat(views)
    problem = _Problem(basis.rows, all_targets, weights, is_multi_label, tick)
    # 2. The strength with the lowest loss on rows that were left out.
    held_out = _cross_validated_logits(problem, np.tile(folds, views), count, strengths)
    scores = [score_logits(logits, targets, is_multi_label) for logits in held_out]
    best = min(range(len(scores)), key=lambda index: scores[index].loss)
    # 3. All rows, down the same path of strengths: each solution starts from the one before.
    path = _regularization_path(problem, strengths[: best + 1])
    return HeadFit(basis.unfold(path[-1]), held_out[best], scores[best], strengths[best])


def fit_head(
    features: Tensor,
    targets: Floats,
    strength: float,
    is_multi_label: bool,
    weights: NDArray[np.float64],
    tick: Tick,
) -> Head:
    """Fit a head on features [N, F] at a given strength."""
    basis = _basis(features, targets.shape[1])
    row_weights = torch.from_numpy(weights).float()
    problem = _Problem(basis.rows, torch.from_numpy(targets), row_weights, is_multi_label, tick)
    strengths = [stronger for stronger in STRENGTHS if stronger > strength] + [strength]
    return basis.unfold(_regularization_path(problem, strengths)[-1])


def make_folds(
    targets: Floats, count: int, seed: int, groups: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """[N] fold numbers, stratified by the (rarest) label of each image, so every fold sees each class.

    Rows with the same number in `groups` [N], duplicates or images of one person, share a fold.
    """
    if groups is not None:
        _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        is_alone = sizes[place] == 1
        folds = np.zeros(len(targets), dtype=np.int64)
        folds[is_alone] = make_folds(targets[is_alone], count, seed)
        folds[~is_alone] = _folds_of_groups(targets[~is_alone], count, seed, groups[~is_alone])
        return folds
    kinds = rarest_labels(targets)
    random = np.random.default_rng(seed)
    folds = np.zeros(len(targets), dtype=np.int64)
    start = 0
    for kind in np.unique(kinds):
        rows = random.permutation(np.flatnonzero(kinds == kind))
        folds[rows] = (start + np.arange(len(rows))) % count
        start += len(rows)
    return folds


def _folds_of_groups(targets: Floats, count: int, seed: int, groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N] fold numbers of whole groups, the largest first: each to the fold that has least of its labels."""
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    labels = np.zeros((len(sizes), targets.shape[1] + 1))
    np.add.at(labels, place, np.column_stack([targets, np.ones(len(targets))]))  # the last counts the images
    share = labels / np.maximum(labels.sum(axis=0), 1)
    order = np.random.default_rng(seed).permutation(len(sizes))
    load, fold_of = np.zeros((count, share.shape[1])), np.zeros(len(sizes), np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of[group] = fold = int((load @ share[group]).argmin())
        load[fold] += share[group]
    return fold_of[place]


def rarest_labels(targets: Floats) -> NDArray[np.int64]:
    """[N] the rarest label of each image of targets [N, C]; -1 for an image without labels."""
    rarity = np.where(targets > 0, targets.sum(axis=0)[None], np.inf)
    return np.where(targets.any(axis=1), rarity.argmin(axis=1), -1)


def _basis(features: Tensor, classes: int) -> _Basis:
    mean = features.mean(dim=0)
    centred = features - mean
    scale = max(float(centred.square().mean().sqrt()), 1e-6) * features.shape[1] ** 0.5
    rows = centred / scale
    if len(rows) ** 2 > PROJECTION_COST * (rows.shape[1] - len(rows)) * classes:  # it would not pay
        return _Basis(rows, mean, scale, None)
    # The eigenvectors of the Gram matrix are far faster than a singular value decomposition.
    values, vectors = torch.linalg.eigh((rows @ rows.T).double())
    kept = values > 1e-7 * values[-1]
    projection = (rows.T @ (vectors[:, kept] / values[kept].sqrt()).float()).contiguous()
    return _Basis(rows @ projection, mean, scale, projection)


def _cross_validated_logits(
    problem: _Problem, folds: NDArray[np.int64], count: int, strengths: Sequence[float]
) -> list[Floats]:
    """For each strength the logits [count, C] of the plain rows, each from a head that has not seen them."""
    tables = [np.zeros((count, problem.targets.shape[1]), np.float32) for _ in strengths]
    for fold in np.unique(folds):
        seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds[:count] == fold)
        path = _regularization_path(problem.take(seen), strengths)
        for table, solution in zip(tables, path, strict=True):
            table[unseen] = (problem.rows[unseen] @ solution[:-1] + solution[-1]).numpy()
    return tables


def _regularization_path(problem: _Problem, strengths: Sequence[float]) -> list[Tensor]:
    """Solutions [K + 1, C] from strong to weak regularization, each started from the one before."""
    rows, classes = problem.rows, problem.targets.shape[1]
    solution = torch.zeros(rows.shape[1] + 1, classes)
    path = []
    normalized = replace(problem, weights=problem.weights / problem.weights.sum())
    with _threads_for(rows.numel() * classes):
        for strength in strengths:
            solution = _solve(normalized, strength, solution)
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


def _solve(problem: _Problem, strength: float, start: Tensor) -> Tensor:
    """L-BFGS on the weighted mean log loss + strength / 2 · |W|², with preconditioned coordinates.

    The curvature along a column is at most its mean square times p (1 - p) (Böhning 1992), plus the strength.
    Divided by its root the columns weigh alike, and a third of the steps is enough.
    """
    rows, targets, weights = problem.rows, problem.targets, problem.weights
    # 1. The preconditioner, and the start in its coordinates.
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
        tolerance_change=TOLERANCE,
    )

    # 2. The gradient of the large product by hand: autograd's own is eight times slower for few classes.
    def loss() -> Tensor:
        problem.tick()
        solution = point * unit
        logits = (rows @ solution[:-1] + solution[-1]).requires_grad_()
        with torch.enable_grad():
            total = (weights * log_loss(logits, targets, problem.is_multi_label)).sum()
            (slope,) = torch.autograd.grad(total, [logits])
        gradient = _transposed_product(rows, slope) + strength * solution[:-1]
        point.grad = torch.cat([gradient, slope.sum(dim=0)[None]]) * unit
        return total.detach() + strength / 2 * solution[:-1].square().sum()

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return point * unit


def _transposed_product(rows: Tensor, narrow: Tensor) -> Tensor:
    """rowsᵀ [F, N] times narrow [N, C]; with fewer than 16 columns the library takes eight times as long."""
    missing = -narrow.shape[1] % 16
    return (rows.T @ torch.nn.functional.pad(narrow, (0, missing)))[:, : narrow.shape[1]]


def _class_variance(classes: int) -> float:
    """p (1 - p) of one class among equals, where the solver starts."""
    return (1 / classes) * (1 - 1 / classes)


def log_loss(logits: Tensor, targets: Tensor, is_multi_label: bool) -> Tensor:
    """[N] log loss of logits [N, C] against targets [N, C] in 0..1."""
    if is_multi_label:
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(
            dim=1
        )
    return -(targets * torch.log_softmax(logits, dim=1)).sum(dim=1)
