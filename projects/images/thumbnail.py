"""Thumbnails of images: WebP, 256 pixels on the longer side."""

from __future__ import annotations

import io

from PIL import Image as Pillow

from projects.formats.pictures.picture import normalize

THUMBNAIL_PX = 256  # pixels, the longer side


def make_thumbnail(picture: Pillow.Image) -> Pillow.Image:
    """The normalized picture, small.

    A JPEG is decoded at a fraction of its size; all bytes are read, so a truncated file still raises an
    error.
    """
    small = normalize(picture, at_least=2 * THUMBNAIL_PX, is_reduced=True)
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Pillow.Resampling.LANCZOS)
    return small


def encode_webp(thumbnail: Pillow.Image) -> bytes:
    out = io.BytesIO()
    thumbnail.save(out, "WEBP", quality=80, method=0)  # a fifth of the time of method 3, 20 % larger
    return out.getvalue()
