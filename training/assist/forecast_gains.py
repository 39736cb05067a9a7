"""The job that forecasts what more images of each label would bring a version."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from exeml_site.lib.bulk import chunks
from projects.datasets import compare
from projects.datasets.groups import evaluation_groups
from projects.datasets.publish import ManifestDamaged
from projects.images.similarity import unpack
from projects.models import Embedding, Project
from training.assist.embed_images import network_name
from training.models import TrainingVersion

logger = logging.getLogger(__name__)

ADDED_IMAGES = 20
MIN_IMAGES = 30  # images with features


def forecast(version_id: int) -> int:
    """Fill `learning` of a Completed version; returns the number of labels with a forecast."""
    from training.engine.assist.learning_curves import expected_gains

    version = TrainingVersion.objects.completed().filter(pk=version_id).first()
    if version is None:
        return 0
    try:
        images = compare.version_images(version.dataset_version)
    except ManifestDamaged as problem:
        logger.warning("nothing can be forecast for %s: %s", version, problem)
        return 0
    vectors = _vectors(list(images))
    if len(vectors) < MIN_IMAGES:
        return 0
    ids = sorted(vectors)
    labels = sorted({label for pk in ids for label in images[pk].labels})
    targets = np.array([[label in images[pk].labels for label in labels] for pk in ids], np.float32)
    features = np.stack([vectors[pk] for pk in ids]).astype(np.float32)
    gains_of_labels = expected_gains(
        features, targets, _groups(version.project, ids), ADDED_IMAGES, version.project.is_multi_label
    )
    learning = {
        label: [gain.pictures, *(round(value, 4) for value in (gain.now, gain.gain, gain.low, gain.high))]
        for label, gain in zip(labels, gains_of_labels, strict=True)
        if gain is not None
    }
    TrainingVersion.objects.filter(pk=version.pk).update(learning=learning)
    return len(learning)


def _vectors(image_ids: list[int]) -> dict[int, Any]:
    vectors, network = dict[int, Any](), network_name()
    for chunk in chunks(image_ids):
        rows = Embedding.objects.filter(image_id__in=chunk, network=network).order_by()
        vectors |= {pk: unpack(vector) for pk, vector in rows.values_list("image_id", "vector")}
    return vectors


def _groups(project: Project, ids: list[int]) -> Any:
    """[N] int64; duplicates, and images that are never split, have the same number."""
    numbers = evaluation_groups(project, ids) or [None] * len(ids)
    return np.array([pk if number is None else number for pk, number in zip(ids, numbers, strict=True)])
