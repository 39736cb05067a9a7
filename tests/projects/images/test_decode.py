"""Accepted files, and that people see the same pixels as the network."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from projects.images.decode import ImageRefused, decode_image, load_upright_rgb

ORIENTATION = 0x0112


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


def deep_grey(values: int = 65535) -> Pillow.Image:
    return Pillow.fromarray(np.linspace(0, values, 5400).reshape(60, 90).astype(np.uint16))


def exif(orientation: int) -> Pillow.Exif:
    tags = Pillow.Exif()
    tags[ORIENTATION] = orientation
    return tags


def palette_with_hole() -> bytes:
    return saved(gradient().quantize(16), "PNG", transparency=3)


def several_pictures(format: str) -> bytes:
    first, second = gradient(), gradient().transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
    return saved(first, format, save_all=True, append_images=[second])


ODD = {
    "plain JPEG": saved(gradient(), "JPEG"),
    "progressive JPEG": saved(gradient(), "JPEG", progressive=True),
    "grey JPEG": saved(gradient("L"), "JPEG"),
    "CMYK JPEG": saved(gradient("CMYK"), "JPEG"),
    **{f"JPEG turned {n}": saved(gradient(), "JPEG", exif=exif(n)) for n in range(1, 9)},
    "PNG turned": saved(gradient(), "PNG", exif=exif(6)),
    "WebP turned": saved(gradient(), "WEBP", exif=exif(8)),
    "half transparent PNG": saved(gradient("RGBA"), "PNG"),
    "transparent grey PNG": saved(gradient("LA"), "PNG"),
    "palette PNG": saved(gradient().quantize(16), "PNG"),
    "palette PNG with a hole": palette_with_hole(),
    "RGB PNG with a transparent colour": saved(gradient(), "PNG", transparency=(0, 0, 255)),
    "bilevel PNG": saved(gradient("1"), "PNG"),
    "16-bit PNG": saved(deep_grey(), "PNG"),
    "16-bit PNG with small values": saved(deep_grey(200), "PNG"),
    "BMP": saved(gradient(), "BMP"),
    "grey BMP": saved(gradient("L"), "BMP"),
    "WebP": saved(gradient(), "WEBP"),
    "transparent WebP": saved(gradient("RGBA"), "WEBP", lossless=True),
    "animated WebP": several_pictures("WEBP"),
    "animated PNG": several_pictures("PNG"),
    "MPO": several_pictures("MPO"),
}


@pytest.mark.parametrize("name", ODD)
def test_people_see_the_pixels_that_the_network_sees(name: str) -> None:
    from training.engine.data.images import load_rgb

    ours, theirs = load_upright_rgb(ODD[name]), load_rgb(ODD[name])

    assert ours.mode == theirs.mode == "RGB" and ours.size == theirs.size
    assert np.array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("name", ODD)
def test_the_thumbnail_shows_the_upright_picture(name: str) -> None:
    seen, picture = decode_image(ODD[name]), load_upright_rgb(ODD[name])

    thumbnail = Pillow.open(io.BytesIO(seen.thumbnail))
    assert thumbnail.format == "WEBP" and thumbnail.size == picture.size == (seen.width, seen.height)
    off = np.abs(np.asarray(thumbnail.convert("RGB"), int) - np.asarray(picture, int))
    assert off.mean() < 12  # lossy, and no more than that


@pytest.mark.parametrize(
    ("format", "options", "kind"),
    [("JPEG", {}, "JPEG"), ("PNG", {}, "PNG"), ("BMP", {}, "BMP"), ("WEBP", {}, "WEBP"), ("MPO", {}, "JPEG")],
)
def test_the_content_says_the_format(format: str, options: dict, kind: str) -> None:
    assert decode_image(saved(gradient(), format, **options)).format == kind


def test_a_large_picture_gets_a_small_thumbnail_of_its_shape() -> None:
    for content in (saved(gradient(size=(2000, 1000)), "JPEG"), saved(gradient("RGBA", (2000, 1000)), "PNG")):
        thumbnail = Pillow.open(io.BytesIO(decode_image(content).thumbnail))
        assert thumbnail.size == (256, 128)


def test_a_small_picture_is_not_blown_up() -> None:
    assert Pillow.open(io.BytesIO(decode_image(saved(gradient(size=(8, 6)), "PNG")).thumbnail)).size == (8, 6)


def test_one_pixel_and_very_long_pictures_are_taken() -> None:
    for size in ((1, 1), (5000, 2), (2, 5000)):
        seen = decode_image(saved(gradient(size=size), "PNG"))
        assert (seen.width, seen.height) == size


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "WEBP"])
@pytest.mark.parametrize("cut", [1, 12, 500, 0.5, 0.9])
def test_a_cut_off_file_is_refused(format: str, cut: float) -> None:
    content = saved(gradient(size=(700, 500)), format)
    length = int(len(content) * (1 - cut)) if cut < 1 else len(content) - int(cut)

    with pytest.raises(ImageRefused, match="damaged"):
        decode_image(content[:length])


def test_a_png_with_a_flipped_byte_is_refused() -> None:
    content = bytearray(saved(gradient(), "PNG"))
    content[len(content) // 2] ^= 0xFF

    with pytest.raises(ImageRefused, match="damaged"):
        decode_image(bytes(content))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (saved(gradient("P"), "GIF"), "a GIF picture"),
        (saved(gradient(), "TIFF"), "a TIFF picture"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"PK\x03\x04 zip", "a zip archive"),
        (b"\x00\x00\x00\x18ftypheic....", "a HEIC picture"),
        (b"\x00\x00\x00\x18ftypmp42....", "a video"),
        (b"just some text", "not a picture"),
        (bytes(2000), "not a picture"),
    ],
)
def test_a_disguised_file_is_told_what_it_is(content: bytes, words: str) -> None:
    with pytest.raises(ImageRefused, match=words) as refusal:
        decode_image(content)
    assert "JPEG, PNG, BMP or WebP" in str(refusal.value)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    black = saved(Pillow.new("1", (20_000, 10_000)), "PNG")  # 200 megapixels in 25 kB

    with pytest.raises(ImageRefused, match=r"(megapixels|too many pixels).*at most 50 megapixels"):
        decode_image(black)


def test_the_limit_of_megapixels_is_the_operators(settings: object) -> None:
    settings.EXEML_MAX_IMAGE_MEGAPIXELS = 1
    with pytest.raises(ImageRefused, match="at most 1 megapixels"):
        decode_image(saved(gradient(size=(1200, 1000)), "JPEG"))
    assert decode_image(saved(gradient(size=(1000, 1000)), "JPEG")).width == 1000
