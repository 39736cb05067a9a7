"""Abstract model of a row that a worker works on: claim, heartbeat, end, cancel, and search for lost jobs.

The row holds the state; Redis holds the queue only. Every change of `status` is one conditional UPDATE whose
row count is checked, so two workers, or a person and a worker, cannot both succeed. Final states stay final.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from datetime import timedelta
from traceback import format_exception
from typing import Any, ClassVar, Self, TypeVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from exeml_site.lib import jobs
from exeml_site.lib.outages.database import repeat
from exeml_site.lib.outages.parts import Part, is_reported, part_of

logger = logging.getLogger(__name__)

HEARTBEAT_INTERVAL_S = 2.0
SILENT_AFTER = timedelta(seconds=30)
RUNNING = "Running"

Row = TypeVar("Row", bound="JobRow", covariant=True)


class Cancelled(Exception):
    """The work is not needed: a person cancelled it, the project was deleted, or the row has ended."""


class ClaimLost(Exception):
    """The row has ended or belongs to another job, so the result of this job is discarded."""


def failure(problem: Exception, sentence: str, *expected: type[Exception]) -> dict[str, str]:
    """The fields `problem` and `traceback` of a row whose work failed.

    `problem` is the text of a ValidationError or of an `expected` exception. Any other exception is logged:
    `problem` is `sentence` then, and the traceback is stored for operators.
    """
    if isinstance(problem, ValidationError):
        return {"problem": problem.messages[0]}
    if isinstance(problem, expected):
        return {"problem": str(problem)}
    logger.error("a job failed unexpectedly", exc_info=problem)
    return {"problem": sentence, "traceback": "".join(format_exception(problem))[-20_000:]}


class JobRowQuerySet(models.QuerySet[Row]):
    def active(self) -> Self:
        return self.filter(status__in=self.model.ACTIVE)

    def silent(self) -> Self:
        """Active rows without a heartbeat for SILENT_AFTER. Their worker may still be alive."""
        old = timezone.now() - SILENT_AFTER
        return self.active().filter(Q(heartbeat_at=None) | Q(heartbeat_at__lt=old))

    def lost(self) -> list[Row]:
        """Silent rows whose job neither waits in its queue nor is run by a live worker."""
        return [row for row in self.silent() if not jobs.is_under_way(row.rq_id, row.queue_name)]

    def claim(self, **fields: Any) -> bool:
        """Claim this row for the calling job. False if another job claimed it first or the row has ended."""
        now = timezone.now()
        started_at = Coalesce(F("started_at"), now)
        return bool(self.update(status=RUNNING, started_at=started_at, heartbeat_at=now, **fields))

    def end(self, status: str, **fields: Any) -> bool:
        """Set a final status. False if the row has one already, or the caller lost its claim."""
        return bool(self.update(status=status, finished_at=timezone.now(), **fields))


class JobRow(models.Model):
    """Base of rows whose `status` goes from one of `UNSTARTED` over Running to a final one."""

    JOB: ClassVar[str]  # name in settings.JOBS
    UNSTARTED: ClassVar[Collection[str]]
    ACTIVE: ClassVar[Collection[str]]
    CANCELLED: ClassVar[str]
    WANTED: ClassVar[Mapping[str, Any]]  # filter: no end of the work was requested

    status = models.CharField(max_length=12)  # with the choices of each model
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    traceback = models.TextField(blank=True)  # for operators only

    _beat_s = float("-inf")

    class Meta:
        abstract = True

    @property
    def is_active(self) -> bool:
        return self.status in self.ACTIVE

    @property
    def rq_id(self) -> str:
        """The id of the row's job in RQ, known before that job exists."""
        return f"{self.JOB}-{self.pk}"

    @property
    def queue_name(self) -> str:
        return settings.QUEUE_IMPORTS

    @property
    def job_args(self) -> tuple[int, ...]:
        return (self.pk,)

    @property
    def job_options(self) -> dict[str, Any]:
        """Further options of `jobs.enqueue_now`."""
        return {}

    def enqueue(self) -> None:
        """Enqueue the row's job, once this transaction is committed."""
        transaction.on_commit(self.enqueue_now)

    def enqueue_now(self) -> bool:
        """Enqueue the row's job. False if Redis does not answer; the periodic sweep enqueues it then."""
        return jobs.enqueue_now(
            self.JOB, *self.job_args, queue=self.queue_name, job_id=self.rq_id, **self.job_options
        )

    def held(self) -> JobRowQuerySet[Any]:
        """This row as a query set, empty when the claim of its job has ended."""
        return self._row().filter(status=RUNNING)

    def wanted(self) -> JobRowQuerySet[Any]:
        """This row as a query set, empty when its claim has ended or an end was requested."""
        return self.held().filter(**self.WANTED)

    def beat(self, **fields: Any) -> None:
        """Write the heartbeat and `fields`, at most every HEARTBEAT_INTERVAL_S. Raises Cancelled."""
        if time.monotonic() - self._beat_s < HEARTBEAT_INTERVAL_S:
            return
        self._beat_s = time.monotonic()
        if not self.wanted().update(heartbeat_at=timezone.now(), **fields):
            raise Cancelled

    def release(self) -> None:
        """Enqueue the row's job again, behind other jobs, which continues the work."""
        self.held().update(heartbeat_at=None)
        self.enqueue()

    def outlives(self, problem: Exception) -> bool:
        """Whether an outage ended this job: the work then has not failed, and another job continues it.

        After an outage of the database at once; else when the periodic sweep finds that nobody works on it.
        """
        if part_of(problem) == Part.DATABASE:
            repeat(self.release)
        return is_reported(problem)

    def cancel(self, **request: Any) -> bool:
        """End a waiting row; write `request` for the worker of a running one. False if the row had ended."""
        if self._row().filter(status__in=self.UNSTARTED).end(self.CANCELLED, **request):
            return True
        return bool(self._row().filter(status=RUNNING, **self.WANTED).update(**request))

    def _row(self) -> JobRowQuerySet[Any]:
        return JobRowQuerySet(type(self)).filter(pk=self.pk)
