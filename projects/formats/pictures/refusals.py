"""Why a picture file is not taken, in the language of the reader.

`picture_formats` also runs where there is no Django, so its sentences are marked here.
"""

from __future__ import annotations

from decimal import Decimal

from django.utils.formats import number_format
from django.utils.translation import gettext, gettext_noop

from projects.formats.pictures.picture_formats import FORMAT_NAMES, FORMATS, PictureRefused

SENTENCES = (
    gettext_noop("This is %(kind)s. Use %(formats)s."),
    gettext_noop(
        "This %(format)s picture is damaged, or written in a way that is not supported. "
        "Save it again, for example as JPEG."
    ),
    gettext_noop("The picture has %(megapixels)s megapixels; at most %(most)s megapixels are allowed."),
    gettext_noop("The picture has too many pixels; at most %(most)s megapixels are allowed."),
)
# What is sent instead of a picture that is taken.
KINDS = (
    gettext_noop("a JPEG XL picture"),
    gettext_noop("a JPEG XR picture"),
    gettext_noop("a Photoshop file"),
    gettext_noop("a GIMP file"),
    gettext_noop("a FITS file"),
    gettext_noop("an OpenEXR picture"),
    gettext_noop("a Radiance HDR picture"),
    gettext_noop("a DDS texture"),
    gettext_noop("an icon file"),
    gettext_noop("a BPG picture"),
    gettext_noop("a QOI picture"),
    gettext_noop("a DjVu document"),
    gettext_noop("a PDF document"),
    gettext_noop("a PostScript file"),
    gettext_noop("a Windows metafile"),
    gettext_noop("an HDF5 file"),
    gettext_noop("a NumPy array"),
    gettext_noop("a video"),
    gettext_noop("a sound file"),
    gettext_noop("a sound or video file"),
    gettext_noop("a zip archive"),
    gettext_noop("a compressed file"),
    gettext_noop("a 7-Zip archive"),
    gettext_noop("a RAR archive"),
    gettext_noop("a file of macOS that belongs to another one, not a picture"),
    gettext_noop("a pointer of Git LFS, not the picture itself"),
    gettext_noop("a text document"),
    gettext_noop("a DICOM file"),
    gettext_noop("a NIfTI file"),
    gettext_noop("a tar archive"),
    gettext_noop("a camera raw file"),
    gettext_noop("a media file, not a picture"),
    gettext_noop("an SVG drawing"),
    gettext_noop("a web page or XML, not a picture"),
    gettext_noop("not a picture"),
)


def refusal_text(refused: PictureRefused) -> str:
    """The sentence of a refused picture in the active language."""
    return gettext(refused.sentence) % {name: _value(value) for name, value in refused.values.items()}


def _value(value: str | float) -> str:
    if not isinstance(value, str):
        return number_format(Decimal(f"{value:g}"), force_grouping=True)
    return format_names() if value == FORMAT_NAMES else gettext(value)


def format_names() -> str:
    """“JPEG, PNG, … or JPEG 2000”."""
    *names, last = (known.name for known in FORMATS.values())
    return gettext("%(names)s or %(last)s") % {"names": ", ".join(names), "last": last}
