"""What a search works on and what it has found: data, run, candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.engine.backbones.classifier import Member
from training.engine.backbones.features import measure_reading, measure_time
from training.engine.backbones.inference_time import InferenceTime
from training.engine.backbones.latency import estimate_total_ms
from training.engine.bundle.writer import IdHashes
from training.engine.config import CandidateReport, EventKind, FitConfig
from training.engine.data.images import Pixels
from training.engine.search.scoring import Floats, Score, score_logits
from training.engine.search.time_limit import RunClock

MAX_LOSS_RATIO = 0.995  # of a better candidate's loss; a smaller difference is noise


@dataclass(frozen=True, slots=True)
class FittedCandidate:
    """A model and its score. `held_out` [N, C] are logits, valid for the `is_held_out` [N] rows alone.

    `inference_ms`: of one image; `seconds`: what it took to train.
    """

    members: tuple[Member, ...]
    recipe: str
    held_out: Floats
    is_held_out: NDArray[np.bool_]
    score: Score
    inference_ms: float
    seconds: float

    @property
    def name(self) -> str:
        """All networks that an image passes, as in “EfficientNet-Lite0 ×2 + EfficientNet-Lite1”."""
        counts = Counter(member.network.name for member in self.members)
        return " + ".join(name if count == 1 else f"{name} ×{count}" for name, count in counts.items())

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


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The labeled images of a fit, as arrays that the search never changes. Rows [N]: readable TRAIN images.

    `pixels` [N, S, S, 3] uint8; `targets` [N, C] zeros and ones; `weights` [N] of the rows in a loss;
    `groups` [N] numbers that duplicates share; `folds` [N] of the cross-validation. `id_hashes` [N] identify
    the images; `trained_on` also holds those that the networks of the base bundle have seen, and
    `base_hashes` those rows that must not score the base's networks.
    """

    labels: tuple[str, ...]
    id_hashes: IdHashes
    trained_on: IdHashes
    base_hashes: IdHashes
    paths: list[Path]
    pixels: Pixels
    targets: Floats
    weights: NDArray[np.float64]
    groups: NDArray[np.int64]
    folds: NDArray[np.int64]

    @property
    def side(self) -> int:
        """Pixels of the cached squares, along each side."""
        return int(self.pixels.shape[1])

    def may_score(self, members: Sequence[Member], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[N] which of the held-out `rows` may score these networks: those that no base has trained on."""
        is_usable = np.zeros(len(self.id_hashes), np.bool_)
        is_usable[rows] = True
        if any(member.is_from_base for member in members):
            is_usable &= ~np.isin(self.id_hashes, self.base_hashes)
        return is_usable


@dataclass(frozen=True, slots=True)
class Run:
    """How a fit runs: its limits, clock, work folder and hardware. `eval_images` are evaluated after it."""

    config: FitConfig
    clock: RunClock
    workdir: Path
    threads: int
    device: str
    eval_images: int = 0


@dataclass(slots=True)
class SearchState:
    """What a search has found so far, with the run and the data that all its stages share.

    `head_rows` [H] are the rows that heads on frozen features are fitted on: all, unless they are too many.
    `is_rotated`: images rotated by quarter turns are trained on as well. `exported` is the candidate that the
    bundle on disk was made from; `network_times` holds measured times by network and resolution, without
    that of reading an image.
    """

    run: Run
    data: TrainingData
    head_rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    is_rotated: bool = False
    candidates: list[tuple[CandidateReport, FittedCandidate | None]] = field(default_factory=list)
    best: FittedCandidate | None = None
    exported: FittedCandidate | None = None
    network_times: dict[tuple[str, int], InferenceTime] = field(default_factory=dict)
    reading_time: InferenceTime | None = None
    throughput: Throughput = field(default_factory=Throughput)

    def add(self, candidate: FittedCandidate) -> bool:
        """Add a candidate and report it; gives whether it is the best: in the limit, with a lower loss."""
        fits = candidate.inference_ms <= self.run.config.max_inference_ms
        is_best = fits and (self.best is None or self._beats(candidate, self.best))
        if is_best:
            self.best = candidate
            self.run.clock.improved(candidate.score.accuracy)
        report = self._report(candidate, fits, is_best)
        self.candidates.append((report, candidate))
        kind: EventKind = "best" if is_best else "candidate"
        self.run.clock.emit(kind, f"{candidate.name}, {candidate.recipe}", candidate=report)
        return is_best

    def replace_best(self, members: tuple[Member, ...]) -> None:
        """Replace the weights of the best candidate, which was trained again on all rows."""
        old, self.best = self.best, replace(self.best, members=members) if self.best else None
        self.candidates = [
            (report, self.best if candidate is old else candidate) for report, candidate in self.candidates
        ]

    def add_failed(self, network: str, resolution: int, recipe: str, seconds: float, error: str) -> None:
        """Add a candidate whose training failed; the search goes on."""
        report = CandidateReport(network, resolution, recipe, None, None, False, True, seconds, False, error)
        self.candidates.append((report, None))
        self.run.clock.emit("candidate", f"{network}, {recipe}: {error}", candidate=report)

    def reports(self) -> tuple[CandidateReport, ...]:
        """The reports of all candidates, `is_best` set for the final best one."""
        return tuple(
            replace(report, is_best=candidate is not None and candidate is self.best)
            for report, candidate in self.candidates
        )

    def latency_ms(self, members: Sequence[Member]) -> float:
        """Milliseconds for one image: measured for CPU, estimated for NV_P4."""
        return self.inference_time(members).ms

    def inference_time(self, members: Sequence[Member]) -> InferenceTime:
        """The time for one image, which is read once and passes the networks one after the other."""
        if self.run.config.hardware != "CPU":
            ms = estimate_total_ms([(m.network, m.resolution) for m in members], self.run.config.hardware)
            return InferenceTime(ms, ms, ms)
        tick, total = self.run.clock.tick, self.reading_time
        if total is None:
            total = self.reading_time = measure_reading(self.data.paths, self.data.side, tick)
        for member in members:
            total += self._network_time(member)
        return total

    def _network_time(self, member: Member) -> InferenceTime:
        """The time of one network on this machine; measured once per network and resolution."""
        kind = (member.network.name, member.resolution)
        if kind not in self.network_times:
            self.network_times[kind] = measure_time(
                member, self.data.paths, self.data.side, self.run.threads, self.run.clock.tick
            )
        return self.network_times[kind]

    def _beats(self, new: FittedCandidate, old: FittedCandidate) -> bool:
        """Whether `new` has the lower loss, on the rows that both held out."""
        rows = new.is_held_out & old.is_held_out
        new_score, old_score = (
            score_logits(candidate.held_out[rows], self.data.targets[rows], self.run.config.is_multi_label)
            for candidate in (new, old)
        )
        return new_score.loss < MAX_LOSS_RATIO * old_score.loss

    def _report(self, candidate: FittedCandidate, fits: bool, is_best: bool) -> CandidateReport:
        is_measured = self.run.config.hardware == "CPU"
        time = self.inference_time(candidate.members) if is_measured else None
        return CandidateReport(
            network=candidate.name,
            resolution=candidate.resolution,
            recipe=candidate.recipe,
            accuracy=candidate.score.accuracy,
            inference_ms=candidate.inference_ms,
            is_measured=is_measured,
            is_admissible=fits,
            seconds=candidate.seconds,
            is_best=is_best,
            inference_low_ms=time.low if time else None,
            inference_high_ms=time.high if time else None,
        )
