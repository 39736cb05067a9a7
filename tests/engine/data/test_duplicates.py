"""Altered duplicates are found; images that only look similar are no duplicates."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tests.engine.generated_images import paint
from training.engine.data import duplicates
from training.engine.data.duplicates import matching
from training.engine.data.duplicates.descriptors import make_descriptors
from training.engine.data.images import load_rgb, open_cache, to_square

SIDE = 96
SYMMETRIES = [None, *Image.Transpose]


def field(random: np.random.Generator, side: int, roughness: float) -> np.ndarray:
    """[side, side, 3] of noise whose frequencies fade as in photographs, standard deviation 1."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) + 0.5 / side
    waves = np.fft.fft2(random.normal(size=(3, side, side))) / frequency**roughness
    waves[:, 0, 0] = 0
    made = np.fft.ifft2(waves).real.transpose(1, 2, 0)
    made += 2 * made[..., :1]  # mostly brightness
    return made / made.std()


def scene(number: int, side: int = SIDE) -> Image.Image:
    made = field(np.random.default_rng([7, number]), side, 1.3)
    return Image.fromarray(np.clip(128 + 40 * made, 0, 255).astype(np.uint8))


def saved(image: Image.Image, quality: int = 30) -> Image.Image:
    target = BytesIO()
    image.save(target, "JPEG", quality=quality)
    return load_rgb(target.getvalue())


def without_edges(image: Image.Image, share: float) -> Image.Image:
    """Three quarters of the crop are on the left and at the top."""
    cut = share * image.width
    return image.crop((round(0.75 * cut), round(0.75 * cut), *(round(image.width - 0.25 * cut),) * 2))


ALTERATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "copied": lambda image: image,
    "saved again": saved,
    "made smaller": lambda image: image.resize((SIDE // 2, SIDE // 2), Image.Resampling.BICUBIC),
    "lightened": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "darkened": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "richer in contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "cropped": lambda image: without_edges(image, 0.04),
    "cropped and saved": lambda image: saved(without_edges(image, 0.03), 60),
}


def group(images: list[Image.Image], side: int = SIDE) -> list[int]:
    return duplicates.duplicate_groups(
        np.stack([to_square(image, side) for image in images]), 2, lambda: None
    ).tolist()


def turned(image: Image.Image, symmetry: Image.Transpose | None) -> Image.Image:
    return image if symmetry is None else image.transpose(symmetry)


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_copy_is_in_the_group_of_its_original_however_it_is_turned(alteration: str) -> None:
    originals = [scene(number) for number in range(8)]
    copies = [
        turned(ALTERATIONS[alteration](one), way) for one, way in zip(originals, SYMMETRIES, strict=True)
    ]
    assert group(originals + copies) == [*range(8), *range(8)]


def test_all_copies_of_a_picture_are_one_group() -> None:
    copies = [alter(scene(1)) for alter in ALTERATIONS.values()]
    assert group([scene(0), *copies, scene(2)]) == [0, *[1] * len(copies), 2]


def test_different_pictures_are_alone() -> None:
    assert group([scene(number) for number in range(60)]) == list(range(60))


def test_pictures_of_the_same_stripes_are_alone() -> None:
    images = [paint(label, number) for label in ("red", "blue") for number in range(20)]
    assert group(images, 48) == list(range(40))


def test_two_photos_of_one_thing_are_no_copies() -> None:
    """The same light and shade, but other details."""
    base = field(np.random.default_rng(1), SIDE, 3)
    photos = [base + 0.25 * field(np.random.default_rng([2, number]), SIDE, 0.6) for number in range(6)]
    images = [Image.fromarray(np.clip(128 + 40 * one, 0, 255).astype(np.uint8)) for one in photos]
    assert group(images) == list(range(6))


def test_the_same_drawing_in_another_colour_is_no_copy() -> None:
    grey = np.asarray(scene(3).convert("L"), np.float32)[..., None]
    red, blue = (np.clip(grey * tint, 0, 255).astype(np.uint8) for tint in ((1.3, 0.7, 0.8), (0.7, 0.9, 1.6)))
    assert group([Image.fromarray(red), Image.fromarray(blue)]) == [0, 1]


def test_a_negative_is_no_copy() -> None:
    image = scene(4).convert("L")
    assert group([image.convert("RGB"), image.point(lambda value: 255 - value).convert("RGB")]) == [0, 1]


def test_of_empty_pictures_only_equal_ones_are_copies() -> None:
    speck = Image.new("RGB", (SIDE, SIDE), "white")
    speck.putpixel((40, 40), (200, 200, 200))
    white, grey = Image.new("RGB", (SIDE, SIDE), "white"), Image.new("RGB", (SIDE, SIDE), (250, 250, 250))
    assert group([white, grey, speck, white, scene(0), grey]) == [0, 1, 2, 0, 3, 1]


def test_a_slow_pan_does_not_become_one_group() -> None:
    wide = scene(5, 4 * SIDE)
    frames = [wide.crop((5 * step, 0, 5 * step + SIDE, SIDE)) for step in range(40)]
    groups = group(frames)
    widest = max(5 * (np.ptp(np.flatnonzero(np.array(groups) == one))) for one in groups)
    assert len(set(groups)) > 5
    assert widest < SIDE / 3


def test_the_candidates_are_those_of_trying_all_symmetries_on_every_pair() -> None:
    thumbnails = np.stack([to_square(turned(scene(n % 12), SYMMETRIES[n % 7]), 32) for n in range(40)])
    spectra = make_descriptors(thumbnails).spectra
    alike = np.zeros((40, 40))
    for way in SYMMETRIES:
        other = np.stack([to_square(turned(Image.fromarray(one), way), 32) for one in thumbnails])
        flat = make_descriptors(other).spectra.reshape(40, -1)
        alike = np.maximum(alike, spectra.reshape(40, -1) @ flat.T)
    expected = {(i, j) for i in range(40) for j in range(i + 1, 40) if alike[i, j] > matching.MIN_COSINE}
    found = np.concatenate(list(matching.candidate_pairs(spectra, lambda: None)))
    assert {tuple(pair) for pair in found.tolist()} == expected
    assert len(found) == len(expected) > 40


def test_the_candidates_since_a_row_are_those_that_it_or_a_later_one_adds() -> None:
    thumbnails = np.stack([to_square(turned(scene(n % 12), SYMMETRIES[n % 7]), 32) for n in range(40)])
    spectra = make_descriptors(thumbnails).spectra
    whole = np.concatenate(list(matching.candidate_pairs(spectra, lambda: None)))
    later = np.concatenate(list(matching.candidate_pairs(spectra, lambda: None, since=31)))
    assert later.tolist() == whole[whole[:, 1] >= 31].tolist()
    assert 0 < len(later) < len(whole)


def test_what_came_later_joins_the_groups_that_are_known() -> None:
    """The groups are those of comparing all at once, also across the blocks of the search."""
    chosen = [*range(2000), *range(0, 400, 2), *range(3000, 3020)]
    base = np.random.default_rng(3).integers(0, 256, (3020, 8, 8, 3)).astype(np.uint8)
    small = np.stack([to_square(Image.fromarray(base[n]), 32) for n in chosen])
    small[2000:2200] = small[2000:2200, ::-1]  # copies, upside down

    def content(row: int) -> bytes:
        return small[row].tobytes()

    whole = duplicates.group_duplicate_keys(small, content, 2)
    for first in (1000, 2100, len(chosen)):
        known = duplicates.group_duplicate_keys(small[:first], content, 2)
        assert duplicates.group_duplicate_keys(small, content, 2, known).tolist() == whole.tolist()
    assert len(set(whole.tolist())) == 2020


def test_miniatures_say_what_the_files_say(tmp_path: Path) -> None:
    scene(1).save(tmp_path / "a.png")
    scene(1).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b.jpg", quality=60)
    Image.new("RGB", (50, 50), "white").save(tmp_path / "c.png")
    Image.new("RGB", (60, 60), "white").save(tmp_path / "d.png")
    (tmp_path / "e.jpg").write_bytes(b"no picture")
    paths = [*sorted(tmp_path.iterdir()), tmp_path / "missing.jpg"]
    small = duplicates.duplicate_keys(paths, 2)
    assert small.shape == (6, 32, 32, 3) and not small[4:].any()
    groups = duplicates.group_duplicate_keys(small, lambda row: paths[row].read_bytes(), 2)
    assert groups.tolist() == duplicates.group_files(paths, 2).tolist() == [0, 0, 1, 2, 3, 4]


def test_where_all_pictures_look_alike_the_work_stays_bounded() -> None:
    base = np.tile(to_square(scene(6), 32), (600, 1, 1, 1)).astype(np.int16)
    noise = np.random.default_rng(0).integers(-20, 20, base.shape)
    spectra = make_descriptors(np.clip(base + noise, 0, 255).astype(np.uint8)).spectra
    found = sum(map(len, matching.candidate_pairs(spectra, lambda: None)))
    assert 0 < found < 600 * matching.MAX_PARTNERS


def test_a_mapped_cache_is_grouped_without_writing_to_it(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", np.stack([to_square(scene(number % 3), SIDE) for number in range(5)]))
    cache = open_cache(tmp_path / "pixels.npy")
    assert duplicates.duplicate_groups(cache, 1, lambda: None).tolist() == [0, 1, 2, 0, 1]
    assert not cache.flags.writeable


def test_no_pictures_have_no_groups() -> None:
    assert duplicates.duplicate_groups(np.empty((0, 8, 8, 3), np.uint8), 1, lambda: None).tolist() == []


def test_a_tick_that_raises_stops_it() -> None:
    def tick() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        duplicates.duplicate_groups(np.zeros((3, 8, 8, 3), np.uint8), 1, tick)


def test_files_are_grouped_and_unreadable_ones_are_alone(tmp_path: Path) -> None:
    big = scene(1, 400)
    big.save(tmp_path / "a.png")
    big.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b.jpg", quality=60)
    big.resize((300, 300)).save(tmp_path / "c.bmp")
    scene(2, 400).save(tmp_path / "d.jpg")
    for name in ("e.jpg", "f.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    Image.new("RGB", (50, 50), "white").save(tmp_path / "g.png")
    (tmp_path / "h.png").write_bytes((tmp_path / "g.png").read_bytes())
    paths = [
        tmp_path / name for name in ("a.png", "b.jpg", "c.bmp", "d.jpg", "e.jpg", "f.jpg", "g.png", "h.png")
    ]
    assert duplicates.group_files([*paths, tmp_path / "missing.jpg"], 2).tolist() == [
        0,
        0,
        0,
        1,
        2,
        3,
        4,
        4,
        5,
    ]
