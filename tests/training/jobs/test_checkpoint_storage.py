"""A training goes on on another machine from what the first one copied to the storage."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.factories import make_project, make_version
from training.engine.config import Event, FitConfig, Sample
from training.jobs import checkpoint_storage, fit_record
from training.jobs.checkpoint_storage import CheckpointCopy
from training.models import Status, TrainingVersion
from training.versions import recovery

if TYPE_CHECKING:
    from tests.s3_server import S3Server

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
CONFIG = FitConfig(max_seconds=600, max_inference_ms=7)  # one network fits into 7 ms


@pytest.fixture
def version() -> TrainingVersion:
    return make_version(make_project(labels=0), 1, Status.RUNNING)


def write(folder: Path, name: str, content: bytes, changed_s: int) -> None:
    path = folder / "checkpoint" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (changed_s, changed_s))


def clock(used_s: float) -> bytes:
    return json.dumps({"used_s": used_s}).encode()


def copied(s3: S3Server, version: TrainingVersion) -> list[str]:
    prefix = f"{version.checkpoint_folder}/"
    return sorted(name.removeprefix(prefix) for name in s3.names(prefix))


def test_only_what_has_changed_is_copied_and_pixels_never(
    s3: S3Server, version: TrainingVersion, tmp_path: Path
) -> None:
    copy = CheckpointCopy(version, tmp_path)
    for number, name in enumerate(("pixels.npy", "pixels.json", "deep.npy", "a.part.npy", "clock.json")):
        write(tmp_path, name, b"x" * 10, 1000 + number)

    copy.copy()
    copy.copy()

    assert copied(s3, version) == ["clock.json", "deep.npy", "pixels.json"]
    assert copy.bytes == 30
    write(tmp_path, "deep.npy", b"y" * 5, 2000)
    (tmp_path / "checkpoint/pixels.json").unlink()
    copy.copy()
    assert copied(s3, version) == ["clock.json", "deep.npy"] and copy.bytes == 35


def test_a_checkpoint_has_a_limit(
    s3: S3Server, version: TrainingVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_storage, "MAX_BYTES", 100)
    for number, size in enumerate((40, 60, 30)):
        write(tmp_path, f"features_{number}.npy", b"x" * size, 1000 + number)
    write(tmp_path, "student.pt", b"x" * 30, 2000)

    CheckpointCopy(version, tmp_path).copy()

    assert copied(s3, version) == ["features_0.npy", "features_2.npy", "student.pt"]


def test_the_copy_runs_beside_the_fit_and_outlives_a_storage_that_is_away(
    s3: S3Server, version: TrainingVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_storage, "INTERVAL_S", 0.05)
    monkeypatch.setattr(checkpoint_storage, "MAX_BUSY_SHARE", 1)
    write(tmp_path, "clock.json", clock(1), 1000)
    s3.mode = "refuse"
    with CheckpointCopy(version, tmp_path) as copy:
        time.sleep(0.5)
        assert copy.bytes == 0
        s3.mode = "pass"
        for _ in range(100):
            if copy.bytes:
                break
            time.sleep(0.1)
    assert copied(s3, version) == ["clock.json"]


def test_the_further_checkpoint_is_used(s3: S3Server, version: TrainingVersion, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write(first, "deep.npy", b"first", 1000)
    write(first, "clock.json", clock(100), 1001)
    CheckpointCopy(version, first).copy()
    write(second, "deep.npy", b"second", 1000)
    write(second, "clock.json", clock(200), 1001)

    assert not checkpoint_storage.restore(version, second)
    write(second, "clock.json", clock(50), 1001)
    write(second, "old.npy", b"of another search", 1001)
    restored = checkpoint_storage.restore(version, second)
    assert sorted(restored) == ["clock.json", "deep.npy"]

    assert (second / "checkpoint/deep.npy").read_bytes() == b"first"
    assert not (second / "checkpoint/old.npy").exists()
    write(second, "new.pt", b"tuned here", 3000)
    copy = CheckpointCopy(version, second, restored)
    copy.copy()
    assert copy.bytes == 10, "what came from the storage is not copied back"
    checkpoint_storage.delete(version)
    assert copied(s3, version) == []
    assert not checkpoint_storage.restore(version, tmp_path / "third")


def test_a_checkpoint_that_could_not_be_deleted_goes_later(
    s3: S3Server, version: TrainingVersion, tmp_path: Path
) -> None:
    write(tmp_path, "clock.json", clock(1), 1000)
    CheckpointCopy(version, tmp_path).copy()
    s3.mode = "refuse"
    checkpoint_storage.delete(version)
    s3.mode = "pass"
    assert copied(s3, version) == ["clock.json"]

    version.held().end(Status.COMPLETED)
    recovery.delete_stored_leftovers()

    assert copied(s3, version) == []


def moved(samples: list[Sample], folder: Path) -> list[Sample]:
    """The same samples in the folder of another machine."""
    folder.mkdir()
    for sample in samples:
        shutil.copy(sample.path, folder)
    return [
        Sample(sample.id, folder / sample.path.name, sample.labels, sample.split, sample.group)
        for sample in samples
    ]


def test_another_machine_goes_on_from_the_features_with_the_time_counted(
    s3: S3Server, version: TrainingVersion, tmp_path: Path, tiny_samples: list[Sample]
) -> None:
    from training.engine.fit import fit

    first, second = tmp_path / "first", tmp_path / "second"
    events: list[Event] = []

    def has_model() -> bool:
        return any(event.kind == "best" for event in events)

    fit(tiny_samples, CONFIG, first, events.append, has_model)
    CheckpointCopy(version, first).copy()
    used_s = json.loads((first / "checkpoint/clock.json").read_text())["used_s"]
    reached = max(event.accuracy or 0 for event in events)

    assert checkpoint_storage.restore(version, second)
    features = {path: path.stat().st_mtime_ns for path in (second / "checkpoint").glob("*_*.npy")}
    assert features
    events.clear()
    result = fit(moved(tiny_samples, tmp_path / "files"), CONFIG, second, events.append, has_model)

    assert min(event.elapsed_s for event in events) >= used_s
    assert {path: path.stat().st_mtime_ns for path in features} == features, "not extracted again"
    accuracies = [event.accuracy for event in events if event.accuracy is not None]
    assert min(accuracies) >= reached and result.curve[-1][1] >= reached
    assert (second / "checkpoint/pixels.npy").exists()
    assert_kept_as_it_is(result, second)


def assert_kept_as_it_is(result: Any, folder: Path) -> None:
    fit_record.write(folder, result)
    assert fit_record.read(folder) == result
    shutil.rmtree(folder / "bundle")
    assert fit_record.read(folder) is None
