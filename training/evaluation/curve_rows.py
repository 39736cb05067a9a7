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
    """Unsaved rows; `labels` in the order of the scores. Empty if no image has scores of that length."""
    images = [image for image in images if len(image.scores) == len(labels)]
    if not images:
        return []
    scores = np.array([image.scores for image in images], np.float64)
    truth = _label_matrix(images, labels)
    confidence = np.array([image.confidence for image in images], np.float64)
    is_right = np.array([image.is_correct for image in images], np.bool_)
    rows = [_threshold_curve(label, scores[:, i], truth[:, i]) for i, label in enumerate(labels)]
    bins = curves.calibration(confidence, is_right)
    points = [[bin_.images, bin_.confidence, bin_.right] for bin_ in bins]
    rows.append(Curve(kind=Kind.CALIBRATION, points=points, area=curves.calibration_error(bins)))
    rows.append(Curve(kind=Kind.COVERAGE, points=curves.coverage(confidence, is_right)))
    is_right_of_known = [image.is_correct for image in images if image.is_known]
    if any(image.is_known is not None for image in images):
        rows.append(Curve(kind=Kind.KNOWN, points=[[sum(is_right_of_known), len(is_right_of_known)]]))
    for row in rows:
        row.training_version = version
    return rows


def add_missing_curves(version: TrainingVersion) -> None:
    """Compute the curves of a version that was evaluated before curves were stored."""
    if version.curves.exists() or not version.evaluated_images.exists():
        return
    images = list(version.evaluated_images.all())
    labels = version.confusion.get("labels", [])[: len(images[0].scores)]
    Curve.objects.bulk_create(curves_of(version, images, labels), batch_size=500, ignore_conflicts=True)


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
