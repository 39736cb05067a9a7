"""Cross-validation over training and validation images: how well the procedure does that fitted a model.

It runs after the search, for few validation images, and chooses nothing. A head on frozen features is fitted
again for every fold; a fine-tuning would take as long as the search, so of a fine-tuned model the best head
without fine-tuning is judged instead, and `is_chosen` says so.

Every image is predicted once in each repeat, by a head that was fitted without it and without the images of
its group. Heads of different folds share most of their images, so their mistakes are alike: the interval is
Wilson's for images / SHARED_TRAINING. benchmarks/interval_coverage.py measures how often it holds the truth.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.engine.backbones.classifier import Member
from training.engine.backbones.features import extract_features
from training.engine.bundle.bundle import calibrate
from training.engine.config import CrossValidation, EngineError, Sample
from training.engine.data import duplicates, images
from training.engine.data.groups import join_groups
from training.engine.data.images import Pixels
from training.engine.evaluation import intervals
from training.engine.evaluation.scoring import Floats, balanced_weights, best_thresholds
from training.engine.search import linear_head
from training.engine.search.linear_probe import frozen_features, views_of
from training.engine.search.state import FittedCandidate, SearchState
from training.engine.search.time_limit import FitStopped

MAX_VALIDATION = 200  # images; with more, their own interval is narrow enough: ± 5 points at 84 %
MAX_IMAGES = 2000  # in training and validation
FOLDS, REPEATS = 5, 5
SHARED_TRAINING = 1.25  # by which the variance exceeds that of independent images
HEADS = ("linear head", "joint linear head", "second-order ")  # recipes without fine-tuning begin so


@dataclass(frozen=True, slots=True)
class _Rows:
    """Training rows, then validation rows: features [V, N, F], targets [N, C] and groups [N]."""

    features: Tensor
    targets: Floats
    groups: NDArray[np.int64]


def cross_validate(search: SearchState, validation: Sequence[Sample]) -> CrossValidation | None:
    """Judge the best model, or the best head without fine-tuning, as often as the time allows.

    None where there are too many images, no time, or no such head.
    """
    candidate, data = _best_head(search), search.data
    if candidate is None or not _is_small(search, validation):
        return None
    clock = search.run.clock
    try:
        with clock.phase("cross-validation", "Cross-validation"):
            rows = _rows(search, candidate, validation)
            repeats = _repeat(search, rows)
    except (FitStopped, EngineError, OSError, RuntimeError):
        return None
    if not repeats:
        return None
    correct = np.stack([hits for _, hits in repeats])
    accuracy = float(correct.mean())
    correlation = intervals.group_correlation(correct[0], rows.groups)
    effect = SHARED_TRAINING * intervals.design_effect(rows.groups, correlation)
    low, high = intervals.wilson_interval(accuracy, len(rows.targets) / effect)
    return CrossValidation(
        network=candidate.name,
        resolution=candidate.resolution,
        recipe=candidate.recipe,
        is_chosen=candidate is search.best,
        images=len(rows.targets),
        validation_images=len(rows.targets) - len(data.paths),
        accuracy=accuracy,
        low=low,
        high=high,
        folds=tuple(_hits_by_fold(folds, hits) for folds, hits in repeats),
    )


def _best_head(search: SearchState) -> FittedCandidate | None:
    """The best model if it is a head on pretrained features, else the best candidate that is one."""

    def is_head(candidate: FittedCandidate) -> bool:
        is_own = not any(member.is_from_base for member in candidate.members)
        return candidate.recipe.startswith(HEADS) and is_own

    if search.best is not None and is_head(search.best):
        return search.best
    limit = search.run.config.max_inference_ms
    heads = [
        candidate
        for _, candidate in search.candidates
        if candidate is not None and is_head(candidate) and candidate.inference_ms <= limit
    ]
    return min(heads, key=lambda candidate: candidate.score.loss, default=None)


def _is_small(search: SearchState, validation: Sequence[Sample]) -> bool:
    rows = len(search.data.paths)
    is_whole = len(search.head_rows) == rows
    return 0 < len(validation) < MAX_VALIDATION and rows + len(validation) <= MAX_IMAGES and is_whole


def _rows(search: SearchState, candidate: FittedCandidate, validation: Sequence[Sample]) -> _Rows:
    data, run = search.data, search.run
    pixels, samples = _read(validation, data.side, data.labels)
    groups = data.groups
    if samples:
        found = duplicates.duplicate_groups(pixels, run.threads, run.clock.tick)
        found = join_groups(found, [sample.group for sample in samples])
        groups = np.concatenate([groups, groups.max() + 1 + found])
    position = {label: place for place, label in enumerate(data.labels)}
    targets = np.zeros((len(samples), len(data.labels)), np.float32)
    for row, sample in enumerate(samples):
        targets[row, [position[label] for label in sample.labels]] = 1
    tables = [
        _table(search, candidate.members, pixels, quarters) for quarters in range(views_of(search, candidate))
    ]
    return _Rows(torch.stack(tables), np.concatenate([data.targets, targets]), groups)


def _read(validation: Sequence[Sample], side: int, labels: Sequence[str]) -> tuple[Pixels, list[Sample]]:
    """The pixels [M, side, side, 3] of the images that can be read and carry labels of the model."""
    squares, samples = [], []
    for sample in validation:
        if not set(sample.labels) <= set(labels):
            continue
        try:
            squares.append(images.read_square(sample.path, side))
        except (OSError, EngineError, ValueError):
            continue
        samples.append(sample)
    return (np.stack(squares) if squares else np.zeros((0, side, side, 3), np.uint8)), samples


def _table(search: SearchState, members: Sequence[Member], pixels: Pixels, quarters: int) -> Tensor:
    """[N, F] features of the members side by side, no block outweighing another."""
    run, blocks = search.run, list[Tensor]()
    for member in members:
        known = frozen_features(search, member, quarters)
        if len(pixels):
            new = extract_features(member, pixels, run.threads, run.device, run.clock.tick, quarters=quarters)
            known = torch.cat([known, new])
        blocks += torch.split(known, list(member.taps), dim=1)
    return torch.cat([block / max(float(block.std()), 1e-6) for block in blocks], dim=1)


def _repeat(search: SearchState, rows: _Rows) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Of each repeat the folds [N] and which images [N] were right; as many as there is time for."""
    clock, seed, found = search.run.clock, search.run.config.seed, []
    weights, is_multi_label = balanced_weights(rows.targets), search.run.config.is_multi_label
    longest = 0.0
    for repeat in range(REPEATS):
        if clock.left() < 1.5 * longest:
            break
        began = time.monotonic()
        folds = linear_head.make_folds(rows.targets, FOLDS, seed + 1 + repeat, rows.groups)
        try:
            fit = linear_head.cross_validate(
                rows.features, rows.targets, folds, is_multi_label, weights, clock.tick
            )
        except FitStopped:
            break
        found.append((folds, _is_right(fit, rows.targets, folds, is_multi_label)))
        longest = max(longest, time.monotonic() - began)
    return found


def _is_right(
    fit: linear_head.HeadFit, targets: Floats, folds: NDArray[np.int64], is_multi_label: bool
) -> NDArray[np.bool_]:
    """[N] whether the held-out prediction is exactly right; thresholds come from the other folds."""
    if not is_multi_label:
        return np.asarray(fit.held_out.argmax(axis=1) == targets.argmax(axis=1), np.bool_)
    scores = calibrate(fit.held_out, fit.score.temperature, True)
    predicted = np.zeros(targets.shape, np.bool_)
    for fold in np.unique(folds):
        others = folds != fold
        predicted[~others] = scores[~others] >= np.array(best_thresholds(scores[others], targets[others]))
    return np.asarray((predicted == (targets > 0.5)).all(axis=1), np.bool_)


def _hits_by_fold(folds: NDArray[np.int64], hits: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    return tuple((int(hits[folds == fold].sum()), int((folds == fold).sum())) for fold in np.unique(folds))
