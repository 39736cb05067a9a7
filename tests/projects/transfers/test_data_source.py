"""Data sources: a server folder or an S3 prefix, read at first and at each synchronization."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import moto
import pytest
from django.core.exceptions import ValidationError

from projects.models import DataSource, Project, Transfer
from projects.transfers import data_source, import_job, imports
from tests.factories import make_project, make_user, picture_bytes
from tests.projects.transfers.import_factories import labels_by_name, reasons

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(tmp_path: Path, settings: Any) -> Path:
    folder = tmp_path / "photos"
    for seed, name in enumerate(["roses/1.png", "roses/2.png", "tulips/3.png"]):
        put(folder, name, seed)
    settings.EXEML_SOURCE_ROOTS = [str(folder)]
    return folder


def put(folder: Path, name: str, seed: int) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture_bytes(seed))


def chosen(project: Project, address: str, *, has_folder_labels: bool = True) -> DataSource:
    return data_source.set_source(
        project, address, has_folder_labels=has_folder_labels, by=make_user("alice")
    )


def synchronized(source: DataSource) -> Transfer:
    transfer = imports.synchronize(source, make_user("bob"))
    import_job.run(transfer.pk)
    transfer.refresh_from_db()
    return transfer


def test_a_folder_of_the_server_fills_the_project(root: Path) -> None:
    project = make_project(labels=0)
    done = synchronized(chosen(project, str(root)))
    assert done.status == "Completed", done.problem
    assert labels_by_name(project) == {"1.png": ["roses"], "2.png": ["roses"], "3.png": ["tulips"]}
    assert project.images.get(name="3.png").source == f"{root}/tulips/3.png"
    assert DataSource.objects.get().synchronized_at is not None


def test_folders_are_labels_only_where_somebody_said_so(root: Path) -> None:
    (root / "roses/1.txt").write_text("climbing rose")
    project = make_project(labels=0)
    synchronized(chosen(project, str(root), has_folder_labels=False))
    assert labels_by_name(project) == {"1.png": ["climbing rose"], "2.png": [], "3.png": []}


def test_synchronizing_again_adds_what_is_new_and_lists_what_vanished(root: Path) -> None:
    project = make_project(labels=0)
    source = chosen(project, str(root))
    synchronized(source)
    gone = project.images.get(name="2.png")
    (root / "roses/2.png").unlink()
    put(root, "tulips/4.png", 4)

    done = synchronized(source)

    assert (done.report["counts"]["added"], done.report["counts"]["present"]) == (1, 2)
    assert done.report["vanished"] == [gone.pk]
    assert project.images.filter(deleted_at=None).count() == 4  # nothing is removed without a confirmation


def test_an_image_that_a_person_deleted_does_not_come_back(root: Path) -> None:
    project = make_project(labels=0)
    source = chosen(project, str(root))
    synchronized(source)
    project.images.filter(name="1.png").update(deleted_at="2026-01-01T00:00Z")
    done = synchronized(source)
    assert project.images.filter(deleted_at=None).count() == 2
    assert done.report["vanished"] == []


def test_a_file_with_another_content_is_a_new_image(root: Path) -> None:
    project = make_project(labels=0)
    source = chosen(project, str(root))
    synchronized(source)
    (root / "roses/1.png").write_bytes(picture_bytes(50, size=(64, 64)))
    assert synchronized(source).report["counts"]["added"] == 1
    assert project.images.count() == 4


def test_a_folder_that_is_away_fails_with_a_sentence_and_nothing_vanishes(root: Path) -> None:
    project = make_project(labels=0)
    source = chosen(project, str(root))
    synchronized(source)
    root.rename(root.with_name("unmounted"))
    done = synchronized(source)
    assert done.status == "Failed"
    assert "There is no such folder" in done.problem
    assert "vanished" not in done.report


@pytest.mark.parametrize(
    "address", ["/etc", "{root}/..", "{root}x", "s3://bucket/x", "relative", "{root}/link"]
)
def test_only_what_operators_allowed_can_be_chosen(root: Path, address: str) -> None:
    (root / "link").symlink_to("/etc")
    with pytest.raises(ValidationError):
        data_source.check_address(address.format(root=root))


def test_symbolic_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "secret", "5.png", 5)
    (root / "roses/link.png").symlink_to(tmp_path / "secret/5.png")
    (root / "linked").symlink_to(tmp_path / "secret")
    project = make_project(labels=0)
    synchronized(chosen(project, str(root)))
    assert "5.png" not in labels_by_name(project) and "link.png" not in labels_by_name(project)


def test_without_a_root_nothing_can_be_chosen(settings: Any) -> None:
    settings.EXEML_SOURCE_ROOTS = []
    with pytest.raises(ValidationError, match="EXEML_SOURCE_ROOTS"):
        data_source.check_address("/srv")


def test_one_synchronization_at_a_time(root: Path) -> None:
    source = chosen(make_project(labels=0), str(root))
    first = imports.synchronize(source, make_user("bob"))
    assert imports.synchronize(source, make_user("alice")) == first


def test_a_broken_file_of_a_source_is_reported(root: Path) -> None:
    (root / "roses/broken.jpg").write_bytes(b"\xff\xd8\xff")
    done = synchronized(chosen(make_project(labels=0), str(root)))
    assert list(reasons(done)) == ["roses/broken.jpg"]


@pytest.fixture
def bucket(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 server in this process for botocore's clients."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="photos")
        settings.EXEML_SOURCE_ROOTS = ["s3://photos/in?region=us-east-1"]
        yield client


def test_an_s3_prefix_is_read_like_a_folder(bucket: Any) -> None:
    for seed, name in enumerate(["roses/1.png", "tulips/2.png"]):
        bucket.put_object(Bucket="photos", Key=f"in/flowers/{name}", Body=picture_bytes(seed))
    bucket.put_object(Bucket="photos", Key="in/other.png", Body=picture_bytes(7))
    project = make_project(labels=0)
    source = chosen(project, "s3://photos/in/flowers/")
    done = synchronized(source)
    assert done.status == "Completed", done.problem
    assert labels_by_name(project) == {"1.png": ["roses"], "2.png": ["tulips"]}

    bucket.delete_object(Bucket="photos", Key="in/flowers/roses/1.png")
    again = synchronized(source)
    assert again.report["vanished"] == [project.images.get(name="1.png").pk]


def test_a_bucket_that_is_not_there_fails_with_a_sentence(bucket: Any, settings: Any) -> None:
    settings.EXEML_SOURCE_ROOTS = ["s3://elsewhere?region=us-east-1"]
    done = synchronized(chosen(make_project(labels=0), "s3://elsewhere/flowers"))
    assert done.status == "Failed"
    assert "The bucket elsewhere does not answer" in done.problem


def test_a_renamed_or_moved_file_keeps_its_image_and_nothing_vanished(root: Path) -> None:
    project = make_project(labels=0)
    source = chosen(project, str(root))
    synchronized(source)
    before = dict(project.images.values_list("name", "pk"))
    (root / "roses/1.png").rename(root / "roses/one.png")
    (root / "tulips/3.png").rename(root / "roses/3.png")

    done = synchronized(source)

    assert done.report["vanished"] == []
    assert (done.report["counts"]["moved"], done.report["counts"]["added"]) == (2, 0)
    assert dict(project.images.values_list("name", "pk")) == {
        "one.png": before["1.png"],
        "2.png": before["2.png"],
        "3.png": before["3.png"],
    }
    assert project.images.get(name="one.png").source == f"{root}/roses/one.png"
    assert labels_by_name(project)["3.png"] == ["tulips"]  # its label stays
    again = synchronized(source)
    assert (again.report["vanished"], again.report["counts"]["present"]) == ([], 3)


def test_a_file_that_was_moved_and_changed_is_new_and_the_old_one_vanished(root: Path) -> None:
    project = make_project(labels=0)
    source = chosen(project, str(root))
    synchronized(source)
    old = project.images.get(name="1.png")
    (root / "roses/1.png").unlink()
    put(root, "roses/other.png", 60)
    done = synchronized(source)
    assert done.report["vanished"] == [old.pk]
    assert done.report["counts"]["added"] == 1


def test_a_renamed_file_whose_image_is_in_the_bin_does_not_come_back(root: Path) -> None:
    project = make_project(labels=0)
    source = chosen(project, str(root))
    synchronized(source)
    project.images.filter(name="1.png").update(deleted_at="2026-01-01T00:00Z")
    (root / "roses/1.png").rename(root / "roses/one.png")
    done = synchronized(source)
    assert project.images.filter(deleted_at=None).count() == 2
    assert done.report["vanished"] == []
    assert project.images.get(name="one.png").deleted_at is not None


def test_the_last_of_two_equal_files_keeps_the_image(root: Path) -> None:
    project = make_project(labels=0)
    put(root, "roses/copy.png", 0)
    source = chosen(project, str(root))
    synchronized(source)
    kept = project.images.get(source__in=[f"{root}/roses/1.png", f"{root}/roses/copy.png"])
    Path(kept.source).unlink()
    done = synchronized(source)
    assert done.report["vanished"] == []
    kept.refresh_from_db()
    assert Path(kept.source).exists()
