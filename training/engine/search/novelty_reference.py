"""What a model remembers of its training pictures, so that it can say "unknown"."""

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
from training.engine.search.clock import save_array
from training.engine.search.linear_probe import features_path, member_key, stratified_order
from training.engine.search.state import Candidate, Search

MAX_EXTRACTED = 400  # rows that a network whose features are not there looks at again


def make_reference(search: Search, best: Candidate, identity: BundleInfo) -> NoveltyReference | None:
    """References and thresholds of a model, or None where all training pictures are copies of one.

    They are features of a frozen network where the model has one: no training picture has shaped those, and
    they are there already. Else some training pictures are looked at again. Raises Halt.
    """
    number = min(range(len(best.members)), key=lambda i: _rank(search, best.members[i]))
    member = best.members[number]
    is_there = features_path(search, member).exists()
    references, distances = (
        _reference_of_frozen(search, member) if is_there else _reference_of_finetuned(search, best, member)
    )
    distances = distances[np.isfinite(distances)]
    if not len(distances):
        return None
    confidences, min_confidence = _confidences(search, best, identity)
    ends = np.cumsum([sum(one.taps) for one in best.members])
    return NoveltyReference(
        references=references,
        confidences=novelty.quantiles(confidences),
        distances=novelty.quantiles(distances),
        min_confidence=min_confidence,
        max_distance=float(np.quantile(distances, novelty.NEAR_SHARE)),
        member=number,
        first=int(ends[number]) - member.network.features,  # deep features end with the plain ones
    )


def needs_extraction(search: Search, contender: Candidate) -> bool:
    """Must some training pictures be looked at again before the contender can tell what is unknown?"""
    return not any(features_path(search, member).exists() for member in contender.members)


def _rank(search: Search, member: Member) -> int:
    """0 for a network with the pretrained weights, 1 for the base's, 2 for one that was fine-tuned here."""
    if not features_path(search, member).exists():
        return 2
    if search.config.base_bundle is None:
        return 0
    pretrained = replace(member, state=classifier.pretrained_state(member.network))
    return int(member_key(member) != member_key(pretrained))


def _reference_of_frozen(search: Search, member: Member) -> tuple[Floats, Floats]:
    """References [R, D], and the distance of each to the others [R]."""
    order = stratified_order(search.targets[search.head_rows], search.config.seed)
    picked = np.sort(order[: novelty.MAX_REFERENCES])
    features = np.load(features_path(search, member), mmap_mode="r")[picked, -member.network.features :]
    references, groups = novelty.as_stored(features), search.groups[search.head_rows[picked]]
    return references, novelty.distances_to_references(references, references, groups, groups)


def _reference_of_finetuned(search: Search, best: Candidate, member: Member) -> tuple[Floats, Floats]:
    """References [R, D], and distances [N] of pictures that the network had not seen to those that it had.

    How far apart pictures lie that have shaped the network says little about new ones. The distances are
    those of the trial and stay when the network is trained on all rows, as it has seen them all by then.
    """
    rows = np.sort(stratified_order(search.targets, search.config.seed)[:MAX_EXTRACTED])
    plain, tick = replace(member, is_deep=False), search.clock.tick
    features = extract_features(plain, search.pixels, search.threads, search.device, tick, rows.tolist())
    references, groups = novelty.as_stored(features.numpy()), search.groups[rows]
    path = _distances_path(search, member)
    if not path.exists():
        unseen = best.known[rows]
        seen = ~unseen if not unseen.all() else unseen
        save_array(
            path,
            novelty.distances_to_references(
                references[unseen], references[seen], groups[unseen], groups[seen]
            ),
        )
    return references, np.load(path)


def _distances_path(search: Search, member: Member) -> Path:
    name = f"distances_{member.network.timm_name}_{member.resolution}.npy"
    return search.workdir / "checkpoint" / name


def _confidences(search: Search, best: Candidate, identity: BundleInfo) -> tuple[Floats, float]:
    """[K] confidences of held-out pictures, and what SURE_SHARE of the rightly answered ones reach (or what
    is always enough, if that is less)."""
    is_multi, targets = search.config.is_multi_label, search.targets[best.known]
    scores = calibrate(best.held_out[best.known], identity.temperature, is_multi)
    sure = novelty.confidences(scores, identity.thresholds if is_multi else None)
    right = _is_correct(scores, targets, identity.thresholds if is_multi else None)
    reached = float(np.quantile(sure[right] if right.any() else sure, 1 - novelty.CONFIDENT_SHARE))
    return sure, min(reached, novelty.ALWAYS_CONFIDENT_MULTI_LABEL if is_multi else novelty.ALWAYS_CONFIDENT)


def _is_correct(scores: Floats, targets: Floats, thresholds: tuple[float, ...] | None) -> NDArray[np.bool_]:
    """[K] is the answer exactly the truth?"""
    if thresholds is None:
        return np.asarray(scores.argmax(axis=1) == targets.argmax(axis=1))
    return np.asarray(((scores >= np.asarray(thresholds, np.float32)) == (targets > 0.5)).all(axis=1))
