"""The job that learns from a project's labels and suggests labels for its unlabeled images.

It runs in the labeling worker after each action, once for several of them, and writes only what changed.
Suggestions never become labels by themselves.

Rows are written by SQL of our own: Django's bulk_update is 38 times slower on SQLite and 10 times on
PostgreSQL (benchmarks/mechanisms.py suggestions, 5,000 images), and people's actions wait for the writes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from cachetools import LRUCache
from django.db import connection, transaction
from numpy.typing import NDArray

from exeml_site.lib import jobs
from projects.images.similarity import unpack
from projects.models import Annotation, Embedding, Image, Label, Project, RejectedSuggestion
from training.assist import predict_unlabeled
from training.assist.embed_images import network_name

logger = logging.getLogger(__name__)

WRITE_BATCH_SIZE = 1_000  # rows of one write: an action of a person must not wait longer
READ_BATCH_SIZE = 5_000
MOST_PROJECTS = 2  # whose vectors stay in memory: 250 MB for 100,000 images
MIN_CHANGE = 0.01  # change of a probability; acquisition_score may differ by twice as much

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass
class Vectors:
    """The embeddings of a project, row by row."""

    ids: Ids = field(default_factory=lambda: np.zeros(0, np.int64))
    rows: NDArray[np.float16] = field(default_factory=lambda: np.zeros((0, 0), np.float16))


@dataclass(frozen=True)
class FeatureTable:
    """Embeddings and labels of the living images that have an embedding; arrays have one row per image."""

    ids: Ids
    features: Floats
    is_labeled: NDArray[np.bool_]
    labels: list[int]  # ids, the columns of `targets`
    targets: Floats
    stored: list[tuple[int | None, float | None, float | None]]  # suggestion, confidence, acquisition_score


@dataclass(frozen=True)
class Suggestion:
    """The suggestion for one unlabeled image."""

    image_id: int
    suggestion: int | None
    confidence: float | None
    acquisition_score: float


_kept: LRUCache[int, Vectors] = LRUCache(MOST_PROJECTS)


def forget() -> None:
    """Let go of all vectors."""
    _kept.clear()


def update_suggestions(project_id: int) -> int:
    """Suggest a label for every unlabeled image of the project; returns how many rows changed."""
    project = Project.objects.alive().filter(pk=project_id).first()
    if project is None:
        _kept.pop(project_id, None)
        return 0
    table = read_feature_table(project)
    changed = _changed(table, _suggestions(project, table))
    for start in range(0, len(changed), WRITE_BATCH_SIZE):
        _write(changed[start : start + WRITE_BATCH_SIZE])
    jobs.enqueue("find_issues", project_id)  # behind other projects' suggestions, which are more urgent
    return len(changed)


# --- reading ---


def read_feature_table(project: Project) -> FeatureTable:
    """Images, embeddings and labels of the project as they are now."""
    columns = ("pk", "is_labeled", "suggestion_id", "confidence", "acquisition_score")
    images = Image.objects.alive().filter(project=project).order_by("pk").values_list(*columns)
    state = {pk: rest for pk, *rest in images}
    vectors = _vectors(project, list(state))
    living = np.isin(vectors.ids, np.fromiter(state, np.int64, len(state)))
    ids = vectors.ids[living]
    labels = list(Label.objects.filter(project=project).order_by("pk").values_list("pk", flat=True))
    return FeatureTable(
        ids,
        vectors.rows[living].astype(np.float32),
        np.array([state[pk][0] for pk in ids.tolist()], np.bool_),
        labels,
        _targets(project, ids, labels),
        [tuple(state[pk][1:]) for pk in ids.tolist()],
    )


def _vectors(project: Project, image_ids: list[int]) -> Vectors:
    """The vectors of these images; what was read before stays in the worker's memory."""
    kept = _kept.setdefault(project.pk, Vectors())
    missing = np.setdiff1d(np.array(image_ids, np.int64), kept.ids).tolist()
    network = network_name()
    for start in range(0, len(missing), READ_BATCH_SIZE):
        part = Embedding.objects.filter(
            image_id__in=missing[start : start + READ_BATCH_SIZE], network=network
        )
        read = list(part.order_by().values_list("image_id", "vector"))
        if read:
            rows = np.stack([unpack(vector) for _, vector in read])
            kept.ids = np.concatenate([kept.ids, np.array([pk for pk, _ in read], np.int64)])
            kept.rows = np.concatenate([kept.rows, rows]) if kept.rows.size else rows
    return kept


def _targets(project: Project, ids: Ids, labels: Sequence[int]) -> Floats:
    """[N, C] 1 where the image carries the label."""
    targets = np.zeros((len(ids), len(labels)), np.float32)
    row_of = {pk: row for row, pk in enumerate(ids.tolist())}
    column_of = {pk: column for column, pk in enumerate(labels)}
    carried = Annotation.objects.filter(image__project=project, image__deleted_at=None).order_by()
    for image_id, label_id in carried.values_list("image_id", "label_id"):
        if image_id in row_of and label_id in column_of:
            targets[row_of[image_id], column_of[label_id]] = 1
    return targets


# --- learning ---


def _suggestions(project: Project, table: FeatureTable) -> list[Suggestion]:
    from training.engine.assist import label_suggestions

    is_unlabeled = ~table.is_labeled
    if not is_unlabeled.any():
        return []
    features, labeled_targets = table.features[is_unlabeled], table.targets[table.is_labeled]
    fitted = label_suggestions.fit(table.features[table.is_labeled], labeled_targets, project.is_multi_label)
    ids = table.ids[is_unlabeled].tolist()
    probabilities = fitted.probabilities(features) if fitted else None
    each = len(labeled_targets) / max(1, int((labeled_targets.sum(0) > 0).sum()))
    if probabilities is not None and each < label_suggestions.FEW_PER_LABEL and not project.is_multi_label:
        probabilities = label_suggestions.share_with_neighbours(features, probabilities)
    probabilities = predict_unlabeled.prefer_predictions(project, probabilities, ids, table.labels)
    useful = label_suggestions.acquisition_scores(features, probabilities, each)
    if probabilities is None:
        return [Suggestion(pk, None, None, score) for pk, score in zip(ids, useful.tolist(), strict=True)]
    probabilities = _without_rejected(project, probabilities, ids, table.labels)
    best = probabilities.argmax(1)
    confidence = probabilities[np.arange(len(ids)), best]
    return [
        Suggestion(
            pk,
            table.labels[column] if probability > 0 else None,
            probability if probability > 0 else None,
            score,
        )
        for pk, column, probability, score in zip(
            ids, best.tolist(), confidence.tolist(), useful.tolist(), strict=True
        )
    ]


def _without_rejected(project: Project, probabilities: Floats, ids: list[int], labels: list[int]) -> Floats:
    refused = RejectedSuggestion.objects.filter(image__project=project, image__is_labeled=False).order_by()
    row_of, column_of = ({pk: index for index, pk in enumerate(all_ids)} for all_ids in (ids, labels))
    for image_id, label_id in refused.values_list("image_id", "label_id"):
        if image_id in row_of and label_id in column_of:
            probabilities[row_of[image_id], column_of[label_id]] = 0
    return probabilities


# --- writing ---


def _changed(table: FeatureTable, suggestions: list[Suggestion]) -> list[Suggestion]:
    stored = dict(zip(table.ids.tolist(), table.stored, strict=True))
    return [suggestion for suggestion in suggestions if _differs(suggestion, *stored[suggestion.image_id])]


def _differs(
    new: Suggestion, suggestion: int | None, confidence: float | None, acquisition_score: float | None
) -> bool:
    if new.suggestion != suggestion or acquisition_score is None:
        return True
    if abs(new.acquisition_score - acquisition_score) > 2 * MIN_CHANGE:
        return True
    return confidence is not None and abs((new.confidence or 0) - confidence) > MIN_CHANGE


def _write(part: Sequence[Suggestion]) -> None:
    """Only where nobody labeled or deleted the image meanwhile."""
    table = Image._meta.db_table
    values = [
        (suggestion.suggestion, suggestion.confidence, suggestion.acquisition_score, suggestion.image_id)
        for suggestion in part
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"UPDATE {table} AS image SET suggestion_id = new.s, confidence = new.c, usefulness = new.u "
                "FROM unnest(%s::bigint[], %s::float8[], %s::float8[], %s::bigint[]) AS new(s, c, u, id) "
                "WHERE image.id = new.id AND NOT image.is_labeled AND image.deleted_at IS NULL",
                [list(column) for column in zip(*values, strict=True)],
            )
        else:
            cursor.executemany(
                f"UPDATE {table} SET suggestion_id = %s, confidence = %s, usefulness = %s "
                "WHERE id = %s AND NOT is_labeled AND deleted_at IS NULL",
                values,
            )
