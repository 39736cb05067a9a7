"""The job that finds issues in the images of a project: label issues, outliers, duplicates, hard examples.

It runs in the labeling worker after the suggestions, on the same embeddings, and writes only what changed.
The results are columns of Image, which `projects.quality.issues` turns into filters.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projects.models import Project, RejectedSuggestion
from projects.quality import hard_examples, issues, look_alikes
from training.assist import find_duplicates
from training.assist.suggest_labels import FeatureTable, read_feature_table
from training.assist.write_findings import alive_images, write_changed

logger = logging.getLogger(__name__)

MIN_LABELED_IMAGES = 10  # fewer do not show what is usual
MIN_OTHER_PROBABILITY = 0.6  # of the suspected label, for a label issue
MAX_OWN_PROBABILITY = 0.15  # of the image's own label, for a label issue
NEIGHBOURS = 5
LOW_CONFIDENCE = 0.5  # of the best label; below, the model is unsure
FAR_DISTANCE_FACTOR = 1.8  # times the median distance to the nearest labeled images
MAX_DEVIATIONS = 3.5
BLUR_FACTOR = 8  # times less sharp than the project's median: blurred
MAX_REFERENCE_IMAGES = 5_000  # labeled images that each image is compared with
MIN_SPREAD = np.array([0.1, 0.05, 5.0, 0.1], np.float32)  # of each measure: less is not visible

Floats = NDArray[np.float32]


def update_issues(project_id: int) -> int:
    """Update the issue columns of a project's images; returns how many rows changed.

    While images wait for their embedding nothing is done: issues show in comparison with all images, which
    takes time, and the last embedding asks again.
    """
    project = Project.objects.alive().filter(pk=project_id).first()
    if project is None or alive_images(project).filter(embedding=None).exists():
        return 0
    table = read_feature_table(project)
    changed = write_changed(
        project, ("suspected_label_id", "suspected_confidence"), label_issues(project, table)
    )
    changed += write_changed(project, ("outlier_score",), outlier_scores(table))
    changed += write_changed(project, ("hard_reasons",), hard_reasons(project, table))
    _update_blur_limit(project)
    look_alikes.update(project)
    return changed + find_duplicates.update_duplicate_groups(project, at_once=False)


# --- label issues ---


def label_issues(project: Project, table: FeatureTable) -> dict[int, tuple[Any, ...]]:
    """image id → (suspected label, its out-of-fold probability), or (None, None).

    Confident learning (Northcutt et al. 2021): another label is suspected if it is at least as likely as it
    usually is for images that carry it. Only images with exactly one label are checked.
    """
    from training.engine.assist.label_suggestions import out_of_fold_probabilities

    issues_of: dict[int, tuple[Any, ...]] = dict.fromkeys(table.ids.tolist(), (None, None))
    rows = np.flatnonzero(table.is_labeled & (table.targets.sum(1) == 1))
    if project.is_multi_label or len(rows) < MIN_LABELED_IMAGES:
        return issues_of
    targets = table.targets[rows]
    probabilities = out_of_fold_probabilities(table.features[rows], targets)
    if probabilities is None:
        return issues_of
    every, own = np.arange(len(rows)), targets.argmax(1)
    own_probability = probabilities[every, own]
    # Thresholds of confident learning: how probable each label is, on average, for images that carry it.
    usual = np.array([_mean_or_one(own_probability[own == label]) for label in range(targets.shape[1])])
    other = probabilities.argmax(1)
    confidence = probabilities[every, other]
    is_issue = (other != own) & (own_probability <= MAX_OWN_PROBABILITY)
    is_issue &= confidence >= np.maximum(MIN_OTHER_PROBABILITY, usual[other])
    rejections = RejectedSuggestion.objects.filter(image__project=project)
    rejected = set(rejections.values_list("image_id", "label_id"))
    for index in np.flatnonzero(is_issue).tolist():
        pk, label = int(table.ids[rows[index]]), table.labels[int(other[index])]
        if (pk, label) not in rejected:
            issues_of[pk] = (label, round(float(confidence[index]), 3))
    return issues_of


def _mean_or_one(probabilities: Floats) -> float:
    return float(probabilities.mean()) if probabilities.size else 1.0


# --- outliers and blur ---


def outlier_scores(table: FeatureTable) -> dict[int, tuple[Any, ...]]:
    """image id → mean distance to its nearest neighbours over the project's median; 1 is usual."""
    count = len(table.ids)
    if count <= 4 * NEIGHBOURS:
        return {}
    scores = np.empty(count, np.float32)
    for start in range(0, count, 2048):
        similarity = table.features[start : start + 2048] @ table.features.T
        nearest = -np.partition(-similarity, NEIGHBOURS, axis=1)[:, : NEIGHBOURS + 1]
        # The largest similarity is that of the image with itself.
        scores[start : start + 2048] = 1 - (nearest.sum(1) - nearest.max(1)) / NEIGHBOURS
    scores /= max(float(np.median(scores)), 1e-6)
    return {pk: (round(value, 1),) for pk, value in zip(table.ids.tolist(), scores.tolist(), strict=True)}


def _update_blur_limit(project: Project) -> None:
    """Set the sharpness below which an image of the project counts as blurred.

    Flower photos and hand signs have a sharpness of 300 and more, and 2 to 30 when blurred by 1 % of their
    longer side; sharp microscope images of cells have 7. So the limit depends on the project's median.
    """
    values = alive_images(project).values_list("sharpness", flat=True)
    sharpness = [value for value in values if value is not None]
    limit = None
    if len(sharpness) >= MIN_LABELED_IMAGES:
        limit = round(min(issues.MAX_BLURRED_SHARPNESS, float(np.median(sharpness)) / BLUR_FACTOR), 2)
    Project.objects.filter(pk=project.pk).exclude(blur_limit=limit).update(blur_limit=limit)


# --- hard examples ---


def hard_reasons(project: Project, table: FeatureTable) -> dict[int, tuple[Any, ...]]:
    """image id → numbers of the reasons why it may be hard, as `hard_examples.format_reasons` writes them.

    A measure is far from the training distribution if it is more than 3.5 median absolute deviations from
    the median of the labeled images (Iglewicz and Hoaglin 1993).
    """
    labeled = np.flatnonzero(table.is_labeled)
    if len(labeled) < MIN_LABELED_IMAGES:
        return dict.fromkeys(table.ids.tolist(), ("",))
    if len(labeled) > MAX_REFERENCE_IMAGES:
        labeled = np.sort(np.random.default_rng(0).choice(labeled, MAX_REFERENCE_IMAGES, replace=False))
    # First, the four measures of a file, compared with those of the labeled images.
    columns = ("pk", "width", "height", "brightness", "sharpness", "suggestion_id", "confidence")
    rows = {row[0]: row[1:] for row in alive_images(project).values_list(*columns)}
    measured = np.array([_measures(*rows[pk][:4]) for pk in table.ids.tolist()], np.float32)
    is_far = _deviates(measured, labeled)
    # Second, the neighbours: their label may contradict the suggestion, or all of them may be far away.
    neighbours, distance = _nearest_label(table, labeled)
    usual = float(np.median(distance[labeled]))
    reasons_of = {}
    for index, pk in enumerate(table.ids.tolist()):
        suggestion, confidence = rows[pk][4:]
        reasons = [number for number, far in zip((5, 6, 7, 10), is_far[index], strict=True) if far]
        if suggestion is not None and not table.is_labeled[index]:
            reasons += [1] if confidence is not None and confidence < LOW_CONFIDENCE else []
            reasons += [2] if neighbours[index] != suggestion else []
        reasons += [3] if distance[index] > FAR_DISTANCE_FACTOR * usual else []
        reasons_of[pk] = (hard_examples.format_reasons(reasons),)
    return reasons_of


def _measures(width: int, height: int, brightness: float | None, sharpness: float | None) -> list[float]:
    """[log area, log aspect ratio, brightness, log sharpness]; NaN if unknown, which counts as usual."""
    return [
        np.log(width * height),
        np.log(width / height),
        np.nan if brightness is None else brightness,
        np.nan if sharpness is None else np.log1p(sharpness),
    ]


def _deviates(measured: Floats, labeled: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[N, 4] whether a measure is far from those of the labeled images."""
    for column in measured.T:
        is_known = ~np.isnan(column)
        column[~is_known] = np.median(column[is_known]) if is_known.any() else 0
    middle = np.median(measured[labeled], axis=0)
    spread = 1.4826 * np.median(np.abs(measured[labeled] - middle), axis=0)
    is_far: NDArray[np.bool_] = np.abs(measured - middle) > MAX_DEVIATIONS * np.maximum(spread, MIN_SPREAD)
    return is_far


def _nearest_label(table: FeatureTable, labeled: NDArray[np.int64]) -> tuple[list[int], Floats]:
    """The most frequent label among each image's nearest labeled neighbours, and the mean distance to it."""
    features, targets = table.features[labeled], table.targets[labeled]
    count = min(NEIGHBOURS, len(labeled) - 1)
    labels, distance = [], np.empty(len(table.ids), np.float32)
    column_of = {int(image_row): row for row, image_row in enumerate(labeled)}
    for start in range(0, len(table.ids), 2048):
        similarity = table.features[start : start + 2048] @ features.T
        for row in range(len(similarity)):
            if start + row in column_of:  # the image itself is no neighbour
                similarity[row, column_of[start + row]] = -2
        nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        distance[start : start + len(nearest)] = 1 - np.take_along_axis(similarity, nearest, 1).mean(1)
        labels += [table.labels[column] for column in targets[nearest].sum(1).argmax(1)]
    return labels, distance
