"""Generated picture files of every kind that is taken, and the files of `../shared/cases`."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

import projects.formats.pictures.picture_formats  # registers HEIF with Pillow

assert projects.formats.pictures.picture_formats.FORMATS
ORIENTATION = 0x0112
CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


def case(name: str) -> bytes:
    """The content of a file of `../shared/cases`; skips the test where that folder is missing."""
    path = CASES / name
    if not path.is_file():
        pytest.skip(f"{path} is missing: the cases do not lie beside this checkout")
    return path.read_bytes()


def gradient(mode: str = "RGB", size: tuple[int, int] = (90, 60)) -> Pillow.Image:
    """A picture that is different in every corner."""
    width, height = size
    across = np.tile(np.linspace(0, 255, width), (height, 1))
    down = np.tile(np.linspace(0, 255, height)[:, None], (1, width))
    rgb = np.stack([across, down, 255 - across], axis=2).astype(np.uint8)
    picture = Pillow.fromarray(rgb)
    if mode in ("RGBA", "LA"):
        picture = picture.convert(mode)
        picture.putalpha(Pillow.fromarray(down.astype(np.uint8)))
        return picture
    return picture.convert(mode)


def saved(picture: Pillow.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def deep_grey(most: int = 65535, least: int = 0) -> Pillow.Image:
    return Pillow.fromarray(np.linspace(least, most, 5400).reshape(60, 90).astype(np.uint16))


def deep_colours_png(most: int, alpha: int | None = None) -> bytes:
    """The gradient as PNG of 16 bits for each colour, with `most` for the greatest value."""
    values = np.round(np.asarray(gradient(), float) * (most / 255)).astype(">u2")
    if alpha is not None:
        values = np.dstack([values, np.full((60, 90), alpha)]).astype(">u2")
    header = struct.pack(">IIBBBBB", 90, 60, 16, 2 if alpha is None else 6, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def deep_colours_tiff(most: int, order: str = "<", is_compressed: bool = False) -> bytes:
    """The gradient as TIFF of 16 bits for each colour, which Pillow cannot write."""
    values = np.round(np.asarray(gradient(), float) * (most / 255)).astype(f"{order}u2").tobytes()
    data = zlib.compress(values) if is_compressed else values
    numbers = {256: 90, 257: 60, 259: 8 if is_compressed else 1, 262: 2, 277: 3, 278: 60}
    tags = [(tag, 3, 1, struct.pack(f"{order}HH", number, 0)) for tag, number in numbers.items()]
    after = 8 + 2 + 12 * 9 + 4
    tags += [
        (258, 3, 3, struct.pack(f"{order}I", after)),
        (273, 4, 1, struct.pack(f"{order}I", after + 6)),
        (279, 4, 1, struct.pack(f"{order}I", len(data))),
    ]
    entries = b"".join(struct.pack(f"{order}HHI", *tag[:3]) + tag[3] for tag in sorted(tags))
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 9)
    return start + entries + bytes(4) + struct.pack(f"{order}HHH", 16, 16, 16) + data


def exif(orientation: int) -> Pillow.Exif:
    tags = Pillow.Exif()
    tags[ORIENTATION] = orientation
    return tags


def xmp(orientation: int) -> bytes:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def several_pictures(format: str, count: int = 2) -> bytes:
    turns = [Pillow.Transpose.FLIP_LEFT_RIGHT, Pillow.Transpose.ROTATE_180, Pillow.Transpose.FLIP_TOP_BOTTOM]
    others = [gradient().transpose(turn) for turn in turns[: count - 1]]
    return saved(gradient(), format, save_all=True, append_images=others)


def swapped_profile() -> bytes:
    """The profile of sRGB, with the primaries of red and green exchanged: only who applies it sees it."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = content.index(b"rXYZ"), content.index(b"gXYZ")
    content[red : red + 4], content[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(content)


def white_on_transparent(mode: str = "RGBA") -> Pillow.Image:
    picture = Pillow.new("RGBA", (90, 60), (255, 255, 255, 0))
    picture.paste((255, 255, 255, 255), (20, 20, 60, 40))
    return picture.convert(mode)


KINDS = {
    "plain JPEG": saved(gradient(), "JPEG"),
    "progressive JPEG": saved(gradient(), "JPEG", progressive=True),
    "grey JPEG": saved(gradient("L"), "JPEG"),
    "CMYK JPEG": saved(gradient("CMYK"), "JPEG"),
    **{f"JPEG turned {n}": saved(gradient(), "JPEG", exif=exif(n)) for n in range(1, 9)},
    "JPEG turned by XMP": saved(gradient(), "JPEG", xmp=xmp(6)),
    "JPEG with a profile": saved(gradient(), "JPEG", icc_profile=swapped_profile()),
    "PNG turned": saved(gradient(), "PNG", exif=exif(6)),
    "PNG with a profile": saved(gradient(), "PNG", icc_profile=swapped_profile()),
    "WebP turned": saved(gradient(), "WEBP", exif=exif(8)),
    "WebP with a profile": saved(gradient(), "WEBP", icc_profile=swapped_profile(), lossless=True),
    "WebP turned by XMP": saved(gradient(), "WEBP", xmp=xmp(3)),
    "half transparent PNG": saved(gradient("RGBA"), "PNG"),
    "transparent PNG with a profile": saved(gradient("RGBA"), "PNG", icc_profile=swapped_profile()),
    "transparent grey PNG": saved(gradient("LA"), "PNG"),
    "white on transparent PNG": saved(white_on_transparent(), "PNG"),
    "white on transparent grey PNG": saved(white_on_transparent("LA"), "PNG"),
    "palette PNG": saved(gradient().quantize(16), "PNG"),
    "palette PNG with a hole": saved(gradient().quantize(16), "PNG", transparency=3),
    "RGB PNG with a transparent colour": saved(gradient(), "PNG", transparency=(0, 0, 255)),
    "bilevel PNG": saved(gradient("1"), "PNG"),
    "16-bit PNG": saved(deep_grey(), "PNG"),
    "12-bit PNG": saved(deep_grey(4095), "PNG"),
    "10-bit PNG": saved(deep_grey(1023), "PNG"),
    "16-bit PNG with small values": saved(deep_grey(200), "PNG"),
    "16-bit PNG of a narrow range": saved(deep_grey(31000, 30000), "PNG"),
    "PNG of 16-bit colours": deep_colours_png(65535),
    "PNG of 12-bit colours": deep_colours_png(4095),
    "transparent PNG of 12-bit colours": deep_colours_png(4095, alpha=2000),
    "BMP": saved(gradient(), "BMP"),
    "grey BMP": saved(gradient("L"), "BMP"),
    "WebP": saved(gradient(), "WEBP"),
    "transparent WebP": saved(gradient("RGBA"), "WEBP", lossless=True),
    "animated WebP": several_pictures("WEBP"),
    "animated PNG": several_pictures("PNG"),
    "MPO": several_pictures("MPO"),
    "HEIC": saved(gradient(), "HEIF", quality=90),
    "grey HEIC": saved(gradient("L"), "HEIF", quality=90),
    "transparent HEIC": saved(gradient("RGBA"), "HEIF", quality=90),
    "HEIC turned": saved(gradient(), "HEIF", quality=90, exif=exif(6).tobytes()),
    "HEIC turned by EXIF alone": saved(gradient(), "HEIF", quality=90, exif=exif(6)),
    "HEIC with a profile": saved(gradient(), "HEIF", quality=90, icc_profile=swapped_profile()),
    "HEIC of two pictures": several_pictures("HEIF"),
    "AVIF": saved(gradient(), "AVIF", quality=90),
    "transparent AVIF": saved(gradient("RGBA"), "AVIF", quality=90),
    "AVIF turned": saved(gradient(), "AVIF", quality=90, exif=exif(6)),
    "animated AVIF": several_pictures("AVIF"),
    "TIFF": saved(gradient(), "TIFF"),
    "TIFF with LZW": saved(gradient(), "TIFF", compression="tiff_lzw"),
    "TIFF turned": saved(gradient(), "TIFF", exif=exif(6)),
    "CMYK TIFF": saved(gradient("CMYK"), "TIFF"),
    "transparent TIFF": saved(gradient("RGBA"), "TIFF"),
    "TIFF with a profile": saved(gradient(), "TIFF", icc_profile=swapped_profile()),
    "16-bit TIFF": saved(deep_grey(), "TIFF"),
    "12-bit TIFF": saved(deep_grey(4095), "TIFF"),
    "TIFF of 16-bit colours": deep_colours_tiff(65535),
    "TIFF of 12-bit colours": deep_colours_tiff(4095),
    "TIFF of float numbers": saved(Pillow.fromarray(np.asarray(deep_grey(), np.float32) / 65535), "TIFF"),
    "TIFF of two pages": several_pictures("TIFF"),
    "GIF": saved(gradient().quantize(64), "GIF"),
    "GIF with a hole": saved(gradient().quantize(16), "GIF", transparency=3),
    "animated GIF": several_pictures("GIF"),
    "JPEG 2000": saved(gradient(), "JPEG2000"),
    "16-bit JPEG 2000": saved(deep_grey(4095), "JPEG2000"),
    "transparent JPEG 2000": saved(gradient("RGBA"), "JPEG2000"),
}
