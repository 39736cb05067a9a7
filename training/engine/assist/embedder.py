"""Embeddings of images by a network that stays loaded; suggestions are learned from them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from training.engine.backbones import classifier
from training.engine.backbones.classifier import Head, Member
from training.engine.backbones.features import open_feature_queue
from training.engine.backbones.registry import NETWORKS
from training.engine.config import EngineError
from training.engine.data.images import Pixels, read_square

NETWORK = NETWORKS[0]  # the fastest
INPUT_SIDE = NETWORK.resolution
EMBEDDING_SIZE = (
    1280  # numbers: fixed random projections (Johnson, Lindenstrauss) of the 4096 features of all stages
)
EMBEDDING_NAME = (
    f"{NETWORK.name}, all stages"  # embeddings of other networks or projections are not comparable
)
Floats = NDArray[np.float32]


class Embedder:
    """The loaded network; every call gives rows of length 1. Not thread-safe."""

    def __init__(self, threads: int) -> None:
        head = Head(torch.zeros(1, sum(NETWORK.taps)), torch.zeros(1))
        member = Member(NETWORK, INPUT_SIDE, classifier.pretrained_state(NETWORK), head, is_deep=True)
        self._queue: Any = open_feature_queue(member, threads)
        random = np.random.Generator(np.random.PCG64(EMBEDDING_SIZE))
        self._projections = random.standard_normal((sum(NETWORK.taps), EMBEDDING_SIZE), dtype=np.float32)

    def embed(self, squares: Iterable[Pixels | None]) -> tuple[Floats, NDArray[np.bool_]]:
        """[N, EMBEDDING_SIZE] embeddings of length 1, and [N] which images are readable; other rows are 0.

        `squares`: [INPUT_SIDE, INPUT_SIDE, 3] of each image, or None of an unreadable one; read while the
        network works on those before.
        """
        found, is_readable = dict[int, Floats](), list[bool]()
        self._queue.set_callback(
            lambda request, row: found.__setitem__(row, request.get_output_tensor(0).data[0].copy())
        )
        for row, square in enumerate(squares):
            is_readable.append(square is not None)
            if square is not None:
                self._queue.start_async({0: square[None]}, row)
        self._queue.wait_all()
        features = np.zeros((len(is_readable), len(self._projections)), np.float32)
        for row, values in found.items():
            features[row] = values
        embeddings = features @ self._projections
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        return embeddings / np.maximum(lengths, 1e-12), np.array(is_readable, np.bool_)


def read(image: Path | bytes | Image.Image) -> Pixels | None:
    """[INPUT_SIDE, INPUT_SIDE, 3] of an image; None where it cannot be read."""
    try:
        return read_square(image, INPUT_SIDE)
    except (EngineError, OSError):
        return None
