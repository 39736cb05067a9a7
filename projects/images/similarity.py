"""Nearest neighbours of an image by its embedding: candidates by short sketches, then ranked by vectors.

The search is a linear scan of 64 bytes per image (6.4 MB for 100,000 images), so it needs no index.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from exeml_site.lib.bulk import chunks
from projects.models import Annotation, Embedding, Image, Label, Project

Floats = NDArray[np.float32]

SKETCH_BITS = 512
CANDIDATE_FACTOR = 4  # candidates that are ranked by their vectors, per wanted image
MIN_CANDIDATES = 300  # lower limit of these candidates
LABELED_CANDIDATES = 300  # neighbours among which labeled images are searched


def pack(vectors: Floats) -> list[bytes]:
    """Rows of `vectors` [N, D], of norm 1, as stored bytes (float16)."""
    return [row.tobytes() for row in vectors.astype(np.float16)]


def unpack(stored: bytes | memoryview) -> NDArray[np.float16]:
    return np.frombuffer(stored, np.float16)


def sketches(vectors: Floats) -> list[bytes]:
    """Signs of 512 fixed random projections of `vectors` [N, D], 64 bytes per row.

    The Hamming distance of two sketches estimates the angle of their vectors (Charikar 2002).
    """
    signs = (vectors @ _projections(vectors.shape[1])) > 0
    return [row.tobytes() for row in np.packbits(signs, axis=1)]


@cache
def _projections(width: int) -> Floats:
    """Random projections [width, 512] from a fixed seed, since sketches are stored."""
    return np.random.Generator(np.random.PCG64(512)).standard_normal((width, SKETCH_BITS)).astype(np.float32)


def nearest(project: Project, image_id: int, count: int) -> list[int]:
    """Ids of the `count` most similar images outside the bin, itself first; empty without an embedding.

    Reads 64 bytes of each image of the project, and the vectors of the nearest candidates only.
    """
    own = Embedding.objects.filter(image__project=project, image_id=image_id).first()
    if own is None:
        return []
    vector = unpack(own.vector).astype(np.float32)
    return _nearest(project, own.network, bytes(own.sketch), vector, count, first=image_id)


def nearest_to(project: Project, network: str, vector: Floats, count: int) -> list[int]:
    """Ids of the `count` images outside the bin whose embeddings are most similar to `vector` [D]."""
    return _nearest(project, network, sketches(vector[None])[0], vector, count)


def _nearest(
    project: Project, network: str, sketch: bytes, vector: Floats, count: int, first: int | None = None
) -> list[int]:
    embeddings = Embedding.objects.filter(image__project=project, image__deleted_at=None, network=network)
    rows = list(embeddings.order_by().values_list("image_id", "sketch"))
    if not rows:
        return []
    ids = np.array([row[0] for row in rows], np.int64)
    stored = np.frombuffer(b"".join(bytes(row[1]) for row in rows), np.uint64).reshape(len(rows), -1)
    distance = np.bitwise_count(stored ^ np.frombuffer(sketch, np.uint64)).sum(1, dtype=np.int64)
    distance[ids == first] = -1
    candidate_count = min(len(ids), max(MIN_CANDIDATES, CANDIDATE_FACTOR * count))
    candidates = ids[np.argpartition(distance, candidate_count - 1)[:candidate_count]]
    return _by_vector(vector, candidates, count, first)


def nearest_labeled(image: Image, count: int) -> list[tuple[Image, list[Label]]]:
    """The `count` most similar labeled images with their labels, nearest first."""
    ranked = nearest(image.project, image.pk, LABELED_CANDIDATES)[1:]
    labeled = Image.objects.labeled().filter(pk__in=ranked).in_bulk()
    return _with_labels([labeled[pk] for pk in ranked if pk in labeled][:count])


def nearest_among(image: Image, count: int, image_ids: Container[int]) -> list[Image]:
    """The `count` most similar ones of the images with these ids, nearest first."""
    ranked = nearest(image.project, image.pk, LABELED_CANDIDATES)[1:]
    chosen = [pk for pk in ranked if pk in image_ids][:count]
    images = Image.objects.in_bulk(chosen)
    return [images[pk] for pk in chosen if pk in images]


def with_labels(image_ids: Sequence[int]) -> list[tuple[Image, list[Label]]]:
    """The labeled ones of the images, in this order, each with its labels."""
    labeled = Image.objects.labeled().filter(pk__in=image_ids).in_bulk()
    return _with_labels([labeled[pk] for pk in image_ids if pk in labeled])


def _with_labels(images: Sequence[Image]) -> list[tuple[Image, list[Label]]]:
    labels: dict[int, list[Label]] = {image.pk: [] for image in images}
    for annotation in Annotation.objects.filter(image__in=images).select_related("label"):
        labels[annotation.image_id].append(annotation.label)
    return [(image, labels[image.pk]) for image in images]


def _by_vector(
    query_vector: Floats, candidates: NDArray[np.int64], count: int, first: int | None
) -> list[int]:
    ranked: list[tuple[float, int]] = []
    for chunk in chunks(candidates.tolist()):
        part = Embedding.objects.filter(image_id__in=chunk).order_by()
        for image_id, vector in part.values_list("image_id", "vector"):
            similarity = 2.0 if image_id == first else float(unpack(vector).astype(np.float32) @ query_vector)
            ranked.append((-similarity, image_id))
    return [image_id for _, image_id in sorted(ranked)[:count]]
