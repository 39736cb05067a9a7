"""Descriptors of images for the duplicate search, computed from 32-pixel thumbnails: 3 KB for each image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Indices = NDArray[np.int64]

KEY_SIDE = 32  # pixels of a thumbnail, along each side
COLOUR_SIDE = 8  # of its colour channels: colour is compared coarsely
FREQUENCIES = 8  # of a spectrum, along each side
WAVE_NUMBERS, PIXELS = np.arange(FREQUENCIES), np.arange(KEY_SIDE, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Descriptors of N images.

    `luminance` [N, KEY_SIDE, KEY_SIDE]: smoothed, in grey levels; `spectra` [N, FREQUENCIES, FREQUENCIES]:
    its low frequencies at length 1; `colour` [N, COLOUR_SIDE, COLOUR_SIDE, 2]: Cb and Cr.
    """

    luminance: Halves
    spectra: Floats
    colour: Halves

    @classmethod
    def empty(cls, count: int) -> Descriptors:
        """Descriptors of `count` images, to be filled by `put`."""
        return cls(
            np.empty((count, KEY_SIDE, KEY_SIDE), np.float16),
            np.empty((count, FREQUENCIES, FREQUENCIES), np.float32),
            np.empty((count, COLOUR_SIDE, COLOUR_SIDE, 2), np.float16),
        )

    def take(self, rows: Indices) -> Descriptors:
        return Descriptors(self.luminance[rows], self.spectra[rows], self.colour[rows])

    def put(self, rows: slice, part: Descriptors) -> None:
        self.luminance[rows], self.spectra[rows] = part.luminance, part.spectra
        self.colour[rows] = part.colour


def make_descriptors(thumbnails: NDArray[np.uint8]) -> Descriptors:
    """The descriptors of thumbnails [N, KEY_SIDE, KEY_SIDE, 3]."""
    luminance = np.asarray(thumbnails @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)
    blocks = thumbnails.reshape(-1, COLOUR_SIDE, 4, COLOUR_SIDE, 4, 3).mean((2, 4), np.float32)
    colour = blocks @ np.array([[-0.169, 0.5], [-0.331, -0.419], [0.5, -0.081]], np.float32)  # as in JPEG
    return Descriptors(smooth(luminance).astype(np.float16), _spectra(luminance), colour.astype(np.float16))


def smooth(images: Floats) -> Floats:
    """Images [N, H, W] under a binomial kernel of 3 by 3."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return np.asarray((rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 16)


def _spectra(luminance: Floats) -> Floats:
    """[N, FREQUENCIES, FREQUENCIES] of length 1: the lowest frequencies of the cosine transform, no mean.

    They are multiplied by the root of the frequency: high ones are weak in photographs, which would hide
    them, but a crop changes them most, so full whitening would weigh them too much.
    """
    basis = np.cos(np.pi / KEY_SIDE * WAVE_NUMBERS[:, None] * (PIXELS + 0.5)).astype(np.float32)
    basis[0] *= np.sqrt(0.5)
    gains = np.sqrt(np.hypot(WAVE_NUMBERS[:, None], WAVE_NUMBERS)).astype(np.float32)
    spectra = basis @ luminance @ basis.T * gains
    return np.asarray(spectra / np.maximum(np.sqrt(np.square(spectra).sum((1, 2), keepdims=True)), 1e-6))
