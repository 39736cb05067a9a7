"""Formats of picture files: which are taken, how a file is opened, and what else a refused file is.

The file stands twice, word for word, in `projects/formats/pictures` and in `training/engine/data`, because
neither may import the other; a test compares them. An exported program carries it too.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import pillow_heif
from PIL import Image

# A thumbnail within a HEIF file may show another picture than the file itself.
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


@dataclass(frozen=True)
class PictureFormat:
    """A format that is taken. The first suffix is given to files that have none."""

    name: str
    content_type: str
    suffixes: tuple[str, ...]


# By Pillow's names. MPO, which phones and stereo cameras write, is a JPEG with more pictures after the first.
FORMATS = {
    "JPEG": PictureFormat("JPEG", "image/jpeg", (".jpg", ".jpeg", ".jfif", ".jpe", ".mpo")),
    "PNG": PictureFormat("PNG", "image/png", (".png", ".apng")),
    "WEBP": PictureFormat("WebP", "image/webp", (".webp",)),
    "AVIF": PictureFormat("AVIF", "image/avif", (".avif",)),
    "HEIF": PictureFormat("HEIC", "image/heic", (".heic", ".heif", ".hif")),
    "TIFF": PictureFormat("TIFF", "image/tiff", (".tif", ".tiff")),
    "GIF": PictureFormat("GIF", "image/gif", (".gif",)),
    "BMP": PictureFormat("BMP", "image/bmp", (".bmp",)),
    "JPEG2000": PictureFormat("JPEG 2000", "image/jp2", (".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc")),
}
_NAMES = [known.name for known in FORMATS.values()]
FORMAT_NAMES = f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}"
SUFFIXES = frozenset(suffix for known in FORMATS.values() for suffix in known.suffixes)
# For the attribute `accept`. Systems that do not know a content type go by the suffix.
ACCEPT = ", ".join([known.content_type for known in FORMATS.values()] + sorted(SUFFIXES))

# Of a HEIF file that does not say itself how it is turned.
EXIF_ALONE = "orientation of EXIF alone"  # not translated: a key
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ORIENTATION_TEXTS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")  # PNG texts that may turn a picture
MAX_TEXT_BYTES = 1 << 16
# The sentences and kinds below are marked for translation in `projects/formats/pictures/refusals.py`.
NOT_TAKEN = "This is %(kind)s. Use %(formats)s."  # not translated: marked in refusals.py
DAMAGED = (
    "This %(format)s picture is damaged, "  # not translated: marked in refusals.py
    "or written in a way that is not supported. "
    "Save it again, for example as JPEG."
)
TOO_LARGE = (
    "The picture has %(megapixels)s megapixels; "  # not translated: marked in refusals.py
    "at most %(most)s megapixels are allowed."
)
TOO_MANY_PIXELS = (
    "The picture has too many pixels; "  # not translated: marked in refusals.py
    "at most %(most)s megapixels are allowed."
)


class PictureRefused(ValueError):
    """The content is not taken; the text, `sentence` with `values`, is for the person who sent it."""

    def __init__(self, sentence: str, **values: str | float) -> None:
        texts = {name: value if isinstance(value, str) else f"{value:,g}" for name, value in values.items()}
        super().__init__(sentence % texts)
        self.sentence, self.values = sentence, values


def open_picture(content: bytes, max_megapixels: float, name: str = "") -> Image.Image:
    """Open the first picture of a file, without decoding it. Raises PictureRefused.

    `name`: the file's name, by which camera raw files are told from other TIFF files.
    """
    if (kind := _camera_raw(content, name)) is not None:
        raise PictureRefused(NOT_TAKEN, kind=kind, formats=FORMAT_NAMES)
    if content.startswith(PNG_SIGNATURE):
        content = _without_comments(content)
    try:
        picture = Image.open(io.BytesIO(content), formats=tuple(FORMATS))
    except Image.DecompressionBombError as problem:
        raise PictureRefused(TOO_MANY_PIXELS, most=max_megapixels) from problem
    except Exception as problem:  # Pillow raises a dozen kinds for broken files
        raise _unreadable(content) from problem
    if picture.format == "HEIF" and b"irot" not in content and b"imir" not in content:
        picture.info[EXIF_ALONE] = picture.info.get("original_orientation")
    if _is_raw_preview(picture):
        raise PictureRefused(NOT_TAKEN, kind=CAMERA_RAW, formats=FORMAT_NAMES)
    if _has_deep_planes(picture):
        raise PictureRefused(DAMAGED, format="TIFF")
    check_size(picture, max_megapixels)
    return picture


def check_size(picture: Image.Image, max_megapixels: float) -> None:
    """Raise PictureRefused by the size in the header, before anything is decoded."""
    megapixels = picture.width * picture.height / 1e6
    if megapixels > max_megapixels:
        raise PictureRefused(TOO_LARGE, megapixels=round(megapixels), most=max_megapixels)


# --- files ---


def _without_comments(content: bytes) -> bytes:
    """A PNG file without its texts and without other optional parts whose checksum is wrong.

    Pillow refuses a picture for a broken comment, or one that is very long.
    """
    view = memoryview(content)
    kept, at = [view[:8]], 8
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if end > len(content):
            break
        if kind[:1].isupper() or _is_needed(kind, view[at + 4 : end]):
            kept.append(view[at:end])
        at = end
        if kind == b"IEND":
            break
    is_changed = sum(map(len, kept)) != at
    return b"".join([*kept, view[at:]]) if is_changed else content


def _is_needed(kind: bytes, chunk: memoryview) -> bool:
    """Whether an optional part of a PNG file matters and is whole. `chunk`: its kind, data and checksum."""
    if kind in (b"tEXt", b"zTXt", b"iTXt"):
        is_text_needed = len(chunk) < MAX_TEXT_BYTES and bytes(chunk[4:26]).startswith(ORIENTATION_TEXTS)
        if not is_text_needed:
            return False
    return zlib.crc32(chunk[:-4]) == int.from_bytes(chunk[-4:], "big")


# --- names of what is refused ---

CAMERA_RAW = "a camera raw file"  # not translated: marked in refusals.py
MEDIA = "a media file, not a picture"  # not translated: marked in refusals.py
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RAW_SUFFIXES = (
    *(".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".dng", ".orf", ".rw2", ".raf"),
    *(".pef", ".srw", ".x3f", ".3fr", ".iiq", ".erf", ".mef", ".mos", ".kdc", ".dcr", ".rwl"),
)
_HEIF_BRANDS = tuple(b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1".split())
_VIDEO_BRANDS = (b"mp4", b"iso", b"avc1", b"qt  ", b"M4V", b"3g", b"MSNV", b"dash", b"f4v", b"mmp4", b"XAVC")
_STARTS = {
    "a JPEG XL picture": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
    "a JPEG XR picture": (b"II\xbc\x01",),
    "a Photoshop file": (b"8BPS",),
    "a GIMP file": (b"gimp xcf",),
    "a FITS file": (b"SIMPLE  =",),
    "an OpenEXR picture": (b"\x76\x2f\x31\x01",),
    "a Radiance HDR picture": (b"#?RADIANCE",),
    "a DDS texture": (b"DDS ",),
    "an icon file": (b"\0\0\x01\0", b"icns"),
    "a BPG picture": (b"BPG\xfb",),
    "a QOI picture": (b"qoif",),
    "a DjVu document": (b"AT&TFORM",),
    "a PDF document": (b"%PDF",),
    "a PostScript file": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "a Windows metafile": (b"\xd7\xcd\xc6\x9a",),
    "an HDF5 file": (b"\x89HDF",),
    "a NumPy array": (b"\x93NUMPY",),
    "a video": (
        b"\x1aE\xdf\xa3",
        b"\0\0\x01\xba",
        b"\0\0\x01\xb3",
        b"FLV\x01",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    ),
    "a sound file": (b"ID3", b"fLaC"),
    "a sound or video file": (b"OggS",),
    "a zip archive": (b"PK\x03\x04",),
    "a compressed file": (b"\x1f\x8b", b"BZh", b"\xfd7zXZ"),
    "a 7-Zip archive": (b"7z\xbc\xaf",),
    "a RAR archive": (b"Rar!",),
    "a file of macOS that belongs to another one, not a picture": (b"\0\x05\x16\x07",),
    "a pointer of Git LFS, not the picture itself": (b"version https://git-lfs",),
    "a text document": (b"{\\rtf",),
}
_INSIDE = (
    (128, b"DICM", "a DICOM file"),
    (344, b"n+1\0", "a NIfTI file"),  # not translated: marked in refusals.py
    (257, b"ustar", "a tar archive"),
    (8, b"AVI ", "a video"),
    (8, b"WAVE", "a sound file"),
)


def _unreadable(content: bytes) -> PictureRefused:
    """The content is of another kind, or of a format that is taken and unreadable."""
    name = _format_by_signature(content)
    if name:
        return PictureRefused(DAMAGED, format=name)
    return PictureRefused(NOT_TAKEN, kind=_kind(content), formats=FORMAT_NAMES)


def _camera_raw(content: bytes, name: str) -> str | None:
    """A camera raw file, by its signature or, where it is like a TIFF file, by its name."""
    if content[4:12] == b"ftypcrx " or (content[:4] in _TIFF and content[8:10] == b"CR"):
        return CAMERA_RAW
    starts = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")
    if content.startswith(starts) or content[6:14] == b"HEAPCCDR":
        return CAMERA_RAW
    if name.lower().endswith(_RAW_SUFFIXES) and content[:4] in _TIFF:
        return CAMERA_RAW
    return None


def _is_raw_preview(picture: Image.Image) -> bool:
    """Whether a TIFF file is a camera's: what Pillow opens is then its small preview."""
    tags: Any = getattr(picture, "tag_v2", {})
    is_preview = bool(int(tags.get(254) or 0) & 1) and 330 in tags and 271 in tags
    return 50706 in tags or is_preview


def _has_deep_planes(picture: Image.Image) -> bool:
    """Whether a TIFF file keeps one colour of 16 bits after another, which Pillow reads as 8 bits each."""
    tags: Any = getattr(picture, "tag_v2", {})
    bits = tags.get(258, (1,))
    is_raw = any(tile.codec_name == "raw" for tile in getattr(picture, "tile", ()))
    return tags.get(284) == 2 and tags.get(277, 1) > 1 and is_raw and max(bits) > 8


def _format_by_signature(content: bytes) -> str:
    """The name of a format that is taken, whose signature the content begins with; else empty."""
    brands = _brands(content)
    if brands and brands[0] in (b"avif", b"avis"):
        return "AVIF"
    if brands and brands[0] in _HEIF_BRANDS:
        return "HEIC"
    starts = {
        "JPEG": (b"\xff\xd8\xff",),
        "PNG": (PNG_SIGNATURE,),
        "GIF": (b"GIF87a", b"GIF89a"),
        "TIFF": _TIFF,
        "JPEG 2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    }
    for name, signatures in starts.items():
        if content.startswith(signatures):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    is_bmp = content[:2] == b"BM" and content[15:18] == b"\0\0\0"
    return "BMP" if is_bmp else ""


def _kind(content: bytes) -> str:
    for kind, starts in _STARTS.items():
        if content.startswith(starts):
            return kind
    for offset, magic, kind in _INSIDE:
        if content.startswith(magic, offset):
            return kind
    if brands := _brands(content):
        if brands[0].startswith(b"M4A"):
            return "a sound file"
        return "a video" if brands[0].startswith(_VIDEO_BRANDS) else MEDIA
    if content[4:8] in (b"moov", b"mdat", b"wide") or (content[4:8] == b"free" and b"mdat" in content[:64]):
        return "a video"  # of QuickTime, before there were brands
    start = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start and not start.startswith((b"<!doctype html", b"<html")):
        return "an SVG drawing"  # not translated: marked in refusals.py
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "a web page or XML, not a picture"  # not translated: marked in refusals.py
    return "not a picture"


def _brands(content: bytes) -> list[bytes]:
    """The brands of an ISO media file, its main brand first: MP4, HEIC and AVIF are of this kind."""
    if content[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(content[:4], "big"), 256, len(content))
    return [content[8:12], *(content[at : at + 4] for at in range(16, end - 3, 4))]
