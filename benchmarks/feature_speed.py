"""Speeds of the frozen features, and of the embeddings and batches that the workers make with them."""

from __future__ import annotations

import functools
import io
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.importing import SIDE
from benchmarks.importing import noise as noisy_photo
from benchmarks.rates import Measure, Span, Ticks, noise, ticks_per_second
from training.engine.assist.embedder import Embedder
from training.engine.backbones import classifier, features
from training.engine.backbones.classifier import Head, Member
from training.engine.backbones.registry import NETWORKS, macs_at
from training.engine.bundle.bundle import Bundle
from training.engine.bundle.writer import BundleInfo, export_bundle
from training.engine.data.images import to_square

NETWORK = NETWORKS[0]
LABELS, IMAGES = 10, 64
ENDLESS = 10**6


def member(side: int, is_deep: bool = False) -> Member:
    head = Head(torch.zeros(LABELS, NETWORK.features), torch.zeros(LABELS))
    return Member(NETWORK, side, classifier.pretrained_state(NETWORK), head, is_deep)


# Frozen features


def features_name(is_deep: bool) -> str:
    return f"features of {NETWORK.name} at {NETWORK.resolution}, {'deep' if is_deep else 'plain'}"


def frozen(is_deep: bool, device: str) -> Measure:
    side = NETWORK.resolution
    frozen_member, pixels = member(side, is_deep), noise(IMAGES, side)
    rows = list(range(IMAGES)) * (ENDLESS // IMAGES)
    batch = features.GPU_BATCH if device == "cuda" else features.CPU_BATCH

    def run(span: Span) -> float:
        return batch * ticks_per_second(
            lambda ticks: features.extract_features(
                frozen_member, pixels, torch.get_num_threads(), device, ticks, rows
            ),
            span,
        )

    return Measure(features_name(is_deep), "features", 2 * macs_at(NETWORK, side), run)


# What the workers make of them


def embedding(name: str, images: Sequence[bytes | Image.Image]) -> Measure:
    embedder, threads = Embedder(torch.get_num_threads()), torch.get_num_threads()

    def run(span: Span) -> float:
        pool = ThreadPoolExecutor(threads)
        try:
            return ticks_per_second(functools.partial(_embed_on, embedder, pool, images), span)
        finally:
            pool.shutdown(cancel_futures=True)
            embedder._queue.wait_all()

    flops = 2 * macs_at(NETWORK, NETWORK.resolution)
    return Measure(f"embedding, {name}", "embedding", flops, run, limit=features_name(is_deep=True))


def _embed_on(
    embedder: Embedder, pool: ThreadPoolExecutor, images: Sequence[bytes | Image.Image], ticks: Ticks
) -> None:
    """The same images again and again; the next ones are read while those before are embedded."""

    def counted(squares: Iterator[Any]) -> Iterator[Any]:
        for square in squares:
            ticks(0)
            yield square

    ahead = pool.map(square_of, images)
    while True:
        squares, ahead = ahead, pool.map(square_of, images)
        embedder.embed(counted(squares))


def square_of(thumbnail: bytes | Image.Image) -> Any:
    picture = (
        Image.open(io.BytesIO(thumbnail), formats=("WEBP",)) if isinstance(thumbnail, bytes) else thumbnail
    )
    return to_square(picture.convert("RGB"), NETWORK.resolution)


def batch_answers(name: str, bundle: Bundle, work: Callable[[Any], Any], images: Sequence[Any]) -> Measure:
    """`work` is a method of the bundle."""
    threads = torch.get_num_threads()

    def answer(ticks: Ticks) -> None:
        endless = cycle(images)
        pool = ThreadPoolExecutor(threads)
        try:
            ahead = deque(pool.submit(work, next(endless)) for _ in range(IMAGES))
            while True:
                ahead.append(pool.submit(work, next(endless)))
                ahead.popleft().result()
                ticks(0)
        finally:
            pool.shutdown(cancel_futures=True)

    run = functools.partial(ticks_per_second, answer)
    flops = 2 * macs_at(NETWORK, bundle.description["preprocessing"]["side"])
    return Measure(f"batch, {name}", "batch", flops, run, limit=features_name(is_deep=False))


def worker_measures() -> list[Measure]:
    """Embeddings and batches on generated photos."""
    photos = [noisy_photo(seed) for seed in range(IMAGES)]
    small = [Image.open(io.BytesIO(photo), formats=("JPEG",)) for photo in photos]
    for picture in small:
        picture.thumbnail((SIDE, SIDE))
    stored = [encoded(picture) for picture in small]
    threads, side = torch.get_num_threads(), NETWORK.resolution
    info = BundleInfo(
        tuple(map(str, range(LABELS))), False, side, "benchmark", 1.0, (0.5,) * LABELS, accuracy=None
    )
    with tempfile.TemporaryDirectory() as folder:
        export_bundle([member(side)], info, Path(folder) / "bundle", [], threads)
        bundle = Bundle.load(Path(folder) / "bundle", threads, streams=threads)
    return [
        embedding("new thumbnails", small),
        embedding("stored thumbnails", stored),
        batch_answers("pixels", bundle, bundle.answer_square, noise(IMAGES, side)),
        batch_answers("photos", bundle, bundle.answer, photos),
    ]


def encoded(thumbnail: Image.Image) -> bytes:
    out = io.BytesIO()
    thumbnail.save(out, "WEBP", quality=80, method=0)
    return out.getvalue()
