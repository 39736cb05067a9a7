"""Ranking of versions on common validation images: all of them predicted these, none was trained on them.

The same test as on Compare: of two versions one is better if the exact test of McNemar says so on these
images with today's labels, with the p-values adjusted for all comparisons (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.cache import caches
from django.db.models import Count, Max, Q, QuerySet
from django.utils.translation import gettext, gettext_noop

from exeml_site.lib.display import percent, three_decimals
from projects.datasets.publish import ManifestDamaged
from projects.models import DatasetVersion, LabelEvent, Project
from training.engine.evaluation import metrics, significance
from training.evaluation.comparison import (
    Labels,
    current_validation_labels,
    stored_predictions,
    training_image_ids,
)
from training.models import LaterPrediction, Metric, TrainingVersion

CACHED_S = 3600
# Marks of versions, which templates compare; they are translated where they are shown.
BEST, TIED, UNRANKED = gettext_noop("best"), gettext_noop("not told apart"), gettext_noop("not compared")
# Of the images that the version with the most of them could be judged on. A version that leaves fewer common
# images is not ranked, so that an old one with few images does not make the others' numbers imprecise.
MIN_COMMON_SHARE = 0.5


@dataclass(frozen=True)
class CommonResult:
    """Accuracy and macro precision of one version on the common images."""

    accuracy: metrics.Rate
    precision: float


@dataclass(frozen=True)
class Ranking:
    """Ids of versions, and their `results` on the common images.

    `leader`: the most accurate one there; `tied`: others that are not reliably worse; `unranked`: those with
    too few common images. A single version is neither best nor tied.
    """

    leader: int | None = None
    tied: frozenset[int] = frozenset()
    unranked: frozenset[int] = frozenset()
    results: Mapping[int, CommonResult] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """How many images the versions are ranked on; 0 where nothing is ranked."""
        return max((result.accuracy.support for result in self.results.values()), default=0)

    @property
    def best(self) -> int | None:
        return self.leader if len(self.results) > 1 and not self.tied else None

    def mark(self, version: TrainingVersion) -> str:
        """BEST, TIED for the leader and what ties with it, UNRANKED, else empty."""
        if version.pk in self.unranked:
            return UNRANKED
        if version.pk == self.best:
            return BEST
        is_tied = version.pk in self.tied or (bool(self.tied) and version.pk == self.leader)
        return TIED if is_tied else ""

    def describe(self, version: Any) -> str:
        """As in “V003 · accuracy 94.1 %, precision 0.938 · best”, on the common images.

        A version that is not ranked is described by its own evaluation, which compares with no other one's.
        Needs the annotations of `with_overall_metrics`.
        """
        common = self.results.get(version.pk)
        accuracy = common.accuracy.value if common else version.accuracy
        precision = common.precision if common else version.precision
        numbers = []
        if accuracy is not None:
            numbers.append(gettext("accuracy %(share)s") % {"share": percent(accuracy)})
        if precision is not None:
            numbers.append(gettext("precision %(value)s") % {"value": three_decimals(precision)})
        figures = ", ".join(numbers)
        if version.pk in self.unranked and figures:
            figures = gettext("%(figures)s on its own images") % {"figures": figures}
        mark = self.mark(version)
        return " · ".join(part for part in (version.name, figures, gettext(mark) if mark else "") if part)

    def proposed(self, versions: Sequence[TrainingVersion]) -> TrainingVersion | None:
        """The version that a form chooses first: the most accurate on the common images, else the newest."""

        def order(version: TrainingVersion) -> tuple[bool, int, int]:
            common = self.results.get(version.pk)
            return version.pk == self.leader, common.accuracy.hits if common else -1, version.number

        return max(versions, key=order, default=None)


def with_overall_metrics(versions: QuerySet[TrainingVersion]) -> QuerySet[Any]:
    """The versions with `accuracy` and macro `precision` of their own evaluation."""
    values = {
        name: Max("metrics__value", filter=Q(metrics__label="", metrics__name=metric))
        for name, metric in (("accuracy", Metric.Name.ACCURACY), ("precision", Metric.Name.PRECISION))
    }
    return versions.annotate(**values)


def rank(project: Project) -> Ranking:
    """Rank the Completed versions that have an accuracy. Cached until labels or predictions change."""
    completed = TrainingVersion.objects.completed().filter(project=project)
    versions = list(
        with_overall_metrics(completed)
        .select_related("project", "dataset_version", "incremental_version__dataset_version")
        .filter(accuracy__isnull=False)
        .order_by("-number")
    )
    if len(versions) < 2:
        return Ranking(versions[0].pk if versions else None)
    cache, key = caches["counts"], f"ranking:{_state(project, versions)}"
    ranking: Ranking | None = cache.get(key)
    if ranking is None:
        ranking = _rank(project, versions)
        cache.set(key, ranking, CACHED_S)
    return ranking


def _state(project: Project, versions: Sequence[TrainingVersion]) -> str:
    """What the ranking depends on."""
    event = LabelEvent.objects.filter(project=project).aggregate(Max("pk"))["pk__max"]
    dataset = DatasetVersion.objects.filter(project=project).aggregate(Max("pk"))["pk__max"]
    later = LaterPrediction.objects.filter(training_version__project=project).aggregate(
        Max("pk"), Count("pk")
    )
    ids = ",".join(str(version.pk) for version in versions)
    return f"{project.pk}:{event}:{dataset}:{later['pk__max']}:{later['pk__count']}:{ids}"


def _rank(project: Project, versions: Sequence[TrainingVersion]) -> Ranking:
    """`versions`: the newest first, which leads where several are equally accurate."""
    truth, predictions = current_validation_labels(project), stored_predictions(versions)
    answers = {version.pk: _independent(version, predictions[version.pk], truth) for version in versions}
    ranked, common = _common_images(answers)
    unranked = frozenset(answers) - frozenset(ranked)
    if len(ranked) < 2:
        return Ranking(unranked=frozenset(answers))
    results = {pk: _result(answers[pk], common, truth, project.is_multi_label) for pk in ranked}
    leader = max(ranked, key=lambda pk: results[pk].accuracy.hits)
    others = [pk for pk in ranked if pk != leader]
    counts = [_differing(answers[leader], answers[pk], common, truth) for pk in others]
    p_values = significance.holm_adjusted([significance.mcnemar_p_value(*pair) for pair in counts])
    tied = {pk for pk, p in zip(others, p_values, strict=True) if p >= significance.LEVEL}
    return Ranking(leader, frozenset(tied), unranked, results)


def _independent(
    version: TrainingVersion, predictions: dict[int, Labels | None], truth: dict[int, Labels]
) -> dict[int, Labels]:
    """Image id → predicted labels, of today's validation images that the version never learned."""
    if not predictions:
        return {}
    try:
        learned = training_image_ids(version)
    except ManifestDamaged:
        return {}
    return {
        pk: predicted
        for pk, predicted in predictions.items()
        if predicted is not None and pk in truth and pk not in learned
    }


def _common_images(answers: dict[int, dict[int, Labels]]) -> tuple[list[int], list[int]]:
    """The ids of the versions that can be ranked, and of the images that all of them answered."""
    most = max(len(answered) for answered in answers.values())
    ranked, common = list[int](), set[int]()
    for pk in sorted(answers, key=lambda pk: -len(answers[pk])):
        shared = common & answers[pk].keys() if ranked else set(answers[pk])
        if shared and len(shared) >= MIN_COMMON_SHARE * most:
            ranked.append(pk)
            common = shared
    return [pk for pk in answers if pk in ranked], sorted(common)


def _result(
    answered: dict[int, Labels], common: Sequence[int], truth: dict[int, Labels], is_multi_label: bool
) -> CommonResult:
    truths, predicted = [sorted(truth[pk]) for pk in common], [sorted(answered[pk]) for pk in common]
    labels = sorted({name for names in (*truths, *predicted) for name in names})
    report = metrics.report(labels, truths, predicted, is_multi_label)
    return CommonResult(report.accuracy, report.macro_precision)


def _differing(
    first: dict[int, Labels], second: dict[int, Labels], common: Sequence[int], truth: dict[int, Labels]
) -> tuple[int, int]:
    """The numbers of common images that only the first, and only the second, predicts correctly."""
    pairs = [(first[pk] == truth[pk], second[pk] == truth[pk]) for pk in common]
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
