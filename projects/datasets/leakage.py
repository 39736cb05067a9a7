"""Data leakage of a split: duplicates in both training and validation, and images that kept their split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.utils.formats import localize
from django.utils.translation import gettext, ngettext

from exeml_site.lib.display import count, decimal
from projects.datasets.split import EVAL, TEST, TRAIN, LabeledImage, SplitResult

MAX_LISTED_IMAGES = 200  # image ids stored in a report


def split_report(images: Sequence[LabeledImage], result: SplitResult, ratio: Decimal) -> dict[str, Any]:
    """Report of a split, as JSON. All numbers are images, except `groups`.

    `leaks`: validation images with a duplicate in training; `leaking` lists the first of them.
    `random_leaks`: their expected number if every image were split independently.
    """
    images = [image for image in images if result.splits[image.id] != TEST]
    groups = _groups(images)
    leaking = sorted(pk for group in groups for pk in _leaking(group, result.splits))
    earlier = [image.split for image in images if image.split]
    fresh = [result.splits[image.id] for image in images if not image.split]
    return {
        "groups": len(groups),
        "copies": sum(map(len, groups)),
        "random_leaks": round(sum(expected_leaks(len(group), float(ratio)) for group in groups), 1),
        "leaks": len(leaking),
        "leaking": leaking[:MAX_LISTED_IMAGES],
        "moved": len(result.moved),
        "moved_images": list(result.moved[:MAX_LISTED_IMAGES]),
        "earlier_train": earlier.count(TRAIN),
        "earlier_eval": earlier.count(EVAL),
        "new_train": fresh.count(TRAIN),
        "new_eval": fresh.count(EVAL),
    }


def expected_leaks(copies: int, ratio: float) -> float:
    """Expected validation images with a duplicate in training, if `copies` images are split independently.

    Each is in validation with probability 1 - ratio, and some other one in training with probability
    1 - (1 - ratio)^(copies - 1).
    """
    return copies * (1 - ratio) * (1 - (1 - ratio) ** (copies - 1)) if copies > 1 else 0.0


def ratio_note(counts: Mapping[str, int], ratio: Decimal) -> str:
    """A sentence on how the kept splits miss the wanted ratio; empty within 0.01, or within one image.

    `counts` is a report, or its four counts by split.
    """
    earlier_train, earlier = counts["earlier_train"], counts["earlier_train"] + counts["earlier_eval"]
    new_train, new = counts["new_train"], counts["new_train"] + counts["new_eval"]
    total = earlier + new
    if not earlier or not total:
        return ""
    reached = (earlier_train + new_train) / total
    if abs(reached - float(ratio)) <= max(0.01, 1 / total):
        return ""
    return " ".join(
        (_kept_text(earlier, earlier_train), _new_text(new, ratio), _total_text(reached)),
    )


def _kept_text(earlier: int, earlier_train: int) -> str:
    sentence = ngettext(
        "%(count)s image keeps its split from earlier versions (%(share)s for training).",
        "%(count)s images keep their split from earlier versions (%(share)s for training).",
        earlier,
    )
    return sentence % {"count": count(earlier), "share": decimal(earlier_train / earlier, 2)}


def _new_text(new: int, ratio: Decimal) -> str:
    values = {"count": count(new), "ratio": localize(Decimal(f"{ratio.normalize():f}"))}
    if not new:
        return gettext("No new image can be split by %(ratio)s.") % values
    sentence = ngettext(
        "Only %(count)s new image can be split by %(ratio)s.",
        "Only %(count)s new images can be split by %(ratio)s.",
        new,
    )
    return sentence % values


def _total_text(reached: float) -> str:
    sentence = gettext("In total, %(share)s of the images are for training.")
    return sentence % {"share": decimal(reached, 2)}


def _groups(images: Iterable[LabeledImage]) -> list[list[LabeledImage]]:
    """Groups of two or more duplicates."""
    groups: dict[int, list[LabeledImage]] = {}
    for image in images:
        if image.group is not None:
            groups.setdefault(image.group, []).append(image)
    return [members for members in groups.values() if len(members) > 1]


def _leaking(images: Sequence[LabeledImage], splits: dict[int, str]) -> list[int]:
    """Ids of the validation images of a group, if it also has training images."""
    if not any(splits[image.id] == TRAIN for image in images):
        return []
    return [image.id for image in images if splits[image.id] == EVAL]
