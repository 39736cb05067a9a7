"""Stores the results of a finished training in the database.

Every metric is computed from the `EvaluatedImage` rows stored beside it, so the numbers of a page always
add up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from django.db import transaction

from exeml_site.lib.bulk import chunks
from projects.datasets.groups import evaluation_groups
from projects.models import Image
from training.engine import CandidateReport
from training.engine.evaluation.evaluate import SamplePrediction
from training.engine.evaluation.intervals import Interval
from training.engine.evaluation.metrics import LabelReport, Rate, Report, report
from training.evaluation import curve_rows
from training.models import Candidate, Curve, EvaluatedImage, Metric, TrainingVersion

BATCH_SIZE = 500


@transaction.atomic
def record(
    version: TrainingVersion,
    labels: Sequence[str],
    predictions: Iterable[SamplePrediction],
    candidates: Iterable[CandidateReport],
) -> Report:
    """Store predictions, candidates, metrics and curves; rows of an earlier attempt are replaced."""
    for rows in (version.metrics, version.evaluated_images, version.candidates, version.curves):
        rows.all().delete()
    images = _evaluated_images(version, predictions)
    EvaluatedImage.objects.bulk_create(images, batch_size=BATCH_SIZE)
    Candidate.objects.bulk_create(_candidate_row(version, candidate) for candidate in candidates)
    groups = evaluation_groups(version.project, [image.image_id for image in images])
    evaluation = report_of(images, labels, version.project.is_multi_label, groups)
    Metric.objects.bulk_create(metric_rows(version, evaluation), batch_size=BATCH_SIZE)
    _save_confusion(version, evaluation)
    Curve.objects.bulk_create(curve_rows.curves_of(version, images, labels), batch_size=BATCH_SIZE)
    return evaluation


def report_of(
    images: Iterable[EvaluatedImage | SamplePrediction],
    labels: Sequence[str],
    is_multi_label: bool,
    groups: Sequence[Hashable] | None = None,
) -> Report:
    """The evaluation report of stored predictions. Labels that only the truth has come last.

    `groups` as in `metrics.report`: images of one group widen the intervals.
    """
    images = list(images)
    others = sorted({name for image in images for name in image.truth} - set(labels))
    truths, predictions = [image.truth for image in images], [image.predicted for image in images]
    return report([*labels, *others], truths, predictions, is_multi_label, groups)


def _evaluated_images(
    version: TrainingVersion, predictions: Iterable[SamplePrediction]
) -> list[EvaluatedImage]:
    with_ids = [(_image_id(prediction), prediction) for prediction in predictions]
    existing = _existing_image_ids({image_id for image_id, _ in with_ids if image_id is not None})
    return [
        EvaluatedImage(
            training_version=version,
            image_id=image_id if image_id in existing else None,
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
        for image_id, prediction in with_ids
    ]


def _image_id(prediction: SamplePrediction) -> int | None:
    """The image's primary key; None if the id comes from a foreign manifest."""
    return int(prediction.id) if prediction.id.isdecimal() else None


def _existing_image_ids(image_ids: set[int]) -> set[int]:
    """Ids of images that still exist; the prediction of a purged image counts all the same."""
    existing = set[int]()
    for ids in chunks(sorted(image_ids)):
        existing.update(Image.objects.filter(pk__in=ids).values_list("pk", flat=True))
    return existing


def _candidate_row(version: TrainingVersion, candidate: CandidateReport) -> Candidate:
    images, common = candidate.images, candidate.common
    return Candidate(
        training_version=version,
        network=candidate.network,
        resolution=candidate.resolution,
        recipe=candidate.recipe,
        accuracy=candidate.accuracy,
        inference_ms=candidate.inference_ms,
        inference_low_ms=candidate.inference_low_ms,
        inference_high_ms=candidate.inference_high_ms,
        is_measured=candidate.is_measured,
        is_admissible=candidate.is_admissible,
        is_best=candidate.is_best,
        seconds=candidate.seconds,
        error=candidate.error,
        place=candidate.place,
        fitted=images.fitted if images else None,
        judged=images.judged if images else None,
        common_images=common.images if common else None,
        common_hits=common.hits if common else None,
        common_loss=common.loss if common else None,
        p_value=common.p_value if common else None,
    )


def metric_rows(version: TrainingVersion, evaluation: Report) -> list[Metric]:
    """The metrics of an evaluation as rows that are not saved."""
    name, count, macro = Metric.Name, evaluation.n, evaluation.macro_intervals
    rows = [
        _rate_metric(version, "", name.ACCURACY, evaluation.accuracy),
        _value_metric(version, "", name.PRECISION, evaluation.macro_precision, macro.precision, count),
        _value_metric(version, "", name.RECALL, evaluation.macro_recall, macro.recall, count),
        _value_metric(version, "", name.F1, evaluation.macro_f1, macro.f1, count),
    ]
    for row in evaluation.per_label:
        rows += _label_metrics(version, row)
    return rows


def _label_metrics(version: TrainingVersion, row: LabelReport) -> list[Metric]:
    name = Metric.Name
    return [
        _rate_metric(version, row.label, name.ACCURACY, row.accuracy),
        _rate_metric(version, row.label, name.PRECISION, row.precision),
        _rate_metric(version, row.label, name.RECALL, row.recall),
        _value_metric(version, row.label, name.F1, row.f1, row.f1_interval, row.images),
    ]


def _rate_metric(version: TrainingVersion, label: str, name: str, rate: Rate) -> Metric:
    return Metric(
        training_version=version,
        label=label,
        name=name,
        value=rate.value,
        low=rate.low,
        high=rate.high,
        hits=rate.hits,
        support=rate.support,
    )


def _value_metric(
    version: TrainingVersion,
    label: str,
    name: str,
    value: float | None,
    interval: Interval | None,
    support: int,
) -> Metric:
    """A macro average or an F1 score, which no count of hits belongs to."""
    low, high = interval or (None, None)
    return Metric(
        training_version=version,
        label=label,
        name=name,
        value=value,
        low=low,
        high=high,
        support=support,
    )


def _save_confusion(version: TrainingVersion, evaluation: Report) -> None:
    version.confusion = {
        "labels": [label.label for label in evaluation.per_label],
        "matrix": [list(row) for row in evaluation.confusion],
    }
    version.save(update_fields=["confusion"])
