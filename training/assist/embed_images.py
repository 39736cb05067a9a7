"""The job that embeds new images with the engine's fastest network.

It runs in the labeling worker, whose one process keeps the network loaded. The row is the truth: an image
without an Embedding still has to be embedded, so a killed job loses nothing and a repeated one adds
nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from exeml_site.lib import jobs
from exeml_site.lib.storage import local_path
from projects.images import similarity
from projects.models import Embedding, Image, Project, Split
from projects.models.image import ImageQuerySet

if TYPE_CHECKING:
    from training.engine.assist.embedder import Embedder

logger = logging.getLogger(__name__)

BATCH_SIZE, MAX_PER_JOB = 256, 1024  # images per write, and per job
MAX_NEIGHBOURS = 12
UNREADABLE = "unreadable"  # stored instead of the network's name, so that the file is not tried again


def embed(project_id: int) -> int:
    """Embed images of the project that have no embedding, newest first; returns how many.

    After MAX_PER_JOB images, or BATCH_SIZE while other jobs wait, the job enqueues itself again, so that
    suggestions for the first ones and other projects need not wait for the last one.
    """
    project = Project.objects.alive().filter(pk=project_id).first()
    done, is_interrupted = 0, False
    while project and not is_interrupted and (batch := list(_without_embedding(project)[:BATCH_SIZE])):
        _embed(batch)
        done += len(batch)
        is_interrupted = done >= MAX_PER_JOB or jobs.has_waiting(settings.QUEUE_LABELING)
    if done:
        jobs.enqueue("suggest_labels", project_id)
        logger.info("embedded %d images of project %d", done, project_id)
    if is_interrupted:
        jobs.enqueue("embed_images", project_id)
    return done


def enqueue_missing_embeddings() -> None:
    """Periodic job: enqueue projects with images whose embedding job was lost or never enqueued."""
    waiting = Image.objects.alive().filter(embedding=None, project__deleted_at=None).order_by()
    for project_id in waiting.values_list("project_id", flat=True).distinct():
        jobs.enqueue("embed_images", project_id)


def nearest_labeled_images(project_id: int, content: bytes) -> list[int]:
    """Ids of the project's labeled training images most similar to an image file, most similar first."""
    project = Project.objects.alive().filter(pk=project_id).first()
    vectors, is_readable = _embedder().embed([content])
    if project is None or not is_readable[0]:
        return []
    ranked = similarity.nearest_to(project, network_name(), vectors[0], similarity.LABELED_CANDIDATES)
    labeled = Image.objects.labeled().filter(pk__in=ranked, split=Split.TRAIN)
    labeled_ids = set(labeled.values_list("pk", flat=True))
    return [pk for pk in ranked if pk in labeled_ids][:MAX_NEIGHBOURS]


def _without_embedding(project: Project) -> ImageQuerySet:
    return Image.objects.alive().filter(project=project, embedding=None).order_by("-pk")


def _embed(batch: Sequence[Image]) -> None:
    vectors, is_readable = _embedder().embed([_thumbnail_path(image) for image in batch])
    rows = zip(batch, similarity.pack(vectors), similarity.sketches(vectors), is_readable, strict=True)
    network = network_name()
    Embedding.objects.bulk_create(
        [
            Embedding(
                image=image,
                network=network if is_known else UNREADABLE,
                vector=vector if is_known else b"",
                sketch=sketch if is_known else b"",
            )
            for image, vector, sketch, is_known in rows
        ],
        ignore_conflicts=True,
    )


def _thumbnail_path(image: Image) -> Path | None:
    """The thumbnail, if it exists: larger than the network's input and a tenth of the work to decode."""
    try:
        return local_path(image.thumbnail_name)
    except OSError:
        logger.warning("image %d has no thumbnail", image.pk)
        return None


def network_name() -> str:
    from training.engine.assist.embedder import EMBEDDING_NAME

    return EMBEDDING_NAME


@cache
def _embedder() -> Embedder:
    from training.engine.assist.embedder import Embedder

    return Embedder(settings.EXEML_ENGINE_THREADS or os.cpu_count() or 1)
