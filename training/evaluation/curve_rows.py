"""Curves of an evaluation as rows, computed from its stored predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from training.engine.evaluation import curves
from training.models import Curve, EvaluatedImage, TrainingVersion

Kind = Curve.Kind


def curves_of(
    version: TrainingVersion, images: Sequence[EvaluatedImage], labels: Sequence[str]
) -> list[Curve]:
    """Unsaved rows; `labels` in the order of the scores, then those that only the images carry."""
    if not images or not images[0].scores:
        return []
    labels = labels[: len(images[0].scores)]
    scores = np.array([image.scores for image in images], np.float64)
    truth = _label_matrix(images, labels)
    rows = [_threshold_curve(label, scores[:, i], truth[:, i]) for i, label in enumerate(labels)]
    if version.project.is_multi_label:
        rows += _calibration_by_label(scores, truth, labels)
    else:
        confidence = scores.max(axis=1)
        is_right = np.array([image.is_correct for image in images], np.bool_)
        rows.append(_calibration_curve("", confidence, is_right))
        rows.append(Curve(kind=Kind.COVERAGE, points=curves.coverage(confidence, is_right)))
    is_right_of_known = [image.is_correct for image in images if image.is_known]
    if any(image.is_known is not None for image in images):
        rows.append(Curve(kind=Kind.KNOWN, points=[[sum(is_right_of_known), len(is_right_of_known)]]))
    for row in rows:
        row.training_version = version
    return rows


def add_missing_curves(version: TrainingVersion) -> None:
    """Compute the curves of a version that was evaluated before they were stored as they are today."""
    if version.curves.filter(kind=Kind.CALIBRATION).exists() or not version.evaluated_images.exists():
        return
    images = list(version.evaluated_images.all())
    labels = version.confusion.get("labels", [])
    Curve.objects.bulk_create(curves_of(version, images, labels), batch_size=500, ignore_conflicts=True)


def _calibration_by_label(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], labels: Sequence[str]
) -> list[Curve]:
    """Calibration of all decisions [N × C] together, then of each label: its score against its presence."""
    each = [_calibration_curve(label, scores[:, i], truth[:, i]) for i, label in enumerate(labels)]
    return [_calibration_curve("", scores.ravel(), truth.ravel()), *each]


def _calibration_curve(label: str, confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Curve:
    bins = curves.calibration(confidence, right)
    points = [[bin_.images, bin_.confidence, bin_.right] for bin_ in bins]
    return Curve(kind=Kind.CALIBRATION, label=label, points=points, area=curves.calibration_error(bins))


def _threshold_curve(label: str, scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> Curve:
    area = curves.average_precision(scores, truth)
    return Curve(kind=Kind.THRESHOLD, label=label, points=curves.threshold_counts(scores, truth), area=area)


def _label_matrix(images: Iterable[EvaluatedImage], labels: Sequence[str]) -> NDArray[np.bool_]:
    """[N, C] True where the image carries the label."""
    column_of = {label: i for i, label in enumerate(labels)}
    rows = [[column_of[name] for name in image.truth if name in column_of] for image in images]
    matrix = np.zeros((len(rows), len(labels)), np.bool_)
    for index, row in enumerate(rows):
        matrix[index, row] = True
    return matrix
