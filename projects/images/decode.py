"""From the bytes of a file to what is known about the picture: accepted by content, decoded once.

The semantics of `load_upright_rgb` are those of the engine's `load_rgb` (a test compares the two), so what a
person sees while labeling is what the network sees.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass

import numpy as np
from django.conf import settings
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from projects.images.colour import as_rgb
from projects.images.thumbnail import encode_webp, make_thumbnail

ACCEPTED_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
PNG_END = b"IEND\xaeB`\x82"
CONTENT_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "BMP": "image/bmp", "WEBP": "image/webp"}

# All plugins at once: Pillow loads some late, and until then does not know a format asked for by name.
Pillow.init()

# Pillow's own alarm must not ring below the operator's limit; the header is checked before decoding here.
Pillow.MAX_IMAGE_PIXELS = max(Pillow.MAX_IMAGE_PIXELS or 0, settings.EXEML_MAX_IMAGE_MEGAPIXELS * 1_000_000)

# Two pictures in memory at once: a 50 megapixel PNG takes 200 MB while it is decoded.
_decoding = threading.BoundedSemaphore(2)

# What a refused file begins with, and what to call it.
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


class ImageRefused(Exception):
    """A file that is not taken; the text is a sentence for the person who uploaded it."""


@dataclass(frozen=True)
class DecodedImage:
    """A file that decodes. Sizes are upright; `thumbnail` is a WebP file."""

    format: str  # JPEG, PNG, BMP, WEBP
    width: int
    height: int
    thumbnail: bytes
    brightness: float  # mean luminance of the thumbnail, 0–255
    sharpness: float  # variance of its Laplacian: the fewer sharp edges, the lower


def decode_image(content: bytes) -> DecodedImage:
    """Decode the whole file once and make its thumbnail from that. Raises Refused."""
    picture = open_header(content)
    # MPO, written by phones and stereo cameras, is a JPEG with more pictures behind the first.
    kind = "JPEG" if picture.format == "MPO" else str(picture.format)
    try:
        if kind == "PNG":
            _check_sums(content)
        width, height = picture.size
        with _decoding:
            small, is_turned = make_thumbnail(picture)
    except Exception as problem:  # Pillow raises a dozen kinds for broken files, and all mean the same here
        raise ImageRefused(
            "The file is broken or cut off: it cannot be decoded to the end. Save it again and retry."
        ) from problem
    if is_turned:
        width, height = height, width
    return DecodedImage(kind, width, height, encode_webp(small), *measure_thumbnail(small))


def measure_thumbnail(thumbnail: Pillow.Image) -> tuple[float, float]:
    """Brightness and sharpness of a thumbnail, as `Examined` has them."""
    light = np.asarray(thumbnail.convert("L"), np.float32)
    if min(light.shape) < 3:
        return float(light.mean()), 0.0
    middle = light[1:-1, 1:-1]
    laplacian = light[:-2, 1:-1] + light[2:, 1:-1] + light[1:-1, :-2] + light[1:-1, 2:] - 4 * middle
    return float(light.mean()), float(laplacian.var())


def load_upright_rgb(content: bytes) -> Pillow.Image:
    """EXIF orientation applied, transparency on white, 16 bit scaled to 8, CMYK converted. Raises Refused."""
    picture = open_header(content)
    try:
        return as_rgb(ImageOps.exif_transpose(picture))
    except Exception as problem:
        raise ImageRefused("The file is broken: it cannot be decoded to the end.") from problem


def open_header(content: bytes) -> Pillow.Image:
    """The picture with its header read and its size admitted, nothing decoded yet."""
    try:
        picture = Pillow.open(io.BytesIO(content), formats=ACCEPTED_FORMATS)
    except Pillow.DecompressionBombError as problem:
        raise ImageRefused(_too_many_pixels()) from problem
    except UnidentifiedImageError as problem:
        raise ImageRefused(
            f"This is {_kind_of(content)}. JPEG, PNG, BMP and WebP pictures are taken."
        ) from problem
    except Exception as problem:
        raise ImageRefused("The file is broken: its header cannot be read.") from problem
    megapixels = picture.width * picture.height / 1_000_000
    if megapixels > settings.EXEML_MAX_IMAGE_MEGAPIXELS:
        raise ImageRefused(_too_many_pixels(megapixels))
    return picture


def _too_many_pixels(megapixels: float | None = None) -> str:
    has = f"The picture has {megapixels:,.0f} megapixels" if megapixels else "The picture has too many pixels"
    return f"{has}; at most {settings.EXEML_MAX_IMAGE_MEGAPIXELS} megapixels are taken."


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
    """PNG carries a check sum per chunk and an end mark, which decoding alone does not look at."""
    if PNG_END not in content:
        raise ImageRefused("cut off")
    with Pillow.open(io.BytesIO(content), formats=("PNG",)) as again:
        again.verify()
