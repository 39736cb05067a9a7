"""The images without labels that a training may use: none that tells anything of a held-out image."""

from __future__ import annotations

from pathlib import Path

import pytest

from projects.datasets import publish
from projects.labels import metadata
from projects.models import Image, MetadataColumn, Project, Split
from tests.factories import make_project, make_version
from training.jobs import unlabeled
from training.jobs.unlabeled import LocalFiles, unlabeled_files
from training.models import Status

pytestmark = pytest.mark.django_db


def names_of(images: list[Image]) -> set[str]:
    return {image.file_name for image in images}


def files_of(project: Project) -> LocalFiles:
    version = make_version(project, 1, Status.RUNNING)
    publish.publish(version.dataset_version)
    return unlabeled_files(project, publish.read_entries(version.dataset_version))


def held_out_image(project: Project) -> Image:
    held_out = project.images.filter(is_labeled=True).first()
    assert held_out is not None
    Image.objects.filter(pk=held_out.pk).update(split=Split.EVAL)
    return held_out


def test_all_images_without_a_label_that_are_not_deleted_may_be_used() -> None:
    project = make_project(images=6, unlabeled=5)
    *others, deleted = Image.objects.unlabeled().filter(project=project)
    Image.objects.filter(pk=deleted.pk).update(deleted_at="2026-01-01T00:00Z")
    assert set(files_of(project).names) == names_of(others)


def test_held_out_images_and_their_duplicates_are_left_out() -> None:
    project = make_project(images=6, unlabeled=5)
    held_out = held_out_image(project)
    test, validation, copy, *others = Image.objects.unlabeled().filter(project=project)
    Image.objects.filter(pk=test.pk).update(split=Split.TEST)
    Image.objects.filter(pk=validation.pk).update(split=Split.EVAL)
    Image.objects.filter(pk__in=[copy.pk, held_out.pk]).update(duplicate_group=held_out.pk)
    assert set(files_of(project).names) == names_of(others)


def test_images_that_may_not_be_separated_from_a_held_out_one_are_left_out() -> None:
    project = make_project(images=6, unlabeled=5)
    held_out = held_out_image(project)
    same_person, other_person, *others = Image.objects.unlabeled().filter(project=project)
    metadata.set_values(project, [held_out.pk, same_person.pk], {"person": "Ann"}, None)
    metadata.set_values(project, [other_person.pk], {"person": "Bob"}, None)
    MetadataColumn.objects.update(is_never_split=True)
    assert set(files_of(project).names) == names_of([other_person, *others])


def test_an_image_of_the_manifest_that_lost_its_label_is_left_out() -> None:
    project = make_project(images=6, unlabeled=1)
    version = make_version(project, 1, Status.RUNNING)
    publish.publish(version.dataset_version)
    entries = publish.read_entries(version.dataset_version)
    Image.objects.filter(project=project).update(is_labeled=False)
    assert len(unlabeled_files(project, entries)) == 1


def test_of_very_many_images_some_are_chosen_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlabeled, "MAX_IMAGES", 3)
    project = make_project(images=6, unlabeled=9)
    first = files_of(project)
    assert len(first) == 3
    assert unlabeled_files(project, []).names == first.names


def test_a_file_is_looked_for_when_it_is_asked_for() -> None:
    project = make_project(images=6, unlabeled=2, with_files=True)
    files = files_of(project)
    assert all(path.is_file() for path in files)
    missing = LocalFiles([*files.names, "images/none.png"])
    assert not missing[2].exists()
    assert isinstance(missing[2], Path)
    assert missing[1:].names == missing.names[1:]
