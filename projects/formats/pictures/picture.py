"""One normalized picture of any file: upright, 8-bit RGB in the colour space sRGB, first page only.

Thumbnails, enlarged images, training, services and exported programs all get their pixels from here, so
they cannot differ. The file stands twice, word for word, in `projects/formats/pictures` and in
`training/engine/data`, because neither may import the other; a test compares them. An exported program
carries it too: it imports nothing but numpy and Pillow.
"""

from __future__ import annotations

import io
import sys
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LIGHT = 191  # mean luminance of what is visible from which a transparent picture gets a black background
SAME_COLOUR = 2  # levels by which a colour profile may differ from sRGB and still be taken for it


def normalize(picture: Image.Image, at_least: int | None = None, is_reduced: bool = False) -> Image.Image:
    """The picture upright, as RGB in sRGB, without metadata. Raises what Pillow raises for broken files.

    Transparent pictures lie on white, or on black if what is visible is light. Grey of more than 8 bits is
    scaled by the range of its values, deeper colours by the bits in use. `at_least`: a JPEG may be decoded
    at a fraction of its size as long as both sides keep this many pixels; with `is_reduced` any picture
    comes out at a fraction whose longer side keeps them, at a fraction of the memory.
    """
    if at_least is not None and picture.format in ("JPEG", "MPO"):
        picture.draft("RGB", (at_least, at_least))
    loaded = _scaled_colours(picture) if has_deep_colours(picture) else picture
    if _has_deep_grey_and_alpha(picture):
        loaded = _scaled_grey_and_alpha(picture)
    loaded.load()
    transposition = TRANSPOSITIONS.get(orientation(picture))
    profile = picture.info.get("icc_profile")
    picture = loaded
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
        key = "orientation of EXIF alone"  # not translated: as in picture_formats.py
        value = picture.info.get(key) if is_heif else picture.getexif().get(0x0112)
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
    tags = getattr(picture, "tag_v2", {})
    if tags and values.dtype == np.int32 and _first(tags.get(339, 1)) == 1:
        values = values.view(np.uint32)  # Pillow takes them for signed
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
    if tags.get(262) == 0:  # a TIFF picture whose zero is white
        eight_bit = 255 - eight_bit
    return Image.fromarray(eight_bit).convert("RGB")


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def _has_deep_grey_and_alpha(picture: Image.Image) -> bool:
    """Whether a PNG picture that is not decoded yet has grey and transparency of 16 bits each."""
    is_read_again = isinstance(getattr(picture, "fp", None), io.BytesIO)
    tiles = getattr(picture, "tile", ()) if is_read_again and picture.format == "PNG" else ()
    return any("LA;16B" in str(tile.args) for tile in tiles)


def _scaled_grey_and_alpha(picture: Image.Image) -> Image.Image:
    """Grey scaled by the range of what is visible, with its transparency in 8 bits. Four bytes of a pixel
    are read as four channels: both bytes of the grey, both of the transparency."""
    file: Any = getattr(picture, "fp", None)
    four: Any = Image.open(io.BytesIO(file.getvalue()), formats=("PNG",))
    four._mode, four.tile = "RGBA", [tile._replace(args="RGBA") for tile in four.tile]
    picture.load()
    four.load()
    channels = np.asarray(four)
    grey = _sixteen_bits(channels[..., 0], channels[..., 1])
    alpha = channels[..., 2]
    if grey.max() >= 1 << 14:
        return picture
    visible = grey[alpha > 0]
    low, high = (float(visible.min()), float(visible.max())) if visible.size else (0.0, 0.0)
    scaled = (grey.astype(np.float32) - low) * (255 / (high - low) if high > low else 0)
    return Image.fromarray(np.stack([scaled.clip(0, 255).round().astype(np.uint8), alpha], -1), "LA")


def has_deep_colours(picture: Image.Image) -> bool:
    """Whether a picture that is not decoded yet has colours of 16 bits, of which Pillow reads the upper 8."""
    is_read_again = isinstance(getattr(picture, "fp", None), io.BytesIO)
    tiles = getattr(picture, "tile", ()) if is_read_again and picture.mode in ("RGB", "RGBA") else ()
    return any(";16" in str(tile.args) and "LA;16" not in str(tile.args) for tile in tiles)


def _scaled_colours(picture: Image.Image) -> Image.Image:
    """8 bits of 16-bit colours: the upper ones, or those in use where the values have 14 bits or less."""
    file: Any = getattr(picture, "fp", None)
    lower: Any = Image.open(io.BytesIO(file.getvalue()), formats=(str(picture.format),))
    lower.tile = [_of_lower_bytes(tile) for tile in lower.tile]
    picture.load()
    upper = np.asarray(picture)
    if upper[..., :3].max() >= 64:
        return picture
    lower.load()
    below, scaled = np.asarray(lower), upper.copy()
    bits = max(8, int(_sixteen_bits(upper, below)[..., :3].max()).bit_length())
    used = 3 if upper[..., 3:].max(initial=0) >= 64 else upper.shape[2]  # transparency may have all 16 bits
    for start in range(0, len(upper), 256):
        part = _sixteen_bits(upper[start : start + 256], below[start : start + 256])[..., :used]
        scaled[start : start + 256, :, :used] = (part * (255 / (2**bits - 1))).clip(0, 255).round()
    return Image.fromarray(scaled)


def _sixteen_bits(upper: NDArray[np.uint8], lower: NDArray[np.uint8]) -> NDArray[np.integer[Any]]:
    return upper.astype(np.uint16) << 8 | lower


def _of_lower_bytes(tile: Any) -> Any:
    """A part of a file, described so that Pillow reads the lower byte of each value."""
    raw_mode = tile.args if isinstance(tile.args, str) else tile.args[0]
    is_upper_first = raw_mode.endswith("B") or (raw_mode.endswith("N") and sys.byteorder == "big")
    other = raw_mode[:-1] + ("L" if is_upper_first else "B")
    return tile._replace(args=other if isinstance(tile.args, str) else (other, *tile.args[1:]))


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
