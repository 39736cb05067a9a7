"""The stratified split into training and validation images."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal

import pytest

from projects.datasets.split import EVAL, TRAIN, LabeledImage, SplitResult, split, split_counts, train_target


def images(label: str, count: int, side: str = "", first: int = 0) -> list[LabeledImage]:
    return [LabeledImage(first + i, f"{label}{side}{first + i}", (label,), side) for i in range(count)]


def counts(images: list[LabeledImage], sides: dict[int, str]) -> dict[str, tuple[int, int]]:
    tally = Counter((label, sides[image.id]) for image in images for label in image.labels)
    return {str(label): (tally[label, TRAIN], tally[label, EVAL]) for label, _ in tally}


@pytest.mark.parametrize(
    ("images", "ratio", "expected"),
    [
        (0, "0.8", 0),
        (1, "0.8", 1),
        (2, "0.8", 1),
        (2, "0.1", 1),
        (5, "0.8", 4),
        (5, "0.99999", 4),
        (5, "0.00001", 1),
        (7, "0.5", 4),
        (10, "0.75", 8),
        (633, "0.8", 506),
        (100_000, "0.99999", 99_999),
    ],
)
def test_a_class_gets_the_nearest_count_with_both_sides_alive(images: int, ratio: str, expected: int) -> None:
    assert train_target(images, Decimal(ratio)) == expected


@pytest.mark.parametrize(
    ("train", "evaluation", "free", "ratio", "expected"),
    [
        (0, 0, 10, "0.8", (8, 2)),
        (4, 1, 5, "0.8", (8, 2)),  # later images fill up to the ratio
        (9, 0, 1, "0.8", (9, 1)),  # the only image without a split goes to validation
        (0, 3, 1, "0.8", (1, 3)),
        (8, 2, 10, "0.2", (10, 10)),  # a new ratio is that of the new images
        (2, 8, 0, "0.8", (2, 8)),
        (6, 0, 0, "0.8", (5, 1)),  # all in one split and none free: one is moved
        (0, 6, 0, "0.8", (1, 5)),
        (1, 0, 0, "0.8", (1, 0)),  # one image cannot be on both
        (0, 1, 0, "0.8", (0, 1)),
    ],
)
def test_kept_sides_and_the_ratio(
    train: int, evaluation: int, free: int, ratio: str, expected: tuple[int, int]
) -> None:
    labeled = (
        images("a", train, TRAIN) + images("a", evaluation, EVAL, first=100) + images("a", free, first=200)
    )

    assert split_counts(train, evaluation, free, Decimal(ratio)) == expected
    assert counts(labeled, split(labeled, Decimal(ratio), "1").splits) == {"a": expected}


def test_counting_and_splitting_agree_on_every_small_class() -> None:
    for ratio in ("0.5", "0.8", "0.37", "0.00001"):
        for train in range(4):
            for evaluation in range(4):
                for free in range(1, 7):
                    labeled = (
                        images("a", train, TRAIN)
                        + images("a", evaluation, EVAL, first=100)
                        + images("a", free, first=200)
                    )
                    sides = split(labeled, Decimal(ratio), "1").splits
                    assert counts(labeled, sides)["a"] == split_counts(
                        train, evaluation, free, Decimal(ratio)
                    )


def test_the_same_labels_give_the_same_split_in_any_order() -> None:
    labeled = images("a", 40) + images("b", 25, first=100)
    shuffled = random.Random(3).sample(labeled, len(labeled))

    assert split(labeled, Decimal("0.8"), "1") == split(shuffled, Decimal("0.8"), "1")
    assert split(labeled, Decimal("0.8"), "1") != split(labeled, Decimal("0.8"), "2")


def test_an_image_keeps_its_side_when_others_join() -> None:
    first = images("a", 10) + images("b", 10, first=100)
    before = split(first, Decimal("0.8"), "1").splits
    kept = [LabeledImage(image.id, image.sha256, image.labels, before[image.id]) for image in first]

    after = split(kept + images("a", 30, first=500), Decimal("0.5"), "1")

    assert not after.moved
    assert all(after.splits[image.id] == before[image.id] for image in first)
    assert counts(kept + images("a", 30, first=500), after.splits)["a"] == (8 + 15, 2 + 15)


def test_a_class_that_was_all_on_one_side_reports_the_image_that_changed_over() -> None:
    labeled = images("a", 5, TRAIN) + images("b", 5, EVAL, first=100)

    result = split(labeled, Decimal("0.8"), "1")

    assert len(result.moved) == 2
    assert counts(labeled, result.splits) == {"a": (4, 1), "b": (1, 4)}


def test_images_with_several_labels_bring_every_class_to_both_sides() -> None:
    dice = random.Random(1)
    names = [f"label-{i}" for i in range(12)]
    labeled = [
        LabeledImage(
            i, str(i), tuple(dice.sample(names, dice.choice([1, 2, 3]))), dice.choice(["", TRAIN, EVAL])
        )
        for i in range(300)
    ]

    result = split(labeled, Decimal("0.8"), "1")

    assert set(result.splits) == {image.id for image in labeled}
    assert not result.moved
    assert all(train and evaluation for train, evaluation in counts(labeled, result.splits).values())


def test_images_with_several_labels_come_near_the_ratio() -> None:
    dice = random.Random(2)
    names = [f"label-{i}" for i in range(8)]
    labeled = [LabeledImage(i, str(i), tuple(dice.sample(names, dice.choice([1, 2, 3])))) for i in range(800)]

    for train, evaluation in counts(labeled, split(labeled, Decimal("0.8"), "1").splits).values():
        assert train / (train + evaluation) == pytest.approx(0.8, abs=0.02)


def test_two_labels_that_always_stand_together_are_split_together() -> None:
    labeled = [LabeledImage(i, str(i), ("a", "b")) for i in range(10)]

    assert counts(labeled, split(labeled, Decimal("0.8"), "1").splits) == {"a": (8, 2), "b": (8, 2)}


def test_an_impossible_class_leaves_the_others_whole() -> None:
    """`rare` is on two images; one of them is the only image of `lonely`."""
    labeled = [
        LabeledImage(1, "1", ("rare", "lonely")),
        LabeledImage(2, "2", ("rare",)),
        *images("common", 10, first=10),
    ]

    result = counts(labeled, split(labeled, Decimal("0.8"), "1").splits)

    assert result["rare"] == (1, 1)
    assert result["common"] == (8, 2)
    assert sum(result["lonely"]) == 1


def test_nothing_to_split() -> None:
    assert split([], Decimal("0.8"), "1").splits == {}


# --- duplicates ---


def copies(group: int, first: int, count: int, label: str, side: str = "") -> list[LabeledImage]:
    return [
        LabeledImage(number, f"{number:064x}", (label,), side, group)
        for number in range(first, first + count)
    ]


def singles(first: int, count: int, label: str) -> list[LabeledImage]:
    return [LabeledImage(number, f"{number:064x}", (label,)) for number in range(first, first + count)]


def sides_of(result: SplitResult, images: list[LabeledImage]) -> set[str]:
    return {result.splits[image.id] for image in images}


@pytest.mark.parametrize("seed", range(12))
def test_copies_never_straddle_where_a_class_has_other_pictures(seed: int) -> None:
    chance = random.Random(seed)
    images: list[LabeledImage] = []
    for label in ("a", "b", "c"):
        for _ in range(chance.randint(2, 9)):
            number = len(images)
            images += copies(number, number, chance.randint(1, 9), label)
    result = split(images, Decimal("0.8"), str(seed))
    groups = {image.group for image in images}
    assert all(len(sides_of(result, [one for one in images if one.group == group])) == 1 for group in groups)
    for label in ("a", "b", "c"):
        assert sides_of(result, [one for one in images if one.labels == (label,)]) == {TRAIN, EVAL}
    assert result.torn == result.moved == ()


def test_pictures_copied_many_times_leave_the_ratio_near() -> None:
    """278 pictures as 1,872 files: the ratio of files holds within a group."""
    images = [copy for n in range(278) for copy in copies(n, 10 * n, 7 if n % 4 else 6, "ab"[n % 2])]
    result = split(images, Decimal("0.8"), "x")
    share = sum(side == TRAIN for side in result.splits.values()) / len(images)
    assert share == pytest.approx(0.8, abs=0.01)
    assert result.kept_together == 278


def test_new_copies_join_those_that_have_a_side() -> None:
    examined, taught = copies(1, 0, 2, "a", EVAL), copies(2, 10, 2, "a", TRAIN)
    new = copies(1, 2, 3, "a") + copies(2, 12, 3, "a")
    result = split([*examined, *taught, *new], Decimal("0.5"), "x")
    assert sides_of(result, new[:3]) == {EVAL} and sides_of(result, new[3:]) == {TRAIN}


def test_copies_that_earlier_versions_put_on_both_sides_stay_and_new_ones_teach() -> None:
    torn = copies(1, 0, 1, "a", EVAL) + copies(1, 1, 1, "a", TRAIN)
    new = copies(1, 2, 2, "a")
    result = split([*torn, *new, *singles(10, 6, "a")], Decimal("0.5"), "x")
    assert [result.splits[image.id] for image in torn] == [EVAL, TRAIN]
    assert sides_of(result, new) == {TRAIN}
    assert result.torn == (1,)


def test_a_class_of_one_picture_is_torn_and_told() -> None:
    lonely = copies(1, 0, 5, "a")
    result = split([*lonely, *singles(10, 10, "b")], Decimal("0.8"), "x")
    assert sides_of(result, lonely) == {TRAIN, EVAL}
    assert result.torn == (1,)


def test_copies_change_over_together() -> None:
    """All of class a is in training: one group moves as a whole, and is reported."""
    images = copies(1, 0, 2, "a", TRAIN) + copies(2, 5, 3, "a", TRAIN) + singles(20, 4, "b")
    result = split(images, Decimal("0.5"), "x")
    assert result.torn == () and set(result.moved) == {0, 1}  # the smaller group
