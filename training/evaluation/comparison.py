"""Versions compared on the same images: which parameters differ, and whether one is significantly better.

These are today's validation images with today's labels, without the images that any of the versions, or a
version that it continues, was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from projects.datasets import compare as dataset_compare
from projects.datasets.publish import ManifestDamaged
from projects.models import Annotation, Project, Split
from training.engine.evaluation import significance
from training.engine.evaluation.metrics import Rate, wilson
from training.evaluation.leaderboard import promoted_from
from training.evaluation.uncertainty import round_up
from training.models import TrainingVersion

MAX_VERSIONS = 6
Labels = frozenset[str]


@dataclass(frozen=True)
class PairComparison:
    """`other` against `base` on the images that both predicted."""

    base: TrainingVersion
    other: TrainingVersion
    only_base: int
    only_other: int
    images: int
    p: float  # of the exact test, adjusted for several comparisons

    @property
    def word(self) -> str:
        if self.p < significance.LEVEL:
            return "better" if self.only_other > self.only_base else "worse"
        return "cannot tell yet"

    @property
    def words(self) -> str:
        counts = (
            f"Of {self.images:,} images {self.other} alone got {self.only_other:,} right and "
            f"{self.base} alone {self.only_base:,}"
        )
        if self.word != "cannot tell yet":
            return f"{self.other} is {self.word} than {self.base}. {counts} (p = {_p_text(self.p)})."
        return f"Whether {self.other} is better than {self.base} cannot be told yet. {counts}{self._needed}"

    @property
    def _needed(self) -> str:
        needed = significance.images_needed(self.only_base, self.only_other, self.images)
        if needed is None:
            return ": no difference is seen."
        more = max(needed - self.images, 1)
        return (
            f" (p = {_p_text(self.p)}): if the difference is real, about {round_up(more):,} more "
            "images of the validation side would tell."
        )


@dataclass(frozen=True)
class Column:
    """One version of a comparison: accuracy on the common images, and how many it has to predict."""

    version: TrainingVersion
    accuracy: Rate
    waiting: int


@dataclass(frozen=True)
class Disagreement:
    """An image that the versions predict differently: (prediction, whether it is right) of each."""

    image_id: int
    truth: Labels
    answers: list[tuple[str, bool]]


@dataclass(frozen=True)
class Comparison:
    columns: list[Column]
    pairs: list[PairComparison]
    parameters: list[tuple[str, list[str]]]
    disagreements: list[Disagreement]
    images: int
    excluded: int  # validation images that one of the versions was trained on
    is_waiting: bool


def compare(project: Project, versions: Sequence[TrainingVersion]) -> Comparison:
    """Compare Completed versions, the first one as the base. Raises ManifestDamaged."""
    truth, left_out = independent_images(project, versions)
    answers = [_predictions(version) for version in versions]
    common = sorted(pk for pk in truth if all(pk in one and one[pk] is not None for one in answers))
    right = [[one[pk] == truth[pk] for pk in common] for one in answers]
    columns = [
        Column(version, wilson(sum(mine), len(common)), sum(pk not in one for pk in truth))
        for version, mine, one in zip(versions, right, answers, strict=True)
    ]
    return Comparison(
        columns,
        _pair_comparisons(versions, right),
        differing_parameters(versions),
        _disagreements(common, truth, answers),
        len(common),
        left_out,
        any(column.waiting for column in columns),
    )


def independent_images(
    project: Project, versions: Iterable[TrainingVersion]
) -> tuple[dict[int, Labels], int]:
    """The validation images that no version was trained on, and the number of the others.

    Image id → today's labels.
    """
    examined = current_validation_labels(project)
    taught = set[int]()
    for version in versions:
        taught |= training_image_ids(version)
    may = {pk: labels for pk, labels in examined.items() if pk not in taught}
    return may, len(examined) - len(may)


def current_validation_labels(project: Project) -> dict[int, Labels]:
    """image id → labels, of the living labeled images of the validation split."""
    found: dict[int, set[str]] = {}
    marks = Annotation.objects.filter(
        image__project=project, image__deleted_at=None, image__split=Split.EVAL
    ).order_by()
    for image_id, name in marks.values_list("image_id", "label__name"):
        found.setdefault(image_id, set()).add(name)
    return {pk: frozenset(names) for pk, names in found.items()}


def training_image_ids(version: TrainingVersion) -> set[int]:
    """Ids of the images that the version, and those that it continues, were trained on."""
    found, seen = set[int](), set[int]()
    one: TrainingVersion | None = version
    while one is not None and one.pk not in seen:
        seen.add(one.pk)
        members = dataset_compare.version_images(one.dataset_version)
        found |= {pk for pk, member in members.items() if member.usage == Split.TRAIN}
        one = one.incremental_version
    return found


def unpredicted_images(version: TrainingVersion) -> list[int]:
    """Ids of today's independent validation images that the version has not predicted."""
    try:
        truth, _ = independent_images(version.project, [version])
    except ManifestDamaged:
        return []
    return sorted(truth.keys() - _predictions(version).keys())


def differing_parameters(versions: Sequence[TrainingVersion]) -> list[tuple[str, list[str]]]:
    """The parameters that differ between the versions: (name, value of each version)."""
    rows: list[tuple[str, list[str]]] = [
        ("Dataset Version", [str(one.dataset_version) for one in versions]),
        ("Images", [_images_of(one) for one in versions]),
        ("Training ratio", [f"{one.training_ratio.normalize():f}" for one in versions]),
        (
            "Incremental Training Version",
            [str(one.incremental_version or "None") for one in versions],
        ),
        ("Promoted from", [str(promoted_from(one) or "None") for one in versions]),
        ("Expected Inference Hardware", [one.inference_hardware for one in versions]),
        ("Max. Inference Duration", [f"{one.max_inference_ms} ms" for one in versions]),
        ("Max. Training Time", [f"{one.max_training_minutes} minutes" for one in versions]),
        ("Instance Flavor", [one.flavor_name for one in versions]),
        ("Network", [_network_of(one) for one in versions]),
        ("Single-image time", [_time_of(one) for one in versions]),
    ]
    return [(name, words) for name, words in rows if any(one != other for one, other in pairwise(words))]


def _images_of(version: TrainingVersion) -> str:
    dataset = version.dataset_version
    return f"{dataset.train_count:,} training, {dataset.eval_count:,} validation"


def _network_of(version: TrainingVersion) -> str:
    best = next((one for one in version.candidates.all() if one.is_best), None)
    return f"{best.network}, {best.resolution} px, {best.recipe}" if best else "--"


def _time_of(version: TrainingVersion) -> str:
    return "--" if version.inference_ms is None else f"{version.inference_ms:.1f} ms"


def _predictions(version: TrainingVersion) -> dict[int, Labels | None]:
    """image id → predicted labels; None if the file could not be read."""
    said: dict[int, Any] = dict(version.later_predictions.order_by().values_list("image_id", "predicted"))
    own = version.evaluated_images.exclude(image=None).order_by()
    said |= dict(own.values_list("image_id", "predicted"))
    return {pk: None if names is None else frozenset(names) for pk, names in said.items()}


def _pair_comparisons(
    versions: Sequence[TrainingVersion], right: Sequence[Sequence[bool]]
) -> list[PairComparison]:
    """Every other version against the first."""
    counts = []
    for mine in right[1:]:
        pairs = list(zip(right[0], mine, strict=True))
        counts.append((sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)))
    values = significance.holm_adjusted([significance.mcnemar_p_value(*one) for one in counts])
    return [
        PairComparison(versions[0], other, only_base, only_other, len(right[0]), p)
        for other, (only_base, only_other), p in zip(versions[1:], counts, values, strict=True)
    ]


def _disagreements(
    common: Sequence[int], truth: dict[int, Labels], answers: Sequence[dict[int, Labels | None]]
) -> list[Disagreement]:
    found = []
    for pk in common:
        said = [one[pk] or frozenset() for one in answers]
        if any(one != said[0] for one in said):
            told = [(", ".join(sorted(one)) or "no label", one == truth[pk]) for one in said]
            found.append(Disagreement(pk, truth[pk], told))
    return found


def _p_text(p: float) -> str:
    return "less than 0.001" if p < 0.001 else f"{p:.3f}"
