"""What browsers get for a picture: the file itself where they show it as it is, else a rendition of it.

A rendition is the normalized picture as JPEG, made when it is first asked for, and kept.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass

from django.core.files.storage import default_storage
from PIL import Image as Pillow

from exeml_site.lib import storage
from projects.formats.pictures.picture import has_deep_colours, orientation, srgb_transform
from projects.formats.pictures.picture_formats import FORMATS
from projects.images.decode import ImageRefused, load_normalized, open_header
from projects.models import Image

log = logging.getLogger(__name__)

MAX_JPEG_PX = 65_500
USUAL_GAMMA, GAMMA_TOLERANCE = 0.45455, 0.001
SRGB_CHROMATICITY = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)


@dataclass(frozen=True)
class ShownFile:
    """A stored file that every browser shows as the normalized picture."""

    name: str
    content_type: str


def shown_file(image: Image) -> ShownFile:
    """The file to show for an image; makes its rendition if it needs one. Raises FileNotFoundError."""
    rendition = ShownFile(image.rendition_name, "image/jpeg")
    if default_storage.exists(rendition.name):
        return rendition
    original = ShownFile(image.file_name, FORMATS[image.format].content_type)
    with default_storage.open(original.name) as file:
        content = file.read()
    try:
        if is_shown_alike(open_header(content)):
            return original
        storage.save_whole(rendition.name, encode_rendition(load_normalized(content)))
    except ImageRefused:  # accepted under an earlier limit of megapixels: better this than nothing
        return original
    except OSError:
        log.exception("could not store %s", rendition.name)
        return original
    return rendition


def is_shown_alike(picture: Pillow.Image) -> bool:
    """Whether every browser shows the file itself as the normalized picture."""
    is_plain = picture.mode in ("1", "L", "P", "RGB") and "transparency" not in picture.info
    if not is_plain or has_deep_colours(picture):
        return False
    profile = picture.info.get("icc_profile")
    if profile and srgb_transform(profile, "L" if picture.mode == "L" else "RGB"):
        return False
    if picture.format in ("JPEG", "MPO"):
        return _exif_orientation(picture) == orientation(picture)
    if picture.format not in ("PNG", "WEBP", "BMP") or orientation(picture) != 1:
        return False
    return getattr(picture, "n_frames", 1) == 1 and _has_usual_gamma(picture)


def encode_rendition(picture: Pillow.Image) -> bytes:
    """A JPEG file with full colour resolution, hardly to be told from the picture."""
    if max(picture.size) > MAX_JPEG_PX:
        picture.thumbnail((MAX_JPEG_PX, MAX_JPEG_PX))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()


def _exif_orientation(picture: Pillow.Image) -> int:
    """The orientation that browsers go by: they do not read XMP."""
    exif = Pillow.Exif()
    try:
        exif.load(picture.info.get("exif", b""))
        value = exif.get(0x0112, 1)
    except Exception:
        return 1
    return value if value in range(1, 9) else 1


def _has_usual_gamma(picture: Pillow.Image) -> bool:
    """Whether a PNG file asks for no other gamma or primaries than those of sRGB, which browsers apply."""
    if "srgb" in picture.info:
        return True
    gamma = picture.info.get("gamma", USUAL_GAMMA)
    primaries = picture.info.get("chromaticity", SRGB_CHROMATICITY)
    is_usual = abs(gamma - USUAL_GAMMA) < GAMMA_TOLERANCE
    return is_usual and all(
        abs(one - other) < GAMMA_TOLERANCE for one, other in zip(primaries, SRGB_CHROMATICITY, strict=True)
    )
