"""Starting, queueing, stopping, retrying and deleting a training version."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from django.utils import timezone
from rq.job import Job

from exeml_site.lib import storage
from projects.datasets.publish import DatasetNameTaken
from projects.models import AuditEvent, Project
from tests.factories import cpu_flavor, default_flavor, make_project, make_user, make_version
from training.models import Candidate, Service, Status, TrainingVersion
from training.models.version import QUEUE_UNAVAILABLE
from training.versions import deleted_versions, lifecycle
from training.versions.network_options import options_within

pytestmark = pytest.mark.django_db


def training_request(**changes: Any) -> lifecycle.TrainingRequest:
    request = lifecycle.TrainingRequest(
        dataset_version="V001",
        training_ratio=Decimal("0.8"),
        incremental_version=None,
        inference_hardware="CPU",
        max_inference_ms=50,
        max_training_minutes=90,
        flavor=default_flavor(),
    )
    return replace(request, **changes)


def start(project: Project, submission: uuid.UUID | None = None, **changes: Any) -> TrainingVersion:
    return lifecycle.start(
        project, training_request(**changes), by=make_user("alice"), submission=submission or uuid.uuid4()
    )


# --- start ---


def test_starting_reserves_the_dataset_version_and_keeps_what_was_asked_for() -> None:
    project = make_project()

    version = start(project)

    version.refresh_from_db()
    assert (version.number, version.name, version.status) == (1, "V001", Status.INITIALIZING)
    assert version.dataset_version.name == "V001"
    assert version.dataset_version.training_ratio == version.training_ratio == Decimal("0.8")
    assert not version.dataset_version.is_published
    assert (version.inference_hardware, version.max_inference_ms, version.max_training_minutes) == (
        "CPU",
        50,
        90,
    )
    assert version.flavor_name == default_flavor().name
    assert version.submitted_by == version.dataset_version.created_by == make_user("alice")
    assert version.attempt == 1 and version.claimed_attempt == 0


def test_the_same_submission_finds_the_same_version() -> None:
    project, submission = make_project(), uuid.uuid4()

    first = start(project, submission)
    second = start(project, submission, dataset_version="other")

    assert first == second
    assert TrainingVersion.objects.count() == 1
    assert project.dataset_versions.count() == 1


def test_a_submission_of_another_project_is_refused() -> None:
    submission = uuid.uuid4()
    start(make_project("flowers"), submission)

    with pytest.raises(lifecycle.TrainingRefused, match="another project"):
        start(make_project("animals"), submission)


def test_a_number_is_never_given_again() -> None:
    project = make_project()
    lifecycle.stop(start(project), by=make_user("alice"))
    lifecycle.delete(TrainingVersion.objects.get(), by=make_user("alice"))

    version = start(project, dataset_version="V002")

    assert version.number == 2


def test_a_name_that_was_reserved_meanwhile_is_refused_and_nothing_is_written() -> None:
    project = make_project()
    project.dataset_versions.create(name="v001", training_ratio=Decimal("0.8"))

    with pytest.raises(DatasetNameTaken, match="already has a dataset version “V001”"):
        start(project)

    assert TrainingVersion.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_presses_at_the_same_moment_make_one_version_each() -> None:
    project, submission = make_project(), uuid.uuid4()

    def press(name: str, submission: uuid.UUID) -> None:
        try:
            start(project, submission, dataset_version=name)
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as people:
        presses = [people.submit(press, "V001", submission) for _ in range(6)]
        presses += [people.submit(press, f"data-{number}", uuid.uuid4()) for number in range(4)]
    for done in presses:
        done.result()

    versions = sorted(project.training_versions.values_list("number", "dataset_version__name"))
    assert [number for number, _ in versions] == [1, 2, 3, 4, 5]
    assert {name for _, name in versions} == {"V001", "data-0", "data-1", "data-2", "data-3"}


# --- queue ---


def test_the_job_lies_on_the_flavors_queue_under_its_own_id(
    redis, django_capture_on_commit_callbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        version = start(make_project(), flavor=cpu_flavor())

    job = Job.fetch(f"training-{version.pk}-1", connection=redis)
    assert job.origin == cpu_flavor().queue
    assert job.func_name == settings.JOBS["train_version"]
    assert job.args == (version.pk, 1)
    assert job.timeout > version.limit.total_seconds()


def test_nothing_is_queued_before_the_row_is_committed(redis) -> None:
    start(make_project())

    assert redis.keys("rq:job:*") == []


def test_queueing_again_changes_nothing(redis) -> None:
    version = start(make_project())

    assert version.enqueue_now()
    assert version.enqueue_now()

    assert redis.llen("rq:queue:gpu") == 1


def test_what_is_left_of_a_dead_job_does_not_keep_the_version_from_the_queue(redis) -> None:
    version = start(make_project())
    version.enqueue_now()
    redis.delete("rq:queue:gpu")

    version.enqueue_now()

    assert redis.lrange("rq:queue:gpu", 0, -1) == [f"training-{version.pk}-1".encode()]


def test_without_a_queue_the_row_waits_and_says_so() -> None:
    version = start(make_project())

    assert not version.enqueue_now()

    version.refresh_from_db()
    assert version.status == Status.INITIALIZING
    assert version.progress["message"].startswith("Waiting for the queue")


def test_the_queue_that_is_back_takes_what_waited(redis) -> None:
    version = start(make_project())
    TrainingVersion.objects.filter(pk=version.pk).update(progress={"message": QUEUE_UNAVAILABLE})
    version.refresh_from_db()

    assert version.enqueue_now()

    version.refresh_from_db()
    assert version.progress == {}


# --- stop ---


def test_a_waiting_version_is_stopped_at_once() -> None:
    version = start(make_project())

    assert lifecycle.stop(version, by=make_user("alice"))

    version.refresh_from_db()
    assert version.status == Status.STOPPED
    assert version.finished_at is not None
    assert version.stop_requested_by == make_user("alice")


def test_a_running_version_is_asked_once() -> None:
    version = make_version(make_project(), status=Status.RUNNING, claimed_attempt=1)

    assert lifecycle.stop(version, by=make_user("alice"))
    asked_at = TrainingVersion.objects.get().stop_requested_at
    assert not lifecycle.stop(version, by=make_user("bob"))

    version.refresh_from_db()
    assert version.status == Status.RUNNING
    assert version.stop_requested_at == asked_at
    assert version.stop_requested_by == make_user("alice")


def test_a_version_that_its_job_has_claimed_is_asked() -> None:
    version = make_version(make_project(), 1, Status.RUNNING, claimed_attempt=1)

    assert lifecycle.stop(version, by=make_user("alice"))

    version.refresh_from_db()
    assert version.status == Status.RUNNING
    assert version.stop_requested_at is not None


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.STOPPED])
def test_stopping_a_finished_version_changes_nothing(status: str) -> None:
    version = make_version(make_project(), status=status)
    before = TrainingVersion.objects.values().get()

    assert not lifecycle.stop(version, by=make_user("alice"))

    assert TrainingVersion.objects.values().get() == before


# --- retry ---


@pytest.mark.parametrize("status", [Status.FAILED, Status.STOPPED])
def test_a_failed_or_stopped_version_is_queued_again(
    status: str, redis, django_capture_on_commit_callbacks
) -> None:
    version = make_version(
        make_project(), status=status, claimed_attempt=1, failure_cause="The machine was lost.", traceback="x"
    )

    with django_capture_on_commit_callbacks(execute=True):
        assert lifecycle.retry(version, by=make_user("alice"))

    version.refresh_from_db()
    assert (version.status, version.attempt) == (Status.INITIALIZING, 2)
    assert (version.started_at, version.finished_at, version.failure_cause) == (None, None, "")
    assert Job.fetch(f"training-{version.pk}-2", connection=redis).args == (version.pk, 2)


@pytest.mark.parametrize("status", [Status.INITIALIZING, Status.RUNNING, Status.COMPLETED])
def test_other_versions_are_not_queued_again(status: str) -> None:
    version = make_version(make_project(), status=status)

    assert not lifecycle.retry(version, by=make_user("alice"))

    version.refresh_from_db()
    assert (version.status, version.attempt) == (status, 1)


# --- delete ---


@pytest.fixture
def deleted() -> TrainingVersion:
    """A deleted version with a file."""
    version = make_version(make_project(), status=Status.COMPLETED)
    storage.save_whole(f"{version.folder}/bundle/model.onnx", b"weights")
    assert lifecycle.delete(version, by=make_user("alice"))
    return version


def has_files(version: TrainingVersion) -> bool:
    return default_storage.exists(f"{version.folder}/bundle/model.onnx")


def age(version: TrainingVersion, **time: float) -> None:
    """It was deleted so long ago."""
    TrainingVersion.objects.filter(pk=version.pk).update(deleted_at=timezone.now() - timedelta(**time))


def test_deleting_hides_the_version_and_an_operator_brings_it_back(deleted: TrainingVersion) -> None:
    assert not TrainingVersion.objects.alive().exists() and has_files(deleted)
    assert not lifecycle.delete(deleted, by=make_user("alice"))
    age(deleted, days=29)
    deleted_versions.delete_expired_files()

    assert deleted_versions.restore(deleted, by=make_user("operator"))

    assert TrainingVersion.objects.alive().get() == deleted and deleted.deleted_at is None
    assert has_files(deleted) and not deleted_versions.restore(deleted, by=make_user("operator"))
    assert AuditEvent.objects.latest("pk").kind == "training.restored"


def test_its_files_go_when_its_days_in_the_bin_are_over(deleted: TrainingVersion, settings: Any) -> None:
    age(deleted, days=30, minutes=1)
    assert deleted_versions.delete_expired_files() == 1
    assert not has_files(deleted) and TrainingVersion.objects.filter(pk=deleted.pk).exists()
    settings.EXEML_BIN_DAYS = 60  # later: what is gone does not come back
    for days in (30, 60):
        settings.EXEML_BIN_DAYS = days
        with pytest.raises(lifecycle.TrainingRefused, match="deleted for good"):
            deleted_versions.restore(deleted, by=make_user("operator"))


def test_a_version_of_a_deleted_project_waits_for_the_project(deleted: TrainingVersion) -> None:
    type(deleted.project).objects.update(deleted_at=timezone.now())
    deleted.project.refresh_from_db()
    with pytest.raises(lifecycle.TrainingRefused, match="Restore the project first"):
        deleted_versions.restore(deleted, by=make_user("operator"))


def test_a_purge_takes_rows_and_files(deleted: TrainingVersion) -> None:
    assert deleted_versions.purge(deleted)
    assert not has_files(deleted) and not TrainingVersion.objects.exists()


@pytest.mark.parametrize("status", [Status.INITIALIZING, Status.RUNNING])
def test_an_active_version_must_be_stopped_first(status: str) -> None:
    version = make_version(make_project(), status=status)

    with pytest.raises(lifecycle.TrainingRefused, match=f"V001 is {status}. Stop it first."):
        lifecycle.delete(version, by=make_user("alice"))

    assert TrainingVersion.objects.alive().exists()


def test_a_version_that_serves_is_kept() -> None:
    project = make_project()
    version = make_version(project, status=Status.COMPLETED)
    service = Service.objects.create(project=project, training_version=version, name="exeML-flowers-V001")

    with pytest.raises(lifecycle.TrainingRefused, match="is deployed as the service exeML-flowers-V001"):
        lifecycle.delete(version, by=make_user("alice"))

    service.deleted_at = version.submitted_at
    service.save()
    assert lifecycle.delete(version, by=make_user("alice"))


def test_a_version_that_another_one_trains_from_is_kept() -> None:
    project = make_project()
    base = make_version(project, 1, Status.COMPLETED)
    make_version(project, 2, Status.RUNNING, incremental_version=base)

    with pytest.raises(lifecycle.TrainingRefused, match="V002 is being made from V001"):
        lifecycle.delete(base, by=make_user("alice"))


# --- what fits ---


def test_networks_fit_by_estimate_until_a_training_has_measured_them() -> None:
    fits = options_within("CPU", 20_000)
    assert fits and not any(option.is_measured for option in fits)
    assert [option.ms for option in fits] == sorted(option.ms for option in fits)
    assert options_within("NV_P4", 1) == []

    first = fits[0]
    version = make_version(make_project(), status=Status.COMPLETED, inference_hardware="CPU")
    for ms in (400.0, 300.0):
        Candidate.objects.create(
            training_version=version,
            network=first.network,
            resolution=first.resolution,
            recipe="linear head",
            inference_ms=ms,
            is_measured=True,
        )

    measured = [option for option in options_within("CPU", 20_000) if option.is_measured]
    assert measured == [first._replace(ms=350.0, is_measured=True)]
    assert first.network not in [
        option.network for option in options_within("CPU", 349) if option[:2] == first[:2]
    ]
    assert not any(option.is_measured for option in options_within("NV_P4", 20_000))
