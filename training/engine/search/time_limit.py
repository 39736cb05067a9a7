"""Time limit, progress, cancellation and event log of one fit.

Long work calls `tick` often: it reports progress, asks whether to stop, and raises FitStopped when the user
or the time limit ends the fit.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.engine.config import CandidateReport, Event, EventKind

PROGRESS_INTERVAL_S = 1.5
POLL_S = 0.5
SLOWDOWN_INTERVAL_S, SLOWDOWN_MEMORY = 3.0, 0.8  # the share of an older measurement that counts in the next
MIN_RUN_S = 0.02  # of processor time, for a measurement
MAX_RESERVE_SHARE = 0.5  # of the limit
StoppedBy = Literal["time limit", "user"]


class FitStopped(Exception):
    """The user or the time limit ends the fit: no error, as `fit` then returns the best model so far."""

    def __init__(self, reason: StoppedBy) -> None:
        super().__init__(reason)
        self.reason: StoppedBy = reason


@dataclass(slots=True)
class Slowdown:
    """How many times longer this process takes, lately, than if nobody else used the processors.

    The kernel counts how long each thread ran and how long it waited for a processor. 1 where it does not.
    """

    _run_s: float = 0
    _wait_s: float = 0
    _measured: float = float("-inf")
    _threads: dict[str, tuple[int, int]] = field(default_factory=dict)

    def measure(self) -> float:
        if time.monotonic() - self._measured >= SLOWDOWN_INTERVAL_S:
            self._measured = time.monotonic()
            self._add(_scheduled_ns())
        return 1 + self._wait_s / self._run_s if self._run_s >= MIN_RUN_S else 1.0

    def _add(self, threads: dict[str, tuple[int, int]]) -> None:
        before = [self._threads.get(thread, (0, 0)) for thread in threads]
        pairs = list(zip(before, threads.values(), strict=True))
        run_s = sum(new[0] - old[0] for old, new in pairs) / 1e9
        if run_s >= MIN_RUN_S:
            self._run_s = SLOWDOWN_MEMORY * self._run_s + run_s
            self._wait_s = SLOWDOWN_MEMORY * self._wait_s + sum(new[1] - old[1] for old, new in pairs) / 1e9
            self._threads = threads


def _scheduled_ns() -> dict[str, tuple[int, int]]:
    """Nanoseconds that each thread of this process ran and waited; empty if the kernel does not tell."""
    threads = {}
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):  # the thread has just ended
            run_ns, wait_ns = path.read_text().split()[:2]
            threads[path.parent.name] = (int(run_ns), int(wait_ns))
    return threads


@dataclass(slots=True)
class RunClock:
    """The clock of a fit, in seconds, and its events; time used by a killed run counts.

    `reserve_s`: what follows the fitting (export, evaluation, the caller's work), on an idle machine. It is
    kept free once a model exists; until then the fit has all of `max_seconds` and `first_model_s` beyond.
    """

    workdir: Path
    report: Callable[[Event], None]
    should_stop: Callable[[], bool]
    max_seconds: float
    reserve_s: float = 0
    first_model_s: float = 0
    seconds_by_phase: dict[str, float] = field(default_factory=dict)
    curve: list[tuple[float, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    best_accuracy: float | None = None
    judged: int = 0  # images that the accuracies of the curve were measured on
    is_closing: bool = False
    is_short: bool = False  # something was left out for lack of time
    slowdown: Slowdown = field(default_factory=Slowdown)
    _began: float = field(default_factory=time.monotonic)
    _used_before: float = 0
    _emitted: float = 0
    _polled: float = 0
    _message: str = ""
    _expected_end: float | None = None

    @classmethod
    def open(
        cls,
        workdir: Path,
        max_seconds: float,
        report: Callable[[Event], None],
        should_stop: Callable[[], bool],
    ) -> RunClock:
        """Start the clock where a killed run in this folder left it."""
        clock = cls(workdir, report, should_stop, max_seconds)
        stored = read_json(workdir / "checkpoint" / "clock.json") or {}
        clock._used_before = float(stored.get("used_s", 0))
        clock.seconds_by_phase = dict(stored.get("seconds_by_phase", {}))
        clock.curve = [(float(s), float(a)) for s, a in stored.get("curve", [])]
        clock.judged = int(stored.get("judged", 0))
        clock.notes = list(stored.get("notes", []))
        return clock

    def elapsed(self) -> float:
        """Seconds used, those of a killed run included."""
        return self._used_before + time.monotonic() - self._began

    def reserved(self) -> float:
        """Seconds that what follows the fitting takes, at the speed that the machine has now."""
        return min(self.reserve_s * self.slowdown.measure(), MAX_RESERVE_SHARE * self.max_seconds)

    def left(self) -> float:
        """Seconds until fitting must end, so that what follows still fits."""
        return self.max_seconds - self.reserved() - self.elapsed()

    def expect(self, seconds: float) -> None:
        """Note that the fit will probably take this many seconds more."""
        self._expected_end = self.elapsed() + seconds

    def remaining(self) -> float:
        """An estimate of seconds until fit and evaluation end, never beyond the limit."""
        limit = max(self.max_seconds - self.elapsed(), 0)
        if self._expected_end is None:
            return limit
        return min(limit, max(self._expected_end - self.elapsed(), 0) + self.reserved())

    @contextmanager
    def phase(self, name: str, message: str) -> Iterator[None]:
        """Report a phase, and count the seconds inside under `name`. Raises FitStopped."""
        with self.counted(name):
            self.emit("phase", message, fraction=0)
            self.check()
            yield

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        """Count the seconds inside as those of a phase. Phases do not overlap."""
        began, before = time.monotonic(), self.seconds_by_phase.get(name, 0)
        try:
            yield
        finally:
            self.seconds_by_phase[name] = before + time.monotonic() - began

    def count_rest(self, name: str) -> None:
        """Count the time so far that belongs to no phase as this one."""
        others = sum(seconds for phase, seconds in self.seconds_by_phase.items() if phase != name)
        self.seconds_by_phase[name] = max(self.elapsed() - others, 0)

    def tick(self, fraction: float | None = None, message: str | None = None) -> None:
        """Report progress and check whether to stop. Raises FitStopped, except while closing."""
        now = time.monotonic()
        if now - self._emitted > PROGRESS_INTERVAL_S:
            self.emit("progress", message or self._message, fraction=fraction)
        if now - self._polled >= POLL_S:
            self.check()

    def check(self) -> None:
        """Check at once whether to stop. Raises FitStopped, except while closing."""
        if self.is_closing:
            return
        self._polled = time.monotonic()
        if self.should_stop():
            raise FitStopped("user")
        if self.left() <= 0 and not self._waits_for_a_model():
            raise FitStopped("time limit")

    def _waits_for_a_model(self) -> bool:
        return self.best_accuracy is None and self.elapsed() < self.max_seconds + self.first_model_s

    def emit(
        self,
        kind: EventKind,
        message: str,
        fraction: float | None = None,
        candidate: CandidateReport | None = None,
    ) -> None:
        """Report an event, append it to events.jsonl and store the time used."""
        self._emitted, self._message = time.monotonic(), message
        if kind == "note" and message not in self.notes:
            self.notes.append(message)
        event = Event(
            kind,
            self.elapsed(),
            message,
            fraction,
            self.best_accuracy,
            self.remaining(),
            candidate,
            self.judged,
        )
        with (self.workdir / "events.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(event), ensure_ascii=False) + "\n")
        self.save_clock()
        self.report(event)

    def improved(self, accuracy: float, judged: int) -> None:
        """There is a better model, with this accuracy on the `judged` images; the curve never falls.

        A curve of another number of images, from a search that has started again, is dropped.
        """
        if judged != self.judged:
            self.curve, self.judged = [], judged
        if not self.curve or accuracy > self.curve[-1][1]:
            self.curve.append((round(self.elapsed(), 2), accuracy))
        self.best_accuracy = self.curve[-1][1]

    def save_clock(self) -> None:
        record = {
            "used_s": self.elapsed(),
            "seconds_by_phase": self.seconds_by_phase,
            "curve": self.curve,
            "judged": self.judged,
            "notes": self.notes,
        }
        write_json(self.workdir / "checkpoint" / "clock.json", record)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")
    os.replace(unfinished, path)


def read_json(path: Path) -> Any:
    """The file's value, or None where it is missing or broken."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write a .npy file atomically."""
    unfinished = path.with_suffix(".part.npy")
    np.save(unfinished, values)
    unfinished.replace(path)
