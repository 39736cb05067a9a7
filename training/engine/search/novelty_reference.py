"""Reference features and thresholds from the training images, by which a model detects unknown images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.engine.backbones import classifier
from training.engine.backbones.classifier import Member
from training.engine.backbones.features import extract_features
from training.engine.bundle import novelty
from training.engine.bundle.bundle import calibrate
from training.engine.bundle.novelty import Floats, NoveltyReference
from training.engine.bundle.writer import BundleInfo
from training.engine.search.linear_probe import features_path, member_key, stratified_order
from training.engine.search.state import FittedCandidate, SearchState
from training.engine.search.time_limit import save_array

MAX_EXTRACTED = 400  # rows extracted for a network whose features are not in the checkpoint


def make_reference(
    search: SearchState, candidate: FittedCandidate, info: BundleInfo
) -> NoveltyReference | None:
    """References and thresholds of a model, or None where all training images are duplicates of one.

    A frozen network's features are used where the model has one: no training image has shaped them, and they
    are in the checkpoint. Else the features of some training images are extracted. Raises FitStopped.
    """
    number = min(range(len(candidate.members)), key=lambda index: _rank(search, candidate.members[index]))
    member = candidate.members[number]
    if features_path(search, member).exists():
        references, distances = _reference_of_frozen(search, member)
    else:
        references, distances = _reference_of_finetuned(search, candidate, member)
    distances = distances[np.isfinite(distances)]
    if not len(distances):
        return None
    confidences, min_confidence = _confidences(search, candidate, info)
    ends = np.cumsum([sum(part.taps) for part in candidate.members])
    return NoveltyReference(
        references=references,
        confidences=novelty.quantiles(confidences),
        distances=novelty.quantiles(distances),
        min_confidence=min_confidence,
        max_distance=float(np.quantile(distances, novelty.NEAR_SHARE)),
        member=number,
        first_feature=int(ends[number]) - member.network.features,  # deep features end with the plain ones
    )


def needs_extraction(search: SearchState, candidate: FittedCandidate) -> bool:
    """Whether `make_reference` must extract features: those in the checkpoint are of other networks."""
    return not any(features_path(search, member).exists() for member in candidate.members)


def _rank(search: SearchState, member: Member) -> int:
    """0 for pretrained weights, 1 for those of the base bundle, 2 for those fine-tuned in this search."""
    if not features_path(search, member).exists():
        return 2
    if search.run.config.base_bundle is None:
        return 0
    pretrained = replace(member, state=classifier.pretrained_state(member.network))
    return int(member_key(member) != member_key(pretrained))


def _reference_of_frozen(search: SearchState, member: Member) -> tuple[Floats, Floats]:
    """References [R, D], and the distance of each to the others [R]."""
    order = stratified_order(search.data.targets[search.head_rows], search.run.config.seed)
    picked = np.sort(order[: novelty.MAX_REFERENCES])
    features = np.load(features_path(search, member), mmap_mode="r")[picked, -member.network.features :]
    references, groups = novelty.as_stored(features), search.data.groups[search.head_rows[picked]]
    return references, novelty.distances_to_references(references, references, groups, groups)


def _reference_of_finetuned(
    search: SearchState, candidate: FittedCandidate, member: Member
) -> tuple[Floats, Floats]:
    """References [R, D], and distances [N] of images that the network has not seen to those that it has.

    Distances among images that have shaped the network say little about new ones. The distances are stored in
    the trial, and stay when the network is trained on all rows: it has then seen all of them.
    """
    rows = np.sort(stratified_order(search.data.targets, search.run.config.seed)[:MAX_EXTRACTED])
    plain, tick = member.plain, search.run.clock.tick
    features = extract_features(
        plain, search.data.pixels, search.run.threads, search.run.device, tick, rows.tolist()
    )
    references, groups = novelty.as_stored(features.numpy()), search.data.groups[rows]
    path = _distances_path(search, member)
    if not path.exists():
        unseen = candidate.is_held_out[rows]
        seen = ~unseen if not unseen.all() else unseen
        save_array(
            path,
            novelty.distances_to_references(
                references[unseen], references[seen], groups[unseen], groups[seen]
            ),
        )
    return references, np.load(path)


def _distances_path(search: SearchState, member: Member) -> Path:
    name = f"distances_{member.network.timm_name}_{member.resolution}.npy"
    return search.run.workdir / "checkpoint" / name


def _confidences(search: SearchState, candidate: FittedCandidate, info: BundleInfo) -> tuple[Floats, float]:
    """[K] confidences of held-out images, and the confidence from which on an image counts as known.

    CONFIDENT_SHARE of the correctly predicted images reach it; it is never above ALWAYS_CONFIDENT.
    """
    is_multi, targets = search.run.config.is_multi_label, search.data.targets[candidate.is_held_out]
    scores = calibrate(candidate.held_out[candidate.is_held_out], info.temperature, is_multi)
    confidences = novelty.confidences(scores, info.thresholds if is_multi else None)
    correct = _is_correct(scores, targets, info.thresholds if is_multi else None)
    reached = float(
        np.quantile(confidences[correct] if correct.any() else confidences, 1 - novelty.CONFIDENT_SHARE)
    )
    limit = novelty.ALWAYS_CONFIDENT_MULTI_LABEL if is_multi else novelty.ALWAYS_CONFIDENT
    return confidences, min(reached, limit)


def _is_correct(scores: Floats, targets: Floats, thresholds: tuple[float, ...] | None) -> NDArray[np.bool_]:
    """[K] whether exactly the true labels are predicted."""
    if thresholds is None:
        return np.asarray(scores.argmax(axis=1) == targets.argmax(axis=1))
    return np.asarray(((scores >= np.asarray(thresholds, np.float32)) == (targets > 0.5)).all(axis=1))
