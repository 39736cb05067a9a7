"""Splits: the ratio of every label, and duplicates in one split."""

from collections import Counter
from pathlib import Path

import pytest

from tests.engine.generated_images import make_samples
from training.engine import Sample
from training.engine.data import layouts
from training.engine.data.images import load_rgb


def samples_of(*labels: tuple[str, ...]) -> list[Sample]:
    return [Sample(f"{number:03}", Path(f"{number}.png"), one, "TRAIN") for number, one in enumerate(labels)]


def counts(samples: list[Sample]) -> dict[tuple[str, str], int]:
    return Counter((label, one.split) for one in samples for label in one.labels)


def sides_of_groups(samples: list[Sample], groups: list[int]) -> dict[int, set[str]]:
    sides: dict[int, set[str]] = {}
    for one in samples:
        sides.setdefault(groups[int(one.id)], set()).add(one.split)
    return sides


def test_a_split_keeps_the_ratio_of_every_label() -> None:
    samples = samples_of(*[("a",)] * 50, *[("b",)] * 10, *[("c",)] * 3)
    assert counts(layouts.split_samples(samples, 0.8, 0)) == {
        ("a", "TRAIN"): 40,
        ("a", "EVAL"): 10,
        ("b", "TRAIN"): 8,
        ("b", "EVAL"): 2,
        ("c", "TRAIN"): 2,
        ("c", "EVAL"): 1,
    }


@pytest.mark.parametrize(("ratio", "train"), [(0.01, 1), (0.5, 1), (0.99, 1)])
def test_two_images_of_a_label_are_on_both_sides_at_any_ratio(ratio: float, train: int) -> None:
    split = counts(layouts.split_samples(samples_of(("a",), ("a",)), ratio, 0))
    assert split == {("a", "TRAIN"): train, ("a", "EVAL"): 1}


def test_one_image_of_a_label_trains() -> None:
    assert counts(layouts.split_samples(samples_of(("a",)), 0.2, 0)) == {("a", "TRAIN"): 1}


def test_the_same_seed_splits_the_same_and_another_one_differently() -> None:
    samples = samples_of(*[("a",)] * 30, *[("b",)] * 30)
    first = layouts.split_samples(samples, 0.8, 3)
    assert layouts.split_samples(samples[::-1], 0.8, 3) == first
    assert layouts.split_samples(samples, 0.8, 4) != first


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_whole_and_the_ratio_is_kept(seed: int) -> None:
    samples = samples_of(*[("a",)] * 60, *[("b",)] * 40)
    groups = [number // 3 if number % 4 else 1000 + number for number in range(100)]
    split = layouts.split_samples(samples, 0.8, seed, groups)
    assert all(len(sides) == 1 for sides in sides_of_groups(split, groups).values())
    found = counts(split)
    assert abs(found["a", "TRAIN"] - 48) <= 1
    assert abs(found["b", "TRAIN"] - 32) <= 1


@pytest.mark.parametrize("sizes", [(5, 5), (9, 1), (1, 1), (20, 1, 1), (2, 2, 2)])
def test_a_label_of_two_groups_is_on_both_sides(sizes: tuple[int, ...]) -> None:
    groups = [number for number, size in enumerate(sizes) for _ in range(size)]
    samples = samples_of(*[("a",)] * len(groups), *[("b",)] * 10)
    found = counts(layouts.split_samples(samples, 0.8, 0, groups + list(range(100, 110))))
    assert found["a", "TRAIN"] >= found["a", "EVAL"] > 0
    assert found["b", "EVAL"] == 2


def test_a_label_of_one_group_is_not_torn_apart() -> None:
    samples = samples_of(*[("a",)] * 6, *[("b",)] * 5)
    split = layouts.split_samples(samples, 0.5, 0, [0] * 6 + list(range(1, 6)))
    assert counts(split)["a", "TRAIN"] == 6


def test_a_group_with_different_labels_stays_on_one_side_and_each_label_is_on_both() -> None:
    samples = samples_of(("a",), ("b",), ("a",), ("b",), ("a",), ("b",))
    for seed in range(10):
        split = layouts.split_samples(samples, 0.8, seed, [0, 0, 1, 2, 3, 4])
        assert split[0].split == split[1].split
        assert {usage for _, usage in counts(split)} == {"TRAIN", "EVAL"}
        assert len(counts(split)) == 4


def test_images_with_several_labels_or_none_are_split_label_by_label() -> None:
    samples = samples_of(*[("a", "b")] * 10, *[("b",)] * 10, *[()] * 10, ("c", "a"), ("c",))
    split = layouts.split_samples(samples, 0.8, 0)
    found = counts(split)
    assert found["c", "TRAIN"] == found["c", "EVAL"] == 1
    assert found["a", "EVAL"] in (2, 3)
    assert found["b", "EVAL"] in (4, 5)
    assert sum(one.split == "EVAL" for one in split if not one.labels) == 2


def test_copies_of_a_picture_are_on_one_side_of_a_folder_that_is_split(tmp_path: Path) -> None:
    originals = make_samples(tmp_path, train=6, evaluation=0)
    for one in originals:
        image = load_rgb(one.path)
        image.rotate(90).save(one.path.with_name(f"{one.path.stem}-turned.png"))
        image.save(one.path.with_name(f"{one.path.stem}-again.jpg"), quality=80)
    split = layouts.samples_for_fit(tmp_path, 0.7, 1)
    sides: dict[str, set[str]] = {}
    for sample in split:
        sides.setdefault(sample.id.split("-")[0].removesuffix(".png"), set()).add(sample.split)
    assert len(split) == 36
    assert len(sides) == 12
    assert all(len(usages) == 1 for usages in sides.values())
    assert set(counts(split).values()) == {12, 6}
