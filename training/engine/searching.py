"""The search's memory: what was tried, what is best, and frozen features with their heads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.engine import exporting, heads, planning
from training.engine.bundle import calibrate
from training.engine.catalogue import estimate_total_ms
from training.engine.config import CandidateReport, EventKind, FitConfig
from training.engine.features import extract, measured_ms
from training.engine.journal import Journal
from training.engine.judging import Table, Verdict, judge, thresholds
from training.engine.networks import Head, Member
from training.engine.pixels import Pixels

BETTER = 0.995  # a new model must lower the loss by this factor, or it is noise


@dataclass(frozen=True, slots=True)
class Contender:
    """A model and what it is worth. `held_out` [N, C] logits are valid where `known` [N]."""

    members: tuple[Member, ...]
    recipe: str
    held_out: Table
    known: NDArray[np.bool_]
    verdict: Verdict
    inference_ms: float
    seconds: float

    @property
    def name(self) -> str:
        return " + ".join(dict.fromkeys(member.network.name for member in self.members))

    @property
    def resolution(self) -> int:
        return max(member.resolution for member in self.members)


@dataclass(slots=True)
class Throughput:
    """Passes of one image through one frozen network, and the seconds they took once it was loaded."""

    passes: int = 0
    seconds: float = 0.0

    @property
    def per_second(self) -> float | None:
        return round(self.passes / self.seconds, 1) if self.seconds else None


@dataclass(slots=True)
class Search:
    """Everything the stages share. Rows are the readable TRAIN images, [N]."""

    config: FitConfig
    journal: Journal
    workdir: Path
    labels: tuple[str, ...]
    paths: list[Path]
    pixels: Pixels
    targets: Table
    weights: NDArray[np.float64]
    folds: NDArray[np.int64]
    threads: int
    device: str
    eval_images: int = 0
    tried: list[tuple[CandidateReport, Contender | None]] = field(default_factory=list)
    best: Contender | None = None
    exported: Contender | None = None
    network_ms: dict[tuple[str, int], float] = field(default_factory=dict)
    throughput: Throughput = field(default_factory=Throughput)

    @property
    def side(self) -> int:
        return int(self.pixels.shape[1])

    def consider(self, contender: Contender) -> bool:
        """Note a contender, tell of it, and keep it if it is the best that fits the limit."""
        fits = contender.inference_ms <= self.config.max_inference_ms
        is_best = fits and (self.best is None or self._beats(contender, self.best))
        if is_best:
            self.best = contender
            self.journal.improved(contender.verdict.accuracy)
        report = self._report(contender, fits, is_best)
        self.tried.append((report, contender))
        kind: EventKind = "best" if is_best else "candidate"
        self.journal.tell(kind, f"{contender.name}, {contender.recipe}", candidate=report)
        return is_best

    def refitted(self, members: tuple[Member, ...]) -> None:
        """The best model trained again on all rows: it stays the same candidate."""
        old, self.best = self.best, replace(self.best, members=members) if self.best else None
        self.tried = [(report, self.best if one is old else one) for report, one in self.tried]

    def failed(self, network: str, resolution: int, recipe: str, seconds: float, error: str) -> None:
        """Note a candidate that broke; the others go on."""
        report = CandidateReport(network, resolution, recipe, None, None, False, True, seconds, False, error)
        self.tried.append((report, None))
        self.journal.tell("candidate", f"{network}, {recipe}: {error}", candidate=report)

    def reports(self) -> tuple[CandidateReport, ...]:
        """All candidates, the final best marked."""
        return tuple(
            replace(report, is_best=one is not None and one is self.best) for report, one in self.tried
        )

    def export_best(self) -> None:
        """Put the best model on disk, unless it is there already."""
        if self.best is None or self.best is self.exported:
            return
        best = self.best
        temperature = best.verdict.temperature
        examples = self.paths[:: max(1, len(self.paths) // 8)][:8]
        identity = exporting.Identity(
            self.labels,
            self.config.is_multi_label,
            self.side,
            best.recipe,
            temperature,
            self._thresholds(best, temperature),
            best.verdict.accuracy,
        )
        began = time.monotonic()
        bundle = exporting.export(best.members, identity, self.workdir / "bundle", examples, self.threads)
        self._keep_back(time.monotonic() - began, bundle.description["inference_ms"]["p50"] / 1e3)
        self.exported = best

    def _keep_back(self, export_s: float, image_s: float) -> None:
        """Reserve time for the last export and for the evaluation, at the speed measured here."""
        reserve = 1.5 * export_s + planning.evaluation_reserve_s(self.eval_images, 1.5 * image_s)
        self.journal.reserve_s = min(max(self.journal.reserve_s, reserve), self.config.max_seconds / 2)

    def latency_ms(self, members: Sequence[Member]) -> float:
        """Measured for CPU (the sum of the parts), estimated for NV_P4."""
        if self.config.hardware == "CPU":
            return sum(self._measured_ms(member) for member in members)
        return estimate_total_ms([(m.network, m.resolution) for m in members], self.config.hardware)

    def _measured_ms(self, member: Member) -> float:
        """ms of one picture through a network on this machine; measured once, whatever its weights are."""
        kind = (member.network.name, member.resolution)
        if kind not in self.network_ms:
            self.network_ms[kind] = measured_ms(
                member, self.paths, self.side, self.threads, self.journal.tick
            )
        return self.network_ms[kind]

    def _beats(self, new: Contender, old: Contender) -> bool:
        """Compared on the rows that both know."""
        rows = new.known & old.known
        mine, theirs = (
            judge(one.held_out[rows], self.targets[rows], self.config.is_multi_label) for one in (new, old)
        )
        return mine.loss < BETTER * theirs.loss

    def _report(self, contender: Contender, fits: bool, is_best: bool) -> CandidateReport:
        return CandidateReport(
            network=contender.name,
            resolution=contender.resolution,
            recipe=contender.recipe,
            accuracy=contender.verdict.accuracy,
            inference_ms=contender.inference_ms,
            is_measured=self.config.hardware == "CPU",
            is_admissible=fits,
            seconds=contender.seconds,
            is_best=is_best,
        )

    def _thresholds(self, best: Contender, temperature: float) -> tuple[float, ...]:
        if not self.config.is_multi_label:
            return (0.5,) * len(self.labels)
        scores = calibrate(best.held_out[best.known], temperature, True)
        return tuple(thresholds(scores, self.targets[best.known]))


def key(member: Member) -> str:
    """A name for files and tables: network, size and, for a model trained further, its weights."""
    mark = float(next(iter(member.state.values())).double().sum())
    return f"{member.network.timm_name}_{member.resolution}_{mark:.4f}"


def features_of(search: Search, member: Member) -> Tensor:
    """[N, F] features of a frozen member, from the checkpoint where they were extracted before.

    What is kept are the deep features, whose end are the plain ones.
    """
    path = search.workdir / "checkpoint" / f"features_{key(member)}.npy"
    if not path.exists():
        deep = replace(member, is_deep=True)
        features = _timed(search, deep)
        unfinished = path.with_suffix(".part.npy")
        np.save(unfinished, features.numpy())
        unfinished.replace(path)
    return torch.from_numpy(np.load(path)[:, -sum(member.taps) :])


def _timed(search: Search, member: Member) -> Tensor:
    """Features of all rows; the seconds from the first image on count as throughput."""
    first: list[float] = []

    def tick(share: float) -> None:
        if not first:
            first.append(time.monotonic())
        search.journal.tick(share)

    features = extract(member, search.pixels, search.threads, search.device, tick)
    search.throughput.passes += len(features)
    search.throughput.seconds += time.monotonic() - first[0]
    return features


def fit_members(search: Search, members: Sequence[Member]) -> tuple[tuple[Member, ...], heads.HeadFit]:
    """One head over the members' features side by side, split into each member's share."""
    blocks: list[Tensor] = []
    for member in members:
        blocks += torch.split(features_of(search, member), list(member.taps), dim=1)
    scales = [max(float(block.std()), 1e-6) for block in blocks]  # so that no block outweighs another
    joint = torch.cat([block / scale for block, scale in zip(blocks, scales, strict=True)], dim=1)
    fit = heads.cross_validate(
        joint[None],
        search.targets,
        search.folds,
        search.config.is_multi_label,
        search.weights,
        search.journal.tick,
    )
    return _share_out(members, fit.head, scales), fit


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
