"""Candidate pairs of duplicates, and how far the two images of a pair are apart.

Candidates are pairs with similar sketches, which none of the eight symmetries of the square changes. A pair
is confirmed when, under the best symmetry and registered, the two images agree as a whole, in their details
and in colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from training.engine.data.duplicates.descriptors import (
    FREQUENCIES,
    KEY_SIDE,
    PIXELS,
    WAVE_NUMBERS,
    Descriptors,
    Floats,
    Halves,
    Indices,
    smooth,
)

Tick = Callable[[], None]

MIN_COSINE = 0.88  # of two sketches
MAX_PARTNERS = 40  # candidates of a row, on average; of more, only the most similar are compared
SAMPLE = 128  # rows from which the similarity within a set is estimated
BLOCK, BATCH = 2048, 128  # rows in a product of sketches; pairs compared at a time
REGISTRATION_STEPS, MAX_STEP = 2, 2.0  # of a registration; pixels that a step may shift or stretch
NOISE = 0.25  # grey levels in the details that storing an image costs
MAX_NOISE = 0.06  # of the variance of the details
MIN_COLOUR = 8.0  # grey levels: less colour counts as none
MAX_DISTANCES = np.array([0.03, 0.03, 0.3], np.float32)  # as a whole, in the details, in colour

_RAMP = np.linspace(-1, 1, KEY_SIDE, dtype=np.float32)
_SIGNS = np.stack(
    [np.outer(up**WAVE_NUMBERS, left**WAVE_NUMBERS) for up in (1, -1) for left in (1, -1)]
).astype(np.float32)
_INSIDE = np.s_[..., 2:-2, 2:-2]  # a registration may lose the edge


def candidate_pairs(spectra: Floats, tick: Tick, since: int = 0) -> Iterator[Indices]:
    """Pairs [P, 2] of similar rows of spectra [N, FREQUENCIES, FREQUENCIES], the lower row first, in parts.

    Similar means: under some symmetry. The higher row of a pair is not before `since`.
    """
    sketches = _sketches(spectra)
    threshold = _cosine_threshold(sketches)
    for top in range(0, len(sketches), BLOCK):
        for left in range(max(top, since // BLOCK * BLOCK), len(sketches), BLOCK):
            tick()
            # 1. All pairs of two blocks in one product: an eighth of the work of trying all symmetries.
            cosines = sketches[top : top + BLOCK] @ sketches[left : left + BLOCK].T
            if top == left:
                cosines[np.tri(len(cosines), dtype=np.bool_)] = -1
            cosines[:, : max(since - left, 0)] = -1
            similar = np.flatnonzero(cosines > threshold)
            if len(similar) > MAX_PARTNERS * BLOCK:  # more than the sample let expect
                most_similar = np.argsort(-cosines.ravel()[similar], kind="stable")
                similar = similar[most_similar[: MAX_PARTNERS * BLOCK]]
            # 2. Sketches are never less similar than the images, so the few that remain are checked exactly.
            first, second = similar // cosines.shape[1] + top, similar % cosines.shape[1] + left
            is_similar = _symmetry_cosines(spectra[first], spectra[second]).max(axis=1) > threshold
            yield np.stack([first[is_similar], second[is_similar]], axis=1)


def confirmed_pairs(
    descriptors: Descriptors, pairs: Indices, pool: ThreadPoolExecutor, tick: Tick
) -> Iterator[Indices]:
    """Those of the pairs [P, 2] that are duplicates, in parts."""
    batches = [pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)]
    distances = pool.map(lambda batch: pair_distances(descriptors, batch), batches)
    for batch, batch_distances in zip(batches, distances, strict=True):
        yield batch[(batch_distances < MAX_DISTANCES).all(axis=1)]
        tick()


def pair_distances(descriptors: Descriptors, pairs: Indices) -> Floats:
    """[P, 3] how far the images of pairs [P, 2] are apart: as a whole, in the details, in colour.

    The first two are the share of the variance that one leaves unexplained of the other, the third is the
    difference over the sum; all are 0 for equal images.
    """
    first, second = descriptors.take(pairs[:, 0]), descriptors.take(pairs[:, 1])
    # 1. The second image under its best symmetry, registered to the first: a crop shifts and stretches it.
    symmetries = _symmetry_cosines(first.spectra, second.spectra).argmax(axis=1)
    one = first.luminance.astype(np.float32)
    other = _registered(one, _under_symmetry(second.luminance, symmetries).astype(np.float32))
    one, other = one[_INSIDE], other[_INSIDE]
    # 2. The details decide where light and shade agree; what storing costs them is no difference.
    details, other_details = one - smooth(one), other - smooth(other)
    strength = np.maximum(np.minimum(_root_mean_square(details), _root_mean_square(other_details)), 1e-3)
    noise = np.minimum(np.square(NOISE / strength), MAX_NOISE)
    # 3. Colour: a drawing in another colour has the same luminance.
    colour = first.colour.astype(np.float32)
    other_colour = _under_symmetry(second.colour, symmetries).astype(np.float32)
    colour_sum = _root_mean_square(colour) + _root_mean_square(other_colour) + MIN_COLOUR
    return np.stack(
        [
            _unexplained(one, other),
            _unexplained(details, other_details) - noise,
            _root_mean_square(colour - other_colour) / colour_sum,
        ],
        axis=1,
    )


def _sketches(spectra: Floats) -> Floats:
    """[N, F²] of length 1: equal for all symmetries of an image, and never less similar than the images.

    Mirroring changes the signs of odd frequencies, transposing swaps two: absolute values, sums and
    differences of the two hide both, and move no two vectors farther apart.
    """
    is_even = (WAVE_NUMBERS[:, None] % 2 == 0) & (WAVE_NUMBERS % 2 == 0)
    unsigned = np.where(is_even, spectra, np.abs(spectra))
    upper, lower = np.triu_indices(FREQUENCIES, 1)
    one, other = unsigned[:, upper, lower], unsigned[:, lower, upper]
    swapped = np.concatenate([one + other, np.abs(one - other)], axis=1) * np.float32(np.sqrt(0.5))
    return np.concatenate([swapped, unsigned[:, WAVE_NUMBERS, WAVE_NUMBERS]], axis=1)


def _cosine_threshold(sketches: Floats) -> float:
    """MIN_COSINE, or more where a sample says that rows would have over MAX_PARTNERS candidates."""
    sample = sketches[:: max(len(sketches) // SAMPLE, 1)][:SAMPLE]
    cosines = (sample @ sketches.T).ravel()
    most = len(sample) * (MAX_PARTNERS + 1)  # every row is its own best partner
    return max(MIN_COSINE, float(np.partition(cosines, -most)[-most])) if most < len(cosines) else MIN_COSINE


def _symmetry_cosines(one: Floats, other: Floats) -> Floats:
    """[P, 8] cosines with the other mirrored left and right (1), up and down (2), transposed (4)."""
    products = [(one * variant).reshape(-1, FREQUENCIES**2) for variant in (other, other.transpose(0, 2, 1))]
    return np.concatenate([product @ _SIGNS.reshape(-1, FREQUENCIES**2).T for product in products], axis=1)


def _under_symmetry(images: Halves, symmetries: Indices) -> Halves:
    """Images [P, H, H, ...], each under its own symmetry [P], 0 to 7, numbered as in `_symmetry_cosines`."""
    result = images.copy()
    for symmetry in range(1, 8):
        part = images[symmetries == symmetry]
        part = part.swapaxes(1, 2) if symmetry & 4 else part
        result[symmetries == symmetry] = part[:, :: -1 if symmetry & 2 else 1, :: -1 if symmetry & 1 else 1]
    return result


def _registered(one: Floats, other: Floats) -> Floats:
    """The other images [P, S, S], shifted and stretched to fit by Gauss-Newton (Lucas and Kanade 1981)."""
    shift, moved = np.zeros((len(one), 4), np.float32), other
    for _ in range(REGISTRATION_STEPS):
        shift += _registration_step(one, moved)
        down, right = _resampling(shift[:, 0::2]), _resampling(shift[:, 1::2])
        moved = np.asarray(down @ other @ right.transpose(0, 2, 1), np.float32)
    return moved


def _registration_step(one: Floats, other: Floats) -> Floats:
    """[P, 4] pixels: shift down, shift right, stretch down, stretch right (of the edge, from the middle).

    Least squares of one image on the other, its brightness and contrast free.
    """
    down, right = np.gradient(other, axis=(1, 2))
    columns = [other, np.ones_like(other), down, right, down * _RAMP[:, None], right * _RAMP]
    design = np.stack(columns, axis=1)[_INSIDE].reshape(len(one), 6, -1)
    normal = design @ design.transpose(0, 2, 1)
    # A small ridge keeps images without edges, which cannot be registered, where they are.
    ridge = 2e-5 * np.trace(normal[:, 2:, 2:], axis1=1, axis2=2) + 1e-3
    normal += np.eye(6, dtype=np.float32) * ridge[:, None, None]
    solution = np.linalg.solve(normal, design @ one[_INSIDE].reshape(len(one), -1, 1))[..., 0]
    contrast = np.where(np.abs(solution[:, :1]) > 0.2, solution[:, :1], np.float32(1))
    return np.asarray(np.clip(solution[:, 2:] / contrast, -MAX_STEP, MAX_STEP))


def _resampling(shift: Floats) -> Floats:
    """[P, S, S] weights of a cubic convolution (Keys 1981) for shift and stretch [P, 2] in pixels."""
    place = np.clip(PIXELS + shift[:, :1] + shift[:, 1:] * _RAMP, 0, KEY_SIDE - 1)
    distance = np.abs(place[:, :, None] - PIXELS)
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, np.float32(0)))
    return np.asarray(weights / weights.sum(axis=2, keepdims=True))


def _unexplained(one: Floats, other: Floats) -> Floats:
    """[P] 1 - ρ² of the values of images [P, H, W]; 1 where ρ is negative."""
    one, other = one - one.mean((1, 2), keepdims=True), other - other.mean((1, 2), keepdims=True)
    product = np.maximum((one * other).mean((1, 2)), 0)
    variances = np.maximum(np.square(_root_mean_square(one) * _root_mean_square(other)), 1e-9)
    return np.asarray(1 - np.square(product) / variances)


def _root_mean_square(images: Floats) -> Floats:
    """[P] of images [P, ...]."""
    return np.asarray(np.sqrt(np.square(images).reshape(len(images), -1).mean(axis=1)), np.float32)
