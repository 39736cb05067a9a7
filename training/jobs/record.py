"""Stores the results of a finished training in the database.

Every metric is computed from the `EvaluatedImage` rows stored beside it, so the numbers of a page always
add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import transaction

from projects.models import Image
from training.engine import CandidateReport
from training.engine.evaluation.evaluate import SamplePrediction
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
    Candidate.objects.bulk_create(_candidate_row(version, one) for one in candidates)
    found = report_of(images, labels, version.project.is_multi_label)
    Metric.objects.bulk_create(_metric_rows(version, found), batch_size=BATCH_SIZE)
    _save_confusion(version, found)
    Curve.objects.bulk_create(curve_rows.curves_of(version, images, labels), batch_size=BATCH_SIZE)
    return found


def report_of(
    images: Iterable[EvaluatedImage | SamplePrediction], labels: Sequence[str], is_multi_label: bool
) -> Report:
    """The evaluation report of stored predictions. Labels that only the truth has come last."""
    images = list(images)
    known = set(labels)
    strangers = sorted({name for one in images for name in one.truth if name not in known})
    truths, predictions = [one.truth for one in images], [one.predicted for one in images]
    return report([*labels, *strangers], truths, predictions, is_multi_label)


def _evaluated_images(
    version: TrainingVersion, predictions: Iterable[SamplePrediction]
) -> list[EvaluatedImage]:
    named = [(_image_id(one), one) for one in predictions]
    present = _existing_image_ids({image_id for image_id, _ in named if image_id is not None})
    return [
        EvaluatedImage(
            training_version=version,
            image_id=image_id if image_id in present else None,
            truth=list(one.truth),
            predicted=list(one.predicted),
            true_names="\n".join(one.truth),
            predicted_names="\n".join(one.predicted),
            is_known=one.is_known,
            familiarity=one.familiarity,
            scores=[round(score, 6) for score in one.scores],
            confidence=max(one.scores, default=0.0),
            is_correct=set(one.truth) == set(one.predicted),
        )
        for image_id, one in named
    ]


def _image_id(one: SamplePrediction) -> int | None:
    """The image's primary key; None if the id comes from a foreign manifest."""
    return int(one.id) if one.id.isdecimal() else None


def _existing_image_ids(image_ids: set[int]) -> set[int]:
    """Ids of images that still exist; the prediction of a purged image counts all the same."""
    ordered, present = sorted(image_ids), set[int]()
    for start in range(0, len(ordered), BATCH_SIZE):
        part = ordered[start : start + BATCH_SIZE]
        present.update(Image.objects.filter(pk__in=part).values_list("pk", flat=True))
    return present


def _candidate_row(version: TrainingVersion, one: CandidateReport) -> Candidate:
    return Candidate(
        training_version=version,
        network=one.network,
        resolution=one.resolution,
        recipe=one.recipe,
        accuracy=one.accuracy,
        inference_ms=one.inference_ms,
        is_measured=one.is_measured,
        is_admissible=one.is_admissible,
        is_best=one.is_best,
        seconds=one.seconds,
        error=one.error,
        place=one.place,
    )


def _metric_rows(version: TrainingVersion, found: Report) -> list[Metric]:
    name = Metric.Name
    rows = [
        _rate_metric(version, "", name.ACCURACY, found.accuracy),
        _value_metric(version, "", name.PRECISION, found.macro_precision, found.n),
        _value_metric(version, "", name.RECALL, found.macro_recall, found.n),
        _value_metric(version, "", name.F1, found.macro_f1, found.n),
    ]
    for one in found.per_label:
        rows += _label_metrics(version, one)
    return rows


def _label_metrics(version: TrainingVersion, one: LabelReport) -> list[Metric]:
    name = Metric.Name
    return [
        _rate_metric(version, one.label, name.ACCURACY, one.accuracy),
        _rate_metric(version, one.label, name.PRECISION, one.precision),
        _rate_metric(version, one.label, name.RECALL, one.recall),
        _value_metric(version, one.label, name.F1, one.f1, one.images),
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
    version: TrainingVersion, label: str, name: str, value: float | None, support: int
) -> Metric:
    """A macro average or an F1 score: without a count of hits there is no Wilson interval."""
    return Metric(training_version=version, label=label, name=name, value=value, support=support)


def _save_confusion(version: TrainingVersion, found: Report) -> None:
    version.confusion = {
        "labels": [one.label for one in found.per_label],
        "matrix": [list(row) for row in found.confusion],
    }
    version.save(update_fields=["confusion"])
