"""Images are deleted permanently when their time in the bin is over."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from exeml_site.lib import storage
from exeml_site.lib.files import cache, machine_files
from projects.images.bin import empty_bins
from projects.models import Annotation, Image
from tests.factories import make_project

if TYPE_CHECKING:
    from tests.s3_server import S3Server

pytestmark = pytest.mark.django_db


def delete_image(image: Image, days_ago: float) -> None:
    image.deleted_at = timezone.now() - timedelta(days=days_ago)
    image.save()


def test_an_image_deleted_longer_ago_goes_with_its_files_and_labels() -> None:
    image = make_project(labels=1, images=1, with_files=True).images.get()
    delete_image(image, days_ago=30.1)
    assert empty_bins() == 1
    assert not Image.objects.exists()
    assert not Annotation.objects.exists()
    assert not default_storage.exists(image.file_name)
    assert not default_storage.exists(image.thumbnail_name)


def test_an_image_that_may_still_be_restored_stays() -> None:
    first, second = make_project(labels=1, images=2, with_files=True).images.all()
    delete_image(first, days_ago=29.9)
    assert empty_bins() == 0
    assert Image.objects.count() == 2
    assert default_storage.exists(first.file_name)
    assert default_storage.exists(second.file_name)


def test_more_than_a_batch_goes_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projects.images.bin.BATCH", 2)
    project = make_project(labels=1, images=5)
    project.images.update(deleted_at=timezone.now() - timedelta(days=31))
    assert empty_bins() == 5
    assert not project.images.exists()


def test_a_purged_picture_goes_from_the_copies_of_other_machines(s3: S3Server) -> None:
    project = make_project(labels=1, images=2, with_files=True)
    gone, kept = project.images.all()
    for image in (gone, kept):
        storage.local_path(image.file_name)
    copy = cache.path_of(gone.file_name).read_bytes()
    delete_image(gone, days_ago=31)
    empty_bins()
    cache.path_of(gone.file_name).write_bytes(copy)  # another machine still has it

    assert machine_files.drop_gone() == 1

    assert [file.name for file in cache.cached_files()] == [kept.file_name]
    assert s3.names("images") == [kept.file_name]


def test_the_bin_keeps_what_the_storage_could_not_delete(s3: S3Server) -> None:
    image = make_project(labels=1, images=1, with_files=True).images.get()
    delete_image(image, days_ago=31)

    s3.mode = "refuse"
    with pytest.raises(Exception) as problem:  # noqa: PT011 (of several classes)
        empty_bins()

    assert storage.is_away(problem.value)
    assert Image.objects.get() == image
    s3.mode = "pass"
    assert empty_bins() == 1
    assert s3.names("images") == []
