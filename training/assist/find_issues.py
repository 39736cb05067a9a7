"""The job that looks for what may be wrong with a project's images: copies, probable wrong labels, strangers.

It runs in the labeling worker after the suggestions, on the same vectors, and writes only what changed. What
it finds are columns of Image, which `projects.quality.issues` turns into filters.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projects.models import Project, Refusal
from projects.quality import hard_examples, issues
from training.assist import find_duplicates
from training.assist.suggest_labels import Bench, read_bench
from training.assist.write_findings import alive, write

logger = logging.getLogger(__name__)

FEWEST = 10  # labeled images, below which nobody can tell what is usual
LEAST = 0.6  # probability of another label that makes a label suspicious, at least …
AGAINST = 0.15  # … while its own has at most this
NEIGHBOURS = 5
UNSURE = 0.5  # probability of the best label, below which the model is not sure
FAR = 1.8  # times the usual distance to the nearest labeled images
DEVIATIONS = 3.5
SOFT = 8  # times less sharp than the project's median: blurred
MOST_TAUGHT = 5_000  # labeled images that every image is compared with
SMALLEST = np.array([0.1, 0.05, 5.0, 0.1], np.float32)  # a spread below this is none that one would see

Floats = NDArray[np.float32]


def inspect(project_id: int) -> int:
    """Fill suspicion, oddness and duplicate groups of a project; how many images changed."""
    project = Project.objects.alive().filter(pk=project_id).first()
    if project is None:
        return 0
    bench = read_bench(project)
    changed = write(project, ("suspicion_id", "suspicion_confidence"), suspects(project, bench))
    changed += write(project, ("oddness",), oddness(bench))
    changed += write(project, ("hard_reasons",), hard_reasons(project, bench))
    _find_blur_limit(project)
    return changed + find_duplicates.find_copies(project, at_once=False)


# --- probable wrong labels ---


def suspects(project: Project, bench: Bench) -> dict[int, tuple[Any, ...]]:
    """image → the label that it seems to have instead and its out-of-fold probability; others (None, None).

    Confident learning (Northcutt et al. 2021): another label is believed where it is as likely as it usually
    is for images that carry it. Only images with one label are judged.
    """
    from training.engine.assist.label_suggestions import out_of_fold

    found: dict[int, tuple[Any, ...]] = dict.fromkeys(bench.ids.tolist(), (None, None))
    rows = np.flatnonzero(bench.is_labeled & (bench.targets.sum(1) == 1))
    if project.is_multi_label or len(rows) < FEWEST:
        return found
    targets = bench.targets[rows]
    likely = out_of_fold(bench.features[rows], targets)
    if likely is None:
        return found
    mine = targets.argmax(1)
    own = likely[np.arange(len(rows)), mine]
    usual = np.array(
        [own[mine == label].mean() if (mine == label).any() else 1.0 for label in range(targets.shape[1])]
    )
    refused = set(Refusal.objects.filter(image__project=project).values_list("image_id", "label_id"))
    other = likely.argmax(1)
    sure = likely[np.arange(len(rows)), other]
    is_wrong = (other != mine) & (sure >= np.maximum(LEAST, usual[other])) & (own <= AGAINST)
    for place in np.flatnonzero(is_wrong).tolist():
        pk, label = int(bench.ids[rows[place]]), bench.labels[int(other[place])]
        if (pk, label) not in refused:
            found[pk] = (label, round(float(sure[place]), 3))
    return found


# --- unlike all others ---


def oddness(bench: Bench) -> dict[int, tuple[Any, ...]]:
    """image → mean distance to its nearest neighbours over the project's median; 1 is usual."""
    count = len(bench.ids)
    if count <= 4 * NEIGHBOURS:
        return {}
    found = np.empty(count, np.float32)
    for start in range(0, count, 2048):
        likeness = bench.features[start : start + 2048] @ bench.features.T
        nearest = -np.partition(-likeness, NEIGHBOURS, axis=1)[:, : NEIGHBOURS + 1]
        found[start : start + 2048] = 1 - (nearest.sum(1) - nearest.max(1)) / NEIGHBOURS  # without itself
    found /= max(float(np.median(found)), 1e-6)
    return {pk: (round(value, 1),) for pk, value in zip(bench.ids.tolist(), found.tolist(), strict=True)}


def _find_blur_limit(project: Project) -> None:
    """Flower photos and hand signs have a sharpness of 300 and more, 2 to 30 when blurred by 1 % of their
    longer side; cells under a microscope have 7 as they are: only what is far below the others is blurred."""
    sharp = [value for value in alive(project).values_list("sharpness", flat=True) if value is not None]
    limit = round(min(issues.BLURRED, float(np.median(sharp)) / SOFT), 2) if len(sharp) >= FEWEST else None
    Project.objects.filter(pk=project.pk).exclude(blur_limit=limit).update(blur_limit=limit)


# --- hard examples ---


def hard_reasons(project: Project, bench: Bench) -> dict[int, tuple[Any, ...]]:
    """image → the numbers of the documented reasons why it may be hard, as `hardness.write` has them.

    What is far from the training distribution is told by the median and the median absolute deviation of the
    labeled images (Iglewicz and Hoaglin 1993: beyond 3.5 of it).
    """
    taught = np.flatnonzero(bench.is_labeled)
    if len(taught) < FEWEST:
        return dict.fromkeys(bench.ids.tolist(), ("",))
    if len(taught) > MOST_TAUGHT:
        taught = np.sort(np.random.default_rng(0).choice(taught, MOST_TAUGHT, replace=False))
    columns = ("pk", "width", "height", "brightness", "sharpness", "suggestion_id", "confidence")
    rows = {row[0]: row[1:] for row in alive(project).values_list(*columns)}
    measured = np.array([_measures(*rows[pk][:4]) for pk in bench.ids.tolist()], np.float32)
    is_far = _far(measured, taught)
    neighbours, distance = _nearest_label(bench, taught)
    usual = float(np.median(distance[taught]))
    found = {}
    for place, pk in enumerate(bench.ids.tolist()):
        suggestion, sure = rows[pk][4:]
        reasons = [number for number, far in zip((5, 6, 7, 10), is_far[place], strict=True) if far]
        if suggestion is not None and not bench.is_labeled[place]:
            reasons += [1] if sure is not None and sure < UNSURE else []
            reasons += [2] if neighbours[place] != suggestion else []
        reasons += [3] if distance[place] > FAR * usual else []
        found[pk] = (hard_examples.write(reasons),)
    return found


def _measures(width: int, height: int, brightness: float | None, sharpness: float | None) -> list[float]:
    """Size and shape (logarithms), brightness, sharpness (logarithm); what is not known counts as usual."""
    light = np.nan if brightness is None else brightness
    sharp = np.nan if sharpness is None else np.log1p(sharpness)
    return [np.log(width * height), np.log(width / height), light, sharp]


def _far(measured: Floats, taught: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[N, 4] whether a measure is far from those of the labeled images."""
    for column in measured.T:
        known = ~np.isnan(column)
        column[~known] = np.median(column[known]) if known.any() else 0
    middle = np.median(measured[taught], axis=0)
    spread = 1.4826 * np.median(np.abs(measured[taught] - middle), axis=0)
    is_far: NDArray[np.bool_] = np.abs(measured - middle) > DEVIATIONS * np.maximum(spread, SMALLEST)
    return is_far


def _nearest_label(bench: Bench, taught: NDArray[np.int64]) -> tuple[list[int], Floats]:
    """The label of each image's nearest labeled neighbours (the most frequent), and its distance to them."""
    features, targets = bench.features[taught], bench.targets[taught]
    count = min(NEIGHBOURS, len(taught) - 1)
    labels, distance = [], np.empty(len(bench.ids), np.float32)
    place_of = {int(place): row for row, place in enumerate(taught)}
    for start in range(0, len(bench.ids), 2048):
        likeness = bench.features[start : start + 2048] @ features.T
        for row in range(len(likeness)):
            if start + row in place_of:  # not itself
                likeness[row, place_of[start + row]] = -2
        near = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        distance[start : start + len(near)] = 1 - np.take_along_axis(likeness, near, 1).mean(1)
        labels += [bench.labels[column] for column in targets[near].sum(1).argmax(1)]
    return labels, distance
