"""Uncertainty of an evaluation's numbers, as sentences; macro, weighted and micro averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Protocol

from django.utils.translation import gettext, ngettext

from exeml_site.lib.display import count, whole_percent
from training.engine.evaluation.intervals import Interval, wilson_interval
from training.evaluation.recipes import recipe_text, short_network
from training.models import Metric, TrainingVersion

MAX_ACCURACY_HALF_WIDTH = 0.05  # half of the interval's width, at most, for a precise accuracy
MAX_RECALL_HALF_WIDTH = 0.10  # the same for the recall of a label
MAX_IMAGES_NEEDED = 100_000


class LabelNumbers(Protocol):
    """Metrics of one label."""

    @property
    def label(self) -> str: ...
    @property
    def images(self) -> int: ...
    @property
    def precision(self) -> Metric: ...
    @property
    def recall(self) -> Metric: ...
    @property
    def f1(self) -> Metric: ...


@dataclass(frozen=True)
class Average:
    """`name` of the averaging method; `meaning` explains it in a sentence.

    Only the macro average has intervals, and not in versions that an earlier release evaluated.
    """

    name: str
    meaning: str
    precision: float
    recall: float
    f1: float
    precision_interval: Interval | None = None
    recall_interval: Interval | None = None
    f1_interval: Interval | None = None


@dataclass(frozen=True)
class CrossValidated:
    """The cross-validated accuracy of a version, see `training.engine.config.CrossValidation`."""

    model: str  # network, size and recipe
    is_chosen: bool
    images: int
    validation_images: int
    repeats: int
    folds: int
    value: float
    low: float
    high: float

    @property
    def summary(self) -> str:
        """The accuracy with its interval, and what it was measured on, as a sentence."""
        text = gettext(
            "The model is fine-tuned, and is not cross-validated. Without fine-tuning (%(model)s), accuracy "
            "is about %(share)s (%(low)s to %(high)s), cross-validated on %(count)s images."
        )
        if self.is_chosen:
            text = gettext(
                "Accuracy is about %(share)s (%(low)s to %(high)s), cross-validated on %(count)s images."
            )
        return text % {
            "model": self.model,
            "share": whole_percent(self.value),
            "low": whole_percent(self.low),
            "high": whole_percent(self.high),
            "count": count(self.images),
        }

    @property
    def method(self) -> str:
        """How it was measured, and what it judges, as sentences."""
        text = ngettext(
            "The %(training)s training and %(validation)s validation images were divided into %(folds)s "
            "parts, %(count)s time. Each part was predicted by a model of this kind that was trained on the "
            "other parts. This says more precisely than the validation images alone how well training on "
            "these images works.",
            "The %(training)s training and %(validation)s validation images were divided into %(folds)s "
            "parts, %(count)s times. Each part was predicted by a model of this kind that was trained on the "
            "other parts. This says more precisely than the validation images alone how well training on "
            "these images works.",
            self.repeats,
        )
        return text % {
            "training": count(self.images - self.validation_images),
            "validation": count(self.validation_images),
            "folds": count(self.folds),
            "count": count(self.repeats),
        }


def cross_validated(version: TrainingVersion) -> CrossValidated | None:
    """What is stored with the version; None where it was not cross-validated."""
    stored = version.cross_validation
    if not stored:
        return None
    network, recipe = short_network(stored["network"]), recipe_text(stored["recipe"])
    return CrossValidated(
        model=f"{network}, {stored['resolution']} px, {recipe[:1].lower()}{recipe[1:]}",
        is_chosen=stored["is_chosen"],
        images=stored["images"],
        validation_images=stored["validation_images"],
        repeats=len(stored["folds"]),
        folds=len(stored["folds"][0]),
        value=stored["accuracy"],
        low=stored["low"],
        high=stored["high"],
    )


def images_needed(share: float, half_width: float) -> int:
    """The fewest images for which Wilson's interval (1927) of a rate of `share` is at most ± `half_width`;
    at most MAX_IMAGES_NEEDED."""
    low, high = 1, MAX_IMAGES_NEEDED
    while low < high:
        middle = (low + high) // 2
        if _half_width(share, middle) <= half_width:
            high = middle
        else:
            low = middle + 1
    return low


def _half_width(share: float, images: int) -> float:
    low, high = wilson_interval(share, images)
    return (high - low) / 2


def accuracy_note(accuracy: Metric, ratio: Decimal) -> str:
    """How precisely the accuracy is known and how many images would help; empty if precisely enough."""
    if accuracy.value is None or accuracy.low is None or accuracy.high is None:
        return ""
    if (accuracy.high - accuracy.low) / 2 <= MAX_ACCURACY_HALF_WIDTH:
        return ""
    needed = round_up(images_needed(accuracy.value, MAX_ACCURACY_HALF_WIDTH))
    more = max(needed - accuracy.support, 1)
    labeled = round_up(ceil(more / (1 - float(ratio))))
    text = ngettext(
        "With %(count)s validation image, accuracy is between %(low)s and %(high)s.",
        "With %(count)s validation images, accuracy is between %(low)s and %(high)s.",
        accuracy.support,
    )
    low, high = whole_percent(accuracy.low), whole_percent(accuracy.high)
    known = text % {"count": count(accuracy.support), "low": low, "high": high}
    text = gettext(
        "About %(needed)s validation images would give ± %(points)s points: label about %(labeled)s more "
        "images."
    )
    points = count(round(100 * MAX_ACCURACY_HALF_WIDTH))
    return f"{known} {text % {'needed': count(needed), 'points': points, 'labeled': count(labeled)}}"


def recall_note(rows: Sequence[LabelNumbers]) -> str:
    """The same for the recall of the labels."""
    imprecise = [row for row in rows if row.images and label_images_needed(row)]
    if not imprecise:
        return ""
    rarest = min(imprecise, key=lambda row: (row.images, row.label))
    enough = rarest.images + label_images_needed(rarest)
    text = gettext("The recall of no label is known to within ± %(points)s points.")
    if len(imprecise) < len(rows):
        text = gettext(
            "The recall of %(count)s of %(labels)s labels is not known to within ± %(points)s points."
        )
    points = count(round(100 * MAX_RECALL_HALF_WIDTH))
    which = text % {"count": count(len(imprecise)), "labels": count(len(rows)), "points": points}
    text = ngettext(
        "“%(label)s” has %(count)s image in validation; about %(needed)s are needed.",
        "“%(label)s” has %(count)s images in validation; about %(needed)s are needed.",
        rarest.images,
    )
    numbers = {"count": count(rarest.images), "needed": count(enough)}
    return f"{which} {text % {'label': rarest.label, **numbers}}"


def label_images_needed(row: LabelNumbers) -> int:
    """Validation images to add until the recall is known to within ± 10 points; 0 if there are enough."""
    recall = row.recall
    if recall.value is None or recall.low is None or recall.high is None:
        return 0
    if (recall.high - recall.low) / 2 <= MAX_RECALL_HALF_WIDTH:
        return 0
    return max(round_up(images_needed(recall.value, MAX_RECALL_HALF_WIDTH)) - row.images, 1)


def averages(rows: Sequence[LabelNumbers], overall: dict[str, Metric], is_multi_label: bool) -> list[Average]:
    """Macro average as stored; weighted and, for multi-label, micro averages computed from the rows.

    Equal to scikit-learn's with `zero_division=0`.
    """
    result = [
        Average(
            gettext("Macro average"),
            gettext("Every label counts the same."),
            overall["precision"].value or 0.0,
            overall["recall"].value or 0.0,
            overall["f1"].value or 0.0,
            _interval(overall["precision"]),
            _interval(overall["recall"]),
            _interval(overall["f1"]),
        )
    ]
    carried = sum(row.images for row in rows)
    if carried:
        parts = [[getattr(row, name).value or 0.0 for row in rows] for name in ("precision", "recall", "f1")]
        images = [row.images for row in rows]
        precision, recall, f1 = (
            sum(v * n for v, n in zip(part, images, strict=True)) / carried for part in parts
        )
        meaning = gettext("Every label counts by its number of images.")
        result.append(Average(gettext("Weighted average"), meaning, precision, recall, f1))
    if is_multi_label and carried:
        hits = sum(row.recall.hits or 0 for row in rows)
        predicted = sum(row.precision.support for row in rows)
        precision, recall = (hits / predicted if predicted else 0.0), hits / carried
        f1 = 2 * hits / (predicted + carried)
        meaning = gettext("Every prediction counts the same.")
        result.append(Average(gettext("Micro average"), meaning, precision, recall, f1))
    return result


def _interval(metric: Metric) -> Interval | None:
    return None if metric.low is None or metric.high is None else Interval(metric.low, metric.high)


def round_up(number: int) -> int:
    """Rounded up to tens from 100 on and to hundreds from 1,000 on: no more digits than an estimate has."""
    step = 1 if number < 100 else 10 if number < 1000 else 100
    return -(-number // step) * step
