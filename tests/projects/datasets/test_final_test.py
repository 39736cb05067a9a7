"""The choice of images for a final test: shares of labels, duplicates whole, never trained on."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from projects.datasets import final_test, readiness
from projects.datasets.publish import publish, read_entries
from projects.labels import image_splits
from projects.models import DatasetVersion, Image, Label, Project
from tests.factories import make_image, make_project

pytestmark = pytest.mark.django_db


def published(project: Project, name: str = "V001") -> DatasetVersion:
    version = DatasetVersion.objects.create(project=project, name=name, training_ratio="0.8")
    publish(version)
    return version


def labels_of(project: Project, ids: list[int]) -> Counter[str]:
    return Counter(project.images.filter(pk__in=ids).values_list("annotations__label__name", flat=True))


def test_labels_keep_their_shares_and_the_choice_is_always_the_same() -> None:
    project = make_project(labels=1, images=60)
    label = Label.objects.create(project=project, name="rare", position=1)
    for seed in range(100, 120):
        make_image(project, seed, [label])
    choice = final_test.choose(project, 20, takes_trained=False)
    assert labels_of(project, choice.images) == {"label-0": 15, "rare": 5}
    assert (choice.trained, choice.available) == (0, 80)
    assert final_test.choose(project, 20, takes_trained=False) == choice


def test_every_label_keeps_five_images_for_training() -> None:
    project = make_project(labels=2, images=7)
    choice = final_test.choose(project, 7, takes_trained=False)
    assert labels_of(project, choice.images) == {"label-0": 2, "label-1": 2}
    image_splits.keep_as_test(project, choice.images, None)
    assert readiness.readiness(project).is_ready
    assert final_test.choose(project, 1, takes_trained=False).images == []


def test_duplicates_stay_together() -> None:
    project = make_project(labels=2, images=20)
    ids = list(project.images.order_by("pk").values_list("pk", flat=True))
    for start in range(0, 40, 2):
        Image.objects.filter(pk__in=ids[start : start + 2]).update(duplicate_group=ids[start])
    chosen = set(final_test.choose(project, 11, takes_trained=False).images)
    assert len(chosen) == 10
    assert all(len(chosen & set(ids[start : start + 2])) in (0, 2) for start in range(0, 40, 2))


def test_images_that_were_trained_on_are_taken_only_if_wanted() -> None:
    project = make_project(labels=2, images=20)
    version = published(project)
    trained = set(project.images.filter(split="TRAIN").values_list("pk", flat=True))
    fresh = [make_image(project, seed, [project.labels.first()]).pk for seed in range(100, 104)]

    choice = final_test.choose(project, 10, takes_trained=False)
    assert not trained & set(choice.images) and set(choice.images) >= set(fresh)
    assert final_test.dataset_versions_with(project, choice.images) == []

    with_trained = final_test.choose(project, 20, takes_trained=True)
    assert with_trained.trained == len(trained & set(with_trained.images)) > 0
    assert final_test.dataset_versions_with(project, with_trained.images) == [version.name]


def test_an_image_that_went_to_the_test_images_and_back_is_still_known_as_trained_on() -> None:
    project = make_project(labels=2, images=10)
    published(project)
    image = project.images.filter(split="TRAIN").first()
    assert image is not None
    image_splits.keep_as_test(project, [image.pk], None)
    image_splits.use_for_training(project, [image.pk], None)
    image.refresh_from_db()
    assert image.split == "" and image.pk in final_test.trained_image_ids(project)


def test_a_duplicate_of_a_trained_image_is_as_good_as_trained_on() -> None:
    project = make_project(labels=2, images=10)
    published(project)
    image = project.images.filter(split="TRAIN").first()
    assert image is not None
    copy = make_image(project, 500, [project.labels.first()])
    Image.objects.filter(pk__in=[image.pk, copy.pk]).update(duplicate_group=image.pk)
    choice = final_test.choose(project, 8, takes_trained=False)
    assert copy.pk not in choice.images


def test_images_with_several_labels_are_chosen_by_each_of_them() -> None:
    project = make_project(labels=3, images=0, is_multi_label=True)
    first, second, third = project.labels.all()
    for seed in range(60):
        make_image(project, seed, [first, second] if seed % 2 else [first, third])
    choice = final_test.choose(project, 12, takes_trained=False)
    tally = labels_of(project, choice.images)
    assert len(choice.images) == 12 and tally["label-0"] == 12
    assert abs(tally["label-1"] - tally["label-2"]) <= 2


def test_test_images_are_published_and_neither_trained_nor_validated_on() -> None:
    project = make_project(labels=2, images=15)
    chosen = set(final_test.choose(project, 8, takes_trained=False).images)
    image_splits.keep_as_test(project, chosen, None)
    version = published(project)
    usages = {entry.image_id: entry.usage for entry in read_entries(version)}
    assert {pk for pk, usage in usages.items() if usage == "TEST"} == chosen
    assert (version.test_count, version.image_count) == (8, 30)


def test_a_new_duplicate_of_a_test_image_is_a_test_image() -> None:
    project = make_project(labels=2, images=8)
    image = project.images.first()
    assert image is not None
    image_splits.keep_as_test(project, [image.pk], None)
    copy = make_image(project, 500, [project.labels.first()])
    Image.objects.filter(pk__in=[image.pk, copy.pk]).update(duplicate_group=image.pk)

    preview = readiness.preview_split(project, Decimal("0.8"))
    version = published(project)

    copy.refresh_from_db()
    assert copy.split == "TEST" and (preview.test, version.test_count) == (2, 2)
    assert (preview.train, preview.eval) == (version.train_count, version.eval_count)


def test_a_damaged_manifest_leaves_what_the_images_say() -> None:
    project = make_project(labels=2, images=10)
    version = published(project)
    DatasetVersion.objects.filter(pk=version.pk).update(sha256="0" * 64)
    trained = set(project.images.filter(split="TRAIN").values_list("pk", flat=True))
    assert final_test.trained_image_ids(project) == trained


def test_the_numbers_of_each_label() -> None:
    project = make_project(labels=2, images=6)
    label = project.labels.first()
    assert label is not None
    ids = list(project.images.filter(annotations__label=label).values_list("pk", flat=True))[:2]
    image_splits.keep_as_test(project, ids, None)
    rows = final_test.tests_of_labels(project)
    assert [(row.label.name, row.test, row.others) for row in rows] == [("label-0", 2, 4), ("label-1", 0, 6)]
    assert final_test.count_test_images(project) == 2
