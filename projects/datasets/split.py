"""Stratified split of labeled images into training and validation, which images keep. Pure functions.

The rules, in order of precedence:

1. Every class with two or more images has at least one in training and one in validation, where possible.
2. An image that has a split keeps it. Exception: all images of a class are in one split, and it has no image
   without a split. Then one image of it (the last in hash order, with its duplicates) is moved; `moved` lists
   it.
3. Duplicates (same `group`) are in the same split, or else the model would be evaluated on what it was
   trained on. New duplicates join those that have a split, or training if those are in both since earlier
   versions. Exception: a class that consists of the duplicates of one picture is divided for rule 1; `torn`
   lists it.
4. Images of one value of a column that is never split (same `bound`, which includes their duplicates) are in
   the same split, whatever rules 1 and 2 say. If their earlier splits differ, all of them are split anew;
   if one of them is a test image, all are. A class of which all images have one value is in training alone;
   `one_sided` lists the classes that are in one split for this reason.
5. New images are split by the ratio, exactly to the image: of the two nearest counts the one that brings the
   whole class nearer to the ratio. Images that keep their split are not compensated for, so a new ratio
   changes the whole only as far as new images allow.

Images are ordered by the sha256 of project and picture, so the same labels give the same split on any
machine. Images with several labels are assigned by iterative stratification (Sechidis et al. 2011): the
rarest label first, each image to the split that lacks most of it.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

TRAIN, EVAL, TEST = "TRAIN", "EVAL", "TEST"
OPPOSITE = {TRAIN: EVAL, EVAL: TRAIN}


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """An image to be split. `split` is its earlier split or empty; duplicates have the same `group`.

    `bound`: number of the images that are never split; it includes the duplicates of each of them.
    """

    id: int
    sha256: str
    labels: tuple[str | int, ...]
    split: str = ""
    group: int | None = None
    bound: int | None = None

    @property
    def unit(self) -> tuple[str, int]:
        """What is assigned together: the bound images, else the duplicates, else the image alone."""
        if self.bound is not None:
            return "bound", self.bound
        return ("image", self.id) if self.group is None else ("duplicates", self.group)


@dataclass(frozen=True, slots=True)
class SplitResult:
    """Split of every image by id; ids of `moved` images; ids of groups that are in both splits (`torn`).

    `kept_together`: number of groups of duplicates, which a split of single images could have divided.
    `one_sided`: classes of two or more images that are in one split alone since their images are bound.
    """

    splits: dict[int, str]
    moved: tuple[int, ...] = ()
    torn: tuple[int, ...] = ()
    kept_together: int = 0
    one_sided: tuple[str | int, ...] = ()


@dataclass(slots=True)
class _Unit:
    """Images that are assigned together: a single one, the duplicates of a picture, or bound images.

    `is_fixed`: one of them had a split before.
    """

    images: list[LabeledImage]
    labels: Counter[str | int]
    is_fixed: bool

    @classmethod
    def of(cls, images: list[LabeledImage]) -> _Unit:
        labels = Counter(label for image in images for label in image.labels)
        return cls(images, labels, any(image.split for image in images))

    @property
    def is_bound(self) -> bool:
        return self.images[0].bound is not None


def train_target(images: int, ratio: Decimal) -> int:
    """Training images of a class with `images` images: nearest to the ratio, at least one in each split."""
    if images < 2:
        return images
    nearest = int((images * ratio).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    return min(max(nearest, 1), images - 1)


def new_train_count(train: int, evaluation: int, free: int, ratio: Decimal) -> int:
    """How many of the `free` images of a class go to training; the others have their split already."""
    target = train_target(train + evaluation + free, ratio) - train
    minimum = int((free * ratio).quantize(Decimal(1), rounding=ROUND_FLOOR))
    maximum = int((free * ratio).quantize(Decimal(1), rounding=ROUND_CEILING))
    minimum, maximum = (
        min(max(minimum, 0 if train else 1), free),
        (maximum if evaluation else min(maximum, free - 1)),
    )
    return max(min(max(target, minimum), maximum), 0)


def split_counts(train: int, evaluation: int, free: int, ratio: Decimal) -> tuple[int, int]:
    """(training, validation) counts that `split` gives a class whose images have this label only.

    `train` and `evaluation` images have their split already, `free` images have none.
    """
    images = train + evaluation + free
    train += new_train_count(train, evaluation, free, ratio)
    if images >= 2 and train in (0, images):
        train = 1 if train == 0 else images - 1
    return train, images - train


def split(images: Iterable[LabeledImage], ratio: Decimal, seed: str) -> SplitResult:
    """Split all images by the rules above; `seed` names the project. Test images stay in their split."""
    everything = sorted(images, key=lambda image: _order(image, seed))
    tests = _test_images(everything)
    ordered = [image for image in everything if image.id not in tests]
    straddling = _straddling_units(ordered)
    groups = _groups(ordered)
    splits = {image.id: image.split for image in ordered if image.split and image.unit not in straddling}
    _join_units(ordered, splits)
    new_units = [unit for unit in _units(ordered) if unit.images[0].id not in splits]
    new_units.sort(key=lambda unit: len(unit.images) if unit.is_bound else 0, reverse=True)
    _assign_new(new_units, ordered, ratio, splits)
    _repair_one_sided(ordered, splits)
    one_sided = _give_training_every_label(ordered, splits)
    moved = (image.id for image in ordered if image.split and image.split != splits[image.id])
    torn = (group for group, members in groups.items() if len({splits[image.id] for image in members}) > 1)
    joined = (image.id for image in everything if image.id in tests and image.split not in ("", TEST))
    return SplitResult(
        splits | dict.fromkeys(tests, TEST), (*moved, *joined), tuple(torn), len(groups), one_sided
    )


def _test_images(images: Sequence[LabeledImage]) -> set[int]:
    """Ids of the test images, of the images that are bound to one of them, and of their new duplicates."""
    tests = [image for image in images if image.split == TEST]
    bound = {image.bound for image in tests} - {None}
    groups = {image.group for image in tests} - {None}
    return {
        image.id
        for image in images
        if image.split == TEST or image.bound in bound or (not image.split and image.group in groups)
    }


def _straddling_units(images: Sequence[LabeledImage]) -> set[tuple[str, int]]:
    """The bound units whose images have different earlier splits."""
    earlier: dict[tuple[str, int], set[str]] = defaultdict(set)
    for image in images:
        if image.bound is not None and image.split:
            earlier[image.unit].add(image.split)
    return {unit for unit, splits in earlier.items() if len(splits) > 1}


def _order(image: LabeledImage, seed: str) -> bytes:
    return hashlib.sha256(f"{seed}:{image.sha256}".encode()).digest()


def _groups(images: Sequence[LabeledImage]) -> dict[int, list[LabeledImage]]:
    """Group id → images, for groups of two or more duplicates."""
    groups: dict[int, list[LabeledImage]] = defaultdict(list)
    for image in images:
        if image.group is not None:
            groups[image.group].append(image)
    return {group: members for group, members in groups.items() if len(members) > 1}


def _join_units(images: Sequence[LabeledImage], splits: dict[int, str]) -> None:
    """Assign new images to the split of the earlier ones of their unit: training, if those are in both."""
    units: dict[tuple[str, int], list[LabeledImage]] = defaultdict(list)
    for image in images:
        units[image.unit].append(image)
    for members in units.values():
        earlier = {splits[image.id] for image in members if image.id in splits}
        if earlier:
            for image in members:
                splits.setdefault(image.id, TRAIN if TRAIN in earlier else EVAL)


def _units(images: Sequence[LabeledImage], splits: dict[int, str] | None = None) -> list[_Unit]:
    """Units in order; with `splits`, duplicates in different splits are different units."""
    together: dict[object, list[LabeledImage]] = {}
    for image in images:
        together.setdefault((image.unit, splits[image.id] if splits else ""), []).append(image)
    return [_Unit.of(images_of_unit) for images_of_unit in together.values()]


def _smallest_units(images: Sequence[LabeledImage]) -> list[_Unit]:
    """Bound images, which are never divided, and single images."""
    together: dict[object, list[LabeledImage]] = {}
    for image in images:
        together.setdefault(image.unit if image.bound is not None else image.id, []).append(image)
    return [_Unit.of(images_of_unit) for images_of_unit in together.values()]


def _units_by_label(units: Iterable[_Unit]) -> dict[str | int, list[_Unit]]:
    units_by_label: dict[str | int, list[_Unit]] = defaultdict(list)
    for unit in units:
        for label in unit.labels:
            units_by_label[label].append(unit)
    return units_by_label


def _rarest_first(counts: Mapping[str | int, int]) -> list[str | int]:
    return sorted(counts, key=lambda label: (counts[label], str(label)))


def _assign_new(
    free: Sequence[_Unit], images: Sequence[LabeledImage], ratio: Decimal, splits: dict[int, str]
) -> None:
    """Assign a split to every unit without one, the rarest label first."""
    totals = Counter(label for image in images for label in image.labels)
    targets = _targets(images, totals, ratio, splits)
    units_by_label = _units_by_label(free)
    for label in _rarest_first(totals):
        for unit in units_by_label.get(label, ()):
            if unit.images[0].id not in splits:
                split = _preferred_split(targets, unit, label)
                splits.update((image.id, split) for image in unit.images)
                targets[split].subtract(unit.labels)


def _targets(
    images: Sequence[LabeledImage], totals: Counter[str | int], ratio: Decimal, splits: dict[int, str]
) -> dict[str, Counter[str | int]]:
    """Split → label → images that are still missing; negative where there are too many."""
    given: dict[str, Counter[str | int]] = {TRAIN: Counter(), EVAL: Counter()}
    for image in images:
        if image.id in splits:
            given[splits[image.id]].update(image.labels)
    wants: dict[str, Counter[str | int]] = {TRAIN: Counter(), EVAL: Counter()}
    for label, total in totals.items():
        train, evaluation = given[TRAIN][label], given[EVAL][label]
        free = total - train - evaluation
        wants[TRAIN][label] = new_train_count(train, evaluation, free, ratio)
        wants[EVAL][label] = free - wants[TRAIN][label]
    return wants


def _preferred_split(targets: dict[str, Counter[str | int]], unit: _Unit, label: str | int) -> str:
    """The split that lacks more images of `label`; at a tie of all labels of the unit; then training."""

    def hunger(split: str) -> tuple[int, int, bool]:
        return (targets[split][label], sum(targets[split][other] for other in unit.labels), split == TRAIN)

    return max((TRAIN, EVAL), key=hunger)


def _repair_one_sided(images: Sequence[LabeledImage], splits: dict[int, str]) -> None:
    """Bring every class into both splits by the fewest moves: of whole units, or else by dividing groups."""
    for units in (_units(images, splits), _smallest_units(images)):
        units_by_label = _units_by_label(units)
        counts = {label: Counter[str]() for label in units_by_label}
        for image in images:
            for label in image.labels:
                counts[label][splits[image.id]] += 1
        for label in _rarest_first({label: each.total() for label, each in counts.items()}):
            if counts[label].total() > 1 and (not counts[label][TRAIN] or not counts[label][EVAL]):
                unit = _unit_to_move(units_by_label[label], label, splits, counts)
                if unit is not None:
                    _move_unit(unit, splits, counts)


def _unit_to_move(
    units: Sequence[_Unit], label: str | int, splits: dict[int, str], counts: dict[str | int, Counter[str]]
) -> _Unit | None:
    """The unit to move for a class that is in one split only, so that no class disappears from that split.

    Units without an earlier split come first, then the smallest, then the last in hash order.
    """

    def can_leave(unit: _Unit) -> bool:
        split = splits[unit.images[0].id]
        if unit.labels[label] == counts[label].total():
            return False  # the class would be in the other split only
        return all(
            counts[other][split] > images or counts[other].total() == images
            for other, images in unit.labels.items()
        )

    candidates = [
        (not unit.is_fixed, -len(unit.images), index, unit)
        for index, unit in enumerate(units)
        if can_leave(unit)
    ]
    return max(candidates, key=lambda candidate: candidate[:3])[3] if candidates else None


def _move_unit(unit: _Unit, splits: dict[int, str], counts: dict[str | int, Counter[str]]) -> None:
    old = splits[unit.images[0].id]
    splits.update((image.id, OPPOSITE[old]) for image in unit.images)
    for label, images in unit.labels.items():
        counts[label][old] -= images
        counts[label][OPPOSITE[old]] += images


def _give_training_every_label(
    images: Sequence[LabeledImage], splits: dict[int, str]
) -> tuple[str | int, ...]:
    """Move bound units of labels that no training image has to training; the labels in one split alone.

    Nothing can be learned without them; a label without validation images is only not evaluated.
    """
    bound_labels = {label for image in images if image.bound is not None for label in image.labels}
    units_by_label = _units_by_label(_smallest_units(images)) if bound_labels else {}
    for label in bound_labels:
        units = units_by_label[label]
        if all(splits[unit.images[0].id] == EVAL for unit in units):
            largest = max(units, key=lambda unit: unit.labels[label])
            splits.update((image.id, TRAIN) for image in largest.images)
    one_sided = (
        label
        for label in bound_labels
        if sum(unit.labels[label] for unit in units_by_label[label]) > 1
        and len({splits[unit.images[0].id] for unit in units_by_label[label]}) == 1
    )
    return tuple(sorted(one_sided, key=str))
