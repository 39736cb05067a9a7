"""Which external part does not respond: the database, the queue or the storage, by its driver's error."""

from __future__ import annotations

import logging
import sqlite3
import sys
import time
from enum import StrEnum

from django.db import InterfaceError, OperationalError
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as QueueConnectionError
from redis.exceptions import TimeoutError as QueueTimeoutError

logger = logging.getLogger(__name__)

# SQLSTATE of a database that cannot answer: connection lost, shutdown and start, no resources, system error.
AWAY_STATES = ("08", "57P", "53", "58")
REPORT_INTERVAL_S = 30.0
AWAY_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_IOERR")


class Part(StrEnum):
    """A part outside the program, without which it cannot work."""

    DATABASE = "database"
    QUEUE = "queue"
    STORAGE = "storage"


_reported_at: dict[Part, float] = {}


def part_of(problem: BaseException | None) -> Part | None:
    """The part that does not respond, if that is the problem or caused it; else None."""
    while problem is not None:
        if _is_of_database(problem):
            return Part.DATABASE
        if isinstance(problem, (QueueConnectionError, QueueTimeoutError, BusyLoadingError)):
            return Part.QUEUE
        if _is_of_storage(problem):
            return Part.STORAGE
        problem = problem.__cause__
    return None


def _is_of_database(problem: BaseException) -> bool:
    if not isinstance(problem, (OperationalError, InterfaceError)):
        return False
    original = problem.__cause__
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorname", "").startswith(AWAY_SQLITE)
    if original is None:
        return isinstance(problem, InterfaceError)  # Django itself: the connection is closed
    state = getattr(original, "sqlstate", None)
    return state is None or state.startswith(AWAY_STATES)  # None: the server said nothing


def _is_of_storage(problem: BaseException) -> bool:
    """botocore is loaded only where files are in S3."""
    botocore = sys.modules.get("botocore.exceptions")
    if botocore is None:
        return False
    if isinstance(problem, botocore.ClientError):
        status: int = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status == 429 or status >= 500
    lost = (botocore.HTTPClientError, botocore.ConnectionError, botocore.IncompleteReadError)
    return isinstance(problem, lost) or type(problem).__name__ == "RetriesExceededError"


def report(part: Part, problem: BaseException) -> None:
    """One line, at most every REPORT_INTERVAL_S for each part."""
    now = time.monotonic()
    if now - _reported_at.get(part, float("-inf")) < REPORT_INTERVAL_S:
        return
    _reported_at[part] = now
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    logger.error("The %s does not respond: %s", part, lines[0])


def is_reported(problem: BaseException) -> bool:
    """Whether an outage is the problem, which is then reported. A line for anything else is the caller's."""
    part = part_of(problem)
    if part is not None:
        report(part, problem)
    return part is not None
