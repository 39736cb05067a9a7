"""Steps of a training that need the storage or the database: tried again while these do not answer.

The work so far stays in the training's work folder, so a worker that starts again meanwhile goes on waiting.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.utils.translation import gettext_noop

from exeml_site.lib import storage
from exeml_site.lib.job_row import ClaimLost
from exeml_site.lib.outages.database import drop_broken_connection
from exeml_site.lib.outages.parts import Part, part_of
from training.engine import EngineError, StoppedBeforeModel
from training.jobs.reporter import Reporter
from training.models.version import STORAGE_WAIT

logger = logging.getLogger(__name__)

T = TypeVar("T")
FIRST_RETRY_S, MAX_RETRY_S = 2.0, 30.0
POLL_S = 0.5
# Stored in the progress of a version, and translated where it is shown.
STORAGE_AWAY = gettext_noop("The file storage does not answer. Training continues when it answers again.")
MODEL_WAITS = gettext_noop(
    "The model is trained, but the file storage does not answer. The model is kept on the machine that "
    "trained it, and is stored when the storage answers again."
)
MODEL_REFUSED = gettext_noop(
    "The model is trained, but the file storage does not accept it. The model is kept on the machine that "
    "trained it, and storing it is tried again. Operators can see the reason in the log of the worker."
)
DISK_FULL = gettext_noop(
    "The model is trained, but the disk is full. The model is kept, and storing it is tried again."
)
DATABASE_AWAY = gettext_noop("The database does not answer. Training continues when it answers again.")
GAVE_UP = gettext_noop("The file storage did not answer for a day.")
RETRY_LATER = gettext_noop("Press Retry when it answers again.")


class StorageWait:
    """Runs steps of a training, and waits where the storage is away. A person can press Stop meanwhile."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def read(self, step: Callable[[], T]) -> T:
        """The result of a step that reads the storage or the database. Raises what else the step raises.

        Waiting ends with ClaimLost, StoppedBeforeModel or, after a day, with EngineError.
        """
        return self._run(step, lambda problem: storage.is_away(problem) or _is_database_away(problem))

    def store(self, step: Callable[[], T]) -> T:
        """The result of a step that stores the trained model: also tried again if the disk is full."""
        return self._run(step, lambda problem: storage.may_pass(problem) or _is_database_away(problem), True)

    def _run(
        self, step: Callable[[], T], may_pass: Callable[[Exception], bool], has_model: bool = False
    ) -> T:
        try:
            return step()
        except Exception as problem:
            if not may_pass(problem):
                raise
            first = problem
        was_stopping, until = self._reporter.should_stop(), time.monotonic() + STORAGE_WAIT.total_seconds()
        with self._reporter.pause(_message(first, has_model)):
            pause_s = FIRST_RETRY_S
            while time.monotonic() < until:
                logger.warning("a training waits: %s: %s", type(first).__name__, first)
                self._sleep(pause_s, was_stopping)
                pause_s = min(2 * pause_s, MAX_RETRY_S)
                try:
                    return step()
                except Exception as problem:
                    if not may_pass(problem):
                        raise
                    first = problem
        raise EngineError(GAVE_UP, RETRY_LATER)

    def _sleep(self, seconds: float, was_stopping: bool) -> None:
        """Wait with a heartbeat. Raises ClaimLost, and StoppedBeforeModel once Stop is pressed."""
        reporter, end = self._reporter, time.monotonic() + seconds
        drop_broken_connection()
        while time.monotonic() < end:
            reporter.beat()
            if not reporter.is_ours:
                raise ClaimLost
            if reporter.should_stop() and not was_stopping:
                raise StoppedBeforeModel
            time.sleep(POLL_S)


def _is_database_away(problem: Exception) -> bool:
    return part_of(problem) == Part.DATABASE


def _message(problem: Exception, has_model: bool) -> str:
    if _is_database_away(problem):
        return DATABASE_AWAY
    if not has_model:
        return STORAGE_AWAY
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    return MODEL_WAITS if storage.is_away(problem) else MODEL_REFUSED
