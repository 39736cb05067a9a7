"""Frozen networks: their features of the training images, and the heads that are fitted on them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.engine.backbones.classifier import Head, Member
from training.engine.backbones.features import StopExtraction, extract_features
from training.engine.search import budget, linear_head
from training.engine.search.clock import save_array
from training.engine.search.scoring import Floats, Score, score_logits
from training.engine.search.state import Search

HEAD_ROWS_FILE = "head_rows.npy"  # of a checkpoint: the rows that heads are fitted on


def member_key(member: Member) -> str:
    """A name for files and tables: network, size and, for a model trained further, its weights."""
    mark = sum(float(tensor.double().sum()) for tensor in member.state.values())
    return f"{member.network.timm_name}_{member.resolution}_{mark:.4f}"


def choose_head_rows(search: Search, first: Member) -> None:
    """Set `head_rows`: all rows, or as many as the first network sees in the time that it may take.

    Its features are kept on the way. The rows are taken in an order in which every beginning is stratified.
    Nothing happens where they are chosen.
    """
    if len(search.head_rows):
        return
    path = search.workdir / "checkpoint" / HEAD_ROWS_FILE
    if not path.exists():
        columns, classes = sum(first.network.taps), len(search.labels)
        most = budget.max_head_rows(len(search.paths), columns, classes, search.config.max_seconds)
        order = stratified_order(search.targets, search.config.seed)[:most]
        features = _extract_timed(search, replace(first, is_deep=True), order, at_least=2 * classes)
        rows = order[: len(features)]
        save_array(features_path(search, first), features[torch.from_numpy(np.argsort(rows))].numpy())
        save_array(path, np.sort(rows))
    search.head_rows = np.load(path)
    if len(search.head_rows) < len(search.paths):
        search.clock.is_short |= len(search.head_rows) < budget.MAX_HEAD_ROWS
        search.clock.emit(
            "note", f"Heads are fitted on {len(search.head_rows)} of {len(search.paths)} images."
        )


def stratified_order(targets: Floats, seed: int) -> NDArray[np.int64]:
    """The N rows of targets [N, C], each label spread evenly from the beginning to the end."""
    kinds = targets.argmax(axis=1)
    place = np.zeros(len(targets))
    random = np.random.default_rng(seed)
    for kind in np.unique(kinds):
        rows = random.permutation(np.flatnonzero(kinds == kind))
        place[rows] = np.arange(len(rows)) / len(rows)
    return np.argsort(place, kind="stable")


def frozen_features(search: Search, member: Member, turns: int = 0) -> Tensor:
    """[H, F] features of a frozen member for the H `head_rows`, turned by so many quarters; from the
    checkpoint where they are there.

    What is kept are the deep features, whose end are the plain ones.
    """
    path = features_path(search, member, turns)
    if not path.exists():
        deep = replace(member, is_deep=True)
        save_array(path, _extract_timed(search, deep, search.head_rows, turns=turns).numpy())
    return torch.from_numpy(np.load(path)[:, -sum(member.taps) :])


def features_path(search: Search, member: Member, turns: int = 0) -> Path:
    kind = f"turned_{turns}" if turns else "features"
    return search.workdir / "checkpoint" / f"{kind}_{member_key(member)}.npy"


def _extract_timed(
    search: Search, member: Member, rows: NDArray[np.int64], at_least: int | None = None, turns: int = 0
) -> Tensor:
    """Features of the rows; the seconds from the first image on count as throughput.

    With `at_least` the first network's time is limited: then those of the first rows, at least so many.
    """
    first: list[float] = []

    def tick(share: float) -> None:
        if not first:
            first.append(time.monotonic())
        search.clock.tick(share)
        used = time.monotonic() - first[0]
        is_over = used > budget.FIRST_FEATURES_SHARE * search.config.max_seconds
        if at_least is not None and is_over and share * len(rows) > at_least:
            raise StopExtraction

    features = extract_features(
        member, search.pixels, search.threads, search.device, tick, rows.tolist(), turns
    )
    search.throughput.passes += len(features)
    search.throughput.seconds += time.monotonic() - first[0]
    return features


@dataclass(frozen=True, slots=True)
class JointFit:
    """Members with their shares of one head; its held-out logits [N, C] hold for the `known` [N] rows."""

    members: tuple[Member, ...]
    held_out: Floats
    known: NDArray[np.bool_]
    verdict: Score


def fit_joint_head(search: Search, members: Sequence[Member], views: int = 1) -> JointFit:
    """One head over the members' features side by side, split into each member's share.

    `views` of each picture train it: the plain one, and those turned by one, two and three quarters.
    """
    rows, scales, tables = search.head_rows, list[float](), list[Tensor]()
    for turns in range(views):
        blocks: list[Tensor] = []
        for member in members:
            blocks += torch.split(frozen_features(search, member, turns), list(member.taps), dim=1)
        scales = scales or [
            max(float(block.std()), 1e-6) for block in blocks
        ]  # so that none outweighs another
        tables.append(torch.cat([block / scale for block, scale in zip(blocks, scales, strict=True)], dim=1))
    fit = linear_head.cross_validate(
        torch.stack(tables) if views > 1 else tables[0][None],
        search.targets[rows],
        search.folds[rows],
        search.config.is_multi_label,
        search.weights[rows],
        search.clock.tick,
    )
    held_out, known = np.zeros_like(search.targets), search.judges(members, rows)
    held_out[rows] = fit.held_out
    verdict = score_logits(held_out[known], search.targets[known], search.config.is_multi_label)
    return JointFit(_split_head(members, fit.head, scales), held_out, known, verdict)


def _split_head(members: Sequence[Member], head: Head, scales: Sequence[float]) -> tuple[Member, ...]:
    """The columns of a joint head to the members that they belong to; the bias goes to the first."""
    factors = torch.cat(
        [torch.full((width,), 1 / scale) for width, scale in zip(_tap_widths(members), scales, strict=True)]
    )
    weights = torch.split(head.weight * factors, [sum(member.taps) for member in members], dim=1)
    biases = [head.bias] + [torch.zeros_like(head.bias)] * (len(members) - 1)
    return tuple(
        replace(member, head=Head(weight.contiguous(), bias))
        for member, weight, bias in zip(members, weights, biases, strict=True)
    )


def _tap_widths(members: Sequence[Member]) -> list[int]:
    return [width for member in members for width in member.taps]
