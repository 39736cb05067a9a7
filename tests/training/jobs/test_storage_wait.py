"""A storage or a database that is away costs no model: the training waits, says so, and can be stopped."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest
from django.db import InterfaceError
from django.utils import timezone

from exeml_site.lib import storage
from exeml_site.lib.job_row import ClaimLost
from tests.factories import cpu_flavor, make_project, make_version
from training.engine import EngineError, StoppedBeforeModel
from training.jobs import storage_wait, train_version
from training.jobs.reporter import Reporter
from training.jobs.storage_wait import StorageWait
from training.models import Status, TrainingVersion
from training.versions import progress_view, recovery

if TYPE_CHECKING:
    from tests.s3_server import S3Server

pytestmark = pytest.mark.django_db


@pytest.fixture
def version() -> TrainingVersion:
    version = make_version(make_project(labels=0), 1, flavor=cpu_flavor())
    claimed = train_version.claim(version.pk, 1)
    assert claimed is not None
    return claimed


class Step:
    """A step that fails with these problems, one after the other, then succeeds."""

    def __init__(self, *problems: Exception) -> None:
        self.problems, self.calls = list(problems), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.problems:
            raise self.problems.pop(0)
        return "done"


def stored(version: TrainingVersion) -> dict[str, Any]:
    version.refresh_from_db()
    return version.progress


def test_a_model_waits_for_a_storage_that_is_away_and_is_stored_then(
    s3: S3Server, version: TrainingVersion
) -> None:
    reporter = Reporter(version)
    reporter.begin("recording", "Storing the model")
    seen: list[dict[str, Any]] = []
    s3.mode = "refuse"

    def store() -> None:
        if s3.mode == "refuse" and "is_waiting" in stored(version):
            seen.append(version.progress)
            s3.mode = "pass"
        storage.save_whole("training/1/bundle/model.onnx", b"model")

    StorageWait(reporter).store(store)

    assert s3.names("training") == ["training/1/bundle/model.onnx"]
    assert seen[0]["message"] == storage_wait.MODEL_WAITS
    assert seen[0]["used_s"] == pytest.approx(reporter.used_s, abs=1.5), "waiting takes none of the limit"
    progress = stored(version)
    assert progress["message"] == "Storing the model" and "is_waiting" not in progress


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), storage_wait.DISK_FULL),
        (InterfaceError("the connection is closed"), storage_wait.DATABASE_AWAY),
        (storage.StorageAway(), storage_wait.MODEL_WAITS),
        (OSError(errno.EROFS, "Read-only file system"), storage_wait.MODEL_REFUSED),
    ],
)
def test_every_cause_of_the_wait_is_said(version: TrainingVersion, problem: Exception, message: str) -> None:
    reporter = Reporter(version)
    said = []

    def step() -> str:
        said.append(stored(version).get("message"))
        return failing()

    failing = Step(problem)
    assert StorageWait(reporter).store(step) == "done"
    assert said[1] == message


def test_what_no_waiting_helps_is_raised_at_once(version: TrainingVersion) -> None:
    wait = StorageWait(Reporter(version))
    for step, problem in (
        (wait.store, ValueError("broken")),
        (wait.read, OSError(errno.ENOSPC, "No space left on device")),
        (wait.read, FileNotFoundError()),
    ):
        with pytest.raises(type(problem)):
            step(Step(problem))


def test_stop_ends_the_wait_without_a_model(version: TrainingVersion) -> None:
    reporter = Reporter(version)

    def step() -> None:
        TrainingVersion.objects.filter(pk=version.pk).update(stop_requested_at=timezone.now())
        raise storage.StorageAway

    reporter.should_stop()
    with pytest.raises(StoppedBeforeModel):
        StorageWait(reporter).store(step)


def test_a_stop_from_before_keeps_the_model_that_waits(version: TrainingVersion) -> None:
    TrainingVersion.objects.filter(pk=version.pk).update(stop_requested_at=timezone.now())
    reporter = Reporter(version)
    assert reporter.should_stop()

    assert StorageWait(reporter).store(Step(storage.StorageAway(), storage.StorageAway())) == "done"


def test_a_lost_claim_ends_the_wait(version: TrainingVersion) -> None:
    def step() -> None:
        TrainingVersion.objects.filter(pk=version.pk).update(attempt=2)
        raise storage.StorageAway

    with pytest.raises(ClaimLost):
        StorageWait(Reporter(version)).store(step)


def test_after_a_day_it_fails_with_cause_and_remedy(
    version: TrainingVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_wait, "STORAGE_WAIT", storage_wait.STORAGE_WAIT * 0)
    with pytest.raises(EngineError) as ended:
        StorageWait(Reporter(version)).store(Step(storage.StorageAway()))
    assert ended.value.cause == storage_wait.GAVE_UP and "Retry" in ended.value.remedy


def test_a_worker_that_is_started_again_while_the_model_waits_is_no_loss(redis: Any) -> None:
    long_ago = timezone.now() - timezone.timedelta(minutes=5)  # type: ignore[attr-defined]
    version = make_version(
        make_project(labels=0),
        1,
        Status.RUNNING,
        claimed_attempt=1,
        heartbeat_at=long_ago,
        progress={"lost": 2, "is_waiting": True, "best_accuracy": 0.9, "remaining_s": 40},
    )
    assert progress_view.progress_of(version).remaining_s is None

    recovery.sweep()

    version.refresh_from_db()
    assert (version.status, version.attempt, version.progress["lost"]) == (Status.RUNNING, 2, 2)
    assert "is_waiting" not in Reporter(version).state
