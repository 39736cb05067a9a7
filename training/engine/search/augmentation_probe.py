"""Which augmentations are harmless for these images, measured before anything is trained with them.

A head on frozen features is fitted with and without an augmented view of some images, and scored on plain
images that it has not seen. Letters must not be mirrored; cells, and fields seen from above, may be rotated
by quarter turns as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.engine.backbones.features import extract_features
from training.engine.data.images import Pixels
from training.engine.evaluation.scoring import score_logits
from training.engine.search import linear_head
from training.engine.search.linear_probe import frozen_features
from training.engine.search.state import FittedCandidate, SearchState

START_STRENGTH = 1e-5  # regularization of the head that a fine-tuning starts from
PROBE_IMAGES = 400  # images in a probe
# Losses with an augmented view over losses without. Mirroring costs nothing, so no gain is asked of it;
# rotation takes time and suits few kinds of images.
MAX_MIRROR_RATIO = 1.02
MAX_ROTATION_RATIO = 0.95
# Loss on rotated images over that on upright ones, of heads that have seen no rotated image. Measured on 400
# images each with EfficientNet-Lite0: 1.19 for cells, 1.30 for flowers, 3.8 for hand signs.
MAX_ROTATED_RATIO = 1.25
MIN_ROTATION_IMAGES = 100  # with fewer images a gain may be chance


@dataclass(frozen=True, slots=True)
class _Views:
    """Features [R, F] of some images, plain and changed, with the rows [R] of the training data."""

    plain: Tensor
    changed: Tensor
    rows: NDArray[np.int64]


def tolerates_mirroring(search: SearchState, start: FittedCandidate) -> bool:
    """Whether mirrored images may be trained on; not where left and right matter."""
    return _gain_ratio(search, _views(search, start, lambda pixels: pixels[:, :, ::-1])) < MAX_MIRROR_RATIO


def gains_from_rotation(search: SearchState, start: FittedCandidate) -> bool:
    """Whether images have no top, and rotated ones lower the loss.

    More images help of any kind, so it is first asked whether rotated images are recognized like the others.
    """
    if len(search.head_rows) < MIN_ROTATION_IMAGES:
        return False
    views = _views(search, start, lambda pixels: np.rot90(pixels, axes=(1, 2)))
    if _recognition_ratio(search, views) > MAX_ROTATED_RATIO:
        return False
    return _gain_ratio(search, views) < MAX_ROTATION_RATIO


def _views(search: SearchState, start: FittedCandidate, change: Callable[[Pixels], Pixels]) -> _Views:
    """Some of the images with a changed view of each, as `change` makes it of images [R, S, S, 3]."""
    member, run = start.members[0].plain, search.run
    picked = np.sort(np.random.default_rng(run.config.seed).permutation(len(search.head_rows))[:PROBE_IMAGES])
    rows = search.head_rows[picked]
    changed = extract_features(
        member, change(search.data.pixels[rows]), run.threads, run.device, run.clock.tick
    )
    return _Views(frozen_features(search, member)[picked], changed, rows)


def _recognition_ratio(search: SearchState, views: _Views) -> float:
    """Loss on the changed view of held-out images over that on the plain one, which heads are fitted on."""
    data, is_multi_label = search.data, search.run.config.is_multi_label
    targets, weights, folds = data.targets[views.rows], data.weights[views.rows], data.folds[views.rows]
    plain, changed = np.zeros_like(targets), np.zeros_like(targets)
    for fold in np.unique(folds):
        seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        head = linear_head.fit_head(
            views.plain[seen],
            targets[seen],
            START_STRENGTH,
            is_multi_label,
            weights[seen],
            search.run.clock.tick,
        )
        for logits, features in ((plain, views.plain), (changed, views.changed)):
            logits[unseen] = (features[unseen] @ head.weight.T + head.bias).numpy()
    changed_loss, plain_loss = (score_logits(one, targets, is_multi_label).loss for one in (changed, plain))
    return changed_loss / max(plain_loss, 1e-9)


def _gain_ratio(search: SearchState, views: _Views) -> float:
    """Cross-validated loss with the changed views, divided by the loss without."""
    data = search.data
    both_loss, plain_loss = (
        linear_head.cross_validate(
            features,
            data.targets[views.rows],
            data.folds[views.rows],
            search.run.config.is_multi_label,
            data.weights[views.rows],
            search.run.clock.tick,
            [START_STRENGTH],
        ).score.loss
        for features in (torch.stack([views.plain, views.changed]), views.plain[None])
    )
    return both_loss / max(plain_loss, 1e-9)
