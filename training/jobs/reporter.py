"""Writes progress and heartbeat of a running training into its row."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error
from django.utils import timezone

from exeml_site.lib.outages.database import drop_broken_connection, without_waiting
from exeml_site.lib.outages.parts import is_reported
from training.engine import Event
from training.models import TrainingVersion

logger = logging.getLogger(__name__)

WRITE_INTERVAL_S = 2.0
STOP_CHECK_INTERVAL_S = 1.0
PAUSE_S = 5.0  # between attempts while the database is away: each may take seconds


class Reporter:
    """Writes progress and heartbeat of one attempt, and says whether the fit should stop.

    The heartbeat comes from the work, so a hang stops it. In a long step without events, RQ's registry says
    that the worker lives (`JobRowQuerySet.lost`). Every write is conditional: once the version was deleted or
    another attempt has it, `is_ours` is false and the fit should stop. Times count the work of this and
    earlier attempts, not the pauses between them; `started_s` is what the start of this process took.
    """

    def __init__(self, version: TrainingVersion, started_s: float = 0) -> None:
        self.is_ours = True
        self._version = version
        self._state: dict[str, Any] = dict(version.progress)
        self._state.pop("is_waiting", None)  # of an attempt that ended while it waited
        self._used_before: float = self._state.get("used_s", 0.0)
        self._began = self._step_began = time.monotonic() - started_s
        self._paused_at: float | None = None
        self._step = "start"
        self._written = self._asked = self._away_until = float("-inf")
        self._is_stop_wanted = False
        self._last_result = ""

    @property
    def used_s(self) -> float:
        """Seconds of work on this training, all attempts together."""
        return self._used_before + (self._paused_at or time.monotonic()) - self._began

    @property
    def state(self) -> dict[str, Any]:
        """The progress so far, as it is stored with the final status."""
        return {**self._state, "used_s": round(self.used_s, 1)}

    def report(self, event: Event) -> None:
        """Note an event of the engine; written at most every WRITE_INTERVAL_S."""
        if event.kind in ("phase", "progress") and event.message != self._last_result:
            self._state |= {"message": event.message, "fraction": event.fraction}
        elif event.kind != "progress":
            self._last_result = event.message  # repeated by the progress that follows it
        if event.kind == "note":
            self._add_note(event.message)
        if event.remaining_s is not None:
            self._state["remaining_s"] = round(event.remaining_s)
            self._state["remaining_at_s"] = round(self.used_s)
        if event.kind == "best" and event.accuracy is not None:
            self._add_to_curve(event.accuracy, event.judged)
        if time.monotonic() - self._written >= WRITE_INTERVAL_S:
            self._write()

    def begin(self, step: str, message: str) -> None:
        """Begin a step of the job itself, and write so at once."""
        self.end_step(step)
        self._state |= {"message": message, "fraction": None}
        self._write()

    def end_step(self, following: str = "") -> None:
        """End the step of the job itself; the time until the next one is counted by the engine."""
        now, seconds = time.monotonic(), self.seconds_by_step
        if self._step:
            seconds[self._step] = round(seconds.get(self._step, 0) + now - self._step_began, 2)
        self._state["seconds_by_step"], self._step, self._step_began = seconds, following, now

    @property
    def seconds_by_step(self) -> dict[str, float]:
        """The seconds of the steps that have ended, those of earlier attempts included."""
        return dict(self._state.get("seconds_by_step", {}))

    def advance(self, fraction: float) -> None:
        """Note the share of the current step that is done; written at most every WRITE_INTERVAL_S."""
        self._state["fraction"] = fraction
        if time.monotonic() - self._written >= WRITE_INTERVAL_S:
            self._write()

    @contextmanager
    def pause(self, message: str) -> Iterator[None]:
        """Say so on the page. The time inside counts as none of the training's; `beat` is to be called."""
        before = {name: self._state.get(name) for name in ("message", "fraction")}
        self._paused_at = began = time.monotonic()
        self._state |= {"message": message, "fraction": None, "is_waiting": True}
        self._write()
        try:
            yield
        finally:
            paused_s = time.monotonic() - began
            self._paused_at = None
            self._began, self._step_began = self._began + paused_s, self._step_began + paused_s
            self._state = {**self._state, **before}
            self._state.pop("is_waiting")
            self._write()

    def beat(self) -> None:
        """Write the heartbeat, at most every WRITE_INTERVAL_S."""
        if time.monotonic() - self._written >= WRITE_INTERVAL_S:
            self._write()

    def should_stop(self) -> bool:
        """Whether a person requested it, the project was deleted, or another attempt has the version."""
        if time.monotonic() - self._asked >= STOP_CHECK_INTERVAL_S:
            self._ask()
        return self._is_stop_wanted or not self.is_ours

    def _add_note(self, note: str) -> None:
        notes: list[str] = self._state.get("notes", [])
        if note not in notes:
            self._state["notes"] = [*notes, note]

    def _add_to_curve(self, accuracy: float, judged: int) -> None:
        """Append the best accuracy so far; a resumed fit reports the last one once more.

        A fit that judges by another number of images has started again, and with it the curve.
        """
        is_same = self._state.get("judged", judged) == judged
        curve: list[list[float]] = self._state.get("curve", []) if is_same else []
        if not curve or round(accuracy, 4) > curve[-1][1]:
            curve = [*curve, [round(self.used_s, 1), round(accuracy, 4)]]
        self._state |= {"best_accuracy": curve[-1][1], "judged": judged, "curve": curve}

    def _write(self) -> None:
        """Write the progress."""
        self._written = time.monotonic()
        row = self._version.held()
        written = self._try(lambda: row.update(progress=self.state, heartbeat_at=timezone.now()))
        self.is_ours = self.is_ours and written != 0

    def _ask(self) -> None:
        self._asked = time.monotonic()
        is_wanted = self._try(lambda: self._version.wanted().exists())
        if is_wanted is not None:
            self._is_stop_wanted = not is_wanted

    def _try(self, query: Callable[[], int]) -> int | None:
        """The result of a query; None if the database does not answer: that costs a message on the page only.

        The fit goes on meanwhile, and nothing waits here. A later query makes a new connection.
        """
        if time.monotonic() < self._away_until:
            return None
        try:
            with without_waiting():
                return query()
        except Error as problem:
            if not is_reported(problem):
                logger.warning("progress of version %s was not written", self._version.pk, exc_info=True)
            drop_broken_connection()
        self._away_until = time.monotonic() + PAUSE_S
        return None
