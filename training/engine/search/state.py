"""What a search works on and what it has found: data, run, candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.engine.backbones.classifier import Member
from training.engine.backbones.features import measure_reading, measure_time
from training.engine.backbones.inference_time import InferenceTime
from training.engine.backbones.latency import COVARIANCE_LAUNCHES, P4_LAUNCH_MS, estimate_total_ms
from training.engine.backbones.registry import macs_at
from training.engine.bundle.writer import IdHashes
from training.engine.config import (
    CandidateReport,
    CommonScore,
    EventKind,
    FitConfig,
    ImagesUsed,
    LeftOutCause,
)
from training.engine.data.images import Pixels
from training.engine.evaluation.common_images import common_rows, p_values_against
from training.engine.evaluation.scoring import Floats, Score, is_right, score_logits
from training.engine.search import budget
from training.engine.search.time_limit import RunClock

MAX_LOSS_RATIO = 0.995  # of a better candidate's loss; a smaller difference is noise
FITTED = 0  # in LeftOut
# Why a part of a model was not fitted on a row, by the number in LeftOut.
ROW_CAUSES: tuple[LeftOutCause, ...] = ("heads", "fine-tuning", "memory", "held out")
LeftOut = NDArray[np.int8]  # [N] FITTED, or 1 + the index in ROW_CAUSES


def left_out_rows(count: int, fitted: NDArray[np.int64], cause: LeftOutCause) -> LeftOut:
    """[count] FITTED for the fitted rows, `cause` for the others."""
    left_out = np.full(count, 1 + ROW_CAUSES.index(cause), np.int8)
    left_out[fitted] = FITTED
    return left_out


@dataclass(frozen=True, slots=True)
class FittedCandidate:
    """A model and its score. `held_out` [N, C] are logits, valid for the `is_held_out` [N] rows alone.

    `inference_ms`: of one image; `seconds`: what it took to train. `left_out`: for each member the rows that
    it was not fitted on. `unlabeled`: images without labels that it was trained on.
    """

    members: tuple[Member, ...]
    recipe: str
    held_out: Floats
    is_held_out: NDArray[np.bool_]
    score: Score
    inference_ms: float
    seconds: float
    left_out: tuple[LeftOut, ...]
    unlabeled: int = 0

    @property
    def name(self) -> str:
        """All networks that an image passes, as in “EfficientNet-Lite0 ×2 + EfficientNet-Lite1”."""
        counts = Counter(member.network.name for member in self.members)
        return " + ".join(name if count == 1 else f"{name} ×{count}" for name, count in counts.items())

    @property
    def resolution(self) -> int:
        return max(member.resolution for member in self.members)


def macs_of(members: Sequence[Member]) -> float:
    """Multiply-adds of one image that passes all members."""
    return sum(macs_at(member.network, member.resolution) for member in members)


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
    `groups` [N] numbers that duplicates share; `folds` [N] of the cross-validation. `is_common` [N]: rows
    that score every candidate, because each trial of a fine-tuning holds them out. `id_hashes` [N] identify
    the images; `trained_on` also holds those that the networks of the base bundle have seen, and
    `base_hashes` those rows that must not score the base's networks. `left_out`: given images that are no
    rows.
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
    is_common: NDArray[np.bool_]
    left_out: Mapping[LeftOutCause, int] = field(default_factory=dict)

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
    """How a fit runs: its limits, clock, work folder and hardware. `eval_images` are evaluated after it.

    `unlabeled`: files of images without labels; one may be downloaded when it is asked for.
    """

    config: FitConfig
    clock: RunClock
    workdir: Path
    threads: int
    device: str
    eval_images: int = 0
    unlabeled: Sequence[Path] = ()


@dataclass(slots=True)
class SearchState:
    """What a search has found so far, with the run and the data that all its stages share.

    `head_rows` [H] are the rows that heads on frozen features are fitted on: all, unless they are too many.
    `is_rotated`: images rotated by quarter turns are trained on as well. `is_second_order`: heads read
    covariances, for the first network gained from them. `exported` is the candidate that the
    bundle on disk was made from; `network_times` holds measured times by network and resolution, without
    that of reading an image. Seconds on an idle machine: `evaluation_s` of the evaluation after the fit,
    `answer_s` of the answer to an image that it is reserved for, `answer_s_per_mac` as measured.
    """

    run: Run
    data: TrainingData
    head_rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    is_rotated: bool = False
    is_second_order: bool = False
    candidates: list[tuple[CandidateReport, FittedCandidate | None]] = field(default_factory=list)
    best: FittedCandidate | None = None
    exported: FittedCandidate | None = None
    network_times: dict[tuple[str, int, bool], InferenceTime] = field(default_factory=dict)
    reading_time: InferenceTime | None = None
    throughput: Throughput = field(default_factory=Throughput)
    evaluation_s: float = 0.0
    answer_s: float = 0.0
    answer_s_per_mac: float = 0.0

    def add(self, candidate: FittedCandidate, is_preferred: bool = False) -> bool:
        """Add a candidate and report it; gives whether it is the best: in the limit, with a lower loss.

        One that `is_preferred` needs no lower loss.
        """
        fits = candidate.inference_ms <= self.run.config.max_inference_ms
        is_best = fits and (is_preferred or self.best is None or self._beats(candidate, self.best))
        if is_best:
            self.best = candidate
            self._note_improvement(candidate)
        report = self._report(candidate, fits, is_best)
        self.candidates.append((report, candidate))
        kind: EventKind = "best" if is_best else "candidate"
        self.run.clock.emit(kind, f"{candidate.name}, {candidate.recipe}", candidate=report)
        return is_best

    def _note_improvement(self, candidate: FittedCandidate) -> None:
        """Add the new best to the curve, on the rows that score every candidate."""
        data, clock = self.data, self.run.clock
        rows = data.is_common & ~np.isin(data.id_hashes, data.base_hashes)
        if len(self.head_rows):
            rows &= np.isin(np.arange(len(rows)), self.head_rows)
        if not rows.any() or not candidate.is_held_out[rows].all():
            if clock.best_accuracy is not None:
                return
            rows = candidate.is_held_out  # the first model is announced in any case
        right = is_right(candidate.held_out[rows], data.targets[rows], self.run.config.is_multi_label)
        clock.improved(float(right.mean()), len(right))

    def replace_best(self, members: tuple[Member, ...], left_out: tuple[LeftOut, ...]) -> None:
        """Replace the weights of the best candidate, which was trained again on all rows."""
        old = self.best
        self.best = replace(old, members=members, left_out=left_out) if old else None
        self.candidates = [
            (report, self.best if candidate is old else candidate) for report, candidate in self.candidates
        ]

    def add_failed(self, network: str, resolution: int, recipe: str, seconds: float, error: str) -> None:
        """Add a candidate whose training failed; the search goes on."""
        report = CandidateReport(network, resolution, recipe, None, None, False, True, seconds, False, error)
        self.candidates.append((report, None))
        self.run.clock.emit("candidate", f"{network}, {recipe}: {error}", candidate=report)

    def reports(self) -> tuple[CandidateReport, ...]:
        """The reports of all candidates: with the final best one, and their scores on common images."""
        scores = self._common_scores()
        return tuple(
            replace(
                report,
                is_best=candidate is not None and candidate is self.best,
                images=self.images_used(candidate) if candidate else None,
                common=scores.get(place),
            )
            for place, (report, candidate) in enumerate(self.candidates)
        )

    def images_used(self, candidate: FittedCandidate) -> ImagesUsed:
        """How many of the given images the candidate was fitted on, and why on no others."""
        # FITTED is the lowest number: a row that one part was fitted on counts as fitted.
        left_out = np.min(np.stack(candidate.left_out), axis=0)
        counts = dict(self.data.left_out)
        for number, cause in enumerate(ROW_CAUSES, 1):
            counts[cause] = counts.get(cause, 0) + int((left_out == number).sum())
        return ImagesUsed(
            given=len(left_out) + sum(self.data.left_out.values()),
            fitted=int((left_out == FITTED).sum()),
            fewest=min(int((part == FITTED).sum()) for part in candidate.left_out),
            judged=int(candidate.is_held_out.sum()),
            left_out={cause: count for cause, count in counts.items() if count},
            unlabeled=candidate.unlabeled,
        )

    def _common_scores(self) -> dict[int, CommonScore]:
        """The scores of the candidates on the rows that they all held out, by their place."""
        fitted = [(place, one) for place, (_, one) in enumerate(self.candidates) if one is not None]
        chosen = next((index for index, (_, one) in enumerate(fitted) if one is self.best), None)
        if chosen is None:
            return {}
        rows, is_ranked = common_rows([one.is_held_out for _, one in fitted], chosen)
        targets, is_multi_label = self.data.targets[rows], self.run.config.is_multi_label
        ranked = [pair for pair, is_in in zip(fitted, is_ranked, strict=True) if is_in]
        right = {place: is_right(one.held_out[rows], targets, is_multi_label) for place, one in ranked}
        others = [place for place, one in ranked if one is not self.best]
        p_values = dict(
            zip(
                others,
                p_values_against(right[fitted[chosen][0]], [right[place] for place in others]),
                strict=True,
            )
        )
        return {
            place: CommonScore(
                images=len(targets),
                hits=int(right[place].sum()),
                loss=score_logits(one.held_out[rows], targets, is_multi_label).loss,
                p_value=p_values.get(place, 1.0),
            )
            for place, one in ranked
        }

    def latency_ms(self, members: Sequence[Member]) -> float:
        """Milliseconds for one image: measured for CPU, estimated for NV_P4."""
        return self.inference_time(members).ms

    def inference_time(self, members: Sequence[Member]) -> InferenceTime:
        """The time for one image, which is read once and passes the networks one after the other."""
        if self.run.config.hardware != "CPU":
            ms = estimate_total_ms([(m.network, m.resolution) for m in members], self.run.config.hardware)
            ms += (
                COVARIANCE_LAUNCHES * P4_LAUNCH_MS * sum(member.directions is not None for member in members)
            )
            return InferenceTime(ms, ms, ms)
        tick, total = self.run.clock.tick, self.reading_time
        if total is None:
            total = self.reading_time = measure_reading(self.data.paths, self.data.side, tick)
        for member in members:
            total += self._network_time(member)
        return total

    def _network_time(self, member: Member) -> InferenceTime:
        """The time of one network on this machine; measured once per network, resolution and kind of head."""
        kind = (member.network.name, member.resolution, member.directions is not None)
        if kind not in self.network_times:
            self.network_times[kind] = measure_time(
                member, self.data.paths, self.data.side, self.run.threads, self.run.clock.tick
            )
        return self.network_times[kind]

    def evaluation_growth_s(self, members: Sequence[Member]) -> float:
        """Seconds on an idle machine that the evaluation of these members takes beyond what is reserved."""
        images, answer_s = self.run.eval_images, self.answer_s_per_mac * macs_of(members)
        reserved_s = budget.evaluation_reserve_s(images, self.answer_s)
        return max(0.0, budget.evaluation_reserve_s(images, answer_s) - reserved_s)

    def reserve_evaluation(self, members: Sequence[Member]) -> None:
        """Reserve the time to evaluate a model of these members, before it is fitted."""
        growth_s = self.evaluation_growth_s(members)
        self.evaluation_s += growth_s
        self.run.clock.reserve_s += growth_s
        self.answer_s = max(self.answer_s, self.answer_s_per_mac * macs_of(members))

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
