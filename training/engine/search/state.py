"""The search's memory: what was tried and what is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.engine.backbones.classifier import Member
from training.engine.backbones.features import measure_ms
from training.engine.backbones.latency import estimate_total_ms
from training.engine.bundle.writer import IdHashes
from training.engine.config import CandidateReport, EventKind, FitConfig
from training.engine.data.images import Pixels
from training.engine.search.clock import RunClock
from training.engine.search.scoring import Floats, Score, score_logits

MAX_LOSS_RATIO = 0.995  # a new model must lower the loss by this factor, or it is noise


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model and what it is worth. `held_out` [N, C] logits are valid where `known` [N]."""

    members: tuple[Member, ...]
    recipe: str
    held_out: Floats
    known: NDArray[np.bool_]
    verdict: Score
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
    """Everything the stages share. Rows are the readable TRAIN images, [N]; copies share one of the `groups`.

    `marks` name the images, and `trained_on` those that bases have seen as well; those of `base_marks` do not
    judge the base's networks. `head_rows` are those that the heads on frozen features are fitted on: all,
    unless they are too many. `is_rotated`: pictures turned by quarters train as well.
    """

    config: FitConfig
    clock: RunClock
    workdir: Path
    labels: tuple[str, ...]
    marks: IdHashes
    trained_on: IdHashes
    paths: list[Path]
    pixels: Pixels
    targets: Floats
    weights: NDArray[np.float64]
    groups: NDArray[np.int64]
    folds: NDArray[np.int64]
    threads: int
    device: str
    eval_images: int = 0
    base_marks: IdHashes = field(default_factory=lambda: np.zeros(0, np.int64))
    head_rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    tried: list[tuple[CandidateReport, Candidate | None]] = field(default_factory=list)
    best: Candidate | None = None
    exported: Candidate | None = None
    network_ms: dict[tuple[str, int], float] = field(default_factory=dict)
    throughput: Throughput = field(default_factory=Throughput)
    is_rotated: bool = False

    @property
    def side(self) -> int:
        return int(self.pixels.shape[1])

    def judges(self, members: Sequence[Member], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[N] which of the held-out rows may judge these networks: those that no base has trained on."""
        known = np.zeros(len(self.marks), np.bool_)
        known[rows] = True
        if any(member.is_from_base for member in members):
            known &= ~np.isin(self.marks, self.base_marks)
        return known

    def consider(self, contender: Candidate) -> bool:
        """Note a contender, tell of it, and keep it if it is the best that fits the limit."""
        fits = contender.inference_ms <= self.config.max_inference_ms
        is_best = fits and (self.best is None or self._beats(contender, self.best))
        if is_best:
            self.best = contender
            self.clock.improved(contender.verdict.accuracy)
        report = self._report(contender, fits, is_best)
        self.tried.append((report, contender))
        kind: EventKind = "best" if is_best else "candidate"
        self.clock.emit(kind, f"{contender.name}, {contender.recipe}", candidate=report)
        return is_best

    def refitted(self, members: tuple[Member, ...]) -> None:
        """The best model trained again on all rows: it stays the same candidate."""
        old, self.best = self.best, replace(self.best, members=members) if self.best else None
        self.tried = [(report, self.best if one is old else one) for report, one in self.tried]

    def failed(self, network: str, resolution: int, recipe: str, seconds: float, error: str) -> None:
        """Note a candidate that broke; the others go on."""
        report = CandidateReport(network, resolution, recipe, None, None, False, True, seconds, False, error)
        self.tried.append((report, None))
        self.clock.emit("candidate", f"{network}, {recipe}: {error}", candidate=report)

    def reports(self) -> tuple[CandidateReport, ...]:
        """All candidates, the final best marked."""
        return tuple(
            replace(report, is_best=one is not None and one is self.best) for report, one in self.tried
        )

    def latency_ms(self, members: Sequence[Member]) -> float:
        """Measured for CPU (the sum of the parts), estimated for NV_P4."""
        if self.config.hardware == "CPU":
            return sum(self._measured_ms(member) for member in members)
        return estimate_total_ms([(m.network, m.resolution) for m in members], self.config.hardware)

    def _measured_ms(self, member: Member) -> float:
        """ms of one picture through a network on this machine; measured once, whatever its weights are."""
        kind = (member.network.name, member.resolution)
        if kind not in self.network_ms:
            self.network_ms[kind] = measure_ms(member, self.paths, self.side, self.threads, self.clock.tick)
        return self.network_ms[kind]

    def _beats(self, new: Candidate, old: Candidate) -> bool:
        """Compared on the rows that both know."""
        rows = new.known & old.known
        mine, theirs = (
            score_logits(one.held_out[rows], self.targets[rows], self.config.is_multi_label)
            for one in (new, old)
        )
        return mine.loss < MAX_LOSS_RATIO * theirs.loss

    def _report(self, contender: Candidate, fits: bool, is_best: bool) -> CandidateReport:
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
