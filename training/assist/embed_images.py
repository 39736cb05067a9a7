"""The job that looks at new images: an embedding of each, by the engine's quickest network.

It runs in the labeling worker, whose one process keeps the network loaded. The row is the truth: an image
without an Embedding is still to be looked at, so a killed job loses nothing and a second one doubles nothing.
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

BATCH_SIZE, MAX_PER_JOB = 256, 1024  # images between two writes, and of one job
MAX_NEIGHBOURS = 12
UNREADABLE = "unreadable"  # instead of the network's name: the file will not be tried again


def embed(project_id: int) -> int:
    """Embed living images of the project that have no embedding, newest first; how many there were.

    After SLICE of them it stands in line again, so that suggestions for the first ones need not wait for the
    last, nor other projects for this one.
    """
    project = Project.objects.alive().filter(pk=project_id).first()
    done = 0
    while project and done < MAX_PER_JOB and (batch := list(_without_embedding(project)[:BATCH_SIZE])):
        _embed(batch)
        done += len(batch)
    if done:
        jobs.enqueue("suggest_labels", project_id)
        logger.info("embedded %d images of project %d", done, project_id)
    if done >= MAX_PER_JOB:
        jobs.enqueue("embed_images", project_id)
    return done


def enqueue_missing_embeddings() -> None:
    """Run by the clock: images that were added while the queue was away, or whose job was killed."""
    waiting = Image.objects.alive().filter(embedding=None, project__deleted_at=None).order_by()
    for project_id in waiting.values_list("project_id", flat=True).distinct():
        jobs.enqueue("embed_images", project_id)


def nearest_labeled_images(project_id: int, picture: bytes) -> list[int]:
    """Labeled training images of the project most like a picture that is none of them, most alike first."""
    project = Project.objects.alive().filter(pk=project_id).first()
    vectors, is_readable = _embedder().embed([picture])
    if project is None or not is_readable[0]:
        return []
    ranked = similarity.nearest_to(project, network_name(), vectors[0], similarity.LABELED_CANDIDATES)
    taught = Image.objects.labeled().filter(pk__in=ranked, split=Split.TRAIN)
    chosen = set(taught.values_list("pk", flat=True))
    return [pk for pk in ranked if pk in chosen][:MAX_NEIGHBOURS]


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
    """The thumbnail: larger than what the network sees, and a tenth of the work to decode."""
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
