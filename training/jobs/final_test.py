"""The test images of a training: predicted once the model is chosen, and never before."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from exeml_site.lib.bulk import chunks
from exeml_site.lib.job_row import ClaimLost
from projects.datasets import publish
from projects.models import Image, Split
from training.engine import Sample, StoppedBeforeModel
from training.engine.evaluation.evaluate import SamplePrediction
from training.evaluation.selections.trained_images import TrainedImages
from training.jobs.selection_record import KnownLabels, result_from_rows, save_predictions
from training.models import TrainingVersion, VersionEvaluation

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictedTest:
    """Predictions of the test images; `counts` of those that no figure counts."""

    labels: Sequence[str]
    predictions: list[SamplePrediction]
    counts: dict[str, Any]
    total: int


def predict_test_images(
    version: TrainingVersion,
    bundle: Path,
    path_of: Callable[[Any], Path],
    advance: Callable[[float], None],
) -> PredictedTest | None:
    """Predict the test images of the version's dataset version. A failure must not cost the model: None."""
    from training.engine.bundle.bundle import Bundle
    from training.engine.evaluation.evaluate import predict_samples

    threads = settings.EXEML_ENGINE_THREADS or os.cpu_count() or 1
    try:
        model = Bundle.load(bundle, threads, streams=threads)
        known = KnownLabels(model.labels, model.is_multi_label, {})
        entries = [
            entry
            for entry in publish.read_entries(version.dataset_version)
            if entry.usage == Split.TEST and entry.image_id is not None
        ]
        samples = [
            Sample(str(entry.image_id), path_of(entry), truth, "EVAL")
            for entry in entries
            if (truth := known.truth_of(entry.labels))
        ]
        predictions, unreadable = predict_samples(model, samples, advance, threads)
    except (ClaimLost, StoppedBeforeModel):
        raise
    except Exception:
        logger.exception("the test images of training version %s were not evaluated", version.pk)
        return None
    known.counts["unreadable"] += len(unreadable)
    return PredictedTest(model.labels, predictions, known.counts, len(entries))


def record_test(version: TrainingVersion, test: PredictedTest | None) -> None:
    """Store the result on the test images, hidden; that of an earlier attempt is replaced."""
    version.evaluations.filter(kind=VersionEvaluation.Kind.TEST).delete()
    if test is None:
        return
    now = timezone.now()
    evaluation = VersionEvaluation.objects.create(
        training_version=version,
        kind=VersionEvaluation.Kind.TEST,
        source=version.project,
        name=f"Test images of {version.dataset_version}",  # not translated: stored with values
        status=VersionEvaluation.Status.COMPLETED,
        total=test.total,
        done=test.total,
        created_by=version.submitted_by,
        started_at=now,
        finished_at=now,
    )
    images = _existing_images(test.predictions)
    trained = TrainedImages.of(version).among(images)
    save_predictions(evaluation, test.predictions, trained, {image.pk for image in images})
    evaluation.result = result_from_rows(evaluation, test.labels, test.counts)
    evaluation.save(update_fields=["result"])


def _existing_images(predictions: Sequence[SamplePrediction]) -> list[Image]:
    images: list[Image] = []
    for ids in chunks([int(prediction.id) for prediction in predictions]):
        images += Image.objects.filter(pk__in=ids).only("pk", "project_id", "sha256", "duplicate_group")
    return images
