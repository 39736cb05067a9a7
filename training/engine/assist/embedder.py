"""Features of pictures by a network that stays loaded: what suggestions are learned from."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.engine.backbones import classifier
from training.engine.backbones.classifier import Head, Member
from training.engine.backbones.features import open_feature_queue
from training.engine.backbones.registry import NETWORKS
from training.engine.config import EngineError
from training.engine.data.images import Pixels, read_square

NETWORK = NETWORKS[0]  # the quickest
INPUT_SIDE = NETWORK.resolution
EMBEDDING_SIZE = (
    1280  # of a row: what all stages see, 4096 numbers, by fixed random projections (Johnson, Lindenstrauss)
)
EMBEDDING_NAME = (
    f"{NETWORK.name}, all stages"  # rows of other networks, or of other projections, are not compared
)
Floats = NDArray[np.float32]


class Embedder:
    """Loaded once; every call gives rows of length 1. Not for several threads at once."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        head = Head(torch.zeros(1, sum(NETWORK.taps)), torch.zeros(1))
        member = Member(NETWORK, INPUT_SIDE, classifier.pretrained_state(NETWORK), head, is_deep=True)
        self._queue: Any = open_feature_queue(member, threads)
        random = np.random.Generator(np.random.PCG64(EMBEDDING_SIZE))
        self._projections = random.standard_normal((sum(NETWORK.taps), EMBEDDING_SIZE), dtype=np.float32)

    def embed(self, pictures: Sequence[Path | bytes | None]) -> tuple[Floats, NDArray[np.bool_]]:
        """[N, WIDTH] features at length 1, and [N] which could be read; the others' rows are 0."""
        seen = np.zeros((len(pictures), len(self._projections)), np.float32)
        is_readable = np.zeros(len(pictures), np.bool_)
        self._queue.set_callback(
            lambda request, row: seen.__setitem__(row, request.get_output_tensor(0).data[0])
        )
        with ThreadPoolExecutor(self.threads) as pool:
            for row, square in enumerate(pool.map(_read, pictures)):
                if square is not None:
                    is_readable[row] = True
                    self._queue.start_async({0: square[None]}, row)
        self._queue.wait_all()
        found = seen @ self._projections
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12), is_readable


def _read(picture: Path | bytes | None) -> Pixels | None:
    try:
        return read_square(picture, INPUT_SIDE) if picture else None
    except (EngineError, OSError):
        return None
