"""Inputs and results of a fit: plain values, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Split = Literal["TRAIN", "EVAL"]
Hardware = Literal["CPU", "NV_P4"]
Device = Literal["auto", "cpu", "cuda"]
StopReason = Literal["converged", "time limit", "user", "promoted"]
# Of the numbers that a network computes with. INT8 has a file of its own in the bundle; bfloat16 is the
# float32 file, computed with 16 bits where the processor can.
NumberFormat = Literal["float32", "int8", "bfloat16"]
EventKind = Literal["phase", "progress", "candidate", "best", "note"]
# Why a training image shaped no part of a model: its file cannot be read; the time limit left no time to
# read it, for a head on its features, or to fine-tune on it; a fixed limit of memory; it was held out to
# score the model, which was not trained again on all images.
LeftOutCause = Literal["unreadable", "reading", "heads", "fine-tuning", "memory", "held out"]


class EngineError(Exception):
    """An expected ending. `cause` and `remedy` are one sentence each, shown to the user."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause} {remedy}".strip())
        self.cause = cause
        self.remedy = remedy


class StoppedBeforeModel(EngineError):
    """The user stopped before any model existed."""

    def __init__(self) -> None:
        super().__init__("The training was stopped before a first model existed.", "Start it again.")


@dataclass(frozen=True, slots=True)
class Sample:
    """A labeled image. `labels` holds exactly one label unless the project is multi-label.

    Images of one `group`, such as those of one person, are never on both sides of a split or a fold.
    """

    id: str
    path: Path
    labels: tuple[str, ...]
    split: Split
    group: str | None = None


@dataclass(frozen=True, slots=True)
class FitConfig:
    """The settings of a fit. Times are in seconds unless the name says ms.

    `finish_seconds`: what the caller still does with the model within `max_seconds`, on an idle machine; it
    is kept free once a model exists. Until then a fit may go `first_model_seconds` beyond `max_seconds`.
    `test_images`: how many images the caller evaluates besides the EVAL samples; the fit never sees them.
    """

    max_seconds: float
    finish_seconds: float = 0
    first_model_seconds: float = 0
    test_images: int = 0
    hardware: Hardware = "NV_P4"
    max_inference_ms: float = 500
    base_bundle: Path | None = None
    is_multi_label: bool = False
    seed: int = 0
    device: Device = "auto"
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class ImagesUsed:
    """How many of the training images a model was really fitted on, and why it was fitted on no others.

    `given` is `fitted` and all counts of `left_out` together. A model of several parts may have a part that
    was fitted on fewer: `fewest`. `judged`: the held-out images that scored and calibrated the model.
    `unlabeled`: images without labels that a distilled network was trained on, which are none of `given`.
    """

    given: int
    fitted: int
    fewest: int
    judged: int
    left_out: dict[LeftOutCause, int] = field(default_factory=dict)
    unlabeled: int = 0


@dataclass(frozen=True, slots=True)
class CommonScore:
    """A candidate's score on the images that all ranked candidates held out: `hits` of `images`.

    `loss` is what the search chooses by. `p_value`: whether the accuracy differs from the chosen candidate's
    (McNemar's exact test, adjusted for all candidates by Holm); 1 for the chosen one.
    """

    images: int
    hits: int
    loss: float
    p_value: float

    @property
    def accuracy(self) -> float:
        return self.hits / self.images


@dataclass(frozen=True, slots=True)
class CandidateReport:
    """A candidate of the search; `error` is empty on success.

    `accuracy` is on all images that this candidate held out, and compares with no other candidate's;
    `common` does. `common` is None in events, and for a candidate that held out none of the images that the
    chosen one and the others were scored on. `inference_ms` is for one image on the expected hardware:
    measured for CPU (`is_measured`), an estimate for NV_P4. `inference_low_ms` and `inference_high_ms`:
    quartiles of a measured time. `place` is the place in the search where the
    weights were stored (candidate_store.py).
    """

    network: str
    resolution: int
    recipe: str
    accuracy: float | None
    inference_ms: float | None
    is_measured: bool
    is_admissible: bool
    seconds: float
    is_best: bool
    error: str = ""
    place: int | None = None
    images: ImagesUsed | None = None
    common: CommonScore | None = None
    inference_low_ms: float | None = None
    inference_high_ms: float | None = None

    @property
    def common_accuracy(self) -> float | None:
        return self.common.accuracy if self.common else None


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Accuracy of repeated stratified cross-validation over `images`, with its 95 % interval.

    It judges the procedure that fits a model of this network and recipe on four fifths of the images; for
    `is_chosen` that is the model of the fit. `folds`: (right, images) of each fold of each repeat.
    """

    network: str
    resolution: int
    recipe: str
    is_chosen: bool
    images: int
    validation_images: int
    accuracy: float
    low: float
    high: float
    folds: tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Progress of a fit. `fraction` is of the current phase, 0 to 1.

    `accuracy` is the best so far, and never falls: every candidate is scored on the same `judged` images.
    `remaining_s` estimates the time left until fitting *and* evaluation end.
    """

    kind: EventKind
    elapsed_s: float
    message: str
    fraction: float | None = None
    accuracy: float | None = None
    remaining_s: float | None = None
    candidate: CandidateReport | None = None
    judged: int = 0


@dataclass(frozen=True, slots=True)
class FitResult:
    """The result of a fit. `curve` holds (elapsed seconds, best accuracy so far on the same images).

    `best.images` says how many training images the model was fitted on. `macro_f1` is the best model's on
    held-out images. `images_per_second` counts passes through frozen networks, loading them excluded; None
    where a killed run had extracted all features. `candidates_file` holds the weights of all candidates
    (candidate_store.py). `notes`: what was left out or decided on the way, as sentences.
    `cross_validation` is None where there was no time for it, or there are so many validation images that it
    is not needed.
    """

    bundle: Path
    labels: tuple[str, ...]
    best: CandidateReport
    macro_f1: float
    images_per_second: float | None
    candidates: tuple[CandidateReport, ...]
    stop_reason: StopReason
    seconds_by_phase: dict[str, float]
    device: str
    curve: tuple[tuple[float, float], ...]
    unreadable: tuple[str, ...] = ()
    candidates_file: Path | None = None
    notes: tuple[str, ...] = ()
    cross_validation: CrossValidation | None = None
