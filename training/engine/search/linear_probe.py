"""Features of frozen networks for the training images, and the heads fitted on them."""

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
from training.engine.backbones.covariance import principal_directions
from training.engine.backbones.features import StopExtraction, extract_features, extract_maps
from training.engine.config import LeftOutCause
from training.engine.evaluation.scoring import Floats, Score, score_logits
from training.engine.search import budget, linear_head
from training.engine.search.state import FittedCandidate, LeftOut, SearchState, left_out_rows
from training.engine.search.time_limit import save_array

HEAD_ROWS_FILE = "head_rows.npy"  # in a checkpoint: the rows that heads are fitted on


def member_key(member: Member) -> str:
    """A name for files and tables: network, resolution and a checksum of the weights."""
    checksum = sum(float(tensor.double().sum()) for tensor in member.state.values())
    return f"{member.network.timm_name}_{member.resolution}_{checksum:.4f}"


def with_directions(search: SearchState, member: Member) -> Member:
    """The member as a deep one that also reads a covariance, where there is time and memory for it.

    The directions come from some of the training images, and are stored in the checkpoint.
    """
    member = replace(member, is_deep=True, directions=None)
    path = search.run.workdir / "checkpoint" / f"directions_{member_key(member)}.npy"
    if not path.exists():
        data, run = search.data, search.run
        max_seconds = run.config.max_seconds / run.clock.slowdown.measure()
        columns, classes = sum(member.taps), len(data.labels)
        count = budget.direction_count(len(data.paths), columns, classes, max_seconds)
        if not count:
            return member
        rows = stratified_order(data.targets, run.config.seed)[: budget.DIRECTION_ROWS]
        maps = extract_maps(member, data.pixels, run.threads, run.device, run.clock.tick, rows.tolist())
        save_array(path, principal_directions(maps, count).numpy())
    return replace(member, directions=torch.from_numpy(np.load(path)))


def choose_head_rows(search: SearchState, first: Member) -> None:
    """Set `head_rows`: all rows, or as many as the first network can extract in its share of the time.

    Rows come in an order of which every beginning is stratified, and their features are saved. Does nothing
    where the rows have been chosen before.
    """
    if len(search.head_rows):
        return
    path = search.run.workdir / "checkpoint" / HEAD_ROWS_FILE
    if not path.exists():
        columns, classes = sum(first.network.taps), len(search.data.labels)
        max_seconds = search.run.config.max_seconds / search.run.clock.slowdown.measure()
        limit = budget.max_head_rows(len(search.data.paths), columns, classes, max_seconds)
        order = stratified_order(search.data.targets, search.run.config.seed)[:limit]
        features = _extract_timed(search, replace(first, is_deep=True), order, at_least=2 * classes)
        rows = order[: len(features)]
        save_array(features_path(search, first), features[torch.from_numpy(np.argsort(rows))].numpy())
        save_array(path, np.sort(rows))
    search.head_rows = np.load(path)
    fitted, count = len(search.head_rows), len(search.data.paths)
    if fitted < count:
        search.run.clock.is_short |= fitted < budget.MAX_HEAD_ROWS
        why = "there is no time for more" if fitted < budget.MAX_HEAD_ROWS else "more take too much memory"
        search.run.clock.emit("note", f"Heads are fitted on {fitted:,} of {count:,} images: {why}.")


def head_left_out(search: SearchState) -> LeftOut:
    """The rows that heads are not fitted on, and why."""
    rows = search.head_rows
    cause: LeftOutCause = "heads" if len(rows) < budget.MAX_HEAD_ROWS else "memory"
    return left_out_rows(len(search.data.paths), rows, cause)


def stratified_order(targets: Floats, seed: int) -> NDArray[np.int64]:
    """[N] the rows of targets [N, C] in an order that spreads each label evenly from beginning to end."""
    kinds = linear_head.rarest_labels(targets)
    place = np.zeros(len(targets))
    random = np.random.default_rng(seed)
    for kind in np.unique(kinds):
        rows = random.permutation(np.flatnonzero(kinds == kind))
        place[rows] = np.arange(len(rows)) / len(rows)
    return np.argsort(place, kind="stable")


def frozen_features(search: SearchState, member: Member, quarters: int = 0) -> Tensor:
    """[H, F] features of a frozen member for the H `head_rows`, rotated by `quarters` quarter turns.

    Read from the checkpoint where they are there. Deep features are stored: those of a covariance first, the
    plain ones last.
    """
    path = features_path(search, member, quarters)
    if not path.exists() or np.load(path, mmap_mode="r").shape[1] < sum(member.taps):
        deep = replace(member, is_deep=True)
        save_array(path, _extract_timed(search, deep, search.head_rows, quarters=quarters).numpy())
    return torch.from_numpy(np.load(path)[:, -sum(member.taps) :])


def features_path(search: SearchState, member: Member, quarters: int = 0) -> Path:
    kind = f"turned_{quarters}" if quarters else "features"
    return search.run.workdir / "checkpoint" / f"{kind}_{member_key(member)}.npy"


def _extract_timed(
    search: SearchState,
    member: Member,
    rows: NDArray[np.int64],
    at_least: int | None = None,
    quarters: int = 0,
) -> Tensor:
    """Features of the rows; the seconds from the first image on count as throughput.

    With `at_least` the time is limited to FIRST_FEATURES_SHARE: gives the features of the first rows, at
    least so many.
    """
    first: list[float] = []

    def tick(share: float) -> None:
        if not first:
            first.append(time.monotonic())
        search.run.clock.tick(share)
        used = time.monotonic() - first[0]
        is_over = used > budget.FIRST_FEATURES_SHARE * search.run.config.max_seconds
        if at_least is not None and is_over and share * len(rows) > at_least:
            raise StopExtraction

    features = extract_features(
        member, search.data.pixels, search.run.threads, search.run.device, tick, rows.tolist(), quarters
    )
    search.throughput.passes += len(features)
    search.throughput.seconds += time.monotonic() - first[0]
    return features


@dataclass(frozen=True, slots=True)
class JointFit:
    """Members with their parts of one head; its logits `held_out` [N, C] are valid for `is_held_out` [N]."""

    members: tuple[Member, ...]
    held_out: Floats
    is_held_out: NDArray[np.bool_]
    score: Score


def views_of(search: SearchState, candidate: FittedCandidate) -> int:
    """How many quarter turns of each image a head was fitted on, by the features that are stored."""
    if not candidate.recipe.endswith("on turned images"):
        return 1
    views = 1
    while views < 4 and all(features_path(search, member, views).exists() for member in candidate.members):
        views += 1
    return views


def fit_joint_head(
    search: SearchState,
    members: Sequence[Member],
    views: int = 1,
    is_left_out: NDArray[np.bool_] | None = None,
) -> JointFit:
    """Fit one head over the members' features side by side, and split it into each member's part.

    `views` of each image are trained on: the plain one, then those rotated by one, two and three quarter
    turns. Rows that are `is_left_out` [N] have no influence on the head.
    """
    rows, scales, tables = search.head_rows, list[float](), list[Tensor]()
    is_used = np.ones(len(rows), np.bool_) if is_left_out is None else ~is_left_out[rows]
    rows = rows[is_used]
    for quarters in range(views):
        blocks: list[Tensor] = []
        for member in members:
            features = frozen_features(search, member, quarters)
            blocks += torch.split(features if is_used.all() else features[is_used], list(member.taps), dim=1)
        # The scales of the plain view, for all views: no block of features outweighs another.
        scales = scales or [max(float(block.std()), 1e-6) for block in blocks]
        tables.append(torch.cat([block / scale for block, scale in zip(blocks, scales, strict=True)], dim=1))
    fit = linear_head.cross_validate(
        torch.stack(tables) if views > 1 else tables[0][None],
        search.data.targets[rows],
        search.data.folds[rows],
        search.run.config.is_multi_label,
        search.data.weights[rows],
        search.run.clock.tick,
    )
    held_out, is_held_out = np.zeros_like(search.data.targets), search.data.may_score(members, rows)
    held_out[rows] = fit.held_out
    score = score_logits(
        held_out[is_held_out], search.data.targets[is_held_out], search.run.config.is_multi_label
    )
    return JointFit(_split_head(members, fit.head, scales), held_out, is_held_out, score)


def _split_head(members: Sequence[Member], head: Head, scales: Sequence[float]) -> tuple[Member, ...]:
    """The members with their columns of a joint head; the bias goes to the first member."""
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
