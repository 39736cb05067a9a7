"""Every kind of image becomes upright RGB; what does not decode says so."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.engine.data import images
from training.engine.data.images import (
    UnreadableImage,
    decode_all,
    load_rgb,
    open_cache,
    read_square,
    visible_window,
)


def stored(image: Image.Image, kind: str, **options: object) -> bytes:
    target = BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def test_exif_orientation_is_applied() -> None:
    image = Image.new("RGB", (40, 20), "white")
    exif = Image.Exif()
    exif[0x0112] = 6
    assert load_rgb(stored(image, "JPEG", exif=exif)).size == (20, 40)


def test_transparency_lies_on_white() -> None:
    assert load_rgb(stored(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG")).getpixel((0, 0)) == (
        255,
        255,
        255,
    )


def test_a_transparent_palette_colour_lies_on_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30] * 256)
    assert load_rgb(stored(image, "PNG", transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_16_bit_grey_is_scaled() -> None:
    deep = Image.fromarray(np.full((4, 4), 32896, np.uint16))
    assert load_rgb(stored(deep, "PNG")).getpixel((0, 0)) == (128, 128, 128)


def test_cmyk_is_converted() -> None:
    red = load_rgb(stored(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")).getpixel((4, 4))
    assert red[0] > 200
    assert max(red[1:]) < 60


def test_bytes_path_and_image_give_the_same(tmp_path: Path) -> None:
    image = Image.effect_noise((30, 30), 50).convert("RGB")
    data = stored(image, "PNG")
    (tmp_path / "a.png").write_bytes(data)
    assert np.array_equal(read_square(data, 16), read_square(tmp_path / "a.png", 16))
    assert np.array_equal(read_square(data, 16), read_square(image, 16))


@pytest.mark.parametrize("data", [b"", b"no picture", stored(Image.effect_noise((90, 90), 9), "PNG")[:200]])
def test_what_does_not_decode_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        load_rgb(data)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(UnreadableImage, match="megapixels"):
        load_rgb(Image.new("1", (9000, 6000)))


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((100, 100), (100, 100)),
        ((133, 100), (133, 100)),
        ((200, 100), (133.33, 100)),
        ((1000, 100), (500, 100)),
    ],
)
def test_the_window_keeps_most_of_the_picture(size: tuple[int, int], seen: tuple[float, float]) -> None:
    left, top, right, bottom = visible_window(*size)
    assert (right - left, bottom - top) == pytest.approx(seen, abs=0.01)
    assert left + right == pytest.approx(size[0])


def test_the_cache_holds_every_picture_and_names_the_broken(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("RGB", (20, 20), "red").save(good)
    bad.write_bytes(b"nothing")
    problems = decode_all([good, bad, good], 32, tmp_path / "cache.npy", 2, lambda done: None)
    assert list(problems) == [1]
    assert open_cache(tmp_path / "cache.npy")[2, 5, 5].tolist() == [255, 0, 0]


def test_a_large_cache_leaves_memory_and_keeps_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_MAPPED_BYTES", 0)
    paths = [tmp_path / f"{number}.png" for number in range(70)]
    for number, path in enumerate(paths):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(path)
    assert images.decode_all(paths, 32, tmp_path / "cache.npy", 2, lambda done: None) == {}
    table = images.open_cache(tmp_path / "cache.npy")
    before = table[:, 0, 0, 0].tolist()
    images.release_pages(table)
    assert before == table[:, 0, 0, 0].tolist() == list(range(70))


def test_rows_that_hold_nothing_come_last(tmp_path: Path) -> None:
    cache = tmp_path / "cache.npy"
    np.save(cache, np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1))
    images.compact_rows(cache, {0, 3})
    assert np.load(cache).ravel()[:4].tolist() == [1, 2, 4, 5]
