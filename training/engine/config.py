"""Inputs and results of a fit: plain values, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["TRAIN", "EVAL"]
Hardware = Literal["CPU", "NV_P4"]
Device = Literal["auto", "cpu", "cuda"]
StopReason = Literal["converged", "time limit", "user", "promoted"]
EventKind = Literal["phase", "progress", "candidate", "best", "note"]


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
    """A labeled image. `labels` holds exactly one label unless the project is multi-label."""

    id: str
    path: Path
    labels: tuple[str, ...]
    split: Split


@dataclass(frozen=True, slots=True)
class FitConfig:
    """The settings of a fit. Times are in seconds unless the name says ms.

    `finish_seconds`: what the caller still does with the model within `max_seconds`, on an idle machine; it
    is kept free once a model exists. Until then a fit may go `first_model_seconds` beyond `max_seconds`.
    """

    max_seconds: float
    finish_seconds: float = 0
    first_model_seconds: float = 0
    hardware: Hardware = "NV_P4"
    max_inference_ms: float = 500
    base_bundle: Path | None = None
    is_multi_label: bool = False
    seed: int = 0
    device: Device = "auto"
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class CandidateReport:
    """A candidate of the search. `accuracy` is on held-out images of the fit; `error` is empty on success.

    `inference_ms` is for one image on the expected hardware: measured for CPU (`is_measured`), an estimate
    for NV_P4. `inference_low_ms` and `inference_high_ms`: quartiles of a measured time. `place` is the place
    in the search where the weights were stored (candidate_store.py).
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
    inference_low_ms: float | None = None
    inference_high_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Progress of a fit. `fraction` is of the current phase, 0 to 1.

    `remaining_s` estimates the time left until fitting *and* evaluation end.
    """

    kind: EventKind
    elapsed_s: float
    message: str
    fraction: float | None = None
    accuracy: float | None = None
    remaining_s: float | None = None
    candidate: CandidateReport | None = None


@dataclass(frozen=True, slots=True)
class FitResult:
    """The result of a fit. `curve` holds (elapsed seconds, accuracy of the best model so far).

    `macro_f1` is the best model's on held-out images. `images_per_second` counts passes through frozen
    networks, loading them excluded; None where a killed run had extracted all features. `candidates_file`
    holds the weights of all candidates (candidate_store.py).
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
