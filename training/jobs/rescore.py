"""The job that predicts today's validation images with an older version, so that it can be compared."""

from __future__ import annotations

import logging

from exeml_site.lib import jobs
from exeml_site.lib.storage import local_path
from projects.models import Image
from training.evaluation import comparison
from training.models import LaterPrediction, TrainingVersion
from training.serving.inference import model_cache, predictor

logger = logging.getLogger(__name__)

BATCH_SIZE, MAX_PER_JOB = 64, 1024  # images per write, and per job


def rescore(version_id: int) -> int:
    """Predict up to MAX_PER_JOB of today's validation images that the version has not predicted; how many."""
    version = TrainingVersion.objects.completed().select_related("project").filter(pk=version_id).first()
    if version is None:
        return 0
    waiting = comparison.unpredicted_images(version)
    for start in range(0, min(len(waiting), MAX_PER_JOB), BATCH_SIZE):
        try:
            _predict(version, waiting[start : start + BATCH_SIZE])
        except model_cache.ModelUnavailable as problem:
            logger.warning("%s cannot be asked about later images: %s", version, problem)
            return start
    if len(waiting) > MAX_PER_JOB:
        jobs.enqueue("rescore_version", version_id)
    return min(len(waiting), MAX_PER_JOB)


def _predict(version: TrainingVersion, image_ids: list[int]) -> None:
    rows = []
    for image in Image.objects.filter(pk__in=image_ids):
        predicted: list[str] | None = None
        try:
            answer = predictor.predict(version, local_path(image.file_name).read_bytes())
            predicted = list(answer.predicted_labels)
        except (OSError, predictor.InvalidImage):
            logger.info("image %s cannot be read, so it compares nothing", image.pk)
        rows.append(LaterPrediction(training_version=version, image=image, predicted=predicted))
    LaterPrediction.objects.bulk_create(rows, ignore_conflicts=True)
