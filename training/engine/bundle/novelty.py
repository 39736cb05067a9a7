"""Is a picture of the model's world? From how sure the model is, and from how far its features lie from those
of training pictures; without torch.

known.npz   `references` [R, D] float16: features of training pictures, of one network;
            `confidences` [Q] and `distances` [Q] float32: quantiles, from 0 to 1, of training pictures that
            the model or the references had not seen

The distance is the mean one to the nearest references (Sun et al. 2022), between square roots of features at
length 1 (Hellinger; Arandjelović and Zisserman 2012), 0 to √2. All dimensions count: those in which training
pictures hardly differ, which a projection on their principal components drops, are those in which strange
pictures do.
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
MAX_REFERENCES = 1000  # 2.5 MB on disk, less than a millisecond a picture
CONFIDENT_SHARE = 0.98  # of the rightly answered pictures that are sure enough
NEAR_SHARE = 0.99  # of the training pictures that are near enough
ALWAYS_CONFIDENT, ALWAYS_CONFIDENT_MULTI_LABEL = (
    0.9,
    1.0,
)  # confidences that are always enough, as easy sets make nearly all certain
CONFIDENCE_TOLERANCE = 0.01  # confidences that differ by so little are the same
QUANTILES = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True)
class NoveltyScore:
    """`confidence` as `confidences` gives it; `distance` 0 to √2, of which smaller is nearer.

    `familiarity`, 0 to 1, sorts pictures for people: the share of training pictures that are at most as sure,
    or the share that lie at least as far, whichever is smaller. Where the model holds no references all but
    the confidence is None: nobody knows.
    """

    confidence: float
    distance: float | None = None
    familiarity: float | None = None
    is_known: bool | None = None


@dataclass(frozen=True, slots=True)
class NoveltyReference:
    """References [R, D] float32 of length 1, quantiles [Q] of both measures, and where they say "unknown".

    `member` is the network's number in the model; `first` is the first of its D columns among the features
    of all members.
    """

    references: Floats
    confidences: Floats
    distances: Floats
    min_confidence: float
    max_distance: float
    member: int
    first: int

    def judge(self, features: Floats, confidence: float) -> NoveltyScore:
        """One picture, by the features [F] of all members and its confidence."""
        own = features[None, self.first : self.first + self.references.shape[1]]
        distance = float(_mean_nearest(_pairwise_distances(directions(own), self.references))[0])
        sure = float(np.interp(confidence + CONFIDENCE_TOLERANCE, self.confidences, QUANTILES))
        near = 1 - float(np.interp(distance, self.distances, QUANTILES))
        is_known = confidence >= self.min_confidence and distance <= self.max_distance
        return NoveltyScore(confidence, distance, min(sure, near), is_known)

    def describe(self) -> dict[str, Any]:
        """The entry in bundle.json."""
        return {
            "min_confidence": self.min_confidence,
            "max_distance": self.max_distance,
            "member": self.member,
            "first_feature": self.first,
            "dimensions": self.references.shape[1],
            "references": len(self.references),
            "neighbours": NEIGHBOURS,
        }

    def write(self, folder: Path) -> None:
        """known.npz into a folder that is swapped in whole."""
        np.savez(
            folder / REFERENCE_FILE,
            references=self.references.astype(np.float16),
            confidences=self.confidences,
            distances=self.distances,
        )


def read_reference(folder: Path, description: dict[str, Any]) -> NoveltyReference | None:
    """What a bundle knows, None for those made before they did. Raises EngineError for a damaged one."""
    entry = description.get("unknown")
    if entry is None:
        return None
    try:
        with np.load(folder / REFERENCE_FILE, allow_pickle=False) as arrays:
            known = NoveltyReference(
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
    if known.references.shape != expected or not known.confidences.shape == known.distances.shape == (101,):
        raise _damaged_error()
    return known


def confidences(scores: Floats, thresholds: Sequence[float] | None) -> Floats:
    """[...] of scores [..., C]: the largest one.

    With `thresholds` [C], for several labels an image, the largest one relative to its label's threshold: at
    least 1 where a label is named. So a picture that rightly has no label is as sure as it can be below 1.
    """
    relative = scores if thresholds is None else scores / np.asarray(thresholds, np.float32)
    return np.asarray(relative.max(axis=-1), np.float32)


def directions(features: NDArray[Any]) -> Floats:
    """[N, D] of length 1: the square roots of features [N, D], which are not negative."""
    roots = np.sqrt(np.maximum(features.astype(np.float32), 0))
    return np.asarray(roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-6), np.float32)


def as_stored(features: NDArray[Any]) -> Floats:
    """Directions [N, D] as known.npz gives them back."""
    return directions(features).astype(np.float16).astype(np.float32)


def distances_to_references(
    queries: Floats, references: Floats, query_groups: NDArray[np.int64], groups: NDArray[np.int64]
) -> Floats:
    """[N] distances of queries [N, D] to references [R, D]; those of a query's own group (itself and its
    copies) are left out. Infinite where nothing is left."""
    apart = _pairwise_distances(queries, references)
    apart[query_groups[:, None] == groups] = np.inf
    return _mean_nearest(apart)


def quantiles(values: Floats) -> Floats:
    """[Q] of values [N]."""
    return np.asarray(np.quantile(values, QUANTILES), np.float32)


def _pairwise_distances(queries: Floats, references: Floats) -> Floats:
    return np.asarray(np.sqrt(np.maximum(2 - 2 * queries @ references.T, 0)), np.float32)


def _mean_nearest(apart: Floats) -> Floats:
    """[N] means of the smallest of each row [N, R]; infinite ones do not count, unless all are."""
    count = min(NEIGHBOURS, apart.shape[1])
    nearest = np.partition(apart, count - 1, axis=1)[:, :count]
    is_there = np.isfinite(nearest)
    sums = np.where(is_there, nearest, 0).sum(axis=1)
    return np.where(is_there.any(axis=1), sums / np.maximum(is_there.sum(axis=1), 1), np.inf).astype(
        np.float32
    )


def _damaged_error() -> EngineError:
    return EngineError("What the model knows of its training images cannot be read.", "Train it again.")
