"""Accepted files, and that people see the same pixels as the network."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
from PIL import Image as Pillow

from projects.formats.pictures.picture_formats import FORMAT_NAMES
from projects.images.decode import ImageRefused, decode_image, load_normalized
from projects.images.thumbnail import make_thumbnail
from tests.pictures import KINDS, case, deep_grey, gradient, saved, several_pictures


@pytest.mark.parametrize("name", KINDS)
def test_the_thumbnail_shows_the_normalized_picture(name: str) -> None:
    seen, picture = decode_image(KINDS[name]), load_normalized(KINDS[name])

    thumbnail = Pillow.open(io.BytesIO(make_thumbnail(KINDS[name]).content))
    assert thumbnail.format == "WEBP" and thumbnail.size == picture.size == (seen.width, seen.height)
    off = np.abs(np.asarray(thumbnail.convert("RGB"), int) - np.asarray(picture, int))
    assert off.mean() < 12  # lossy, and no more than that


LARGE = {  # encoded by the tests: the files of a module at its import cost every worker seconds
    "transparent PNG": lambda: saved(gradient("RGBA", (1200, 800)), "PNG"),
    "HEIC": lambda: saved(gradient("RGB", (1200, 800)), "HEIF", quality=90),
    "12-bit TIFF": lambda: saved(deep_grey(4095).resize((1200, 800)), "TIFF"),
    "CMYK TIFF": lambda: saved(gradient("CMYK", (1200, 800)), "TIFF"),
}


@pytest.mark.parametrize("name", LARGE)
def test_the_thumbnail_of_a_large_picture_has_its_colours(name: str) -> None:
    content = LARGE[name]()
    thumbnail = Pillow.open(io.BytesIO(make_thumbnail(content).content)).convert("RGB")
    small = load_normalized(content).resize(thumbnail.size)
    assert np.abs(np.asarray(thumbnail, int) - np.asarray(small, int)).mean() < 5


@pytest.mark.parametrize("name", ["gray10in16.png", "gray16.png"])
def test_deep_grey_is_shown_with_its_contrast(name: str) -> None:
    thumbnail = Pillow.open(io.BytesIO(make_thumbnail(case(f"deep-grey-is-black/{name}")).content))
    grey = np.asarray(thumbnail.convert("L"))
    assert grey.min() < 10 and grey.max() > 245 and grey.std() > 40


@pytest.mark.parametrize("name", ["png_bad_text_crc.png", "png_big_text.png"])
def test_a_png_with_a_broken_or_very_long_comment_is_taken(name: str) -> None:
    seen = decode_image(case(f"wrong-reason/{name}"))
    assert (seen.format, seen.width, seen.height) == ("PNG", 240, 160)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("codestream.jxl", "This is a JPEG XL picture. Use"),
        ("d.nef", r"This is a camera raw file\. Use"),
        ("r5.cr3", r"This is a camera raw file\. Use"),
        ("scan.dcm", "This is a DICOM file. Use"),
        ("heim.heic", "This HEIC picture is damaged, or written in a way that is not supported"),
        ("msf1.heif", "This HEIC picture is damaged, or written in a way that is not supported"),
    ],
)
def test_what_is_refused_is_named_truly(name: str, words: str) -> None:
    with pytest.raises(ImageRefused, match=words):
        decode_image(case(f"wrong-reason/{name}"), name)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG", "AVIF", "HEIF", "MPO"])
def test_of_several_pictures_the_first_is_used_and_the_note_says_so(format: str) -> None:
    seen = decode_image(several_pictures(format, 3))
    assert seen.note == "Only the first of its 3 pictures is used."
    thumbnail = Pillow.open(io.BytesIO(make_thumbnail(several_pictures(format, 3)).content)).convert("RGB")
    assert np.abs(np.asarray(thumbnail, int) - np.asarray(gradient(), int)).mean() < 12
    assert decode_image(several_pictures(format, 1)).note == ""


def test_the_preview_in_a_jpeg_of_a_phone_is_no_page() -> None:
    preview = gradient(size=(45, 30))
    content = saved(gradient(), "MPO", save_all=True, append_images=[preview])
    assert decode_image(content).note == ""


@pytest.mark.parametrize(
    ("format", "options", "kind"),
    [
        ("JPEG", {}, "JPEG"),
        ("PNG", {}, "PNG"),
        ("BMP", {}, "BMP"),
        ("WEBP", {}, "WEBP"),
        ("MPO", {}, "JPEG"),
        ("HEIF", {}, "HEIF"),
        ("AVIF", {}, "AVIF"),
        ("TIFF", {}, "TIFF"),
        ("GIF", {}, "GIF"),
        ("JPEG2000", {}, "JPEG2000"),
        ("JPEG2000", {"no_jp2": True}, "JPEG2000"),
    ],
)
def test_the_content_says_the_format(format: str, options: dict, kind: str) -> None:
    assert decode_image(saved(gradient(), format, **options)).format == kind


def test_a_large_picture_gets_a_small_thumbnail_of_its_shape() -> None:
    for content in (saved(gradient(size=(2000, 1000)), "JPEG"), saved(gradient("RGBA", (2000, 1000)), "PNG")):
        thumbnail = Pillow.open(io.BytesIO(make_thumbnail(content).content))
        assert thumbnail.size == (256, 128)


def test_a_small_picture_is_not_blown_up() -> None:
    thumbnail = make_thumbnail(saved(gradient(size=(8, 6)), "PNG"))
    assert Pillow.open(io.BytesIO(thumbnail.content)).size == thumbnail.picture.size == (8, 6)


def test_one_pixel_and_very_long_pictures_are_taken() -> None:
    for size in ((1, 1), (5000, 2), (2, 5000)):
        seen = decode_image(saved(gradient(size=size), "PNG"))
        assert (seen.width, seen.height) == size


@cache
def photo(format: str) -> bytes:
    return saved(gradient(size=(700, 500)), format)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "WEBP", "HEIF", "AVIF", "TIFF", "GIF", "JPEG2000"])
@pytest.mark.parametrize("cut", [12, 500, 0.5, 0.9])
def test_a_cut_off_file_is_refused(format: str, cut: float) -> None:
    content = photo(format)
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
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"<?xml version='1.0'?><!--" + b"x" * 900 + b"--><svg/>", "an SVG drawing"),
        (b"<!DOCTYPE html><html><body><svg></svg></body></html>", "a web page or XML, not a picture"),
        (b"\0\0\0\x08wide\0\0\x10\0mdat" + bytes(99), "a video"),
        (b"\0\0\x10\0moov\0\0\0\x6cmvhd" + bytes(99), "a video"),
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"SIMPLE  =                    T", "a FITS file"),
        (b"\0\0\0\x0cJXL \r\n", "a JPEG XL picture"),
        (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
        (b"PK\x03\x04 zip", "a zip archive"),
        (b"\x00\x00\x00\x18ftypmp42....", "a video"),
        (b"\x00\x00\x00\x14ftypqt  ....", "a video"),
        (b"\x1aE\xdf\xa3\x01", "a video"),
        (b"RIFF\x24\0\0\0AVI LIST", "a video"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a sound file"),
        (b"\0\x05\x16\x07\0\x02", "a file of macOS"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (b"II*\0\x10\0\0\0CR\2\0", "a camera raw file"),
        (b"FUJIFILMCCD-RAW 0201", "a camera raw file"),
        (b"just some text", "not a picture"),
        (b"BMW is a maker of cars", "not a picture"),
        (bytes(2000), "not a picture"),
    ],
)
def test_a_disguised_file_is_told_what_it_is(content: bytes, words: str) -> None:
    with pytest.raises(ImageRefused, match=words) as refusal:
        decode_image(content)
    assert f"Use {FORMAT_NAMES}." in str(refusal.value)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    black = saved(Pillow.new("1", (20_000, 10_000)), "PNG")  # 200 megapixels in 25 kB

    with pytest.raises(ImageRefused, match=r"(megapixels|too many pixels).*at most 50 megapixels"):
        decode_image(black)


def test_the_limit_of_megapixels_is_the_operators(settings: object) -> None:
    settings.EXEML_MAX_IMAGE_MEGAPIXELS = 1
    with pytest.raises(ImageRefused, match="at most 1 megapixels"):
        decode_image(saved(gradient(size=(1200, 1000)), "JPEG"))
    assert decode_image(saved(gradient(size=(1000, 1000)), "JPEG")).width == 1000
