"""Stores predictions of selected images, and computes the figures from the stored rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from training.engine.evaluation.evaluate import SamplePrediction
from training.engine.evaluation.metrics import report
from training.jobs.record import metric_rows
from training.models import SelectedImage, TrainingVersion, VersionEvaluation

METRIC_FIELDS = ("label", "name", "value", "low", "high", "hits", "support")
BATCH_SIZE = 500


class KnownLabels:
    """Matches the labels of images with those of a version by their names, and counts what does not match.

    `counts` is a part of `VersionEvaluation.result`; it is continued where an evaluation is.
    """

    def __init__(self, labels: Sequence[str], is_multi_label: bool, counts: Mapping[str, Any]) -> None:
        self._names = {name.lower(): name for name in labels}
        self._is_multi_label = is_multi_label
        self.counts: dict[str, Any] = {
            **{name: counts.get(name, 0) for name in ("gone", "unreadable", "several", "unknown")},
            "unknown_labels": dict(counts.get("unknown_labels", {})),
        }

    def truth_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """The labels as the version spells them; none for an image that no figure can count."""
        known, unknown = list[str](), list[str]()
        for name in names:
            known += [self._names[name.lower()]] if name.lower() in self._names else []
            unknown += [] if name.lower() in self._names else [name]
        for name in unknown:
            self.counts["unknown_labels"][name] = self.counts["unknown_labels"].get(name, 0) + 1
        if not known or (unknown and not self._is_multi_label):
            self.counts["unknown"] += 1
            return ()
        if len(known) > 1 and not self._is_multi_label:
            self.counts["several"] += 1
            return ()
        return tuple(known)


def save_predictions(
    evaluation: VersionEvaluation,
    predictions: Iterable[SamplePrediction],
    trained: Collection[int],
    existing: Collection[int],
) -> None:
    """Store the predictions. `trained`: ids of images that were trained on; `existing`: ids of rows."""
    SelectedImage.objects.bulk_create(
        (_row(evaluation, prediction, trained, existing) for prediction in predictions),
        batch_size=BATCH_SIZE,
    )


def _row(
    evaluation: VersionEvaluation,
    prediction: SamplePrediction,
    trained: Collection[int],
    existing: Collection[int],
) -> SelectedImage:
    image_id = int(prediction.id)
    return SelectedImage(
        evaluation=evaluation,
        image_id=image_id if image_id in existing else None,
        was_trained_on=image_id in trained,
        truth=list(prediction.truth),
        predicted=list(prediction.predicted),
        true_names="\n".join(prediction.truth),
        predicted_names="\n".join(prediction.predicted),
        is_known=prediction.is_known,
        familiarity=prediction.familiarity,
        scores=[round(score, 6) for score in prediction.scores],
        confidence=max(prediction.scores, default=0.0),
        is_correct=set(prediction.truth) == set(prediction.predicted),
    )


def result_from_rows(
    evaluation: VersionEvaluation, labels: Sequence[str], counts: Mapping[str, Any]
) -> dict[str, Any]:
    """The result of an evaluation, as training.evaluation.selections.results describes it."""
    version = evaluation.training_version
    rows = evaluation.images.order_by("pk").values_list("truth", "predicted", "was_trained_on")
    every = list(rows.iterator(chunk_size=BATCH_SIZE))
    independent = [row for row in every if not row[2]]
    trained_on = len(every) - len(independent)
    return {
        **counts,
        "trained_on": trained_on,
        "independent": _figures(version, labels, independent),
        "all": _figures(version, labels, every) if trained_on else None,
    }


def _figures(
    version: TrainingVersion, labels: Sequence[str], rows: Sequence[tuple[list[str], list[str], bool]]
) -> dict[str, Any] | None:
    if not rows:
        return None
    truths, predictions = [row[0] for row in rows], [row[1] for row in rows]
    evaluation = report(labels, truths, predictions, version.project.is_multi_label)
    metrics = metric_rows(version, evaluation)
    return {
        "labels": [label.label for label in evaluation.per_label],
        "matrix": [list(row) for row in evaluation.confusion],
        "metrics": [{name: getattr(metric, name) for name in METRIC_FIELDS} for metric in metrics],
    }
