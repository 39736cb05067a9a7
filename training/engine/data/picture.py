"""One normalized picture of any file: upright, 8-bit RGB in the colour space sRGB, first page only.

Thumbnails, enlarged images, training, services and exported programs all get their pixels from here, so
they cannot differ. The file stands twice, word for word, in `projects/formats` and in
`training/engine/data`, because neither may import the other; a test compares them. An exported program
carries it too: it imports nothing but numpy, Pillow and pillow-heif.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image, ImageChops, ImageCms

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

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
NOT_TURNED = "orientation of EXIF alone"  # in a HEIF file that does not say how it is turned
LIGHT = 191  # mean luminance of what is visible from which a transparent picture gets a black background
SAME_COLOUR = 2  # levels by which a colour profile may differ from sRGB and still be taken for it
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ORIENTATION_TEXTS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")  # PNG texts that may turn a picture
MAX_TEXT_BYTES = 1 << 16
DAMAGED = "is damaged, or written in a way that is not supported"


class PictureRefused(ValueError):
    """The content is not taken; the text is a sentence for the person who sent it."""


def open_picture(content: bytes, max_megapixels: float, name: str = "") -> Image.Image:
    """Open the first picture of a file, without decoding it. Raises PictureRefused.

    `name`: the file's name, by which camera raw files are told from other TIFF files.
    """
    if (kind := _camera_raw(content, name)) is not None:
        raise PictureRefused(f"This is {kind}. Use {FORMAT_NAMES}.")
    if content.startswith(PNG_SIGNATURE):
        content = _without_comments(content)
    try:
        picture = Image.open(io.BytesIO(content), formats=tuple(FORMATS))
    except Image.DecompressionBombError as problem:
        raise PictureRefused(_too_many_pixels(None, max_megapixels)) from problem
    except Exception as problem:  # Pillow raises a dozen kinds for broken files
        raise PictureRefused(_describe_unreadable(content)) from problem
    if picture.format == "HEIF" and b"irot" not in content and b"imir" not in content:
        picture.info[NOT_TURNED] = picture.info.get("original_orientation")
    if _is_raw_preview(picture):
        raise PictureRefused(f"This is a camera raw file. Use {FORMAT_NAMES}.")
    check_size(picture, max_megapixels)
    return picture


def check_size(picture: Image.Image, max_megapixels: float) -> None:
    """Raise PictureRefused by the size in the header, before anything is decoded."""
    megapixels = picture.width * picture.height / 1e6
    if megapixels > max_megapixels:
        raise PictureRefused(_too_many_pixels(megapixels, max_megapixels))


def normalize(picture: Image.Image, at_least: int | None = None, is_reduced: bool = False) -> Image.Image:
    """The picture upright, as RGB in sRGB, without metadata. Raises what Pillow raises for broken files.

    Transparent pictures lie on white, or on black if what is visible is light. Grey of more than 8 bits is
    scaled by the range of its values. `at_least`: a JPEG may be decoded at a fraction of its size as long
    as both sides keep this many pixels; with `is_reduced` any picture comes out at a fraction whose longer
    side keeps them, at a fraction of the memory.
    """
    if at_least is not None and picture.format in ("JPEG", "MPO"):
        picture.draft("RGB", (at_least, at_least))
    picture.load()
    transposition = TRANSPOSITIONS.get(orientation(picture))
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith(("I", "F")):
        rgb = _scaled_grey(picture)
    elif _has_alpha(picture):
        rgb = _opaque(picture, profile, at_least if is_reduced else None)
    else:
        rgb = _as_srgb(_reduce(picture, at_least) if is_reduced else picture, profile)
    if transposition is not None:
        rgb = rgb.transpose(transposition)
    rgb.info = {}  # place, camera and profile stay behind, also when the picture is saved
    return rgb


def orientation(picture: Image.Image) -> int:
    """1–8 as EXIF, or else XMP, says. 1 is upright. Broken metadata turn nothing, as in browsers."""
    try:
        is_heif = picture.format == "HEIF"  # turned while it is decoded, where the file itself says so
        value = picture.info.get(NOT_TURNED) if is_heif else picture.getexif().get(0x0112)
    except Exception:
        return 1
    return value if isinstance(value, int) and value in TRANSPOSITIONS else 1


@lru_cache(maxsize=16)
def srgb_transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform of a colour profile to sRGB; None if it changes nothing or cannot be used."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, mode, "RGB")
        if mode not in ("L", "RGB"):
            return transform
        samples = _sample_colours().convert(mode)
        before = np.asarray(samples.convert("RGB"), np.int16)
        after = np.asarray(transform.apply(samples), np.int16)
    except Exception:  # a broken profile, or one for other channels: without it, as browsers do
        return None
    return transform if int(np.abs(after - before).max()) > SAME_COLOUR else None


# --- pixels ---


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info


def _as_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if picture.mode not in ("L", "RGB", "CMYK", "LAB"):
        picture = picture.convert("RGB")
    if profile or picture.mode == "LAB":
        transform = srgb_transform(profile, picture.mode)
        if transform is not None:
            return transform.apply(picture)
    return picture.convert("RGB")


def _opaque(picture: Image.Image, profile: bytes | None, reduced_to: int | None) -> Image.Image:
    """The picture on a background against which it can be seen."""
    rgba = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    background = _background(rgba)
    rgba = _reduce(rgba, reduced_to) if reduced_to else rgba
    hidden = ImageChops.invert(rgba.getchannel("A"))
    is_grey = picture.mode in ("L", "LA", "La") and profile
    rgb = _as_srgb(rgba.convert("L" if is_grey else "RGB"), profile)
    rgb.paste(background, None, hidden)
    return rgb


def _background(rgba: Image.Image) -> tuple[int, int, int]:
    small = rgba.reduce(max(1, max(rgba.size) // 256))
    visible = np.asarray(small.getchannel("A"), np.float64)
    light = np.asarray(small.convert("RGB").convert("L"), np.float64)
    is_light = (light * visible).sum() > LIGHT * visible.sum()
    return (0, 0, 0) if is_light else (255, 255, 255)


def _scaled_grey(picture: Image.Image) -> Image.Image:
    """8 bit of deeper grey: the smallest value becomes black, the largest white. One value alone keeps
    its place between black and the largest possible one."""
    values = np.asarray(picture)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if finite.size < values.size:
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    if low == high:
        low, high = (0.0, 65535.0) if picture.mode.startswith("I;16") else (0.0, max(high, 255.0))
    eight_bit = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), 256):  # a part at a time: the sums take eight times the memory
        part = (values[start : start + 256] - low) * (255 / (high - low))
        eight_bit[start : start + 256] = part.clip(0, 255).round()
    if getattr(picture, "tag_v2", {}).get(262) == 0:  # a TIFF picture whose zero is white
        eight_bit = 255 - eight_bit
    return Image.fromarray(eight_bit).convert("RGB")


def _reduce(picture: Image.Image, at_least: int | None) -> Image.Image:
    """The picture at a whole fraction of its size."""
    factor = max(picture.size) // at_least if at_least else 1
    if factor < 2 or picture.mode not in ("L", "RGB", "RGBA", "CMYK", "YCbCr"):
        return picture
    return picture.reduce(factor)


def _sample_colours() -> Image.Image:
    """All mixtures of nine levels of red, green and blue."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    red, green, blue = np.meshgrid(levels, levels, levels)
    return Image.fromarray(np.stack([red, green, blue], axis=-1).reshape(27, 27, 3))


# --- files ---


def _too_many_pixels(megapixels: float | None, max_megapixels: float) -> str:
    has = f"The picture has {megapixels:,.0f} megapixels" if megapixels else "The picture has too many pixels"
    return f"{has}; at most {max_megapixels:g} megapixels are allowed."


def _without_comments(content: bytes) -> bytes:
    """A PNG file without its texts and without other optional parts whose checksum is wrong.

    Pillow refuses a picture for a broken comment, or one that is very long.
    """
    kept, at, view = [content[:8]], 8, memoryview(content)
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if end > len(content):
            break
        if kind[:1].isupper() or _is_needed(kind, view[at + 4 : end]):
            kept.append(bytes(view[at:end]))
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

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RAW_SUFFIXES = (
    *(".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".dng", ".orf", ".rw2", ".raf"),
    *(".pef", ".srw", ".x3f", ".3fr", ".iiq", ".erf", ".mef", ".mos", ".kdc", ".dcr", ".rwl"),
)
_HEIF_BRANDS = tuple(b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1".split())
_VIDEO_BRANDS = (b"mp4", b"iso", b"avc1", b"qt  ", b"M4V", b"3g", b"MSNV", b"dash", b"f4v", b"mmp4", b"XAVC")
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (0, b"II\xbc\x01", "a JPEG XR picture"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"gimp xcf", "a GIMP file"),
    (0, b"SIMPLE  =", "a FITS file"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (0, b"#?RADIANCE", "a Radiance HDR picture"),
    (0, b"DDS ", "a DDS texture"),
    (0, b"\0\0\x01\0", "an icon file (ICO)"),
    (0, b"icns", "an icon file (ICNS)"),
    (0, b"BPG\xfb", "a BPG picture"),
    (0, b"qoif", "a QOI picture"),
    (0, b"AT&TFORM", "a DjVu document"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (128, b"DICM", "a DICOM file"),
    (344, b"n+1\0", "a NIfTI file"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"\0\0\x01\xba", "a video"),
    (0, b"\0\0\x01\xb3", "a video"),
    (0, b"FLV\x01", "a video"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video"),
    (8, b"AVI ", "a video"),
    (8, b"WAVE", "a sound file"),
    (0, b"OggS", "a sound or video file"),
    (0, b"ID3", "a sound file"),
    (0, b"fLaC", "a sound file"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a compressed file (gzip)"),
    (0, b"BZh", "a compressed file (bzip2)"),
    (0, b"\xfd7zXZ", "a compressed file (xz)"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\0\x05\x16\x07", "a file of macOS that belongs to another one, not a picture"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the picture itself"),
    (0, b"{\\rtf", "a text document"),
)


def _describe_unreadable(content: bytes) -> str:
    """A sentence: the content is of another kind, or of a format that is taken and unreadable."""
    name = _format_by_signature(content)
    if name:
        return f"This {name} picture {DAMAGED}. Save it again, for example as JPEG."
    return f"This is {_kind(content)}. Use {FORMAT_NAMES}."


def _camera_raw(content: bytes, name: str) -> str | None:
    """A camera raw file, by its signature or, where it is like a TIFF file, by its name."""
    if content[4:12] == b"ftypcrx " or (content[:4] in _TIFF and content[8:10] == b"CR"):
        return "a camera raw file (Canon)"
    starts = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")
    if content.startswith(starts) or content[6:14] == b"HEAPCCDR":
        return "a camera raw file"
    if name.lower().endswith(_RAW_SUFFIXES) and content[:4] in _TIFF:
        return f"a camera raw file ({name.rpartition('.')[2].upper()})"
    return None


def _is_raw_preview(picture: Image.Image) -> bool:
    """Whether a TIFF file is a camera's: what Pillow opens is then its small preview."""
    tags: Any = getattr(picture, "tag_v2", {})
    is_preview = bool(int(tags.get(254) or 0) & 1) and 330 in tags and 271 in tags
    return 50706 in tags or is_preview


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
    for offset, magic, kind in _SIGNATURES:
        if content[offset : offset + len(magic)] == magic:
            return kind
    if brands := _brands(content):
        if brands[0].startswith(b"M4A"):
            return "a sound file"
        return "a video" if brands[0].startswith(_VIDEO_BRANDS) else "a media file, not a picture"
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "a web page or XML, not a picture"
    return "not a picture"


def _brands(content: bytes) -> list[bytes]:
    """The brands of an ISO media file, its main brand first: MP4, HEIC and AVIF are of this kind."""
    if content[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(content[:4], "big"), 256, len(content))
    return [content[8:12], *(content[at : at + 4] for at in range(16, end - 3, 4))]
