"""The duplicate search: recall for each alteration, pairs among the originals, and seconds, beside a peer.

    python -m benchmarks.duplicates DATA [DATA ...] [--rows N] [--copies N] [--most N] [--show N]

The peer is the usual duplicate finder: a perceptual hash of 64 bits (the low cosine frequencies against
their median), all pairs compared, at most 6 bits apart under one of the eight symmetries. Duplicates are made
by altering images in memory, and rotated or mirrored at random. One JSON object is printed per folder. A pair
among the originals is not always wrong: the printed ones can be looked at. `--rows` measures the time of both
on so many images, the originals and random parts of them.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from training.engine.backbones.registry import NETWORKS
from training.engine.data import duplicates
from training.engine.data.images import load_rgb, resize_square, to_square
from training.engine.data.layouts import SUFFIXES
from training.engine.search import budget

Alteration = Callable[[Image.Image, random.Random], Image.Image]
THREADS, APART, BITS = 2, 6, 8


def saved(image: Image.Image, quality: int) -> Image.Image:
    target = BytesIO()
    image.save(target, "JPEG", quality=quality)
    return load_rgb(target.getvalue())


def cropped(image: Image.Image, chance: random.Random, share: float) -> Image.Image:
    """Both sides lose `share` of themselves, spread at random over their two ends."""
    boxes = []
    for side in image.size:
        first = chance.uniform(0, share) * side
        boxes.append((round(first), round(side - share * side + first)))
    return image.crop((boxes[0][0], boxes[1][0], boxes[0][1], boxes[1][1]))


def halved(image: Image.Image) -> Image.Image:
    return image.resize((max(image.width // 2, 1), max(image.height // 2, 1)), Image.Resampling.BICUBIC)


ALTERATIONS: dict[str, Alteration] = {
    "only rotated": lambda image, chance: image,
    "JPEG quality 30": lambda image, chance: saved(image, 30),
    "half the size": lambda image, chance: halved(image),
    "lighter by 20 %": lambda image, chance: ImageEnhance.Brightness(image).enhance(1.2),
    "darker by 20 %": lambda image, chance: ImageEnhance.Brightness(image).enhance(0.8),
    "contrast by 20 %": lambda image, chance: ImageEnhance.Contrast(image).enhance(1.2),
    "cropped by 2 %": lambda image, chance: cropped(image, chance, 0.02),
    "cropped by 4 %": lambda image, chance: cropped(image, chance, 0.04),
    "cropped, JPEG 50": lambda image, chance: saved(cropped(image, chance, 0.04), 50),
}


def rotated(image: Image.Image, chance: random.Random) -> Image.Image:
    kind = chance.choice([None, *Image.Transpose])
    return image if kind is None else image.transpose(kind)


def ours(squares: np.ndarray) -> np.ndarray:
    return duplicates.duplicate_groups(squares, THREADS, lambda: None)


def hashes(squares: np.ndarray) -> np.ndarray:
    """[N, 8] uint64: a perceptual hash for each symmetry."""
    at = np.arange(32)
    basis = np.cos(np.pi / 32 * np.arange(BITS)[:, None] * (at + 0.5))
    light = np.stack([resize_square(square, 32) for square in squares]) @ np.array([0.299, 0.587, 0.114])
    found = []
    for picture in (light, light.transpose(0, 2, 1)):
        for one in (picture, picture[:, ::-1], picture[:, :, ::-1], picture[:, ::-1, ::-1]):
            waves = (basis @ one @ basis.T).reshape(len(one), -1)
            bits = waves > np.median(waves, axis=1, keepdims=True)
            found.append(np.packbits(bits, axis=1).view(np.uint64)[:, 0])
    return np.stack(found, axis=1)


def peer(squares: np.ndarray) -> np.ndarray:
    """[P, 2] pairs: 8 comparisons of each."""
    codes = hashes(squares)
    pairs = [np.empty((0, 2), np.int64)]
    for row in range(len(codes)):
        apart = np.bitwise_count(codes[row, 0] ^ codes[row + 1 :]).min(axis=1)
        near = np.flatnonzero(apart <= APART) + row + 1
        pairs.append(np.stack([np.full(len(near), row), near], axis=1))
    return np.concatenate(pairs)


def pairs_of(groups: np.ndarray) -> list[tuple[int, int]]:
    """Each row with the first one of its group."""
    first: dict[int, int] = {}
    return [(first[one], row) for row, one in enumerate(groups) if first.setdefault(one, row) != row]


def timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    began = time.monotonic()
    result = work()
    return result, time.monotonic() - began


def recall(images: list[Image.Image], squares: np.ndarray, copies: int) -> dict[str, dict[str, float]]:
    """Of each alteration the share found: by us in the group of its original, by the peer as a pair."""
    chance = random.Random(0)
    rows = chance.sample(range(len(images)), min(copies, len(images)))
    side, shares = squares.shape[1], {}
    codes = hashes(squares[rows])
    for name, alter in ALTERATIONS.items():
        altered = [to_square(rotated(alter(images[row], chance), chance), side) for row in rows]
        groups = ours(np.concatenate([squares, altered]))
        apart = np.bitwise_count(codes[:, :1] ^ hashes(np.stack(altered))).min(axis=1)
        found = groups[rows] == groups[len(images) :]
        shares[name] = {"ours": round(found.mean(), 3), "peer": round((apart <= APART).mean(), 3)}
    return shares


def many(images: list[Image.Image], squares: np.ndarray, rows: int) -> np.ndarray:
    """The originals, and parts of them, each of half to three quarters of a side."""
    chance, made = random.Random(1), list(squares[:rows])
    while len(made) < rows:
        image = chance.choice(images)
        share = chance.uniform(0.25, 0.5)
        made.append(to_square(rotated(cropped(image, chance, share), chance), squares.shape[1]))
    return np.stack(made)


def report(source: Path, rows: int | None, copies: int, most: int, show: int) -> dict[str, object]:
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
    images = [load_rgb(path) for path in paths]
    largest = max(size for network in NETWORKS for size in network.resolutions)
    side = budget.cache_side([max(image.size) for image in images], largest)
    squares = np.stack([to_square(image, side) for image in images])
    table = squares if rows is None else many(images, squares, rows)
    groups, seconds = timed(lambda: ours(squares))
    found, timed_s = pairs_of(groups), seconds if rows is None else timed(lambda: ours(table))[1]
    theirs, peer_s = timed(lambda: peer(table))
    chosen = sorted(random.Random(0).sample(range(len(images)), min(most, len(images))))
    return {
        "data": source.name,
        "images": len(images),
        "pixels": side,
        "recall": recall([images[row] for row in chosen], squares[chosen], copies),
        "pairs_among_originals": {"ours": len(found), "peer": int((theirs[:, 1] < len(images)).sum())},
        "largest_group": int(np.bincount(groups).max()),
        "look_at": [[str(paths[row].relative_to(source)) for row in pair] for pair in found[:show]],
        "rows": len(table),
        "seconds": {"ours": round(timed_s, 2), "peer": round(peer_s, 2), "ratio": round(timed_s / peer_s, 2)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", type=Path, nargs="+", metavar="DATA")
    parser.add_argument("--rows", type=int, help="pictures of the measurement of time (all originals)")
    parser.add_argument("--copies", type=int, default=300, help="copies for each alteration")
    parser.add_argument("--most", type=int, default=3000, help="originals to search")
    parser.add_argument("--show", type=int, default=6, help="pairs to name")
    options = parser.parse_args()
    for source in options.sources:
        found = report(source, options.rows, options.copies, options.most, options.show)
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
