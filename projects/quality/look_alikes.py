"""Columns of metadata whose images look alike: their neighbours in a random split are too easy to recognize.

For a sample of images the nearest other image is looked up by the stored embeddings. If it has the same value
far more often than other images of its label do, validation says little about new values.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from exeml_site.lib.bulk import chunks
from projects.models import Annotation, Embedding, MetadataColumn, MetadataValue, Project

MAX_SAMPLE = 400  # images whose nearest neighbour is searched
MAX_CANDIDATES = 4_000  # images among which it is searched
MIN_SAMPLE = 40
MIN_ALIKE = 0.15  # share of the sample whose neighbour has the same value
MIN_RATIO = 3.0  # times that share by chance

Floats = NDArray[np.float32]


def advice(project: Project) -> list[MetadataColumn]:
    """The columns whose images look alike, and which may be split."""
    columns = project.metadata_columns.filter(is_never_split=False, alike__gte=MIN_ALIKE)
    return [column for column in columns if (column.alike or 0) >= MIN_RATIO * (column.alike_by_chance or 0)]


def update(project: Project) -> None:
    """Measure all columns of the project again; about 0.2 s for each."""
    for column in MetadataColumn.objects.filter(project=project):
        alike, by_chance = measure(column)
        if (column.alike, column.alike_by_chance) != (alike, by_chance):
            MetadataColumn.objects.filter(pk=column.pk).update(alike=alike, alike_by_chance=by_chance)


def measure(column: MetadataColumn) -> tuple[float | None, float | None]:
    """(share of the sample whose nearest image has the same value, that share by chance), None for too few.

    By chance: of a random image with the label of the nearest one. Duplicates are no neighbours.
    """
    values, groups = _valued_images(column)
    ids, vectors = _embeddings(list(values))
    if len(ids) < MIN_SAMPLE or len(set(values.values())) < 2:
        return None, None
    labels = _labels(ids)
    value = np.array([values[pk] for pk in ids])
    label, group = np.array([labels.get(pk, 0) for pk in ids]), np.array([groups[pk] for pk in ids])
    rows = np.arange(min(len(ids), MAX_SAMPLE))  # the order is random
    similarity = vectors[rows] @ vectors.T
    similarity[group[rows][:, None] == group] = -np.inf  # the image itself and its duplicates
    nearest = similarity.argmax(1)
    of_label, of_both = Counter(label.tolist()), Counter(zip(label.tolist(), value.tolist(), strict=True))
    chances = [
        _share_without(of_both[label[near], value[row]], of_label[label[near]], label[near] == label[row])
        for row, near in zip(rows, nearest, strict=True)
    ]
    return round(float((value[rows] == value[nearest]).mean()), 3), round(float(np.mean(chances)), 3)


def _share_without(same: int, images: int, is_own: bool) -> float:
    """The share of images with the same value, the image itself not counted."""
    return (same - is_own) / max(images - is_own, 1)


def _valued_images(column: MetadataColumn) -> tuple[dict[int, str], dict[int, int]]:
    """Image id → value of up to MAX_CANDIDATES images in random order, and image id → group of duplicates."""
    rows = MetadataValue.objects.filter(column=column, image__deleted_at=None).order_by("image")
    found = list(rows.values_list("image", "value", "image__duplicate_group"))
    order = np.random.default_rng(0).permutation(len(found))[:MAX_CANDIDATES]
    chosen = [found[index] for index in order]
    return {pk: value for pk, value, _ in chosen}, {pk: group or -pk for pk, _, group in chosen}


def _embeddings(image_ids: list[int]) -> tuple[list[int], Floats]:
    """Ids in the same order, and their vectors [N, D], of the network that most of them have one of."""
    stored: dict[int, tuple[str, bytes]] = {}
    for chunk in chunks(image_ids):
        for pk, network, vector in Embedding.objects.filter(image_id__in=chunk).values_list(
            "image_id", "network", "vector"
        ):
            stored[pk] = network, bytes(vector)
    if not stored:
        return [], np.zeros((0, 0), np.float32)
    ((network, _),) = Counter(network for network, _ in stored.values()).most_common(1)
    ids = [pk for pk in image_ids if pk in stored and stored[pk][0] == network]
    return ids, np.stack([np.frombuffer(stored[pk][1], np.float16) for pk in ids]).astype(np.float32)


def _labels(image_ids: list[int]) -> dict[int, int]:
    """Image id → id of its (last) label."""
    labels: dict[int, int] = {}
    for chunk in chunks(image_ids):
        rows = Annotation.objects.filter(image_id__in=chunk).order_by("label")
        labels |= dict(rows.values_list("image_id", "label_id"))
    return labels
