"""Predictions of a Completed version for unlabeled images, which replace suggestions learned from labels.

A version is used as long as it has every label in use and was trained on at least half as many images as
are labeled now; after that, suggestions learned from today's labels are better. The job predicts the stored
files in the labeling worker, a thousand at a time; suggestions exist before its first prediction.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from exeml_site.lib import jobs
from exeml_site.lib.bulk import chunks
from exeml_site.lib.storage import local_path
from projects.labels.counts import images_per_label
from projects.models import Image, Label, Prediction, Project
from projects.models.image import ImageQuerySet
from training.models import Status, TrainingVersion
from training.serving.inference import model_cache, predictor

logger = logging.getLogger(__name__)

BATCH_SIZE, MAX_PER_JOB = 128, 1024  # images per write, and per job
MAX_SCORES = 5
MIN_TRAINED_SHARE = 0.5  # images a version was trained on, per image that is labeled now

Floats = NDArray[np.float32]


def usable_version(project: Project) -> TrainingVersion | None:
    """The newest Completed version if it is good enough to predict unlabeled images, else None."""
    versions = TrainingVersion.objects.alive().filter(project=project, status=Status.COMPLETED)
    version = versions.select_related("dataset_version").order_by("-number").first()
    if version is None:
        return None
    carriers = images_per_label(project)
    in_use = Label.objects.filter(project=project, pk__in=[pk for pk, count in carriers.items() if count > 0])
    known_names = {name.lower() for name in version.dataset_version.counts}
    if not all(name.lower() in known_names for name in in_use.values_list("name", flat=True)):
        return None
    labeled = Image.objects.labeled().filter(project=project).count()
    return version if version.dataset_version.image_count >= MIN_TRAINED_SHARE * labeled else None


def predict_waiting(project_id: int) -> int:
    """Predict unlabeled images that have no prediction of the version yet, newest first; returns how many."""
    project = Project.objects.alive().filter(pk=project_id).first()
    version = usable_version(project) if project else None
    if project is None or version is None:
        return 0
    done = 0
    while done < MAX_PER_JOB and (batch := list(_without_prediction(project, version)[:BATCH_SIZE])):
        try:
            _predict(version, batch)
        except model_cache.ModelUnavailable as problem:
            logger.warning("%s cannot be asked about images that wait: %s", version, problem)
            return done
        done += len(batch)
    if done:
        jobs.enqueue("suggest_labels", project_id)
    if done >= MAX_PER_JOB:
        jobs.enqueue("predict_unlabeled", project_id)
    return done


def _without_prediction(project: Project, version: TrainingVersion) -> ImageQuerySet:
    waiting = Image.objects.unlabeled().filter(project=project)
    return waiting.exclude(prediction__version=str(version.job_id)).order_by("-pk")


def _predict(version: TrainingVersion, batch: Sequence[Image]) -> None:
    rows = []
    for image in batch:
        try:
            answer = predictor.predict(version, local_path(image.file_name).read_bytes())
            scores = [[label, round(score, 4)] for label, score in answer.scores[:MAX_SCORES]]
        except (OSError, predictor.InvalidImage):
            scores = []  # stored as well, so that the file is not tried again
        rows.append(Prediction(image=image, version=str(version.job_id), scores=scores))
    Prediction.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["image"], update_fields=["version", "scores"]
    )


def prefer_predictions(
    project: Project, likely: Floats | None, ids: list[int], labels: Sequence[int]
) -> Floats | None:
    """`likely` [N, C] with the rows of predicted images replaced by the version's scores.

    Enqueues the prediction of the other images. None if there are neither probabilities nor predictions.
    """
    version = usable_version(project)
    if version is None:
        return likely
    columns = _columns(project, labels)
    row_of = {pk: row for row, pk in enumerate(ids)}
    probabilities = np.zeros((len(ids), len(labels)), np.float32) if likely is None else likely.copy()
    predicted_count = 0
    for chunk in chunks(ids):
        predictions = Prediction.objects.filter(image_id__in=chunk, version=str(version.job_id))
        for image_id, scores in predictions.order_by().values_list("image_id", "scores"):
            predicted_count += 1
            if scores:
                probabilities[row_of[image_id]] = 0
            for name, score in scores:
                if name.lower() in columns:
                    probabilities[row_of[image_id], columns[name.lower()]] = score
    if predicted_count < len(ids):
        jobs.enqueue("predict_unlabeled", project.pk)
    return probabilities if predicted_count or likely is not None else None


def _columns(project: Project, labels: Sequence[int]) -> dict[str, int]:
    names = dict(Label.objects.filter(project=project).values_list("pk", "name"))
    return {names[pk].lower(): column for column, pk in enumerate(labels) if pk in names}
