"""Which labeled images teach and which examine: a split by class that an image keeps. Pure functions.

The rules, in the order in which they win:

1. Every class with two images or more ends with at least one on each side, where that is possible at all.
2. An image that has a side keeps it. Only where a class has all its images on one side, and none without
   a side to fill the other, does one image of it (the last in the order of hashes) change over; it is
   reported in `moved`.
3. The counts of each class come as near to the ratio as rules 1 and 2 leave room for.

The order of images is the sha256 of project and picture, so the same labels give the same split on any
machine. Images with several labels are given out as in iterative stratification (Sechidis et al. 2011):
the rarest label first, each image to the side that still wants more of it.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

TRAIN, EVAL = "TRAIN", "EVAL"
OTHER = {TRAIN: EVAL, EVAL: TRAIN}


@dataclass(frozen=True, slots=True)
class Labeled:
    """An image to be split. `side` is what it had before, or empty."""

    id: int
    sha256: str
    labels: tuple[str | int, ...]
    side: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """The side of every image, and the images that had to leave the side they had."""

    sides: dict[int, str]
    moved: tuple[int, ...] = ()


def train_wanted(images: int, ratio: Decimal) -> int:
    """How many of a class's images belong to training: nearest to the ratio, both sides kept alive."""
    if images < 2:
        return images
    nearest = int((images * ratio).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    return min(max(nearest, 1), images - 1)


def share(train: int, evaluation: int, free: int, ratio: Decimal) -> tuple[int, int]:
    """(training, validation) counts of a class whose images carry this label only.

    `train` and `evaluation` have their side already, `free` have none: what `split` will do, counts only.
    """
    images = train + evaluation + free
    added = min(max(train_wanted(images, ratio) - train, 0), free)
    train += added
    if images >= 2 and train in (0, images):
        train = 1 if train == 0 else images - 1
    return train, images - train


def split(images: Iterable[Labeled], ratio: Decimal, seed: str) -> Split:
    """Give every image a side; `seed` names the project. See the rules above."""
    ordered = sorted(images, key=lambda image: _order(image, seed))
    sides = {image.id: image.side for image in ordered if image.side}
    _give_out(ordered, ratio, sides)
    _mend(ordered, sides)
    moved = (image.id for image in ordered if image.side and image.side != sides[image.id])
    return Split(sides, tuple(moved))


def _order(image: Labeled, seed: str) -> bytes:
    return hashlib.sha256(f"{seed}:{image.sha256}".encode()).digest()


def _by_label(images: Sequence[Labeled]) -> dict[str | int, list[Labeled]]:
    carriers: dict[str | int, list[Labeled]] = defaultdict(list)
    for image in images:
        for label in image.labels:
            carriers[label].append(image)
    return carriers


def _give_out(images: Sequence[Labeled], ratio: Decimal, sides: dict[int, str]) -> None:
    """Side every image without one, the rarest label first."""
    carriers = _by_label(images)
    wanted = _wants(carriers, ratio, sides)
    for label in sorted(carriers, key=lambda one: (len(carriers[one]), str(one))):
        for image in carriers[label]:
            if image.id not in sides:
                side = _hungrier(wanted, image, label)
                sides[image.id] = side
                for each in image.labels:
                    wanted[side][each] -= 1


def _wants(
    carriers: dict[str | int, list[Labeled]], ratio: Decimal, sides: dict[int, str]
) -> dict[str, Counter[str | int]]:
    """How many images each side still wants of each label; below zero where it has too many."""
    wanted: dict[str, Counter[str | int]] = {TRAIN: Counter(), EVAL: Counter()}
    for label, images in carriers.items():
        teaching = train_wanted(len(images), ratio)
        given = Counter(sides[image.id] for image in images if image.id in sides)
        wanted[TRAIN][label] = teaching - given[TRAIN]
        wanted[EVAL][label] = len(images) - teaching - given[EVAL]
    return wanted


def _hungrier(wanted: dict[str, Counter[str | int]], image: Labeled, label: str | int) -> str:
    """The side that wants more of `label`; then of all the image's labels; then training."""

    def hunger(side: str) -> tuple[int, int, bool]:
        return (wanted[side][label], sum(wanted[side][one] for one in image.labels), side == TRAIN)

    return max((TRAIN, EVAL), key=hunger)


def _mend(images: Sequence[Labeled], sides: dict[int, str]) -> None:
    """Bring every class to both sides by the fewest moves."""
    carriers = _by_label(images)
    count = {label: Counter(sides[image.id] for image in ones) for label, ones in carriers.items()}
    for label in sorted(carriers, key=lambda one: (len(carriers[one]), str(one))):
        if len(carriers[label]) > 1 and (not count[label][TRAIN] or not count[label][EVAL]):
            image = _spare(carriers[label], sides, count)
            if image is not None:
                _change_over(image, sides, count)


def _spare(
    images: Sequence[Labeled], sides: dict[int, str], count: dict[str | int, Counter[str]]
) -> Labeled | None:
    """The image of a one-sided class that may change over: no other class loses its only image of that side.

    Images without an earlier side go first, then the last in the order of hashes.
    """

    def can_leave(image: Labeled) -> bool:
        side = sides[image.id]
        return all(count[label][side] > 1 or count[label].total() == 1 for label in image.labels)

    able = [(not image.side, place, image) for place, image in enumerate(images) if can_leave(image)]
    return max(able, key=lambda one: one[:2])[2] if able else None


def _change_over(image: Labeled, sides: dict[int, str], count: dict[str | int, Counter[str]]) -> None:
    old = sides[image.id]
    sides[image.id] = OTHER[old]
    for label in image.labels:
        count[label][old] -= 1
        count[label][OTHER[old]] += 1
