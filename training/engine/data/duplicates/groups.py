"""Groups of duplicates, from cached pixels, from files or from stored keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.engine.config import EngineError
from training.engine.data.duplicates.descriptors import KEY_SIDE, Descriptors, Indices, make_descriptors
from training.engine.data.duplicates.matching import BATCH, Tick, candidate_pairs, confirmed_pairs
from training.engine.data.images import Pixels, read_square, release_pages, resize_square

MIN_CONTRAST = 2.0  # grey levels, below which only equal images are duplicates
NO_ROWS: Indices = np.empty(0, np.int64)
Batch = tuple[Pixels, list[bytes]]  # thumbnails [B, KEY_SIDE, KEY_SIDE, 3] of rows, and their equality keys


def duplicate_groups(squares: Pixels, threads: int, tick: Tick) -> Indices:
    """[N] group numbers, from 0, of cached pixels [N, S, S, 3]; an image without duplicates is a group.

    Memory: 3 KB a row, and 150 MB. `tick` is called often and may raise to stop.
    """

    def read(rows: range) -> Batch:
        thumbnails = np.stack([resize_square(squares[row], KEY_SIDE) for row in rows])
        return thumbnails, _equality_keys(thumbnails, rows, lambda row: squares[row].tobytes())

    def release_and_tick() -> None:
        release_pages(squares)
        tick()

    return _group_rows(read, len(squares), threads, release_and_tick)


def group_files(paths: Sequence[Path], threads: int, tick: Tick = lambda: None) -> Indices:
    """[N] group numbers of files, as `duplicate_groups`; each unreadable file is a group of its own."""

    def content(row: int) -> bytes:
        read_square(paths[row], KEY_SIDE)  # raises for an unreadable file, whose thumbnail is black
        return paths[row].read_bytes()

    def read(rows: range) -> Batch:
        thumbnails = np.stack([_read_key(paths[row]) for row in rows])
        return thumbnails, _equality_keys(thumbnails, rows, content)

    return _group_rows(read, len(paths), threads, tick)


def duplicate_keys(images: Sequence[Path | bytes | None], threads: int) -> Pixels:
    """[N, KEY_SIDE, KEY_SIDE, 3] uint8 thumbnails for `group_duplicate_keys`; black where unreadable."""
    with ThreadPoolExecutor(threads) as pool:
        return np.array(list(pool.map(_read_key, images)), np.uint8).reshape(-1, KEY_SIDE, KEY_SIDE, 3)


def group_duplicate_keys(
    thumbnails: Pixels, content: Callable[[int], bytes], threads: int, known: Indices = NO_ROWS
) -> Indices:
    """[N] group numbers of stored keys, as `duplicate_groups`.

    `content`: the file of a row, for an image so flat that its thumbnail says too little; a row that raises
    OSError is a group of its own. `known` [M]: the groups of the first M rows, found before; only pairs with
    a later row are compared.
    """

    def read(rows: range) -> Batch:
        part = thumbnails[rows.start : rows.stop]
        return part, _equality_keys(part, rows, content)

    return _group_rows(read, len(thumbnails), threads, lambda: None, known)


def _group_rows(
    read: Callable[[range], Batch], count: int, threads: int, tick: Tick, known: Indices = NO_ROWS
) -> Indices:
    """[count] group numbers of the rows that `read` gives in batches."""
    with ThreadPoolExecutor(threads) as pool:
        # 1. Equal images join the first of them, so that a set of equal ones is compared once, not n² times.
        descriptors, first = _read_descriptors(read, count, threads, pool, tick)
        links = [first[_known_links(known)]]
        # 2. Of the others, flat ones are left out: with so little contrast any two of them would agree.
        rows = np.unique(first)
        rows = rows[descriptors.luminance[rows].std((1, 2), np.float32) >= MIN_CONTRAST]
        since = int(np.searchsorted(rows, len(known)))
        for pairs in candidate_pairs(descriptors.spectra[rows], tick, since):
            links += confirmed_pairs(descriptors, rows[pairs], pool, tick)
    # 3. Stars instead of connected components: a chain of small changes must not join unlike images.
    centres = _star_clusters(np.concatenate(links), count)
    return np.unique(centres[first], return_inverse=True)[1].astype(np.int64)


def _known_links(known: Indices) -> Indices:
    """[P, 2] the first row of each known group with each of the others."""
    _, firsts, group = np.unique(known, return_index=True, return_inverse=True)
    links: Indices = np.stack([firsts[group], np.arange(len(known))], axis=1)
    is_other: NDArray[np.bool_] = links[:, 0] != links[:, 1]
    return links[is_other]


def _read_descriptors(
    read: Callable[[range], Batch], count: int, threads: int, pool: ThreadPoolExecutor, tick: Tick
) -> tuple[Descriptors, Indices]:
    """The descriptors of all rows, and for each row the first one with the same equality key."""
    descriptors = Descriptors.empty(count)
    first, row_of_key = np.zeros(count, np.int64), dict[bytes, int]()

    def work(rows: range) -> list[bytes]:
        thumbnails, keys = read(rows)
        descriptors.put(slice(rows.start, rows.stop), make_descriptors(thumbnails))
        return keys

    batches = [range(count)[start : start + BATCH] for start in range(0, count, BATCH)]
    for start in range(0, len(batches), threads):
        together = batches[start : start + threads]
        for rows, keys in zip(together, pool.map(work, together), strict=True):
            first[rows] = [row_of_key.setdefault(key, row) for row, key in zip(rows, keys, strict=True)]
        tick()
    return descriptors, first


def _read_key(image: Path | bytes | None) -> Pixels:
    with suppress(EngineError, OSError):
        if image is not None:
            return read_square(image, KEY_SIDE)
    return np.zeros((KEY_SIDE, KEY_SIDE, 3), np.uint8)


def _equality_keys(thumbnails: Pixels, rows: range, content: Callable[[int], bytes]) -> list[bytes]:
    """Keys that are equal for equal images; a flat image is hashed by its content, not its thumbnail."""
    is_flat = thumbnails.mean(axis=3, dtype=np.float32).std((1, 2)) < MIN_CONTRAST
    return [
        _content_key(row, content) if flat else _digest(thumbnail.tobytes())
        for row, thumbnail, flat in zip(rows, thumbnails, is_flat, strict=True)
    ]


def _content_key(row: int, content: Callable[[int], bytes]) -> bytes:
    try:
        return _digest(content(row))
    except (EngineError, OSError):
        return f"unreadable {row}".encode()


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _star_clusters(links: Indices, count: int) -> Indices:
    """[count] the centre of each row's star, the row itself without links: every member is linked to it.

    Star clustering (Aslam, Pelekhov and Rus 2004): the row with most links takes its neighbours first.
    """
    both = np.concatenate([links, links[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    degree = np.bincount(both[:, 0], minlength=count)
    starts = np.cumsum(degree) - degree
    centre = np.full(count, -1, np.int64)
    for row in np.argsort(-degree, kind="stable"):
        if centre[row] < 0:
            neighbours = both[starts[row] : starts[row] + degree[row], 1]
            centre[neighbours[centre[neighbours] < 0]] = row
            centre[row] = row
    return centre
