"""Which changes of a picture keep what it shows: asked of the data, before anything is trained on changed
pictures.

A head on frozen features is fitted with and without a changed view of some pictures, and judged on plain
ones that it has not seen. Letters do not bear mirrors; cells and fields seen from above bear quarter turns
as well.
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
from training.engine.search.state import Candidate, Search

START_STRENGTH = 1e-5  # of the head that a fine-tuning starts from: smooth
PROBE_IMAGES = 400  # pictures that tell
MAX_MIRROR_RATIO = 1.02  # times the loss: mirrored pictures are many things' other side, and cost nothing
MAX_ROTATION_RATIO = (
    0.95  # times the loss: turned ones take time, and are right for some kinds of pictures only
)
MIN_ROTATION_IMAGES = 100  # pictures; fewer find a gain by chance


def tolerates_mirroring(search: Search, start: Candidate) -> bool:
    """Are mirrored pictures as good as others? They are not where left and right matter."""
    return _loss_ratio(search, start, lambda pixels: pixels[:, :, ::-1]) < MAX_MIRROR_RATIO


def gains_from_rotation(search: Search, start: Candidate) -> bool:
    """Do quarter turns teach something? They do where no side of the pictures is their top."""
    if len(search.head_rows) < MIN_ROTATION_IMAGES:
        return False
    return _loss_ratio(search, start, lambda pixels: np.rot90(pixels, axes=(1, 2))) < MAX_ROTATION_RATIO


def _loss_ratio(search: Search, start: Candidate, change: Callable[[Pixels], Pixels]) -> float:
    """Cross-validated loss with the changed view of pictures [N, S, S, 3] as well, over that without."""
    member, clock = replace(start.members[0], is_deep=False), search.clock
    picked = np.sort(
        np.random.default_rng(search.config.seed).permutation(len(search.head_rows))[:PROBE_IMAGES]
    )
    rows = search.head_rows[picked]
    changed = extract_features(member, change(search.pixels[rows]), search.threads, search.device, clock.tick)
    plain = frozen_features(search, member)[picked]
    with_both, alone = (
        linear_head.cross_validate(
            views,
            search.targets[rows],
            search.folds[rows],
            search.config.is_multi_label,
            search.weights[rows],
            clock.tick,
            [START_STRENGTH],
        ).verdict.loss
        for views in (torch.stack([plain, changed]), plain[None])
    )
    return with_both / max(alone, 1e-9)
