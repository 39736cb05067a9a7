"""Dataset versions: page, data leakage, differences, and restoring labels."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from exeml_site.lib import storage
from projects.datasets import compare, leakage, readiness, split, statistics
from projects.datasets import publish as dataset_publish
from projects.datasets.split import EVAL, TRAIN, LabeledImage
from projects.labels import actions
from projects.models import Annotation, DatasetVersion, Image, Project, Split
from tests.factories import make_image, make_project, make_user
from tests.pages import html_of

pytestmark = pytest.mark.django_db


def publish(project: Project, name: str, ratio: str = "0.8") -> DatasetVersion:
    version = DatasetVersion.objects.create(
        project=project, name=name, training_ratio=Decimal(ratio), created_by=make_user("alice")
    )
    dataset_publish.publish(version)
    version.refresh_from_db()
    return version


@pytest.fixture
def project() -> Project:
    return make_project(labels=2, images=10)


def page_of(version: DatasetVersion, view: str = "dataset_version") -> str:
    return reverse(view, args=[version.project_id, version.name])


def label(project: Project, number: int, name: str) -> None:
    image = Image.objects.get(project=project, name=f"picture-{number}.png")
    actions.apply(project, [image.pk], add=[name], by=make_user("bob"))


# --- data leakage ---


def test_what_a_random_split_leaks_is_what_simulations_leak() -> None:
    chance, leaking = random.Random(1), 0
    for _ in range(4000):
        sides = [chance.random() < 0.8 for _ in range(7)]
        leaking += sides.count(False) if any(sides) else 0
    assert leakage.expected_leaks(7, 0.8) == pytest.approx(leaking / 4000, rel=0.05)
    assert leakage.expected_leaks(1, 0.8) == 0


def test_copies_that_stay_together_are_told_with_what_was_prevented(project: Project, vera: Client) -> None:
    first = list(project.images.order_by("pk").values_list("pk", flat=True)[:6])
    Image.objects.filter(pk__in=first[:3]).update(duplicate_group=first[0])
    Image.objects.filter(pk__in=first[3:]).update(duplicate_group=first[3])
    version = publish(project, "V001")
    assert (version.split["groups"], version.split["copies"], version.split["leaks"]) == (2, 6, 0)
    assert version.split["random_leaks"] == pytest.approx(2 * leakage.expected_leaks(3, 0.8), abs=0.1)
    html = html_of(vera.get(page_of(version)))
    assert "6 images form 2 groups of duplicates" in html and "there are none." in html


def test_a_leak_that_cannot_be_helped_is_named(project: Project, vera: Client) -> None:
    images = list(Image.objects.filter(project=project, annotations__label__name="label-0"))
    Image.objects.filter(pk__in=[image.pk for image in images]).update(duplicate_group=images[0].pk)
    version = publish(project, "V001")
    leaking = version.split["leaking"]
    assert leaking and set(leaking) <= {image.pk for image in images}
    assert Image.objects.get(pk=leaking[0]).split == Split.EVAL
    assert f"<strong>{len(leaking)}</strong>." in html_of(vera.get(page_of(version)))


@pytest.mark.parametrize(
    ("searched", "text"),
    [("20:20", "No image has a duplicate"), ("", "too many images to search for duplicates")],
)
def test_where_copies_were_not_looked_for_the_page_says_so(
    project: Project, vera: Client, searched: str, text: str
) -> None:
    Project.objects.filter(pk=project.pk).update(duplicates_searched=searched)
    assert text in html_of(vera.get(page_of(publish(project, "V001"))))


# --- the ratio ---


def test_a_new_ratio_holds_for_new_images_and_the_page_says_what_that_means(
    project: Project, vera: Client
) -> None:
    publish(project, "V001", "0.8")
    for number in range(100, 110):
        make_image(project, number, [project.labels.first()])
    preview = readiness.preview_split(project, Decimal("0.5"))
    version = publish(project, "V002", "0.5")
    assert (version.split["new_train"], version.split["new_eval"]) == (5, 5)
    note = leakage.ratio_note(version.split, version.training_ratio)
    assert note == preview.ratio_note
    assert note.startswith("20 images keep their split from earlier versions (0.80 for training).")
    assert "Only 10 new images can be split by 0.5." in note and "0.70 of the images" in note
    assert note in html_of(vera.get(page_of(version)))


def test_the_same_ratio_again_needs_no_words(project: Project) -> None:
    publish(project, "V001")
    for number in range(100, 105):
        make_image(project, number, [project.labels.first()])
    version = publish(project, "V002")
    assert leakage.ratio_note(version.split, version.training_ratio) == ""


def test_images_that_come_one_by_one_do_not_drift_to_one_side() -> None:
    """The rounding of many small versions must not add up: 0.8 of one image is one image."""
    images: list[LabeledImage] = []
    for version in range(40):
        images.append(LabeledImage(version, f"{version:064x}", ("a",)))
        sides = split.split(images, Decimal("0.8"), "x").splits
        images = [LabeledImage(image.id, image.sha256, image.labels, sides[image.id]) for image in images]
    counted = [image.split for image in images]
    assert (counted.count(TRAIN), counted.count(EVAL)) == (32, 8)


# --- the page ---


def test_the_page_counts_people_labels_and_measures(project: Project, vera: Client) -> None:
    label(project, 0, "label-1")
    Image.objects.filter(project=project).update(brightness=100.0, sharpness=300.0)
    version = publish(project, "V001")
    portrait = statistics.statistics_of(version)
    assert portrait["people"] == [["unknown", 19], ["bob", 1]]
    assert set(portrait["measures"]) == {"size", "brightness", "sharpness"}
    for measure in portrait["measures"].values():
        assert (sum(measure["TRAIN"]), sum(measure["EVAL"])) == (version.train_count, version.eval_count)
    html = html_of(vera.get(page_of(version)))
    assert "label-0" in html and "Brightness" in html and ">bob<" in html
    version.refresh_from_db()
    assert version.statistics == portrait  # computed once


def test_the_manifest_is_downloaded_byte_for_byte(project: Project, vera: Client) -> None:
    version = publish(project, "V001")
    answer = vera.get(page_of(version, "dataset_manifest"))
    assert b"".join(answer) == storage.local_path(version.manifest).read_bytes()
    assert 'filename="flowers-V001.manifest"' in answer["Content-Disposition"]


def test_a_damaged_manifest_is_told_on_every_page(project: Project, alice: Client) -> None:
    version = publish(project, "V001")
    publish(project, "V002")
    storage.save_whole(version.manifest, b"something else\n")
    compare._version_images.cache_clear()
    for address in (page_of(version), page_of(version, "dataset_differences") + "?from=V002"):
        assert "was changed after it was published" in html_of(alice.get(address))
    answer = alice.get(page_of(version, "restore_labels"), follow=True)
    assert "was changed after it was published" in html_of(answer)


def test_a_reserved_version_has_no_page_yet(project: Project, vera: Client) -> None:
    version = DatasetVersion.objects.create(project=project, name="V009", training_ratio=Decimal("0.8"))
    assert vera.get(page_of(version)).status_code == 404
    assert "not yet" in html_of(vera.get(reverse("dataset_versions", args=[project.pk])))


# --- differences ---


def test_differences_name_what_was_added_removed_and_relabeled(project: Project, vera: Client) -> None:
    first = publish(project, "V001")
    label(project, 0, "label-1")
    gone = Image.objects.get(project=project, name="picture-1.png")
    actions.delete_images(project, [gone.pk], make_user("bob"))
    fresh = make_image(project, 500, [project.labels.first()])
    second = publish(project, "V002")
    differences = compare.differences(first, second)
    assert [difference.image_id for difference in differences.added] == [fresh.pk]
    assert [difference.image_id for difference in differences.removed] == [gone.pk]
    (relabeled,) = differences.relabeled
    assert (relabeled.before.labels, relabeled.after.labels) == (("label-0",), ("label-1",))
    assert not differences.moved
    html = html_of(vera.get(page_of(second, "dataset_differences") + "?from=V001&kind=relabeled"))
    assert "picture-0.png" in html and "<del>label-0</del>" in html


def test_two_alike_versions_differ_in_nothing(project: Project) -> None:
    assert compare.differences(publish(project, "V001"), publish(project, "V002")).is_empty


# --- restoring ---


def labels_of(project: Project) -> dict[str, set[str]]:
    labels: dict[str, set[str]] = {}
    for name, label in Annotation.objects.filter(image__project=project).values_list(
        "image__name", "label__name"
    ):
        labels.setdefault(name, set()).add(label)
    return labels


def test_labels_come_back_as_they_were_and_the_history_takes_that_back(
    project: Project, alice: Client
) -> None:
    version, then = publish(project, "V001"), labels_of(project)
    label(project, 0, "weed")
    actions.delete_label(project.labels.get(name="label-1"), make_user("bob"))
    make_image(project, 500, [project.labels.get(name="weed")])
    changed = labels_of(project)

    preview = html_of(alice.get(page_of(version, "restore_labels")))
    assert "<strong>11</strong> images get" in preview and "label-1" in preview

    alice.post(page_of(version, "restore_labels"))
    assert labels_of(project) == then | {"picture-500.png": {"weed"}}
    actions.undo(project.label_events.first(), make_user("alice"))
    assert labels_of(project) == changed


def test_labels_of_other_images_are_taken_off_where_that_was_asked(project: Project, alice: Client) -> None:
    version, then = publish(project, "V001"), labels_of(project)
    make_image(project, 500, [project.labels.first()])
    alice.post(page_of(version, "restore_labels"), {"others": "1"})
    assert labels_of(project) == then


def test_only_a_manager_restores(project: Project, bob: Client) -> None:
    version = publish(project, "V001")
    assert bob.post(page_of(version, "restore_labels")).status_code == 403
    assert "Restore labels" not in html_of(bob.get(page_of(version)))
