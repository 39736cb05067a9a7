"""Pictures of more than 8 bits in a channel, which Pillow reads half or wrongly."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from projects.formats.pictures.picture import normalize
from projects.formats.pictures.picture_formats import PictureRefused, open_picture

RAMP = np.tile(np.linspace(0, 1, 64), (8, 1))


def png_of(values: NDArray[np.float64], colour: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff_of(data: bytes, bits: int, *, bands: int = 1, planes: int = 1) -> bytes:
    """An uncompressed TIFF file of 64 × 8 pixels; the values of tags are 32-bit numbers."""
    tags = {256: 64, 257: 8, 258: bits, 259: 1, 262: 2 if bands == 3 else 1, 273: 8, 277: bands, 278: 8}
    tags |= {279: len(data), 284: planes}
    extra = b""
    if bands == 3:
        step, at = len(data) // (3 if planes == 2 else 1), 8 + len(data)
        extra = struct.pack("<6I3H", 8, 8 + step, 8 + 2 * step, step, step, step, bits, bits, bits)
        tags |= {258: at + 24, 273: at, 279: at + 12} if planes == 2 else {258: at + 24}
    counts = {258: bands, 273: bands, 279: bands} if planes == 2 else {258: bands}
    kinds = {258: 3}
    listed = b"".join(
        struct.pack("<HHII", tag, kinds.get(tag, 4), counts.get(tag, 1), value)
        for tag, value in sorted(tags.items())
    )
    end = struct.pack("<H", len(tags)) + listed + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data) + len(extra)) + data + extra + end


def row_of(content: bytes) -> NDArray[np.int64]:
    return np.asarray(normalize(open_picture(content, 10)))[4, :, 0].astype(np.int64)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_deep_grey_with_transparency_has_all_its_shades(bits: int) -> None:
    grey = RAMP * (2**bits - 1)
    shades = row_of(png_of(np.stack([grey, np.full_like(grey, 65535)], -1), 4))
    assert shades[0] == 0 and shades[-1] == 255 and (np.diff(shades) > 0).all()


def test_what_is_transparent_does_not_count_for_the_shades() -> None:
    grey = RAMP * 1023
    grey[:, :32] = 0
    alpha = np.where(RAMP < 0.5, 0, 65535)
    shades = row_of(png_of(np.stack([grey, alpha], -1), 4))
    assert (np.diff(shades[32:]) > 0).all() and shades[-1] - shades[32] == 255


def test_grey_of_32_bits_without_a_sign_has_all_its_shades() -> None:
    shades = row_of(tiff_of((RAMP * (2**32 - 1)).astype("<u4").tobytes(), 32))
    assert shades[0] == 0 and shades[-1] == 255 and (np.diff(shades) > 0).all()


def test_deep_colours_that_are_stored_one_after_another_are_refused() -> None:
    deep = (RAMP * 65535).astype("<u2").tobytes()
    with pytest.raises(PictureRefused, match="TIFF picture is damaged, or written in a way that is not"):
        open_picture(tiff_of(deep * 3, 16, bands=3, planes=2), 10)
    eight = (RAMP * 255).astype("u1").tobytes()
    assert row_of(tiff_of(eight * 3, 8, bands=3, planes=2))[-1] == 255
