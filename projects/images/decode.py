"""Decodes the bytes of an image file: checks the whole content, and reads what the file says about itself."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.conf import settings
from django.utils.translation import gettext, gettext_noop
from PIL import Image as Pillow
from PIL.ExifTags import IFD, Base

from exeml_site.lib.display import count
from exeml_site.lib.errors import Refused
from projects.formats.pictures.picture import normalize, orientation
from projects.formats.pictures.picture_formats import PictureRefused, open_picture
from projects.formats.pictures.refusals import refusal_text
from projects.labels.metadata import clean_text
from projects.models.metadata import MAX_VALUE

EXIF_DAY = re.compile(r"((?!0000)\d{4})[:-](0[1-9]|1[0-2])[:-](0[1-9]|[12]\d|3[01])(?!\d)", re.ASCII)
PNG_END = b"IEND\xaeB`\x82"
CHECKED_PX = 32  # pixels to which a picture is reduced that is decoded for a check alone
NOT_DECODED = gettext_noop(
    "The file is damaged, incomplete or of an unsupported kind. Save it again and retry."
)

# Pillow's own limit must not be below the operator's, which `open_header` checks before decoding.
Pillow.MAX_IMAGE_PIXELS = max(Pillow.MAX_IMAGE_PIXELS or 0, settings.EXEML_MAX_IMAGE_MEGAPIXELS * 1_000_000)

# At most two pictures are decoded at once: a 50 megapixel PNG takes 200 MB while it is decoded.
_decoding = threading.BoundedSemaphore(2)


class ImageRefused(Refused):
    """The file is not accepted; the text is a sentence for the user."""


@dataclass(frozen=True)
class DecodedImage:
    """Properties of a decodable file. Width and height are those of the upright picture, in pixels."""

    format: str  # a key of projects.formats.pictures.picture_formats.FORMATS
    width: int
    height: int
    pages: int = 1  # pictures in the file; the first is used
    exif: Mapping[str, str] = field(default_factory=dict)  # see `read_exif`

    @property
    def note(self) -> str:
        """A sentence for the person who sent the file; empty where there is nothing to say."""
        if self.pages < 2:
            return ""
        return gettext("Only the first of its %(count)s pictures is used.") % {"count": count(self.pages)}


def decode_image(content: bytes, name: str = "") -> DecodedImage:
    """Decode the whole file once, a JPEG at a fraction of its size. Raises ImageRefused.

    All bytes are read, so a truncated file is refused.
    """
    picture = open_header(content, name)
    exif = read_exif(picture)
    kind = "JPEG" if picture.format == "MPO" else str(picture.format)
    width, height = picture.size
    with _decoded():
        if kind == "PNG":
            _check_sums(content)
        normalize(picture, at_least=CHECKED_PX, is_reduced=True)
        pages = _count_pages(picture, (width, height))
    # Pillow gives the size of a TIFF picture upright, and that of others as stored.
    if kind != "TIFF" and orientation(picture) > 4:
        width, height = height, width
    return DecodedImage(kind, width, height, pages, exif)


def read_exif(picture: Pillow.Image) -> dict[str, str]:
    """The camera and the day of a photo as columns of metadata; nothing else, and never the place.

    Of a PNG nothing is read: Pillow would decode the picture for it.
    """
    if picture.format == "PNG":
        return {}
    try:
        tags = picture.getexif()
        make, model = (clean_text(str(tags.get(tag) or "")) for tag in (Base.Make, Base.Model))
        taken = str(tags.get_ifd(IFD.Exif).get(Base.DateTimeOriginal) or tags.get(Base.DateTime) or "")
    except Exception:  # Pillow raises a dozen kinds for broken tags, which say nothing then
        return {}
    camera = model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()
    day = EXIF_DAY.match(taken)
    columns = {"camera": camera[:MAX_VALUE].strip(), "date taken": "-".join(day.groups()) if day else ""}
    return {name: value for name, value in columns.items() if value}


def load_normalized(content: bytes, at_least: int | None = None) -> Pillow.Image:
    """The normalized picture, in its full size or reduced to `at_least` pixels. Raises ImageRefused."""
    picture = open_header(content)
    with _decoded():
        return normalize(picture, at_least, is_reduced=at_least is not None)


def open_header(content: bytes, name: str = "") -> Pillow.Image:
    """Open the picture and check its format and size, without decoding pixels. Raises ImageRefused."""
    try:
        return open_picture(content, settings.EXEML_MAX_IMAGE_MEGAPIXELS, name)
    except PictureRefused as problem:
        raise ImageRefused(refusal_text(problem)) from problem


@contextmanager
def _decoded() -> Iterator[None]:
    """One of the few pictures that are decoded at a time. Raises ImageRefused for whatever goes wrong."""
    try:
        with _decoding:
            yield
    except Exception as problem:  # Pillow raises a dozen kinds for broken files, and all mean the same here
        raise ImageRefused(gettext(NOT_DECODED)) from problem


def _count_pages(picture: Pillow.Image, size: tuple[int, int]) -> int:
    """Pictures in the file. In a JPEG (MPO) those of another size are previews and gain maps."""
    try:
        count = int(getattr(picture, "n_frames", 1))
        if picture.format != "MPO":
            return count
        return 1 + sum(_page_size(picture, page) == size for page in range(1, min(count, 100)))
    except Exception:  # what follows the first picture may be broken
        return 1


def _page_size(picture: Pillow.Image, page: int) -> tuple[int, int]:
    picture.seek(page)
    return picture.size


def _check_sums(content: bytes) -> None:
    """Check the checksum of each PNG chunk and the end chunk, which decoding alone does not."""
    if PNG_END not in content:
        raise ValueError("cut off")
    with open_picture(content, settings.EXEML_MAX_IMAGE_MEGAPIXELS) as again:
        again.verify()
