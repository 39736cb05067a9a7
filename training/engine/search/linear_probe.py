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
from training.engine.backbones.features import Enough, extract
from training.engine.search import budget, linear_head
from training.engine.search.clock import save_array
from training.engine.search.scoring import Table, Verdict, judge
from training.engine.search.state import Search

HEAD_ROWS = "head_rows.npy"  # of a checkpoint: the rows that heads are fitted on


def key(member: Member) -> str:
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
    path = search.workdir / "checkpoint" / HEAD_ROWS
    if not path.exists():
        columns, classes = sum(first.network.taps), len(search.labels)
        most = budget.head_rows(len(search.paths), columns, classes, search.config.max_seconds)
        order = stratified_order(search.targets, search.config.seed)[:most]
        features = _timed(search, replace(first, is_deep=True), order, at_least=2 * classes)
        rows = order[: len(features)]
        save_array(features_path(search, first), features[torch.from_numpy(np.argsort(rows))].numpy())
        save_array(path, np.sort(rows))
    search.head_rows = np.load(path)
    if len(search.head_rows) < len(search.paths):
        search.journal.is_short |= len(search.head_rows) < budget.MOST_HEAD_ROWS
        search.journal.tell(
            "note", f"Heads are fitted on {len(search.head_rows)} of {len(search.paths)} images."
        )


def stratified_order(targets: Table, seed: int) -> NDArray[np.int64]:
    """The N rows of targets [N, C], each label spread evenly from the beginning to the end."""
    kinds = targets.argmax(axis=1)
    place = np.zeros(len(targets))
    random = np.random.default_rng(seed)
    for kind in np.unique(kinds):
        rows = random.permutation(np.flatnonzero(kinds == kind))
        place[rows] = np.arange(len(rows)) / len(rows)
    return np.argsort(place, kind="stable")


def features_of(search: Search, member: Member, turns: int = 0) -> Tensor:
    """[H, F] features of a frozen member for the H `head_rows`, turned by so many quarters; from the
    checkpoint where they are there.

    What is kept are the deep features, whose end are the plain ones.
    """
    path = features_path(search, member, turns)
    if not path.exists():
        deep = replace(member, is_deep=True)
        save_array(path, _timed(search, deep, search.head_rows, turns=turns).numpy())
    return torch.from_numpy(np.load(path)[:, -sum(member.taps) :])


def features_path(search: Search, member: Member, turns: int = 0) -> Path:
    kind = f"turned_{turns}" if turns else "features"
    return search.workdir / "checkpoint" / f"{kind}_{key(member)}.npy"


def _timed(
    search: Search, member: Member, rows: NDArray[np.int64], at_least: int | None = None, turns: int = 0
) -> Tensor:
    """Features of the rows; the seconds from the first image on count as throughput.

    With `at_least` the first network's time is limited: then those of the first rows, at least so many.
    """
    first: list[float] = []

    def tick(share: float) -> None:
        if not first:
            first.append(time.monotonic())
        search.journal.tick(share)
        used = time.monotonic() - first[0]
        is_over = used > budget.FIRST_SHARE * search.config.max_seconds
        if at_least is not None and is_over and share * len(rows) > at_least:
            raise Enough

    features = extract(member, search.pixels, search.threads, search.device, tick, rows.tolist(), turns)
    search.throughput.passes += len(features)
    search.throughput.seconds += time.monotonic() - first[0]
    return features


@dataclass(frozen=True, slots=True)
class JointFit:
    """Members with their shares of one head; its held-out logits [N, C] hold for the `known` [N] rows."""

    members: tuple[Member, ...]
    held_out: Table
    known: NDArray[np.bool_]
    verdict: Verdict


def fit_members(search: Search, members: Sequence[Member], views: int = 1) -> JointFit:
    """One head over the members' features side by side, split into each member's share.

    `views` of each picture train it: the plain one, and those turned by one, two and three quarters.
    """
    rows, scales, tables = search.head_rows, list[float](), list[Tensor]()
    for turns in range(views):
        blocks: list[Tensor] = []
        for member in members:
            blocks += torch.split(features_of(search, member, turns), list(member.taps), dim=1)
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
        search.journal.tick,
    )
    held_out, known = np.zeros_like(search.targets), search.judges(members, rows)
    held_out[rows] = fit.held_out
    verdict = judge(held_out[known], search.targets[known], search.config.is_multi_label)
    return JointFit(_share_out(members, fit.head, scales), held_out, known, verdict)


def _share_out(members: Sequence[Member], head: Head, scales: Sequence[float]) -> tuple[Member, ...]:
    """The columns of a joint head to the members that they belong to; the bias goes to the first."""
    factors = torch.cat(
        [torch.full((width,), 1 / scale) for width, scale in zip(_widths(members), scales, strict=True)]
    )
    weights = torch.split(head.weight * factors, [sum(member.taps) for member in members], dim=1)
    biases = [head.bias] + [torch.zeros_like(head.bias)] * (len(members) - 1)
    return tuple(
        replace(member, head=Head(weight.contiguous(), bias))
        for member, weight, bias in zip(members, weights, biases, strict=True)
    )


def _widths(members: Sequence[Member]) -> list[int]:
    return [width for member in members for width in member.taps]
