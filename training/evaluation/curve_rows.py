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
    images = [one for one in images if len(one.scores) == len(labels)]
    if not images:
        return []
    scores = np.array([one.scores for one in images], np.float64)
    truth = _label_matrix(images, labels)
    confidence = np.array([one.confidence for one in images], np.float64)
    right = np.array([one.is_correct for one in images], np.bool_)
    rows = [_threshold_curve(label, scores[:, i], truth[:, i]) for i, label in enumerate(labels)]
    bins = curves.calibration(confidence, right)
    points = [[one.images, one.confidence, one.right] for one in bins]
    rows.append(Curve(kind=Kind.CALIBRATION, points=points, area=curves.calibration_error(bins)))
    rows.append(Curve(kind=Kind.COVERAGE, points=curves.coverage(confidence, right)))
    known = [one.is_correct for one in images if one.is_known]
    if any(one.is_known is not None for one in images):
        rows.append(Curve(kind=Kind.KNOWN, points=[[sum(known), len(known)]]))
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
    place = {label: i for i, label in enumerate(labels)}
    rows = [[place[name] for name in one.truth if name in place] for one in images]
    table = np.zeros((len(rows), len(labels)), np.bool_)
    for number, row in enumerate(rows):
        table[number, row] = True
    return table
