"""Why a training failed, and what helps, in the words of its page."""

from __future__ import annotations

import errno
import traceback

from django.utils.translation import gettext_noop

from exeml_site.lib import storage
from projects.datasets import publish
from training.engine import EngineError
from training.models import TrainingVersion

DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
OUT_OF_MEMORY = "out of memory"  # not translated: what libraries say


def explain_failure(problem: Exception, version: TrainingVersion) -> dict[str, str]:
    """The row's fields with cause and remedy in the user's words."""
    if isinstance(problem, EngineError):
        return _failure_fields(problem.cause, problem.remedy)
    if isinstance(problem, publish.ManifestDamaged):
        remedy = gettext_noop("Press Train: a new version publishes the dataset again.")
        return _failure_fields(str(problem), remedy)
    trace = "".join(traceback.format_exception(problem))[-20_000:]
    return {**_unexpected_failure(problem, version), "traceback": trace}


def _unexpected_failure(problem: Exception, version: TrainingVersion) -> dict[str, str]:
    if isinstance(problem, MemoryError) or OUT_OF_MEMORY in str(problem).lower():
        return _failure_fields(
            gettext_noop("The machine ran out of memory."),
            gettext_noop("Press Retry when fewer trainings run, or ask an operator for more memory."),
        )
    if storage.is_away(problem):
        return _failure_fields(
            gettext_noop("The file storage does not answer."),
            gettext_noop("Press Retry when it answers again."),
        )
    if isinstance(problem, OSError) and problem.errno in DISK_FULL_ERRNOS:
        return _failure_fields(
            gettext_noop("The disk of the machine is full."),
            gettext_noop("Ask an operator to free space, then press Retry."),
        )
    return _failure_fields(
        f"Something unexpected happened ({type(problem).__name__}).",  # not translated: stored with values
        f"Press Retry. If it happens again, give an operator the job id {version.job_id}: "
        "the details are kept for them.",  # not translated: stored with values
    )


def _failure_fields(cause: str, remedy: str) -> dict[str, str]:
    return {"failure_cause": cause, "failure_remedy": remedy}
