"""Which augmentations are harmless for these images, measured before anything is trained with them.

A head on frozen features is fitted with and without an augmented view of some images, and scored on plain
images that it has not seen. Letters must not be mirrored; cells, and fields seen from above, may be rotated
by quarter turns as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from training.engine.backbones.features import extract_features
from training.engine.data.images import Pixels
from training.engine.search import linear_head
from training.engine.search.linear_probe import frozen_features
from training.engine.search.state import FittedCandidate, SearchState

START_STRENGTH = 1e-5  # regularization of the head that a fine-tuning starts from
PROBE_IMAGES = 400  # images in a probe
# Losses with an augmented view over losses without. Mirroring costs nothing, so no gain is asked of it;
# rotation takes time and suits few kinds of images.
MAX_MIRROR_RATIO = 1.02
MAX_ROTATION_RATIO = 0.95
MIN_ROTATION_IMAGES = 100  # with fewer images a gain may be chance


def tolerates_mirroring(search: SearchState, start: FittedCandidate) -> bool:
    """Whether mirrored images may be trained on; not where left and right matter."""
    return _loss_ratio(search, start, lambda pixels: pixels[:, :, ::-1]) < MAX_MIRROR_RATIO


def gains_from_rotation(search: SearchState, start: FittedCandidate) -> bool:
    """Whether images rotated by quarter turns lower the loss, as they do where images have no top."""
    if len(search.head_rows) < MIN_ROTATION_IMAGES:
        return False
    return _loss_ratio(search, start, lambda pixels: np.rot90(pixels, axes=(1, 2))) < MAX_ROTATION_RATIO


def _loss_ratio(search: SearchState, start: FittedCandidate, change: Callable[[Pixels], Pixels]) -> float:
    """Cross-validated loss with the changed view of images [N, S, S, 3], divided by the loss without."""
    member, clock, data = replace(start.members[0], is_deep=False), search.run.clock, search.data
    picked = np.sort(
        np.random.default_rng(search.run.config.seed).permutation(len(search.head_rows))[:PROBE_IMAGES]
    )
    rows = search.head_rows[picked]
    changed = extract_features(
        member, change(data.pixels[rows]), search.run.threads, search.run.device, clock.tick
    )
    plain = frozen_features(search, member)[picked]
    both_loss, plain_loss = (
        linear_head.cross_validate(
            views,
            data.targets[rows],
            data.folds[rows],
            search.run.config.is_multi_label,
            data.weights[rows],
            clock.tick,
            [START_STRENGTH],
        ).score.loss
        for views in (torch.stack([plain, changed]), plain[None])
    )
    return both_loss / max(plain_loss, 1e-9)
