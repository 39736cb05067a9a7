"""From a file to pixels: upright RGB, one size, decoded once.

A model's input is a square: the middle of the image, with its aspect ratio changed by at most 4/3. Training,
evaluation and services all get their pixels from here, so they cannot differ.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.engine.config import EngineError
from training.engine.data.picture import normalize
from training.engine.data.picture_formats import PictureRefused, check_size, open_picture

Pixels = NDArray[np.uint8]
MAX_MEGAPIXELS = 50.0
MAX_STRETCH = 4 / 3  # the networks were pretrained with this much, so it costs nothing
MAX_MAPPED_BYTES = 2 << 30  # bytes of a cache that may stay in the memory of the process
MIN_VISIBLE_SHARE = 0.5  # of the long side that is always visible, whatever the stretch


class UnreadableImage(EngineError):
    """A file that cannot be decoded, or is larger than allowed."""


def load_rgb(
    source: Path | bytes | Image.Image,
    max_megapixels: float = MAX_MEGAPIXELS,
    at_least: int | None = None,
) -> Image.Image:
    """The normalized picture of a file, of its bytes or of an opened image.

    `at_least`: a JPEG may be decoded at a fraction of its size as long as both sides keep this many
    pixels; much faster for large photos. Raises UnreadableImage.
    """
    try:
        if isinstance(source, Image.Image):
            check_size(source, max_megapixels)
            return normalize(source, at_least)
        return normalize(open_image(source, max_megapixels), at_least)
    except PictureRefused as problem:
        raise UnreadableImage(str(problem), "") from problem
    except Exception as problem:  # Pillow raises a dozen kinds for broken files, and all mean the same here
        raise UnreadableImage("The picture cannot be decoded.", "Replace the file.") from problem


def open_image(source: Path | bytes, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Open a file without decoding it. Raises PictureRefused and OSError."""
    if isinstance(source, bytes):
        return open_picture(source, max_megapixels)
    return open_picture(source.read_bytes(), max_megapixels, source.name)


def visible_window(width: int, height: int) -> tuple[float, float, float, float]:
    """The visible box (left, top, right, bottom): the middle, cut only beyond an aspect ratio of MAX_STRETCH.

    Of a panorama at least MIN_VISIBLE_SHARE of the long side stays, stretched as far as that takes.
    """
    longest = max(
        min(max(width, height), MAX_STRETCH * min(width, height)), MIN_VISIBLE_SHARE * max(width, height)
    )
    seen_w, seen_h = min(width, longest), min(height, longest)
    left, top = (width - seen_w) / 2, (height - seen_h) / 2
    return left, top, left + seen_w, top + seen_h


def to_square(image: Image.Image, side: int) -> Pixels:
    """[side, side, 3] uint8 of the image's visible window."""
    if image.size == (side, side):
        return np.asarray(image, dtype=np.uint8)
    box = visible_window(*image.size)
    small = image.resize((side, side), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    return np.asarray(small, dtype=np.uint8)


def read_square(source: Path | bytes | Image.Image, side: int) -> Pixels:
    """[side, side, 3] uint8 of a file, its bytes or an image. Raises UnreadableImage."""
    return to_square(load_rgb(source, at_least=2 * side), side)


def resize_square(pixels: Pixels, side: int) -> Pixels:
    """[S, S, 3] to [side, side, 3]."""
    return pixels if pixels.shape[0] == side else to_square(Image.fromarray(pixels), side)


def decode_all(
    paths: Sequence[Path],
    side: int,
    target: Path,
    threads: int,
    tick: Callable[[int], None],
) -> dict[int, str]:
    """Write [N, side, side, 3] uint8 to `target` (a .npy file) and return {row: why it is unreadable}.

    Pillow releases the interpreter lock while it decodes, so threads are enough. Memory is bounded:
    the file is a memory map, and only `threads` images are open. `tick(rows done)` may raise to stop.
    """
    unfinished = target.with_suffix(".part.npy")
    table = np.lib.format.open_memmap(
        unfinished, mode="w+", dtype=np.uint8, shape=(len(paths), side, side, 3)
    )
    problems: dict[int, str] = {}

    def fill(row: int) -> None:
        try:
            table[row] = read_square(paths[row], side)
        except EngineError as problem:
            problems[row] = problem.cause

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(paths), 64):
            list(pool.map(fill, range(start, min(start + 64, len(paths)))))
            tick(min(start + 64, len(paths)))
            release_pages(table)
    table.flush()
    os.replace(unfinished, target)
    return problems


def open_cache(path: Path) -> Pixels:
    """The pixels written by `decode_all`, mapped read-only."""
    return cast(Pixels, np.load(path, mmap_mode="r"))


def compact_rows(path: Path, gaps: Collection[int]) -> None:
    """Move the rows of a cache up, so that the empty rows `gaps` come last."""
    table = np.load(path, mmap_mode="r+")
    good = (row for row in range(len(table)) if row not in gaps)
    for place, row in enumerate(good):
        if place != row:
            table[place] = table[row]
            if place % 1024 == 0:
                release_pages(table)
    table.flush()


class JoinedPixels:
    """Caches of pixels [N, S, S, 3] of one side, read by row as if they were one array."""

    def __init__(self, *tables: Pixels) -> None:
        self.tables = tables
        self._starts = np.cumsum([0, *(len(table) for table in tables)])
        self.shape = (len(self), *tables[0].shape[1:])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, rows: int | NDArray[np.int64]) -> Pixels:
        if isinstance(rows, np.ndarray):
            return np.stack([self[int(row)] for row in rows])
        part = int(np.searchsorted(self._starts, rows, side="right")) - 1
        return cast(Pixels, self.tables[part][rows - self._starts[part]])


def release_pages(table: Pixels | JoinedPixels) -> None:
    """Give the pages of a large memory map back to the system; else all that were read stay in the process.

    They are read again, from the system's cache or the disk, when they are needed.
    """
    if isinstance(table, JoinedPixels):
        for part in table.tables:
            release_pages(part)
    elif isinstance(table, np.memmap) and table.nbytes > MAX_MAPPED_BYTES:
        table._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
