"""The job that embeds new images with the engine's fastest network, and measures their thumbnails.

It runs in the labeling worker, whose one process keeps the network loaded. The row is the truth: an image
without an Embedding still has to be embedded, so a killed job loses nothing and a repeated one adds
nothing. Each file is decoded once for its thumbnail, measures, embedding and duplicate key.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from PIL import Image as Pillow

from exeml_site.lib import jobs
from projects.images import similarity
from projects.images.decode import ImageRefused
from projects.images.thumbnail import forget_deleted, store_thumbnail, stored_thumbnail
from projects.models import Embedding, Image, Project, Split
from projects.models.image import ImageQuerySet
from training.assist import find_duplicates

if TYPE_CHECKING:
    from training.engine.assist.embedder import Embedder
    from training.engine.data.images import Pixels

logger = logging.getLogger(__name__)

BATCH_SIZE, MAX_PER_JOB = 256, 1024  # images per write, and per job
MAX_NEIGHBOURS = 12
UNREADABLE = "unreadable"  # stored instead of the network's name, so that the file is not tried again


@dataclass(frozen=True)
class _Seen:
    """What is read from an image: the network's input, the duplicate key, and measures if they are new."""

    square: Pixels
    key: Pixels
    measures: tuple[float, float] | None


def embed(project_id: int) -> int:
    """Embed images of the project that have no embedding, newest first; returns how many.

    After MAX_PER_JOB images, or a batch while other jobs wait, the job enqueues itself again, so that other
    projects need not wait for the last image.
    """
    project = Project.objects.alive().filter(pk=project_id).first()
    images = list(_without_embedding(project)[:MAX_PER_JOB]) if project else []
    done = 0
    for batch, seen in _read_ahead(images):
        _embed(batch, seen)
        done += len(batch)
        if jobs.waiting(settings.QUEUE_LABELING) - {f"embed_images-{project_id}"}:
            break
    is_interrupted = done < len(images) or len(images) == MAX_PER_JOB
    if done:
        logger.info("embedded %d images of project %d", done, project_id)
        if _is_time_for_suggestions(project_id, done, is_interrupted):
            jobs.enqueue("suggest_labels", project_id)
    if is_interrupted:
        jobs.enqueue("embed_images", project_id)
    return done


def _is_time_for_suggestions(project_id: int, done: int, is_interrupted: bool) -> bool:
    """Whether the embeddings of the project have doubled by the last `done` ones, or no more are expected.

    Suggestions take time in proportion to all images. After each part of an upload, they would take hours.
    """
    total = Embedding.objects.filter(image__project=project_id).count()
    if total.bit_length() > (total - done).bit_length():
        return True
    is_requested = f"embed_images-{project_id}" in jobs.waiting(settings.QUEUE_LABELING)
    return not (is_interrupted or is_requested)


def enqueue_missing_embeddings() -> None:
    """Periodic job: enqueue projects with images whose embedding job was lost or never enqueued."""
    waiting = Image.objects.alive().filter(embedding=None, project__deleted_at=None).order_by()
    for project_id in waiting.values_list("project_id", flat=True).distinct():
        jobs.enqueue("embed_images", project_id)


def nearest_labeled_images(project_id: int, content: bytes) -> list[int]:
    """Ids of the project's labeled training images most similar to an image file, most similar first."""
    from training.engine.assist.embedder import read

    project = Project.objects.alive().filter(pk=project_id).first()
    vectors, is_readable = _embedder().embed([read(content)])
    if project is None or not is_readable[0]:
        return []
    ranked = similarity.nearest_to(project, network_name(), vectors[0], similarity.LABELED_CANDIDATES)
    labeled = Image.objects.labeled().filter(pk__in=ranked, split=Split.TRAIN)
    labeled_ids = set(labeled.values_list("pk", flat=True))
    return [pk for pk in ranked if pk in labeled_ids][:MAX_NEIGHBOURS]


def _without_embedding(project: Project) -> ImageQuerySet:
    return Image.objects.alive().filter(project=project, embedding=None).order_by("-pk")


def _read_ahead(images: Sequence[Image]) -> Iterator[tuple[Sequence[Image], Iterator[_Seen | None]]]:
    """The images in batches with what is read from them; the next batch is read while one is written."""
    batches = [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]
    if not batches:
        return
    _embedder()  # before there is a second thread
    pool = ThreadPoolExecutor(_threads())
    try:
        ahead = pool.map(_see, batches[0])
        for batch, following in zip(batches, [*batches[1:], []], strict=True):
            seen, ahead = ahead, pool.map(_see, following)
            yield batch, seen
    finally:
        pool.shutdown(cancel_futures=True)


def _see(image: Image) -> _Seen | None:
    """Read an image's thumbnail, and make it where it or its measures are missing; without the database."""
    from training.engine.assist.embedder import INPUT_SIDE
    from training.engine.data.duplicates import KEY_SIDE
    from training.engine.data.images import to_square

    try:
        content = stored_thumbnail(image) if image.brightness is not None else b""
        made = None if content else store_thumbnail(image)
        picture = made.picture if made else Pillow.open(io.BytesIO(content), formats=("WEBP",)).convert("RGB")
    except (ImageRefused, OSError) as problem:
        logger.warning("image %d has no thumbnail: %s", image.pk, problem)
        return None
    measures = made.measures() if made else None
    return _Seen(to_square(picture, INPUT_SIDE), to_square(picture, KEY_SIDE), measures)


def _embed(batch: Sequence[Image], read: Iterable[_Seen | None]) -> None:
    """Embed a batch and store all that was read from it, of images that still exist."""
    seen = list[_Seen | None]()

    def squares() -> Iterator[Pixels | None]:
        for each in read:
            seen.append(each)
            yield each.square if each else None

    vectors, _ = _embedder().embed(squares())
    existing = forget_deleted(batch)
    network, found = network_name(), {image.pk: each for image, each in zip(batch, seen, strict=True) if each}
    rows = [
        Embedding(
            image=image,
            network=network if image.pk in found else UNREADABLE,
            vector=vector if image.pk in found else b"",
            sketch=sketch if image.pk in found else b"",
        )
        for image, vector, sketch in zip(
            batch, similarity.pack(vectors), similarity.sketches(vectors), strict=True
        )
        if image.pk in existing
    ]
    measured = [image for image in batch if image.pk in existing and image.pk in found]
    with transaction.atomic():
        _store_measures({image: found[image.pk] for image in measured})
        find_duplicates.store_keys({image.pk: found[image.pk].key for image in measured})
        Embedding.objects.bulk_create(rows, ignore_conflicts=True)


def _store_measures(seen: dict[Image, _Seen]) -> None:
    new = [image for image, each in seen.items() if each.measures]
    for image in new:
        image.brightness, image.sharpness = seen[image].measures or (None, None)
    Image.objects.bulk_update(new, ["brightness", "sharpness"])


def network_name() -> str:
    from training.engine.assist.embedder import EMBEDDING_NAME

    return EMBEDDING_NAME


def _threads() -> int:
    return settings.EXEML_ENGINE_THREADS or os.cpu_count() or 1


@cache
def _embedder() -> Embedder:
    from training.engine.assist.embedder import Embedder

    return Embedder(_threads())
