"""Versions compared on the same images: which parameters differ, and whether one is significantly better.

These are today's validation images with today's labels, without the images that any of the versions, or a
version that it continues, was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext

from exeml_site.lib import jobs
from exeml_site.lib.display import UNKNOWN, count, decimal, three_decimals
from projects.datasets import compare as dataset_compare
from projects.datasets.publish import ManifestDamaged
from projects.models import Annotation, Project, Split
from training.engine.evaluation import significance
from training.engine.evaluation.metrics import Rate, wilson
from training.evaluation.label_changes import relabeled_as_predicted
from training.evaluation.leaderboard import fitted_text, promoted_from
from training.evaluation.recipes import recipe_text
from training.evaluation.uncertainty import round_up
from training.models import EvaluatedImage, LaterPrediction, TrainingVersion

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
    def verdict(self) -> Literal["better", "worse", ""]:
        """ "better" or "worse" if the difference is significant, else empty."""
        if self.p >= significance.LEVEL:
            return ""
        return "better" if self.only_other > self.only_base else "worse"

    @property
    def summary(self) -> str:
        """The verdict as a sentence, with its counts and p."""
        return " ".join(sentence for sentence in self._sentences if sentence)

    @property
    def _sentences(self) -> tuple[str, ...]:
        names = {"other": str(self.other), "base": str(self.base)}
        if self.verdict == "better":
            return gettext("%(other)s is better than %(base)s.") % names, self._counts
        if self.verdict:
            return gettext("%(other)s is worse than %(base)s.") % names, self._counts
        none_yet = gettext("There is no reliable difference between %(other)s and %(base)s yet.") % names
        if self.only_other or self.only_base:
            return none_yet, self._counts, self._images_needed
        text = ngettext(
            "On %(count)s image, both are right or both are wrong.",
            "On each of the %(count)s images, both are right or both are wrong.",
            self.images,
        )
        return none_yet, text % {"count": count(self.images)}

    @property
    def _counts(self) -> str:
        text = ngettext(
            "Of %(count)s image, %(other)s alone got %(only_other)s right, and %(base)s alone %(only_base)s "
            "(%(p)s).",
            "Of %(count)s images, %(other)s alone got %(only_other)s right, and %(base)s alone %(only_base)s "
            "(%(p)s).",
            self.images,
        )
        return text % {
            "count": count(self.images),
            "other": str(self.other),
            "only_other": count(self.only_other),
            "base": str(self.base),
            "only_base": count(self.only_base),
            "p": p_text(self.p),
        }

    @property
    def _images_needed(self) -> str:
        needed = significance.images_needed(self.only_base, self.only_other, self.images)
        if needed is None:
            return ""
        more = round_up(max(needed - self.images, 1))
        text = ngettext(
            "If the difference is real, about %(count)s more validation image would show it.",
            "If the difference is real, about %(count)s more validation images would show it.",
            more,
        )
        return text % {"count": count(more)}


@dataclass(frozen=True)
class VersionColumn:
    """One version of a comparison: accuracy on the common images, and how many it has to predict.

    `relabeled`: common images that got the label that the version predicts after its evaluation.
    """

    version: TrainingVersion
    accuracy: Rate
    waiting: int
    relabeled: int = 0


@dataclass(frozen=True)
class AnswerDifference:
    """An image that the versions predict differently: (version, prediction, whether it is right) of each."""

    image_id: int
    truth: Labels
    answers: list[tuple[TrainingVersion, str, bool]]


@dataclass(frozen=True)
class Comparison:
    columns: list[VersionColumn]
    pairs: list[PairComparison]
    parameters: list[tuple[str, list[str]]]
    disagreements: list[AnswerDifference]
    images: int
    excluded: int  # validation images that one of the versions was trained on
    is_waiting: bool

    @property
    def is_any_relabeled(self) -> bool:
        return any(column.relabeled for column in self.columns)


def compare(project: Project, versions: Sequence[TrainingVersion]) -> Comparison:
    """Compare Completed versions, the first one as the base. Raises ManifestDamaged."""
    truth, excluded = independent_images(project, versions)
    predictions_of = stored_predictions(versions)
    predictions = [predictions_of[version.pk] for version in versions]
    common = sorted(pk for pk in truth if all(predicted.get(pk) is not None for predicted in predictions))
    is_right = [[predicted[pk] == truth[pk] for pk in common] for predicted in predictions]
    columns = [
        VersionColumn(
            version,
            wilson(sum(hits), len(common)),
            len(truth.keys() - predicted.keys()),
            relabeled_as_predicted(version, truth, common),
        )
        for version, hits, predicted in zip(versions, is_right, predictions, strict=True)
    ]
    return Comparison(
        columns,
        _pair_comparisons(versions, is_right),
        differing_parameters(versions),
        _disagreements(common, truth, versions, predictions),
        len(common),
        excluded,
        any(column.waiting for column in columns),
    )


def request_predictions(comparison: Comparison) -> None:
    """Let a worker predict the images that a version of the comparison has not predicted."""
    for column in comparison.columns:
        if column.waiting:
            jobs.enqueue("rescore_version", column.version.pk)


def independent_images(
    project: Project, versions: Iterable[TrainingVersion]
) -> tuple[dict[int, Labels], int]:
    """The validation images that no version was trained on, and the number of the others.

    Image id → today's labels.
    """
    labels_of = current_validation_labels(project)
    trained_on = set[int]()
    for version in versions:
        trained_on |= training_image_ids(version)
    independent = {pk: labels for pk, labels in labels_of.items() if pk not in trained_on}
    return independent, len(labels_of) - len(independent)


def current_validation_labels(project: Project) -> dict[int, Labels]:
    """image id → labels, of the living labeled images of the validation split."""
    names_of: dict[int, set[str]] = {}
    annotations = Annotation.objects.filter(
        image__project=project, image__deleted_at=None, image__split=Split.EVAL
    ).order_by()
    for image_id, name in annotations.values_list("image_id", "label__name"):
        names_of.setdefault(image_id, set()).add(name)
    return {pk: frozenset(names) for pk, names in names_of.items()}


def training_image_ids(version: TrainingVersion) -> set[int]:
    """Ids of the images that the version, and those that it continues, were trained on."""
    image_ids, seen = set[int](), set[int]()
    ancestor: TrainingVersion | None = version
    while ancestor is not None and ancestor.pk not in seen:
        seen.add(ancestor.pk)
        images = dataset_compare.version_images(ancestor.dataset_version)
        image_ids |= {pk for pk, image in images.items() if image.usage == Split.TRAIN}
        ancestor = ancestor.incremental_version
    return image_ids


def unpredicted_images(version: TrainingVersion) -> list[int]:
    """Ids of today's independent validation images that the version has not predicted."""
    try:
        truth, _ = independent_images(version.project, [version])
    except ManifestDamaged:
        return []
    return sorted(truth.keys() - stored_predictions([version])[version.pk].keys())


def differing_parameters(versions: Sequence[TrainingVersion]) -> list[tuple[str, list[str]]]:
    """The parameters that differ between the versions: (name, value of each version)."""
    parameters = [_parameters(version) for version in versions]
    rows = [(name, [values[name] for values in parameters]) for name in parameters[0]]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _parameters(version: TrainingVersion) -> dict[str, str]:
    minutes = version.max_training_minutes
    limit = ngettext("%(count)s minute", "%(count)s minutes", minutes) % {"count": count(minutes)}
    return {
        gettext("Dataset Version"): str(version.dataset_version),
        gettext("Images"): images_text(version),
        gettext("Training images fitted"): fitted_text(version) or UNKNOWN,
        gettext("Training ratio"): number_format(version.training_ratio.normalize()),
        gettext("Incremental Training Version"): str(version.incremental_version or gettext("None")),
        gettext("Promoted from"): str(promoted_from(version) or gettext("None")),
        gettext("Expected Inference Hardware"): version.inference_hardware,
        gettext("Max. Inference Duration"): f"{count(version.max_inference_ms)} ms",
        gettext("Max. Training Time"): limit,
        gettext("Instance Flavor"): version.flavor_name,
        gettext("Network"): _network_of(version),
        gettext("Single-image time"): _time_of(version),
    }


def images_text(version: TrainingVersion) -> str:
    """The images of its dataset version, as in “1,321 training, 330 validation”."""
    dataset = version.dataset_version
    return gettext("%(training)s training, %(validation)s validation") % {
        "training": count(dataset.train_count),
        "validation": count(dataset.eval_count),
    }


def _network_of(version: TrainingVersion) -> str:
    best = next((candidate for candidate in version.candidates.all() if candidate.is_best), None)
    return f"{best.network}, {best.resolution} px, {recipe_text(best.recipe)}" if best else UNKNOWN


def _time_of(version: TrainingVersion) -> str:
    if version.inference_ms is None:
        return UNKNOWN
    text = f"{decimal(version.inference_ms, 1)} ms"
    if version.inference_low_ms is None or version.inference_high_ms is None:
        return text
    return f"{text} ({decimal(version.inference_low_ms, 1)}–{decimal(version.inference_high_ms, 1)})"


def stored_predictions(versions: Iterable[TrainingVersion]) -> dict[int, dict[int, Labels | None]]:
    """version id → image id → predicted labels; None if the file could not be read."""
    predictions: dict[int, dict[int, Labels | None]] = {version.pk: {} for version in versions}
    columns = ("training_version_id", "image_id", "predicted")
    for model in (LaterPrediction, EvaluatedImage):
        rows = model.objects.filter(training_version__in=list(predictions)).exclude(image=None).order_by()
        for version_id, image_id, names in rows.values_list(*columns):
            predictions[version_id][image_id] = None if names is None else frozenset(names)
    return predictions


def _pair_comparisons(
    versions: Sequence[TrainingVersion], is_right: Sequence[Sequence[bool]]
) -> list[PairComparison]:
    """Every other version against the first."""
    counts = []
    for hits in is_right[1:]:
        pairs = list(zip(is_right[0], hits, strict=True))
        counts.append((sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)))
    p_values = significance.holm_adjusted([significance.mcnemar_p_value(a, b) for a, b in counts])
    return [
        PairComparison(versions[0], other, only_base, only_other, len(is_right[0]), p)
        for other, (only_base, only_other), p in zip(versions[1:], counts, p_values, strict=True)
    ]


def _disagreements(
    common: Sequence[int],
    truth: dict[int, Labels],
    versions: Sequence[TrainingVersion],
    predictions: Sequence[dict[int, Labels | None]],
) -> list[AnswerDifference]:
    disagreements = []
    for pk in common:
        labels = [predicted[pk] or frozenset() for predicted in predictions]
        if len(set(labels)) > 1:
            answers = [
                (version, ", ".join(sorted(names)) or gettext("no label"), names == truth[pk])
                for version, names in zip(versions, labels, strict=True)
            ]
            disagreements.append(AnswerDifference(pk, truth[pk], answers))
    return disagreements


def p_text(p: float) -> str:
    """As in “p = 0.012” and “p < 0.001”."""
    return f"p < {three_decimals(0.001)}" if p < 0.001 else f"p = {three_decimals(p)}"
