"""Which labeled images teach and which examine: a split by class that an image keeps. Pure functions.

The rules, in the order in which they win:

1. Every class with two images or more ends with at least one on each side, where that is possible at all.
2. An image that has a side keeps it. Only where a class has all its images on one side, and none without
   a side to fill the other, does one image of it (the last in the order of hashes, with its copies) change
   over; it is reported in `moved`.
3. Copies of one picture (`group`) stand on the same side: else the model would be examined with what it was
   taught. New copies join those that have a side; training, where they stand on both since earlier versions.
   Only a class that consists of copies of one picture is torn for rule 1; it is reported in `torn`.
4. What is new is split by the ratio, to an image: of the two nearest counts of a class the one that brings
   all of the class nearer to the ratio. Images with a side are not made up for, so a new ratio changes the
   whole only as far as new images allow.

The order of images is the sha256 of project and picture, so the same labels give the same split on any
machine. Images with several labels are given out as in iterative stratification (Sechidis et al. 2011):
the rarest label first, each image to the side that still wants more of it.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

TRAIN, EVAL = "TRAIN", "EVAL"
OPPOSITE = {TRAIN: EVAL, EVAL: TRAIN}


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """An image to be split. `side` is what it had before, or empty; copies have the same `group`."""

    id: int
    sha256: str
    labels: tuple[str | int, ...]
    split: str = ""
    group: int | None = None


@dataclass(frozen=True, slots=True)
class SplitResult:
    """The side of every image; images that had to leave the side they had; groups that stand on both sides.

    `kept_together`: how many groups of copies a split of single images could have torn.
    """

    sides: dict[int, str]
    moved: tuple[int, ...] = ()
    torn: tuple[int, ...] = ()
    kept_together: int = 0


@dataclass(slots=True)
class _Unit:
    """Images that go to a side together: one, or the copies of a picture that have no side of their own."""

    images: list[LabeledImage]
    labels: Counter[str | int]
    is_fixed: bool

    @classmethod
    def of(cls, images: list[LabeledImage]) -> _Unit:
        labels = Counter(label for image in images for label in image.labels)
        return cls(images, labels, any(image.split for image in images))


def train_target(images: int, ratio: Decimal) -> int:
    """How many of a class's images belong to training: nearest to the ratio, both sides kept alive."""
    if images < 2:
        return images
    nearest = int((images * ratio).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    return min(max(nearest, 1), images - 1)


def new_train_count(train: int, evaluation: int, free: int, ratio: Decimal) -> int:
    """How many of the `free` images of a class go to training, where the others have their side already."""
    wanted = train_target(train + evaluation + free, ratio) - train
    least = int((free * ratio).quantize(Decimal(1), rounding=ROUND_FLOOR))
    most = int((free * ratio).quantize(Decimal(1), rounding=ROUND_CEILING))
    least, most = min(max(least, 0 if train else 1), free), (most if evaluation else min(most, free - 1))
    return max(min(max(wanted, least), most), 0)


def split_counts(train: int, evaluation: int, free: int, ratio: Decimal) -> tuple[int, int]:
    """(training, validation) counts of a class whose images carry this label only.

    `train` and `evaluation` have their side already, `free` have none: what `split` will do, counts only.
    """
    images = train + evaluation + free
    train += new_train_count(train, evaluation, free, ratio)
    if images >= 2 and train in (0, images):
        train = 1 if train == 0 else images - 1
    return train, images - train


def split(images: Iterable[LabeledImage], ratio: Decimal, seed: str) -> SplitResult:
    """Give every image a side; `seed` names the project. See the rules above."""
    ordered = sorted(images, key=lambda image: _order(image, seed))
    groups = _groups(ordered)
    sides = {image.id: image.split for image in ordered if image.split}
    _join_groups(groups, sides)
    _assign_new([one for one in _units(ordered) if one.images[0].id not in sides], ordered, ratio, sides)
    _repair_one_sided(ordered, sides)
    moved = (image.id for image in ordered if image.split and image.split != sides[image.id])
    torn = (group for group, ones in groups.items() if len({sides[one.id] for one in ones}) > 1)
    return SplitResult(sides, tuple(moved), tuple(torn), len(groups))


def _order(image: LabeledImage, seed: str) -> bytes:
    return hashlib.sha256(f"{seed}:{image.sha256}".encode()).digest()


def _groups(images: Sequence[LabeledImage]) -> dict[int, list[LabeledImage]]:
    """Groups of two copies or more."""
    groups: dict[int, list[LabeledImage]] = defaultdict(list)
    for image in images:
        if image.group is not None:
            groups[image.group].append(image)
    return {group: ones for group, ones in groups.items() if len(ones) > 1}


def _join_groups(groups: dict[int, list[LabeledImage]], sides: dict[int, str]) -> None:
    """New copies go where earlier ones are."""
    for ones in groups.values():
        earlier = {sides[one.id] for one in ones if one.id in sides}
        if earlier:
            for one in ones:
                sides.setdefault(one.id, TRAIN if TRAIN in earlier else EVAL)


def _units(images: Sequence[LabeledImage], sides: dict[int, str] | None = None) -> list[_Unit]:
    """Images that go together, in order: the copies of a group (with `sides`: those on the same side)."""
    together: dict[object, list[LabeledImage]] = {}
    for image in images:
        alone: object = ("image", image.id)
        key = alone if image.group is None else (image.group, sides[image.id] if sides else "")
        together.setdefault(key, []).append(image)
    return [_Unit.of(ones) for ones in together.values()]


def _carriers(units: Iterable[_Unit]) -> dict[str | int, list[_Unit]]:
    carriers: dict[str | int, list[_Unit]] = defaultdict(list)
    for unit in units:
        for label in unit.labels:
            carriers[label].append(unit)
    return carriers


def _rarest_first(counts: Mapping[str | int, int]) -> list[str | int]:
    return sorted(counts, key=lambda one: (counts[one], str(one)))


def _assign_new(
    free: Sequence[_Unit], images: Sequence[LabeledImage], ratio: Decimal, sides: dict[int, str]
) -> None:
    """Side every image without one, the rarest label first."""
    totals = Counter(label for image in images for label in image.labels)
    wanted = _targets(images, totals, ratio, sides)
    carriers = _carriers(free)
    for label in _rarest_first(totals):
        for unit in carriers.get(label, ()):
            if unit.images[0].id not in sides:
                side = _preferred_split(wanted, unit, label)
                sides.update((image.id, side) for image in unit.images)
                wanted[side].subtract(unit.labels)


def _targets(
    images: Sequence[LabeledImage], totals: Counter[str | int], ratio: Decimal, sides: dict[int, str]
) -> dict[str, Counter[str | int]]:
    """How many images each side still wants of each label; below zero where it has too many."""
    given: dict[str, Counter[str | int]] = {TRAIN: Counter(), EVAL: Counter()}
    for image in images:
        if image.id in sides:
            given[sides[image.id]].update(image.labels)
    wants: dict[str, Counter[str | int]] = {TRAIN: Counter(), EVAL: Counter()}
    for label, total in totals.items():
        train, evaluation = given[TRAIN][label], given[EVAL][label]
        free = total - train - evaluation
        wants[TRAIN][label] = new_train_count(train, evaluation, free, ratio)
        wants[EVAL][label] = free - wants[TRAIN][label]
    return wants


def _preferred_split(wanted: dict[str, Counter[str | int]], unit: _Unit, label: str | int) -> str:
    """The side that wants more of `label`; then of all the unit's labels; then training."""

    def hunger(side: str) -> tuple[int, int, bool]:
        return (wanted[side][label], sum(wanted[side][one] for one in unit.labels), side == TRAIN)

    return max((TRAIN, EVAL), key=hunger)


def _repair_one_sided(images: Sequence[LabeledImage], sides: dict[int, str]) -> None:
    """Bring every class to both sides by the fewest moves, copies together; else by tearing a group."""
    singles = [_Unit.of([image]) for image in images]
    for units in (_units(images, sides), singles):
        carriers = _carriers(units)
        count = {label: Counter[str]() for label in carriers}
        for image in images:
            for label in image.labels:
                count[label][sides[image.id]] += 1
        for label in _rarest_first({label: each.total() for label, each in count.items()}):
            if count[label].total() > 1 and (not count[label][TRAIN] or not count[label][EVAL]):
                unit = _unit_to_move(carriers[label], label, sides, count)
                if unit is not None:
                    _move_unit(unit, sides, count)


def _unit_to_move(
    units: Sequence[_Unit], label: str | int, sides: dict[int, str], count: dict[str | int, Counter[str]]
) -> _Unit | None:
    """What may change over for a one-sided class: no class loses all its images of that side by it.

    Images without an earlier side go first, then the fewest, then the last in the order of hashes.
    """

    def can_leave(unit: _Unit) -> bool:
        side = sides[unit.images[0].id]
        if unit.labels[label] == count[label].total():
            return False  # the class would be on the other side alone
        return all(
            count[one][side] > carried or count[one].total() == carried
            for one, carried in unit.labels.items()
        )

    able = [
        (not unit.is_fixed, -len(unit.images), place, unit)
        for place, unit in enumerate(units)
        if can_leave(unit)
    ]
    return max(able, key=lambda one: one[:3])[3] if able else None


def _move_unit(unit: _Unit, sides: dict[int, str], count: dict[str | int, Counter[str]]) -> None:
    old = sides[unit.images[0].id]
    sides.update((image.id, OPPOSITE[old]) for image in unit.images)
    for label, carried in unit.labels.items():
        count[label][old] -= carried
        count[label][OPPOSITE[old]] += carried
