"""Features of pictures by a network that stays loaded: what suggestions are learned from."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.engine import networks
from training.engine.catalogue import NETWORKS
from training.engine.config import EngineError
from training.engine.features import open_queue
from training.engine.networks import Head, Member
from training.engine.pixels import Pixels, read_square

NETWORK = NETWORKS[0]  # the quickest
SIDE = NETWORK.resolution
Floats = NDArray[np.float32]


class Embedder:
    """Loaded once; every call gives rows of length 1. Not for several threads at once."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        head = Head(torch.zeros(1, NETWORK.features), torch.zeros(1))
        self._queue: Any = open_queue(Member(NETWORK, SIDE, networks.pretrained(NETWORK), head), threads)

    def embed(self, paths: Sequence[Path | None]) -> tuple[Floats, NDArray[np.bool_]]:
        """[N, F] features at length 1, and [N] which files could be read; the others' rows are 0."""
        found = np.zeros((len(paths), NETWORK.features), np.float32)
        is_readable = np.zeros(len(paths), np.bool_)
        self._queue.set_callback(
            lambda request, row: found.__setitem__(row, request.get_output_tensor(0).data[0])
        )
        with ThreadPoolExecutor(self.threads) as pool:
            for row, square in enumerate(pool.map(_read, paths)):
                if square is not None:
                    is_readable[row] = True
                    self._queue.start_async({0: square[None]}, row)
        self._queue.wait_all()
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.maximum(lengths, 1e-12), is_readable


def _read(path: Path | None) -> Pixels | None:
    try:
        return read_square(path, SIDE) if path else None
    except (EngineError, OSError):
        return None
