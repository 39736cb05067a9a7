"""Which pictures are copies of one another, so that copies never stand on both sides of a split.

A copy is the same picture saved again, resized, a little lighter, darker or richer in contrast, cropped by
a few per cent, turned by quarters or mirrored. Two photos of the same thing are no copies. Candidates are
pairs with alike sketches, which none of the eight symmetries of the square changes; a pair is believed
when, turned and registered, the two agree as a whole, in their details, and in colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.engine.config import EngineError
from training.engine.data.images import Pixels, read_square, release_pages, resize_square

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Indices = NDArray[np.int64]
Tick = Callable[[], None]
Batch = tuple[Pixels, list[bytes]]  # miniatures [B, SIDE, SIDE, 3] of rows, with what tells each apart

KEY_SIDE, COLOUR_SIDE = 32, 8  # pixels of the prints that are compared, four of the one for one of the other
FREQUENCIES = 8  # of a sketch, along each side
MIN_CONTRAST = 2.0  # grey levels of contrast, below which only equality counts
MIN_COSINE = 0.88  # the least cosine of two sketches
MAX_PARTNERS = 40  # of a row with alike sketches, on average; of more, only the most alike are looked at
SAMPLE = 128  # rows that tell how alike the rows of a set are
BLOCK, BATCH = 2048, 128  # rows of a product of sketches; pairs or pictures at a time
REGISTRATION_STEPS, MAX_STEP = 2, 2.0  # of a registration; pixels that a step may move or stretch
NOISE = 0.25  # grey levels in the details that storing a picture costs
MAX_NOISE = 0.06  # of the details
MIN_COLOUR = 8.0  # grey levels: less colour is none
MAX_DISTANCES = np.array([0.03, 0.03, 0.3], np.float32)  # as a whole, in the details, in colour

NO_ROWS: Indices = np.empty(0, np.int64)
_WAVE, _AT = np.arange(FREQUENCIES), np.arange(KEY_SIDE, dtype=np.float32)
_RAMP = np.linspace(-1, 1, KEY_SIDE, dtype=np.float32)
_SIGNS = np.stack([np.outer(up**_WAVE, left**_WAVE) for up in (1, -1) for left in (1, -1)]).astype(np.float32)
_INSIDE = np.s_[..., 2:-2, 2:-2]  # a registration may lose the edge


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What is kept of N pictures: smoothed luminance [N, SIDE, SIDE] in grey levels, its low frequencies
    [N, FREQUENCIES, FREQUENCIES] at length 1, and Cb and Cr [N, COLOUR_SIDE, COLOUR_SIDE, 2]."""

    light: Halves
    spectra: Floats
    colour: Halves

    def take(self, rows: Indices) -> Descriptors:
        return Descriptors(self.light[rows], self.spectra[rows], self.colour[rows])

    def put(self, rows: slice, part: Descriptors) -> None:
        self.light[rows], self.spectra[rows], self.colour[rows] = part.light, part.spectra, part.colour


def duplicate_groups(squares: Pixels, threads: int, tick: Tick) -> Indices:
    """[N] group numbers, from 0, of cached pixels [N, S, S, 3]; a row without a copy is alone in its group.

    Memory: 3 KB a row, and 150 MB. `tick` is called often and may raise to stop.
    """

    def read(rows: range) -> Batch:
        small = np.stack([resize_square(squares[row], KEY_SIDE) for row in rows])
        return small, _equality_keys(small, rows, lambda row: squares[row].tobytes())

    def ticking() -> None:
        release_pages(squares)
        tick()

    return _group_rows(read, len(squares), threads, ticking)


def group_files(paths: Sequence[Path], threads: int, tick: Tick = lambda: None) -> Indices:
    """[N] group numbers of files, like `groups`; those that cannot be read are alone."""

    def content(row: int) -> bytes:
        read_square(paths[row], KEY_SIDE)  # it may be black for want of a picture
        return paths[row].read_bytes()

    def read(rows: range) -> Batch:
        small = np.stack([_read_key(paths[row]) for row in rows])
        return small, _equality_keys(small, rows, content)

    return _group_rows(read, len(paths), threads, tick)


def duplicate_keys(paths: Sequence[Path], threads: int) -> Pixels:
    """[N, SIDE, SIDE, 3] of files, to be kept for `group_miniatures`; black where one cannot be read."""
    with ThreadPoolExecutor(threads) as pool:
        return np.array(list(pool.map(_read_key, paths)), np.uint8).reshape(-1, KEY_SIDE, KEY_SIDE, 3)


def group_duplicate_keys(
    small: Pixels, content: Callable[[int], bytes], threads: int, known: Indices = NO_ROWS
) -> Indices:
    """[N] group numbers of `miniatures`, like `groups`.

    `content`: the file of a row, for one so flat that its miniature shows too little; one that raises OSError
    is alone. `known` [M]: the groups of the first M rows, where these were compared before; only pairs with a
    later row are looked at.
    """

    def read(rows: range) -> Batch:
        part = small[rows.start : rows.stop]
        return part, _equality_keys(part, rows, content)

    return _group_rows(read, len(small), threads, lambda: None, known)


def make_descriptors(thumbnails: Pixels) -> Descriptors:
    """Of [N, SIDE, SIDE, 3]."""
    light = np.asarray(thumbnails @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)
    blocks = thumbnails.reshape(-1, COLOUR_SIDE, 4, COLOUR_SIDE, 4, 3).mean((2, 4), np.float32)
    colour = blocks @ np.array([[-0.169, 0.5], [-0.331, -0.419], [0.5, -0.081]], np.float32)  # as in JPEG
    return Descriptors(_smooth(light).astype(np.float16), _spectra(light), colour.astype(np.float16))


def candidate_pairs(spectra: Floats, tick: Tick, since: int = 0) -> Iterator[Indices]:
    """Pairs [P, 2] of rows of [N, FREQUENCIES, FREQUENCIES] alike under some symmetry, the lower first; the
    higher one is not before `since`."""
    sketches = _sketches(spectra)
    least = _least_cosine(sketches)
    for top in range(0, len(sketches), BLOCK):
        for left in range(max(top, since // BLOCK * BLOCK), len(sketches), BLOCK):
            tick()
            cosines = sketches[top : top + BLOCK] @ sketches[left : left + BLOCK].T
            if top == left:
                cosines[np.tri(len(cosines), dtype=np.bool_)] = -1
            cosines[:, : max(since - left, 0)] = -1
            found = np.flatnonzero(cosines > least)
            if len(found) > MAX_PARTNERS * BLOCK:  # the sample saw less of this than there is
                found = found[np.argsort(-cosines.ravel()[found], kind="stable")[: MAX_PARTNERS * BLOCK]]
            first, second = found // cosines.shape[1] + top, found % cosines.shape[1] + left
            is_alike = _symmetries(spectra[first], spectra[second]).max(axis=1) > least
            yield np.stack([first[is_alike], second[is_alike]], axis=1)


def pair_distances(prints: Descriptors, pairs: Indices) -> Floats:
    """[P, 3] how far the pictures of pairs [P, 2] are apart, 0 where they are equal, in three shares.

    The variance as a whole and in the details that one leaves unexplained of the other, and the difference
    in colour of what both have. The second is turned as it fits best, and registered to the first.
    """
    first, second = prints.take(pairs[:, 0]), prints.take(pairs[:, 1])
    turns = _symmetries(first.spectra, second.spectra).argmax(axis=1)
    one = first.light.astype(np.float32)
    other = _registered(one, _under_symmetry(second.light, turns).astype(np.float32))
    one, other = one[_INSIDE], other[_INSIDE]
    details, other_details = one - _smooth(one), other - _smooth(other)
    strength = np.maximum(np.minimum(_root_mean_square(details), _root_mean_square(other_details)), 1e-3)
    noise = np.minimum(np.square(NOISE / strength), MAX_NOISE)
    colour, other_colour = (
        first.colour.astype(np.float32),
        _under_symmetry(second.colour, turns).astype(np.float32),
    )
    colours = _root_mean_square(colour) + _root_mean_square(other_colour) + MIN_COLOUR
    of_details, of_colour = (
        _unexplained(details, other_details) - noise,
        _root_mean_square(colour - other_colour) / colours,
    )
    return np.stack([_unexplained(one, other), of_details, of_colour], axis=1)


def _group_rows(
    read: Callable[[range], Batch], count: int, threads: int, tick: Tick, known: Indices = NO_ROWS
) -> Indices:
    """Rows with the same key follow the first of them; the first ones are compared."""
    with ThreadPoolExecutor(threads) as pool:
        prints, first = _read_descriptors(read, count, threads, pool, tick)
        links = [first[_earlier_links(known)]]
        rows = np.unique(first)
        rows = rows[prints.light[rows].std((1, 2), np.float32) >= MIN_CONTRAST]
        since = int(np.searchsorted(rows, len(known)))
        for pairs in candidate_pairs(prints.spectra[rows], tick, since):
            links += _confirmed_pairs(prints, rows[pairs], pool, tick)
    centres = _star_clusters(np.concatenate(links), count)
    return np.unique(centres[first], return_inverse=True)[1].astype(np.int64)


def _earlier_links(known: Indices) -> Indices:
    """[P, 2] the first row of each group with the others."""
    _, firsts, group = np.unique(known, return_index=True, return_inverse=True)
    links: Indices = np.stack([firsts[group], np.arange(len(known))], axis=1)
    is_other: NDArray[np.bool_] = links[:, 0] != links[:, 1]
    return links[is_other]


def _read_descriptors(
    read: Callable[[range], Batch], count: int, threads: int, pool: ThreadPoolExecutor, tick: Tick
) -> tuple[Descriptors, Indices]:
    """The prints of all rows, and for each row the first one with the same key."""
    prints = Descriptors(
        np.empty((count, KEY_SIDE, KEY_SIDE), np.float16),
        np.empty((count, FREQUENCIES, FREQUENCIES), np.float32),
        np.empty((count, COLOUR_SIDE, COLOUR_SIDE, 2), np.float16),
    )
    first, seen = np.zeros(count, np.int64), dict[bytes, int]()

    def work(rows: range) -> list[bytes]:
        small, keys = read(rows)
        prints.put(slice(rows.start, rows.stop), make_descriptors(small))
        return keys

    batches = [range(count)[start : start + BATCH] for start in range(0, count, BATCH)]
    for at in range(0, len(batches), threads):
        together = batches[at : at + threads]
        for rows, keys in zip(together, pool.map(work, together), strict=True):
            first[rows] = [seen.setdefault(key, row) for row, key in zip(rows, keys, strict=True)]
        tick()
    return prints, first


def _read_key(path: Path) -> Pixels:
    try:
        return read_square(path, KEY_SIDE)
    except (EngineError, OSError):
        return np.zeros((KEY_SIDE, KEY_SIDE, 3), np.uint8)


def _equality_keys(small: Pixels, rows: range, content: Callable[[int], bytes]) -> list[bytes]:
    """Equal for copies to the bit. A flat picture is told by its content: its miniature shows too little."""
    is_flat = small.mean(axis=3, dtype=np.float32).std((1, 2)) < MIN_CONTRAST
    return [
        _key_of_content(row, content) if flat else _digest(one.tobytes())
        for row, one, flat in zip(rows, small, is_flat, strict=True)
    ]


def _key_of_content(row: int, content: Callable[[int], bytes]) -> bytes:
    try:
        return _digest(content(row))
    except (EngineError, OSError):
        return f"unreadable {row}".encode()


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _confirmed_pairs(
    prints: Descriptors, pairs: Indices, pool: ThreadPoolExecutor, tick: Tick
) -> Iterator[Indices]:
    """Those of the pairs [P, 2] that are copies, in parts."""
    batches = [pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)]
    for batch, shares in zip(
        batches, pool.map(lambda one: pair_distances(prints, one), batches), strict=True
    ):
        yield batch[(shares < MAX_DISTANCES).all(axis=1)]
        tick()


def _star_clusters(links: Indices, count: int) -> Indices:
    """[count] the centre of each row's star, itself if it has none. No chains: all are copies of the centre.

    Star clustering (Aslam, Pelekhov and Rus 2004): the row with most links takes its neighbours first.
    """
    both = np.concatenate([links, links[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    degree = np.bincount(both[:, 0], minlength=count)
    starts = np.cumsum(degree) - degree
    centre = np.full(count, -1, np.int64)
    for row in np.argsort(-degree, kind="stable"):
        if centre[row] < 0:
            around = both[starts[row] : starts[row] + degree[row], 1]
            centre[around[centre[around] < 0]] = row
            centre[row] = row
    return centre


def _smooth(light: Floats) -> Floats:
    """[N, H, W] under a binomial kernel of 3 by 3."""
    padded = np.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return np.asarray((rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 16)


def _spectra(light: Floats) -> Floats:
    """The lowest frequencies of the cosine transform, without the mean, times the root of the frequency:
    they fade in photographs, but a crop changes the high ones most."""
    basis = np.cos(np.pi / KEY_SIDE * _WAVE[:, None] * (_AT + 0.5)).astype(np.float32)
    basis[0] *= np.sqrt(0.5)
    found = basis @ light @ basis.T * np.sqrt(np.hypot(_WAVE[:, None], _WAVE)).astype(np.float32)
    return np.asarray(found / np.maximum(np.sqrt(np.square(found).sum((1, 2), keepdims=True)), 1e-6))


def _sketches(spectra: Floats) -> Floats:
    """[N, F²] of length 1, the same for all symmetries of a picture, and never less alike than the pictures.

    Mirroring changes the signs of odd frequencies, transposing swaps two: absolute values, sums and
    differences of the two hide it, and bring no two vectors farther apart.
    """
    is_even = (_WAVE[:, None] % 2 == 0) & (_WAVE % 2 == 0)
    hidden = np.where(is_even, spectra, np.abs(spectra))
    upper, lower = np.triu_indices(FREQUENCIES, 1)
    one, other = hidden[:, upper, lower], hidden[:, lower, upper]
    swapped = np.concatenate([one + other, np.abs(one - other)], axis=1) * np.float32(np.sqrt(0.5))
    return np.concatenate([swapped, hidden[:, _WAVE, _WAVE]], axis=1)


def _least_cosine(sketches: Floats) -> float:
    """ALIKE, or more where rows would have over PARTNERS candidates, judged by a sample."""
    sample = sketches[:: max(len(sketches) // SAMPLE, 1)][:SAMPLE]
    cosines = (sample @ sketches.T).ravel()
    most = len(sample) * (MAX_PARTNERS + 1)  # every row is its own best partner
    return max(MIN_COSINE, float(np.partition(cosines, -most)[-most])) if most < len(cosines) else MIN_COSINE


def _symmetries(one: Floats, other: Floats) -> Floats:
    """[P, 8] cosines with the other mirrored left and right (1), up and down (2), transposed (4)."""
    products = [(one * turned).reshape(-1, FREQUENCIES**2) for turned in (other, other.transpose(0, 2, 1))]
    return np.concatenate([product @ _SIGNS.reshape(-1, FREQUENCIES**2).T for product in products], axis=1)


def _under_symmetry(pictures: Halves, turns: Indices) -> Halves:
    """[P, H, H, ...], each under its own symmetry, 0 to 7."""
    result = pictures.copy()
    for turn in range(1, 8):
        part = pictures[turns == turn]
        part = part.swapaxes(1, 2) if turn & 4 else part
        result[turns == turn] = part[:, :: -1 if turn & 2 else 1, :: -1 if turn & 1 else 1]
    return result


def _registered(one: Floats, other: Floats) -> Floats:
    """The other [P, SIDE, SIDE], moved and stretched to fit: Gauss-Newton steps (Lucas and Kanade 1981)."""
    shift, moved = np.zeros((len(one), 4), np.float32), other
    for _ in range(REGISTRATION_STEPS):
        shift += _step(one, moved)
        down, right = _resampling(shift[:, 0::2]), _resampling(shift[:, 1::2])
        moved = np.asarray(down @ other @ right.transpose(0, 2, 1), np.float32)
    return moved


def _step(one: Floats, other: Floats) -> Floats:
    """[P, 4] pixels: shift down, shift right, stretch down, stretch right (of the edge, from the middle).

    Least squares of one on the other, its brightness and contrast free.
    """
    down, right = np.gradient(other, axis=(1, 2))
    known = np.stack([other, np.ones_like(other), down, right, down * _RAMP[:, None], right * _RAMP], axis=1)
    known = known[_INSIDE].reshape(len(one), 6, -1)
    normal = known @ known.transpose(0, 2, 1)
    still = 2e-5 * np.trace(normal[:, 2:, 2:], axis1=1, axis2=2) + 1e-3  # where there is nothing to hold
    normal += np.eye(6, dtype=np.float32) * still[:, None, None]
    found = np.linalg.solve(normal, known @ one[_INSIDE].reshape(len(one), -1, 1))[..., 0]
    contrast = np.where(np.abs(found[:, :1]) > 0.2, found[:, :1], np.float32(1))
    return np.asarray(np.clip(found[:, 2:] / contrast, -MAX_STEP, MAX_STEP))


def _resampling(shift: Floats) -> Floats:
    """[P, SIDE, SIDE] weights of a cubic convolution (Keys 1981) for shift and stretch [P, 2] in pixels."""
    place = np.clip(_AT + shift[:, :1] + shift[:, 1:] * _RAMP, 0, KEY_SIDE - 1)
    far = np.abs(place[:, :, None] - _AT)
    near, beyond = (1.5 * far - 2.5) * far * far + 1, ((-0.5 * far + 2.5) * far - 4) * far + 2
    weights = np.where(far < 1, near, np.where(far < 2, beyond, np.float32(0)))
    return np.asarray(weights / weights.sum(axis=2, keepdims=True))


def _unexplained(one: Floats, other: Floats) -> Floats:
    """[P] 1 - ρ² of the values of pictures [P, H, W]; 1 where ρ is negative."""
    one, other = one - one.mean((1, 2), keepdims=True), other - other.mean((1, 2), keepdims=True)
    product = np.maximum((one * other).mean((1, 2)), 0)
    return np.asarray(
        1
        - np.square(product) / np.maximum(np.square(_root_mean_square(one) * _root_mean_square(other)), 1e-9)
    )


def _root_mean_square(pictures: Floats) -> Floats:
    """[P] root mean square."""
    return np.asarray(np.sqrt(np.square(pictures).reshape(len(pictures), -1).mean(axis=1)), np.float32)
