"""What a split kept from happening, and what it could not: copies on both sides, sides that images kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from projects.datasets.split import EVAL, TRAIN, LabeledImage, SplitResult

MAX_LISTED_IMAGES = 200  # images kept by name in a report


def split_report(images: Sequence[LabeledImage], split: SplitResult, ratio: Decimal) -> dict[str, Any]:
    """What is told of a split, as JSON. Counts are images unless they say groups.

    `random_leaks`: how many validation images would be expected to have a copy in training, had every image
    drawn its side by itself. `leaks`: how many have one all the same; `leaking` names the first of them.
    """
    groups = _groups(images)
    leaking = sorted(pk for ones in groups for pk in _leaking(ones, split.sides))
    earlier = [one.split for one in images if one.split]
    fresh = [split.sides[one.id] for one in images if not one.split]
    return {
        "groups": len(groups),
        "copies": sum(map(len, groups)),
        "random_leaks": round(sum(expected_leaks(len(ones), float(ratio)) for ones in groups), 1),
        "leaks": len(leaking),
        "leaking": leaking[:MAX_LISTED_IMAGES],
        "moved": len(split.moved),
        "moved_images": list(split.moved[:MAX_LISTED_IMAGES]),
        "earlier_train": earlier.count(TRAIN),
        "earlier_eval": earlier.count(EVAL),
        "new_train": fresh.count(TRAIN),
        "new_eval": fresh.count(EVAL),
    }


def expected_leaks(copies: int, ratio: float) -> float:
    """Validation images with a copy in training, among `copies` that draw their sides independently:
    each examines with probability 1 - ratio, and not all the others do with 1 - (1 - ratio)^(copies - 1)."""
    return copies * (1 - ratio) * (1 - (1 - ratio) ** (copies - 1)) if copies > 1 else 0.0


def ratio_note(found: Mapping[str, int], ratio: Decimal) -> str:
    """How the sides that images kept and the wished ratio disagree; empty where they do not.

    `found` is a report, or its four counts by side. A difference of one image in a hundred, or of one image,
    is none.
    """
    earlier_train, earlier = found["earlier_train"], found["earlier_train"] + found["earlier_eval"]
    new_train, new = found["new_train"], found["new_train"] + found["new_eval"]
    total = earlier + new
    if not earlier or not total:
        return ""
    reached = (earlier_train + new_train) / total
    if abs(reached - float(ratio)) <= max(0.01, 1 / total):
        return ""
    kept = f"{earlier:,} image{'s have' if earlier > 1 else ' has'} a side from earlier versions and keep"
    kept += f"{'' if earlier > 1 else 's'} it ({earlier_train / earlier:.2f} of them teach)"
    fresh = f"only the {new:,} new one{'s' if new > 1 else ''} could be split by {ratio.normalize():f}"
    fresh = fresh if new else f"no new one could be split by {ratio.normalize():f}"
    return f"{kept}; {fresh}. Of all images, {reached:.2f} teach."


def _groups(images: Iterable[LabeledImage]) -> list[list[LabeledImage]]:
    """The copies of each picture, two and more."""
    groups: dict[int, list[LabeledImage]] = {}
    for one in images:
        if one.group is not None:
            groups.setdefault(one.group, []).append(one)
    return [ones for ones in groups.values() if len(ones) > 1]


def _leaking(ones: Sequence[LabeledImage], sides: dict[int, str]) -> list[int]:
    """The validation images of a group that also stands in training."""
    if not any(sides[one.id] == TRAIN for one in ones):
        return []
    return [one.id for one in ones if sides[one.id] == EVAL]
