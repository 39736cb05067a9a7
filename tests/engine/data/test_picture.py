"""One normalized picture: orientation, colours, deep grey, and a background that shows the content."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pictures import (
    KINDS,
    case,
    deep_colours_png,
    deep_colours_tiff,
    deep_grey,
    exif,
    gradient,
    png_chunk,
    saved,
    swapped_profile,
)
from tests.pictures import white_on_transparent as white
from training.engine.data.picture import normalize
from training.engine.data.picture_formats import FORMATS, PictureRefused, open_picture

ROOT = Path(__file__).resolve().parents[3]
MOST = 50  # megapixels


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(normalize(open_picture(content, MOST)), int)


@pytest.mark.parametrize("name", ["picture.py", "picture_formats.py"])
def test_the_projects_have_the_same_file(name: str) -> None:
    engine, projects = (
        ROOT / folder / name for folder in ("training/engine/data", "projects/formats/pictures")
    )
    assert engine.read_text() == projects.read_text(), "copy one to the other"


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_becomes_rgb_without_metadata(name: str) -> None:
    picture = normalize(open_picture(KINDS[name], MOST))
    assert picture.mode == "RGB" and picture.info == {}
    assert np.asarray(picture).std() > 20


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
@pytest.mark.parametrize("turn", [2, 3, 4, 5, 6, 7, 8])
def test_every_format_is_turned_upright(format: str, turn: int) -> None:
    lossless = {
        "WEBP": {"quality": 95},
        "JPEG": {"quality": 95},
        "HEIF": {"quality": 90},
        "AVIF": {"quality": 90},
    }
    content = saved(gradient(), format, exif=exif(turn).tobytes(), **lossless.get(format, {}))
    transposition = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }[turn]
    assert np.abs(pixels(content) - np.asarray(gradient().transpose(transposition), int)).mean() < 3


def test_broken_exif_turns_nothing() -> None:
    content = saved(gradient(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert pixels(content).shape == (60, 90, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_a_colour_profile_is_applied(format: str) -> None:
    """Red and green of the profile are exchanged, so those of the picture come out exchanged."""
    options = {"quality": 95} if format != "HEIF" else {"quality": 95, "chroma": 444}
    plain = pixels(saved(gradient(), format, **options))
    profiled = pixels(saved(gradient(), format, icc_profile=swapped_profile(), **options))
    assert np.abs(profiled - plain).mean() > 20
    assert np.abs(profiled - plain[..., [1, 0, 2]]).mean() < 4


def test_the_colours_of_the_cases_are_converted() -> None:
    swapped, wide = (
        case(f"thumbnail-differs-from-enlarged/{name}") for name in ("icc_swapped.jpg", "icc_p3.jpg")
    )
    for content in (swapped, wide):
        raw = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int)
        assert np.abs(pixels(content) - raw).mean() > 1
    assert pixels(case("thumbnail-differs-from-enlarged/exif6.webp")).shape == (240, 160, 3)


def test_a_profile_of_srgb_changes_no_pixel() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(
        pixels(saved(gradient(), "PNG", icc_profile=profile)), pixels(saved(gradient(), "PNG"))
    )


@pytest.mark.parametrize("profile", [b"", b"no profile", swapped_profile()[:200]])
def test_a_broken_profile_is_left_out(profile: bytes) -> None:
    assert np.array_equal(
        pixels(saved(gradient(), "PNG", icc_profile=profile)), pixels(saved(gradient(), "PNG"))
    )


@pytest.mark.parametrize(
    ("least", "most"), [(0, 1023), (0, 4095), (280, 1020), (30000, 31000), (0, 65535), (0, 200)]
)
@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG2000"])
def test_deep_grey_is_scaled_by_the_range_of_its_values(format: str, least: int, most: int) -> None:
    seen = pixels(saved(deep_grey(most, least), format))[..., 0].ravel()
    assert (seen[0], seen[-1]) == (0, 255)
    assert np.abs(seen - np.linspace(0, 255, seen.size)).max() <= 255 / (most - least) + 1


@pytest.mark.parametrize("most", [255, 1023, 4095, 16383, 65535])
def test_deep_colours_are_scaled_by_the_bits_in_use(most: int) -> None:
    files = [deep_colours_png(most), deep_colours_png(most, alpha=65535)]
    files += [deep_colours_tiff(most, order, packed) for order in "<>" for packed in (False, True)]
    for content in files:
        assert np.abs(pixels(content) - np.asarray(gradient(), int)).max() <= 1


@pytest.mark.parametrize(("value", "grey"), [(32896, 128), (0, 0), (65535, 255)])
def test_deep_grey_of_one_value_keeps_its_place(value: int, grey: int) -> None:
    picture = Image.fromarray(np.full((4, 4), value, np.uint16))
    assert pixels(saved(picture, "PNG"))[0, 0].tolist() == [grey] * 3


def test_numbers_that_are_none_do_not_spoil_a_tiff() -> None:
    values = np.linspace(5, 6, 5400).reshape(60, 90).astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    seen = pixels(saved(Image.fromarray(values), "TIFF"))[..., 0]
    assert seen[0, :3].tolist() == [0, 255, 0] and seen.std() > 70


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "GIF", "HEIF", "AVIF", "JPEG2000"])
def test_what_is_visible_stands_out_from_its_background(format: str) -> None:
    light = pixels(saved(white(), format))
    dark = pixels(
        saved(Image.composite(Image.new("RGBA", (90, 60), (0, 0, 0, 255)), white(), white()), format)
    )
    assert light[30, 40].min() > 245 and light[5, 5].max() < 10
    assert dark[30, 40].max() < 10 and dark[5, 5].min() > 245


def test_a_picture_in_which_nothing_is_visible_is_white() -> None:
    assert pixels(saved(Image.new("RGBA", (9, 9), (200, 0, 0, 0)), "PNG")).min() == 255


@pytest.mark.parametrize(
    "extra",
    [
        png_chunk(b"tEXt", b"Comment\0" + bytes(300))[:-1] + b"?",
        png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10_000_000))),
        png_chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(10_000_000))),
        png_chunk(b"pHYs", bytes(9))[:-1] + b"?",
        png_chunk(b"tEXt", b"Comment\0" + b"x" * 5_000_000),
    ],
    ids=["broken text", "long zTXt", "long iTXt", "broken pHYs", "long text"],
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_png_is_read_whatever_its_comments_are(extra: bytes, place: str) -> None:
    content = saved(gradient(), "PNG")
    at = 33 if place == "before" else len(content) - 12
    assert np.array_equal(pixels(content[:at] + extra + content[at:]), np.asarray(gradient(), int))


def test_a_png_is_turned_by_its_xmp() -> None:
    content = saved(gradient(), "PNG")
    text = png_chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<d tiff:Orientation="6"/>')
    assert pixels(content[:33] + text + content[33:]).shape == (90, 60, 3)


def test_a_preview_of_a_camera_raw_file_is_not_taken_for_the_picture() -> None:
    with pytest.raises(PictureRefused, match="camera raw"):
        open_picture(saved(gradient(), "TIFF", tiffinfo={50706: b"\1\4\0\0"}), MOST)


@pytest.mark.parametrize("format", ["PSD", "FITS", "PDF", "EPS", "PPM", "TGA", "ICO", "PCX", "DDS"])
def test_other_readers_of_pillow_are_never_asked(format: str) -> None:
    content = {
        "PSD": b"8BPS\0\1" + bytes(6) + b"\0\3" + (9).to_bytes(4, "big") * 2 + b"\0\x08\0\3" + bytes(40),
        "FITS": b"SIMPLE  =                    T".ljust(80) + b"BITPIX  =                    8".ljust(80),
    }.get(format) or saved(gradient(), format)
    with pytest.raises(PictureRefused, match="This is"):
        open_picture(content, MOST)


def bombs() -> dict[str, bytes]:
    """Small files whose headers claim 200 megapixels and more."""
    wide = (20_000).to_bytes(4, "big")
    png = saved(gradient(), "PNG")
    header = png[16:29].replace(png[16:24], wide * 2)
    bmp, gif, jp2 = (
        bytearray(saved(gradient().quantize(8) if f == "GIF" else gradient(), f))
        for f in ("BMP", "GIF", "JPEG2000")
    )
    bmp[18:26] = (20_000).to_bytes(4, "little") * 2
    gif[6:10] = b"\xff\xff\xff\xff"
    at = jp2.index(b"ihdr") + 4
    jp2[at : at + 8] = wide * 2
    jpeg = bytearray(saved(gradient(), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = b"\x4e\x20\x4e\x20"
    files = {"PNG": png[:8] + png_chunk(b"IHDR", header) + png[33:], "BMP": bytes(bmp), "GIF": bytes(gif)}
    files |= {"JPEG2000": bytes(jp2), "JPEG": bytes(jpeg)}
    files["TIFF"] = saved(Image.new("1", (20_000, 20_000)), "TIFF", compression="group4")
    files["WEBP"] = (
        saved(gradient("RGBA"), "WEBP")[:24] + b"\xfe\x3f\0\xfe\x3f\0" + saved(gradient("RGBA"), "WEBP")[30:]
    )
    for format in ("HEIF", "AVIF"):
        content = saved(gradient(), format)
        at = content.index(b"ispe") + 8
        files[format] = content[:at] + wide * 2 + content[at + 8 :]
    return files


def test_bombs_of_every_format_are_refused_in_little_memory(tmp_path: Path) -> None:
    assert bombs().keys() == FORMATS.keys()
    for format, content in bombs().items():
        (tmp_path / format).write_bytes(content)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from training.engine.data.picture import normalize\n"
        "from training.engine.data.picture_formats import open_picture\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak()\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try: normalize(open_picture(path.read_bytes(), 50)); print('taken', path.name)\n"
        "    except Exception: pass\n"
        "print('MB', peak() - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    word, megabytes = done.stdout.split()
    assert word == "MB" and int(megabytes) < 60
