"""Detection of unknown images, by the confidence of the model and the distance of the features to those of
training images; without torch.

known.npz   `references` [R, D] float16: features of training images, from one network;
            `confidences` [Q] and `distances` [Q] float32: quantiles, from 0 to 1, of training images that
            the model or the references have not seen

The distance is the mean over the nearest references (Sun et al. 2022), between square roots of features at
length 1 (Hellinger; Arandjelović and Zisserman 2012), 0 to √2. All dimensions are kept: unknown images differ
in those in which training images hardly do, which a projection on principal components would drop.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.config import EngineError

Floats = NDArray[np.float32]
REFERENCE_FILE = "known.npz"
NEIGHBOURS = 5
MAX_REFERENCES = 1000  # 2.5 MB on disk, less than a millisecond per image
CONFIDENT_SHARE = 0.98  # of the correctly predicted images, which are confident enough
NEAR_SHARE = 0.99  # of the training images, which are near enough
ALWAYS_CONFIDENT, ALWAYS_CONFIDENT_MULTI_LABEL = (
    0.9,
    1.0,
)  # always enough: on easy sets nearly all images are certain
CONFIDENCE_TOLERANCE = 0.01  # smaller differences of confidences are ignored
QUANTILES = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True)
class NoveltyScore:
    """`confidence` as `confidences` gives it; `distance` to the references, 0 to √2.

    `familiarity`, 0 to 1, sorts images for people: the share of training images that are at most as
    confident, or the share at least as distant, whichever is smaller. For a model without references all but
    the confidence is None.
    """

    confidence: float
    distance: float | None = None
    familiarity: float | None = None
    is_known: bool | None = None


@dataclass(frozen=True, slots=True)
class NoveltyReference:
    """References [R, D] float32 of length 1, quantiles [Q] of both measures, and the thresholds of "known".

    `member` is the index of the network in the model; `first_feature` is the first of its D columns among the
    features of all members.
    """

    references: Floats
    confidences: Floats
    distances: Floats
    min_confidence: float
    max_distance: float
    member: int
    first_feature: int

    def score(self, features: Floats, confidence: float) -> NoveltyScore:
        """The novelty score of one image, by the features [F] of all members and its confidence."""
        own = features[None, self.first_feature : self.first_feature + self.references.shape[1]]
        distance = float(_mean_nearest(_pairwise_distances(directions(own), self.references))[0])
        confident = float(np.interp(confidence + CONFIDENCE_TOLERANCE, self.confidences, QUANTILES))
        near = 1 - float(np.interp(distance, self.distances, QUANTILES))
        is_known = confidence >= self.min_confidence and distance <= self.max_distance
        return NoveltyScore(confidence, distance, min(confident, near), is_known)

    def describe(self) -> dict[str, Any]:
        """The entry in bundle.json."""
        return {
            "min_confidence": self.min_confidence,
            "max_distance": self.max_distance,
            "member": self.member,
            "first_feature": self.first_feature,
            "dimensions": self.references.shape[1],
            "references": len(self.references),
            "neighbours": NEIGHBOURS,
        }

    def write(self, folder: Path) -> None:
        """Write known.npz into a folder."""
        np.savez(
            folder / REFERENCE_FILE,
            references=self.references.astype(np.float16),
            confidences=self.confidences,
            distances=self.distances,
        )


def read_reference(folder: Path, description: dict[str, Any]) -> NoveltyReference | None:
    """The novelty reference of a bundle; None in bundles from before it existed. Raises EngineError."""
    entry = description.get("unknown")
    if entry is None:
        return None
    try:
        with np.load(folder / REFERENCE_FILE, allow_pickle=False) as arrays:
            reference = NoveltyReference(
                arrays["references"].astype(np.float32),
                arrays["confidences"].astype(np.float32),
                arrays["distances"].astype(np.float32),
                float(entry["min_confidence"]),
                float(entry["max_distance"]),
                int(entry["member"]),
                int(entry["first_feature"]),
            )
        expected = (entry["references"], entry["dimensions"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as problem:
        raise _damaged_error() from problem
    if (
        reference.references.shape != expected
        or not reference.confidences.shape == reference.distances.shape == (101,)
    ):
        raise _damaged_error()
    return reference


def confidences(scores: Floats, thresholds: Sequence[float] | None) -> Floats:
    """[...] the largest of the scores [..., C].

    With `thresholds` [C], for multi-label models, the largest score relative to its label's threshold: at
    least 1 where a label is predicted, below 1 where rightly none is.
    """
    relative = scores if thresholds is None else scores / np.asarray(thresholds, np.float32)
    return np.asarray(relative.max(axis=-1), np.float32)


def directions(features: NDArray[Any]) -> Floats:
    """[N, D] of length 1: the square roots of features [N, D]; negative ones count as 0."""
    roots = np.sqrt(np.maximum(features.astype(np.float32), 0))
    return np.asarray(roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-6), np.float32)


def as_stored(features: NDArray[Any]) -> Floats:
    """Directions [N, D] at the precision of known.npz."""
    return directions(features).astype(np.float16).astype(np.float32)


def distances_to_references(
    queries: Floats, references: Floats, query_groups: NDArray[np.int64], groups: NDArray[np.int64]
) -> Floats:
    """[N] distances of queries [N, D] to references [R, D]; infinite where no reference is left.

    References of a query's own group, which are itself and its duplicates, are left out.
    """
    distances = _pairwise_distances(queries, references)
    distances[query_groups[:, None] == groups] = np.inf
    return _mean_nearest(distances)


def quantiles(values: Floats) -> Floats:
    """[Q] quantiles of values [N]."""
    return np.asarray(np.quantile(values, QUANTILES), np.float32)


def _pairwise_distances(queries: Floats, references: Floats) -> Floats:
    # For one image the threads of BLAS would wait busily for the next one: 3 ms of a core for 0.1 ms of work.
    is_one = len(queries) == 1
    cosines = np.einsum("nd,rd->nr", queries, references) if is_one else queries @ references.T
    return np.asarray(np.sqrt(np.maximum(2 - 2 * cosines, 0)), np.float32)


def _mean_nearest(distances: Floats) -> Floats:
    """[N] means of the smallest distances in each row [N, R]; infinite ones are ignored, unless all are."""
    count = min(NEIGHBOURS, distances.shape[1])
    nearest = np.partition(distances, count - 1, axis=1)[:, :count]
    is_there = np.isfinite(nearest)
    sums = np.where(is_there, nearest, 0).sum(axis=1)
    return np.where(is_there.any(axis=1), sums / np.maximum(is_there.sum(axis=1), 1), np.inf).astype(
        np.float32
    )


def _damaged_error() -> EngineError:
    return EngineError("What the model knows of its training images cannot be read.", "Train it again.")
