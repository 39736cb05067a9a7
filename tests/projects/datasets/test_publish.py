"""Publishing: readiness, preview of the split, and the immutable version."""

from __future__ import annotations

import json
import tracemalloc
from decimal import Decimal

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from exeml_site.lib import storage
from projects.datasets import publish as dataset_publish
from projects.datasets.publish import ManifestDamaged, publish, read_entries
from projects.datasets.readiness import preview, preview_split, readiness
from projects.models import Annotation, DatasetVersion, Label, Project, Split
from tests.factories import make_image, make_project, make_user
from training.jobs.train_version import _samples
from training.models import TrainingVersion

pytestmark = pytest.mark.django_db
RATIO = Decimal("0.8")


def reserve(project: Project, name: str = "V001", ratio: str = "0.8") -> DatasetVersion:
    return DatasetVersion.objects.create(
        project=project, name=name, training_ratio=Decimal(ratio), created_by=make_user("alice")
    )


# --- readiness ---


def test_two_labels_with_five_images_each_are_enough() -> None:
    ready = readiness(make_project(labels=2, images=5))

    assert ready.is_ready
    assert ready.missing == []
    assert [(label.name, images) for label, images in ready.label_counts] == [("label-0", 5), ("label-1", 5)]


def test_an_empty_project_says_what_to_do() -> None:
    assert readiness(make_project(labels=0)).missing == [
        "Label images with at least two labels. None is used yet (4711)."
    ]


def test_one_label_is_named() -> None:
    assert readiness(make_project(labels=1, images=9)).missing == [
        "Label images with at least two labels. So far only ‘label-0’ is used (4711)."
    ]


def test_every_used_label_needs_five_images_and_is_told_how_many_more() -> None:
    project = make_project(labels=2, images=5)
    rare = Label.objects.create(project=project, name="roses", position=2)
    for seed in range(100, 103):
        make_image(project, seed, [rare])

    ready = readiness(project)

    assert not ready.is_ready
    assert ready.missing == ["Every label needs at least five images: ‘roses’ has 3 (2 more) (4711)."]


def test_many_short_labels_are_summed_up() -> None:
    assert (
        readiness(make_project(labels=8, images=1))
        .missing[0]
        .endswith("‘label-4’ has 1 (4 more) and 3 more (4711).")
    )


def test_a_label_on_no_image_is_left_out_with_a_note() -> None:
    project = make_project(labels=2, images=5)
    Label.objects.create(project=project, name="later", position=2)

    ready = readiness(project)

    assert ready.is_ready
    assert ready.notes == ["Labels without images are left out: ‘later’."]


def test_images_in_the_bin_do_not_count() -> None:
    project = make_project(labels=2, images=5)
    project.images.filter(pk=project.images.first().pk).update(deleted_at=timezone.now())

    [missing] = readiness(project).missing
    assert missing == "Every label needs at least five images: ‘label-1’ has 4 (1 more) (4711)."


def test_readiness_takes_the_same_queries_whatever_the_labels(django_assert_num_queries) -> None:
    project = make_project(labels=6, images=5)

    with django_assert_num_queries(11):
        readiness(project)


# --- preview ---


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_the_preview_is_what_publishing_does(is_multi_label: bool) -> None:
    project = make_project(labels=3, images=7, is_multi_label=is_multi_label)
    publish(reserve(project, "first", "0.5"))
    for seed in range(100, 109):
        make_image(project, seed, [project.labels.first()])

    expected = {row.label: {"TRAIN": row.train, "EVAL": row.eval} for row in preview(project, RATIO)}
    version = reserve(project)
    publish(version)

    assert version.counts == expected
    assert expected["label-0"] == {"TRAIN": 12, "EVAL": 4}  # 4 and 3, and 0.8 of nine new ones


def test_the_preview_takes_three_queries_whatever_the_number_of_images(django_assert_num_queries) -> None:
    project = make_project(labels=3, images=20)

    with django_assert_num_queries(3):
        preview(project, RATIO)


# --- publishing ---


def test_publishing_writes_sides_manifest_and_counts() -> None:
    project = make_project(labels=2, images=5, unlabeled=3)
    image = project.images.labeled().first()
    image.annotations.update(by=make_user("bob"))
    version = reserve(project)

    publish(version)

    assert version.is_published
    assert (version.image_count, version.train_count, version.eval_count) == (10, 8, 2)
    assert version.counts == {label: {"TRAIN": 4, "EVAL": 1} for label in ("label-0", "label-1")}
    assert version.manifest == f"datasets/{project.pk}/V001.manifest"
    assert project.images.unlabeled().filter(split="").count() == 3
    assert project.images.filter(split=Split.EVAL).count() == 2
    lines = default_storage.open(version.manifest).read().decode().splitlines()
    assert len(lines) == 10
    (line,) = [json.loads(line) for line in lines if json.loads(line)["id"] == image.sha256[:32]]
    image.refresh_from_db()
    assert line["source"] == image.file_name
    assert line["usage"] == image.split
    (annotation,) = line["annotation"]
    assert annotation["type"] == "modelarts/image_classification"
    assert annotation["name"] == "label-1"
    assert annotation["annotated-by"] == "human/bob"
    assert len(annotation["creation-time"]) == 19


def test_publishing_again_changes_nothing() -> None:
    project = make_project(labels=2, images=5)
    version = reserve(project)
    publish(version)
    before = DatasetVersion.objects.values().get(pk=version.pk)
    make_image(project, 100, [project.labels.first()])

    publish(version)

    assert DatasetVersion.objects.values().get(pk=version.pk) == before
    assert project.images.get(name="picture-100.png").split == ""


def test_an_image_keeps_its_side_in_the_next_version() -> None:
    project = make_project(labels=2, images=5)
    publish(reserve(project, "V001"))
    sides = dict(project.images.values_list("pk", "split"))
    for seed in range(100, 110):
        make_image(project, seed, [project.labels.first()])

    publish(reserve(project, "V002"))

    assert {pk: side for pk, side in project.images.values_list("pk", "split") if pk in sides} == sides


def test_every_label_of_an_image_is_in_the_manifest() -> None:
    project = make_project(labels=2, images=5, is_multi_label=True)
    both = make_image(project, 100, list(project.labels.all()))
    version = reserve(project)

    publish(version)

    (entry,) = [sample for sample in read_entries(version) if sample.image_id == both.pk]
    assert entry.labels == ("label-0", "label-1")


def test_the_samples_are_read_back() -> None:
    project = make_project(labels=2, images=5)
    version = reserve(project)
    publish(version)

    samples = read_entries(version)

    assert {sample.image_id for sample in samples} == set(project.images.values_list("pk", flat=True))
    assert [sample.usage for sample in samples].count("EVAL") == 2
    assert all(len(sample.labels) == 1 for sample in samples)


def test_a_manifest_that_was_changed_is_refused() -> None:
    version = reserve(make_project(labels=2, images=5))
    publish(version)
    storage.save_whole(version.manifest, b'{"source":"images/other.png"}\n')

    with pytest.raises(ManifestDamaged, match="V001 was changed after it was published"):
        read_entries(version)


def test_a_manifest_that_is_gone_is_refused() -> None:
    version = reserve(make_project(labels=2, images=5))
    publish(version)
    default_storage.delete(version.manifest)

    with pytest.raises(ManifestDamaged, match="is missing"):
        read_entries(version)


def test_a_version_that_was_never_published_has_no_samples() -> None:
    with pytest.raises(ManifestDamaged, match="not been published"):
        read_entries(reserve(make_project()))


def test_publishing_takes_little_memory_and_few_queries(django_assert_max_num_queries) -> None:
    project = make_project(labels=2, images=0)
    first = project.labels.first()
    images = [
        project.images.model(
            project=project, sha256=f"{i:064x}", name=f"{i}.png", format="PNG", width=1, height=1,
            size_bytes=1, is_labeled=True,
        )
        for i in range(3000)
    ]  # fmt: skip
    project.images.bulk_create(images)
    Annotation.objects.bulk_create(
        Annotation(image=image, label=first, at=timezone.now()) for image in project.images.all()
    )
    version = reserve(project)
    tracemalloc.start()

    with django_assert_max_num_queries(21):
        publish(version)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000
    assert version.image_count == 3000


def test_images_that_got_their_side_meanwhile_are_published_with_it() -> None:
    """Another publication ends between reading and writing of this one, which starts again."""
    project = make_project(labels=2, images=5)
    version, other = reserve(project, "V001"), reserve(project, "V002", "0.5")
    with dataset_publish._draft(version) as stale:
        publish(other)
        dataset_publish._publish(version, stale)

        assert not version.is_published

    publish(version)

    assert version.is_published
    assert version.counts == other.counts == {f"label-{i}": {"TRAIN": 3, "EVAL": 2} for i in range(2)}


def test_copies_are_published_on_one_side_and_the_preview_knows() -> None:
    project = make_project(labels=2, images=10)
    for label in project.labels.all():
        ids = list(
            project.images.filter(annotations__label=label).order_by("pk").values_list("pk", flat=True)
        )
        for start in range(0, 10, 2):
            project.images.filter(pk__in=ids[start : start + 2]).update(duplicate_group=ids[start])
    expected_split = preview_split(project, RATIO)
    version = reserve(project, "V001", "0.8")
    publish(version)
    version.refresh_from_db()
    for group in set(project.images.values_list("duplicate_group", flat=True)):
        assert len(set(project.images.filter(duplicate_group=group).values_list("split", flat=True))) == 1
    assert (expected_split.train, expected_split.eval, expected_split.groups, expected_split.torn) == (
        16,
        4,
        10,
        0,
    )
    assert (version.train_count, version.eval_count) == (16, 4)


# --- the test split ---


def test_images_of_the_test_split_are_published_and_neither_counted_nor_split() -> None:
    project = make_project(labels=2, images=6)
    tests = list(project.images.filter(annotations__label__name="label-0")[:2])
    project.images.filter(pk__in=[image.pk for image in tests]).update(split=Split.TEST)

    ready = readiness(project)
    assert [images for _, images in ready.label_counts] == [4, 6]
    assert ready.missing == ["Every label needs at least five images: ‘label-0’ has 4 (1 more) (4711)."]
    shown = preview_split(project, RATIO)
    assert (shown.train + shown.eval, shown.test) == (10, 2)

    version = reserve(project)
    publish(version)

    usages = {entry.image_id: entry.usage for entry in read_entries(version)}
    assert {pk for pk, usage in usages.items() if usage == "TEST"} == {image.pk for image in tests}
    assert (version.image_count, version.train_count + version.eval_count, version.test_count) == (12, 10, 2)
    assert version.counts["label-0"]["TEST"] == 2
    assert {image.split for image in project.images.filter(pk__in=[image.pk for image in tests])} == {"TEST"}
    samples = _samples(TrainingVersion(project=project, dataset_version=version))
    assert {int(sample.id) for sample in samples} == {pk for pk, usage in usages.items() if usage != "TEST"}
