"""The best version of a project, as far as its versions can be told apart on the same images.

The same test as on Compare: of two versions one is better if the exact test of McNemar says so on the
validation images that both predicted, with the p-values adjusted for all comparisons (Holm).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.core.cache import caches
from django.db.models import Count, Max, Q

from projects.datasets.publish import ManifestDamaged
from projects.models import DatasetVersion, LabelEvent, Project
from training.engine.evaluation import significance
from training.evaluation.comparison import (
    Labels,
    current_validation_labels,
    stored_predictions,
    training_image_ids,
)
from training.models import LaterPrediction, Metric, TrainingVersion

CACHED_S = 3600


@dataclass(frozen=True)
class Ranking:
    """Ids of versions. `leader`: the most accurate one; `tied`: others that are not reliably worse.

    `best` is the leader if all others are reliably worse. A single version is neither best nor tied.
    """

    leader: int | None = None
    tied: frozenset[int] = frozenset()
    has_others: bool = False

    @property
    def best(self) -> int | None:
        return self.leader if self.has_others and not self.tied else None

    def mark(self, version: TrainingVersion) -> str:
        """“best”, “not told apart” for the leader and what ties with it, else empty."""
        if version.pk == self.best:
            return "best"
        is_tied = version.pk in self.tied or (bool(self.tied) and version.pk == self.leader)
        return "not told apart" if is_tied else ""


def rank(project: Project) -> Ranking:
    """Rank the Completed versions that have an accuracy. Cached until labels or predictions change."""
    is_overall = Q(metrics__label="", metrics__name=Metric.Name.ACCURACY)
    versions = list(
        TrainingVersion.objects.completed()
        .filter(project=project)
        .select_related("dataset_version", "incremental_version__dataset_version")
        .annotate(accuracy=Max("metrics__value", filter=is_overall))
        .filter(accuracy__isnull=False)
        .order_by("-accuracy", "-number")
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
    """`versions`: most accurate first. A version that is reliably better on common images leads instead."""
    truth = current_validation_labels(project)
    predictions = stored_predictions(versions)
    is_right = {version.pk: _right_or_wrong(version, predictions[version.pk], truth) for version in versions}
    ids, passed = [version.pk for version in versions], set[int]()
    leader = ids[0]
    while True:
        others = [pk for pk in ids if pk != leader]
        counts = [_differing(is_right[leader], is_right[pk]) for pk in others]
        p_values = significance.holm_adjusted([significance.mcnemar_p_value(*pair) for pair in counts])
        passed.add(leader)
        rows = list(zip(others, counts, p_values, strict=True))
        better = [
            pk
            for pk, (first, second), p in rows
            if p < significance.LEVEL and second > first and pk not in passed
        ]
        if not better:
            break
        leader = better[0]
    worse = {pk for pk, (first, second), p in rows if p < significance.LEVEL and first > second}
    return Ranking(leader, frozenset(others) - worse, has_others=True)


def _right_or_wrong(
    version: TrainingVersion, predictions: dict[int, Labels | None], truth: dict[int, Labels]
) -> dict[int, bool]:
    """Image id → whether the version predicts today's labels, of validation images that it never learned."""
    if not predictions:
        return {}
    try:
        learned = training_image_ids(version)
    except ManifestDamaged:
        return {}
    return {
        pk: predicted == truth[pk]
        for pk, predicted in predictions.items()
        if predicted is not None and pk in truth and pk not in learned
    }


def _differing(first: dict[int, bool], second: dict[int, bool]) -> tuple[int, int]:
    """The numbers of common images that only the first, and only the second, predicts correctly."""
    common = first.keys() & second.keys()
    only_first = sum(first[pk] and not second[pk] for pk in common)
    return only_first, sum(second[pk] and not first[pk] for pk in common)
