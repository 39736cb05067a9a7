"""Decodes the bytes of an image file: checks the content, measures the picture, makes its thumbnail.

`load_upright_rgb` returns the same pixels as the engine's `load_rgb` (a test compares the two), so a person
who labels sees what the network sees.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass

import numpy as np
from django.conf import settings
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from exeml_site.lib.errors import Refused
from projects.images.colour import as_rgb
from projects.images.thumbnail import encode_webp, make_thumbnail

ACCEPTED_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
PNG_END = b"IEND\xaeB`\x82"
CONTENT_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "BMP": "image/bmp", "WEBP": "image/webp"}

# Load all plugins: Pillow loads some late, and until then does not know their formats by name.
Pillow.init()

# Pillow's own limit must not be below the operator's, which `open_header` checks before decoding.
Pillow.MAX_IMAGE_PIXELS = max(Pillow.MAX_IMAGE_PIXELS or 0, settings.EXEML_MAX_IMAGE_MEGAPIXELS * 1_000_000)

# At most two pictures are decoded at once: a 50 megapixel PNG takes 200 MB while it is decoded.
_decoding = threading.BoundedSemaphore(2)

# Magic bytes of unsupported files, their offset, and a name for the message.
_REFUSED_SIGNATURES: tuple[tuple[bytes, int, str], ...] = (
    (b"GIF8", 0, "a GIF picture"),
    (b"II*\x00", 0, "a TIFF picture"),
    (b"MM\x00*", 0, "a TIFF picture"),
    (b"ftypheic", 4, "a HEIC picture"),
    (b"ftypheix", 4, "a HEIC picture"),
    (b"ftypmif1", 4, "a HEIF picture"),
    (b"ftypavif", 4, "an AVIF picture"),
    (b"8BPS", 0, "a Photoshop file"),
    (b"ftyp", 4, "a video"),
    (b"%PDF", 0, "a PDF document"),
    (b"PK\x03\x04", 0, "a zip archive"),
    (b"\x1f\x8b", 0, "a compressed archive"),
)


class ImageRefused(Refused):
    """The file is not accepted; the text is a sentence for the user."""


@dataclass(frozen=True)
class DecodedImage:
    """Properties of a decodable file. Width and height are upright (EXIF applied), in pixels."""

    format: str  # JPEG, PNG, BMP, WEBP
    width: int
    height: int
    thumbnail: bytes  # a WebP file
    brightness: float  # mean luminance of the thumbnail, 0–255
    sharpness: float  # variance of its Laplacian; low where blurred


def decode_image(content: bytes) -> DecodedImage:
    """Decode the whole file once and make its thumbnail. Raises ImageRefused."""
    picture = open_header(content)
    # MPO, which phones and stereo cameras write, is a JPEG with more pictures after the first.
    kind = "JPEG" if picture.format == "MPO" else str(picture.format)
    try:
        if kind == "PNG":
            _check_sums(content)
        width, height = picture.size
        with _decoding:
            small, is_turned = make_thumbnail(picture)
    except Exception as problem:  # Pillow raises a dozen kinds for broken files, and all mean the same here
        raise ImageRefused(
            "The file is damaged or truncated: it cannot be decoded completely. Save it again and retry."
        ) from problem
    if is_turned:
        width, height = height, width
    return DecodedImage(kind, width, height, encode_webp(small), *measure_thumbnail(small))


def measure_thumbnail(thumbnail: Pillow.Image) -> tuple[float, float]:
    """(mean luminance 0–255, variance of the Laplacian) of a thumbnail."""
    light = np.asarray(thumbnail.convert("L"), np.float32)
    if min(light.shape) < 3:
        return float(light.mean()), 0.0
    middle = light[1:-1, 1:-1]
    laplacian = light[:-2, 1:-1] + light[2:, 1:-1] + light[1:-1, :-2] + light[1:-1, 2:] - 4 * middle
    return float(light.mean()), float(laplacian.var())


def load_upright_rgb(content: bytes) -> Pillow.Image:
    """The picture as RGB: EXIF orientation applied, transparency on white, 16 bit scaled to 8, CMYK
    converted.

    Raises ImageRefused.
    """
    picture = open_header(content)
    try:
        return as_rgb(ImageOps.exif_transpose(picture))
    except Exception as problem:
        raise ImageRefused("The file is damaged: it cannot be decoded completely.") from problem


def open_header(content: bytes) -> Pillow.Image:
    """Open the picture and check its format and size, without decoding pixels. Raises ImageRefused."""
    try:
        picture = Pillow.open(io.BytesIO(content), formats=ACCEPTED_FORMATS)
    except Pillow.DecompressionBombError as problem:
        raise ImageRefused(_too_many_pixels()) from problem
    except UnidentifiedImageError as problem:
        raise ImageRefused(f"This is {_kind_of(content)}. Use JPEG, PNG, BMP or WebP.") from problem
    except Exception as problem:
        raise ImageRefused("The file is damaged: its header cannot be read.") from problem
    megapixels = picture.width * picture.height / 1_000_000
    if megapixels > settings.EXEML_MAX_IMAGE_MEGAPIXELS:
        raise ImageRefused(_too_many_pixels(megapixels))
    return picture


def _too_many_pixels(megapixels: float | None = None) -> str:
    has = f"The picture has {megapixels:,.0f} megapixels" if megapixels else "The picture has too many pixels"
    return f"{has}; at most {settings.EXEML_MAX_IMAGE_MEGAPIXELS} megapixels are allowed."


def _kind_of(content: bytes) -> str:
    for magic, offset, name in _REFUSED_SIGNATURES:
        if content[offset : offset + len(magic)] == magic:
            return name
    start = content[:512].lstrip().lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "a web page or XML, not a picture"
    return "not a picture"


def _check_sums(content: bytes) -> None:
    """Check the checksum of each PNG chunk and the end chunk, which decoding alone does not."""
    if PNG_END not in content:
        raise ImageRefused("cut off")
    with Pillow.open(io.BytesIO(content), formats=("PNG",)) as again:
        again.verify()
