"""Second-order pooling: which channels of a map are high at the same places of an image.

The mean of a map over its places loses that two channels occur together. Their covariance keeps it: channels
are projected on their principal directions, and the square root of the covariance matrix [K, K] is pooled
(iSQRT-COV, Li et al. 2018, arXiv 1712.01034), which weighs strong and weak directions alike.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.engine.backbones.square_root import EPSILON, ITERATIONS, pair_gains

Floats = NDArray[np.float32]


class CovariancePooling(nn.Module):
    """Maps [N, C, h, w] to [N, K (K + 1) / 2] of norm 1, for `directions` [C, K]."""

    def __init__(self, directions: Tensor) -> None:
        super().__init__()
        count = directions.shape[1]
        rows, columns = np.triu_indices(count)
        self.directions = nn.Buffer(directions.T.contiguous())
        self.identity = nn.Buffer(torch.eye(count))
        self.places = nn.Buffer(torch.from_numpy(rows * count + columns))
        self.gains = nn.Buffer(torch.from_numpy(pair_gains(count)))

    def forward(self, maps: Tensor) -> Tensor:
        # Half precision does not suffice for the iterations.
        with torch.autocast(maps.device.type, enabled=False):
            projected = self.directions @ maps.float().flatten(2)
            centred = projected - projected.mean(2, keepdim=True)
            root = self._square_root(centred @ centred.transpose(1, 2) / centred.shape[2])
            values = root.flatten(1)[:, self.places] * self.gains
            return values / (values.square().sum(1, keepdim=True) + EPSILON).sqrt()

    def _square_root(self, covariance: Tensor) -> Tensor:
        """[N, K, K] of covariance / trace, by the same iterations as `square_root.newton_schulz`."""
        trace = (covariance * self.identity).sum((1, 2), keepdim=True)
        root, inverse = covariance / (trace + EPSILON), self.identity.expand_as(covariance)
        for _ in range(ITERATIONS):
            step = 1.5 * self.identity - 0.5 * inverse @ root
            root, inverse = root @ step, step @ inverse
        return root


def covariance_columns(directions: int) -> int:
    """The number of features for K directions."""
    return directions * (directions + 1) // 2


def principal_directions(maps: Floats, count: int) -> Tensor:
    """[C, K] directions of the largest variance within images, of maps [N, C, P] with P places each."""
    centred = maps - maps.mean(axis=2, keepdims=True)
    total = np.einsum("ncp,ndp->cd", centred, centred, optimize=True)
    _, vectors = np.linalg.eigh(total.astype(np.float64))
    return torch.from_numpy(np.ascontiguousarray(vectors[:, ::-1][:, :count], dtype=np.float32))
