"""A remote storage that is away is told from one that lacks a file, and copies of its files have a limit."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from exeml_site.lib import storage
from exeml_site.lib.files import cache, machine_files
from projects.models import Transfer
from tests.factories import make_project, make_version
from training.models import Batch, Service, Status, TrainingVersion

if TYPE_CHECKING:
    from tests.s3_server import S3Server

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mode", ["refuse", "hang"])
def test_a_storage_that_is_away_is_not_one_without_the_file(s3: S3Server, mode: Any, settings: Any) -> None:
    options = settings.STORAGES["default"]["OPTIONS"]
    options["client_config"] = options["client_config"].merge(type(options["client_config"])(read_timeout=1))
    with pytest.raises(FileNotFoundError):
        storage.local_path("images/1/nothing.png")

    s3.mode = mode
    for ask in (
        lambda: storage.local_path("images/1/x.png"),
        lambda: storage.save_whole("images/1/x.png", b"pixels"),
        lambda: default_storage.exists("images/1/x.png"),
        lambda: default_storage.listdir("images"),
        lambda: default_storage.size("images/1/x.png"),
        lambda: default_storage.delete("images/1/x.png"),
        lambda: default_storage.open("images/1/x.png").read(),
    ):
        began = time.monotonic()
        with pytest.raises(Exception) as problem:  # noqa: PT011 (of several classes)
            ask()
        assert storage.is_away(problem.value) and storage.may_pass(problem.value)
        assert not isinstance(problem.value, OSError)  # which stands for a file that is missing or damaged
        assert time.monotonic() - began < 8
    s3.mode = "pass"
    storage.save_whole("images/1/x.png", b"pixels")
    assert storage.local_path("images/1/x.png").read_bytes() == b"pixels"


def test_a_refusal_is_not_an_absence_but_may_pass() -> None:
    from botocore.exceptions import ClientError

    def answer(status: int) -> ClientError:
        return ClientError({"Error": {}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")

    assert storage.is_away(answer(503)) and storage.is_away(answer(429))
    assert not storage.is_away(answer(403)) and storage.may_pass(answer(403))
    assert not storage.may_pass(ValueError()) and not storage.may_pass(FileNotFoundError(2, "none"))
    assert storage.may_pass(OSError(28, "No space left on device"))


def store_copies(*sizes: int) -> None:
    """Copies a, b, c … of these bytes, a used longest ago, all more than an hour ago."""
    for number, size in enumerate(sizes):
        path = cache.path_of(f"images/1/{'abcdef'[number]}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        used_at = time.time() - 10_000 + number
        os.utime(path, (used_at, used_at))


def names() -> list[str]:
    return sorted(file.name.rpartition("/")[2] for file in cache.cached_files())


def test_the_copies_that_were_not_used_for_longest_go_first(s3: S3Server) -> None:
    store_copies(100, 100, 100)
    storage.local_path("images/1/a")  # used now

    assert cache.shrink(200) == 100
    assert names() == ["a", "c"]
    assert cache.shrink(50) == 100
    assert names() == ["a"], "somebody may be reading it"


def test_what_a_running_training_may_read_stays_until_its_folder_goes(s3: S3Server, settings: Any) -> None:
    store_copies(100, 100)
    cache.hold(settings.WORK_DIR / "training-7")
    mark = settings.WORK_DIR / "training-7" / cache.HOLD
    os.utime(mark, (time.time() - 9_999.5,) * 2)

    cache.shrink(0)
    assert names() == ["b"]
    mark.unlink()
    cache.shrink(0)
    assert names() == []


def test_the_limit_of_the_copies_is_a_setting(s3: S3Server, settings: Any) -> None:
    store_copies(100, 100)
    settings.EXEML_CACHE_GB = 1
    assert machine_files.shrink_cache() == 0
    settings.EXEML_CACHE_GB = 0
    assert machine_files.shrink_cache() == 200


@pytest.mark.django_db
def test_copies_of_what_was_deleted_elsewhere_go_and_others_stay(s3: S3Server) -> None:
    project = make_project(labels=0)
    kept, gone = (make_version(project, number, Status.COMPLETED) for number in (1, 2))
    TrainingVersion.objects.filter(pk=gone.pk).update(deleted_at=timezone.now())
    service = Service.objects.create(project=project, training_version=kept, name="exeML-1")
    batch = Batch.objects.create(service=service, training_version=kept, name="a", status="Completed")
    ended = Transfer.objects.create(
        project=project, kind="zip", status="Completed", finished_at=timezone.now()
    )
    begun = Transfer.objects.create(project=project, kind="zip")
    stay = {
        f"training/{kept.pk}/bundle/model.onnx",
        f"datasets/{project.pk}/V001.manifest",
        f"batches/{batch.pk}/results.jsonl",
        f"transfers/{begun.pk}/0/00000",
        "evaluations/ids.json",
    }
    go = {
        f"training/{gone.pk}/bundle/model.onnx",
        f"datasets/{project.pk + 1}/V001.manifest",
        f"batches/{batch.pk}/upload-0.zip",
        f"batches/{batch.pk + 1}/results.jsonl",
        f"transfers/{ended.pk}/0/00000",
    }
    for name in stay | go:
        cache.path_of(name).parent.mkdir(parents=True, exist_ok=True)
        cache.path_of(name).write_bytes(b"x")

    assert machine_files.drop_gone() == len(go)

    assert {file.name for file in cache.cached_files()} == stay
