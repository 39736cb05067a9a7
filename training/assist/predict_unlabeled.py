"""What a Completed version says about the images that wait: its predictions take the place of suggestions.

A version is asked as long as it knows every label in use and learned from at least half as many images as
are labeled now; after that the suggestions learned from today's labels know more. It sees the stored files,
in the labeling worker, a thousand at a time; suggestions are there before its first answer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from exeml_site.lib import jobs
from exeml_site.lib.storage import local_path
from projects.labels.counts import images_per_label
from projects.models import Image, Label, Prediction, Project
from projects.models.image import ImageQuerySet
from training.models import Status, TrainingVersion
from training.serving.inference import model_cache, predictor

logger = logging.getLogger(__name__)

BATCH_SIZE, MAX_PER_JOB = 128, 1024  # images between two writes, and of one job
READ_BATCH_SIZE = 5_000
MAX_SCORES = 5
MIN_TRAINED_SHARE = 0.5  # of the images that are labeled now, a version has learned from at least this share

Floats = NDArray[np.float32]


def usable_version(project: Project) -> TrainingVersion | None:
    """The newest Completed version that is asked about the images which wait, if there is one."""
    versions = TrainingVersion.objects.alive().filter(project=project, status=Status.COMPLETED)
    version = versions.select_related("dataset_version").order_by("-number").first()
    if version is None:
        return None
    carriers = images_per_label(project)
    in_use = Label.objects.filter(project=project, pk__in=[pk for pk, count in carriers.items() if count > 0])
    known = {name.lower() for name in version.dataset_version.counts}
    if not all(name.lower() in known for name in in_use.values_list("name", flat=True)):
        return None
    labeled = Image.objects.labeled().filter(project=project).count()
    return version if version.dataset_version.image_count >= MIN_TRAINED_SHARE * labeled else None


def predict_waiting(project_id: int) -> int:
    """Predict images that wait and have no prediction of the version, newest first; how many."""
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
            scores = []  # asked once: its file will not be better the next time
        rows.append(Prediction(image=image, version=str(version.job_id), scores=scores))
    Prediction.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["image"], update_fields=["version", "scores"]
    )


def prefer_predictions(
    project: Project, likely: Floats | None, ids: list[int], labels: Sequence[int]
) -> Floats | None:
    """`likely` [N, C] with the rows of images that a version predicted replaced by what it said.

    Asks for predictions of the images that have none.
    """
    version = usable_version(project)
    if version is None:
        return likely
    columns = _columns(project, labels)
    row_of = {pk: row for row, pk in enumerate(ids)}
    found = np.zeros((len(ids), len(labels)), np.float32) if likely is None else likely.copy()
    told = 0
    for start in range(0, len(ids), READ_BATCH_SIZE):
        part = Prediction.objects.filter(
            image_id__in=ids[start : start + READ_BATCH_SIZE], version=str(version.job_id)
        )
        for image_id, scores in part.order_by().values_list("image_id", "scores"):
            told += 1
            if scores:
                found[row_of[image_id]] = 0
            for name, score in scores:
                if name.lower() in columns:
                    found[row_of[image_id], columns[name.lower()]] = score
    if told < len(ids):
        jobs.enqueue("predict_unlabeled", project.pk)
    return found if told or likely is not None else None


def _columns(project: Project, labels: Sequence[int]) -> dict[str, int]:
    names = dict(Label.objects.filter(project=project).values_list("pk", "name"))
    return {names[pk].lower(): column for column, pk in enumerate(labels) if pk in names}
