"""The training images most similar to an image that is not in the project."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import django_rq
import numpy as np
import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from PIL import Image as Picture

from exeml_site.lib import jobs
from projects.images import similarity, upload
from projects.labels import actions
from projects.models import DuplicateKey, Embedding, Image, Project, Split
from tests.factories import make_project, make_user
from tests.training.fitted import make_samples
from training.assist import embed_images, find_duplicates

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Five images of each of three textures; the first of each colour is a validation image."""
    project, by = make_project("colours", labels=0, images=0), make_user("alice")
    for sample in make_samples(tmp_path):
        if sample.split == "TRAIN":
            file = io.BytesIO(sample.path.read_bytes())
            file.name = sample.path.name
            (outcome,) = upload.add_images(project, [file], by)
            actions.apply(project, [outcome.image.pk], add=sample.labels, by=by)
    Image.objects.filter(project=project).update(split=Split.TRAIN)
    Image.objects.filter(project=project, name__endswith="-0.png").update(split=Split.EVAL)
    embed_images.embed(project.pk)
    return project


def test_they_carry_its_label_are_of_the_training_side_and_nearest_first(
    project: Project, tmp_path: Path
) -> None:
    unseen = next(sample for sample in make_samples(tmp_path) if sample.id == "green-5")
    nearest = embed_images.nearest_labeled_images(project.pk, unseen.path.read_bytes())
    images = [image for image, _ in similarity.with_labels(nearest)]
    assert [image.pk for image in images] == nearest and len(nearest) == 12
    assert {image.split for image in images} == {Split.TRAIN}
    assert all(image.name.startswith("green-") for image in images[:4])


def test_a_picture_that_cannot_be_read_or_a_project_that_is_gone_has_none(project: Project) -> None:
    assert embed_images.nearest_labeled_images(project.pk, b"hello") == []
    out = io.BytesIO()
    Picture.new("RGB", (50, 50), "red").save(out, "PNG")
    assert embed_images.nearest_labeled_images(0, out.getvalue()) == []


@pytest.mark.usefixtures("redis")
def test_a_large_project_lets_other_projects_go_first(
    project: Project, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    monkeypatch.setattr(embed_images, "BATCH_SIZE", 4)
    Embedding.objects.filter(image__project=project).delete()
    with django_capture_on_commit_callbacks(execute=True):
        assert embed_images.embed(project.pk) == 15  # nobody waits
    Embedding.objects.filter(image__project=project).delete()
    queue = django_rq.get_queue(settings.QUEUE_LABELING)
    queue.empty()
    other = make_project("urgent", labels=0, images=0)
    jobs.enqueue_now("embed_images", other.pk)
    with django_capture_on_commit_callbacks(execute=True):
        assert embed_images.embed(project.pk) == 4
    assert queue.job_ids == [
        f"embed_images-{other.pk}",
        f"suggest_labels-{project.pk}",
        f"embed_images-{project.pk}",
    ]


def test_a_file_is_read_once_for_thumbnail_measures_embedding_and_duplicate_key(project: Project) -> None:
    images = list(project.images.select_related("embedding", "duplicate_key"))
    assert all(default_storage.exists(image.thumbnail_name) for image in images)
    assert all(image.brightness and image.sharpness is not None for image in images)
    assert all(len(image.duplicate_key.pixels) == 3 * 32 * 32 for image in images)
    stored = [image.duplicate_key.pixels for image in images]
    DuplicateKey.objects.all().delete()
    find_duplicates.update_duplicate_groups(project)  # makes them again from the stored thumbnails
    for image, pixels in zip(images, stored, strict=True):
        again = np.frombuffer(DuplicateKey.objects.get(image=image).pixels, np.uint8).astype(int)
        assert np.abs(again - np.frombuffer(pixels, np.uint8)).mean() < 6


def test_an_image_deleted_while_it_is_read_leaves_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    Embedding.objects.all().delete()
    project.images.update(brightness=None)
    gone = project.images.first()
    forget = embed_images.forget_deleted

    def delete_first(images: list[Image]) -> set[int]:
        Image.objects.filter(pk=gone.pk).delete()
        return forget(images)

    monkeypatch.setattr(embed_images, "forget_deleted", delete_first)
    embed_images.embed(project.pk)
    assert Embedding.objects.count() == 14 and not default_storage.exists(gone.thumbnail_name)


@pytest.mark.usefixtures("redis")
def test_suggestions_follow_when_embeddings_have_doubled_or_no_more_are_expected(
    project: Project, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    monkeypatch.setattr(embed_images, "BATCH_SIZE", 1)
    monkeypatch.setattr(embed_images, "MAX_PER_JOB", 1)
    Embedding.objects.all().delete()
    queue = django_rq.get_queue(settings.QUEUE_LABELING)
    asked = []
    for total in range(1, 16):
        queue.empty()
        with django_capture_on_commit_callbacks(execute=True):
            assert embed_images.embed(project.pk) == 1
        asked += [total] if f"suggest_labels-{project.pk}" in queue.job_ids else []
    assert asked == [1, 2, 4, 8]
    monkeypatch.setattr(embed_images, "MAX_PER_JOB", 99)
    Embedding.objects.filter(image=project.images.first()).delete()
    queue.empty()
    with django_capture_on_commit_callbacks(execute=True):
        assert embed_images.embed(project.pk) == 1
    assert queue.job_ids == [f"suggest_labels-{project.pk}"]
