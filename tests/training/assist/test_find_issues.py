"""Issues of a project's images, found by the real job on real files."""

from __future__ import annotations

import numpy as np
import pytest
from django.core.files.storage import default_storage
from PIL import Image as Picture

from projects.images import upload
from projects.labels import actions
from projects.models import DuplicateKey, Image, Project, RejectedSuggestion
from projects.quality import hard_examples, issues
from tests.factories import make_project, make_user
from tests.training.assist.test_suggest_labels import File, fresh, picture, project
from training.assist import embed_images, find_duplicates, find_issues, suggest_labels

__all__ = ["fresh", "project"]
pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture
def labeled(project: Project) -> Project:
    """Ten rings and ten stripes, all labeled; one of the stripes is labeled as a ring."""
    for name in ("ring", "stripe"):
        ids = list(project.images.filter(name__startswith=name).values_list("pk", flat=True))
        actions.apply(project, ids, add=[name], by=make_user("bob"))
    wrong = Image.objects.get(project=project, name="stripe-9.png")
    actions.apply(project, [wrong.pk], add=["ring"], by=make_user("bob"))
    embed_images.embed(project.pk)
    return project


def names(project: Project, check: str) -> set[str]:
    return set(
        issues.images_with_issue(Image.objects.alive().filter(project=project), check).values_list(
            "name", flat=True
        )
    )


def test_a_wrong_label_is_suspected_and_kept_when_somebody_says_so(labeled: Project) -> None:
    find_issues.update_issues(labeled.pk)
    assert names(labeled, "suspects") == {"stripe-9.png"}
    image = labeled.images.get(name="stripe-9.png")
    assert image.suspected_label.name == "stripe" and image.suspected_confidence > 0.6
    RejectedSuggestion.objects.create(image=image, label=image.suspected_label)
    find_issues.update_issues(labeled.pk)
    assert names(labeled, "suspects") == set()


def test_a_copy_saved_again_is_found_and_its_other_label_is_a_conflict(labeled: Project) -> None:
    content = picture(0, 3)
    copy = File()
    Picture.open(content).resize((200, 200)).save(copy, "JPEG", quality=85)
    copy.seek(0)
    copy.name = "again.jpg"
    [outcome] = upload.add_images(labeled, [copy], None)
    actions.apply(labeled, [outcome.image.pk], add=["stripe"], by=make_user("bob"))
    embed_images.embed(labeled.pk)
    find_issues.update_issues(labeled.pk)
    assert {"ring-3.png", "again.jpg"} <= names(labeled, "duplicates")
    assert {"ring-3.png", "again.jpg"} <= names(labeled, "conflicts")


def test_dark_bright_and_blurred_pictures_are_measured_when_they_are_embedded(labeled: Project) -> None:
    files = []
    for name, colour in (("dark.png", (4, 4, 4)), ("bright.png", (252, 252, 252))):
        file = File()
        Picture.new("RGB", (96, 96), colour).save(file, "PNG")
        file.seek(0)
        file.name = name
        files.append(file)
    upload.add_images(labeled, files, None)
    assert not names(labeled, "dark") | names(labeled, "bright")
    embed_images.embed(labeled.pk)
    assert names(labeled, "dark") == {"dark.png"} and names(labeled, "bright") == {"bright.png"}
    assert names(labeled, "blurred") == {"dark.png", "bright.png"}


def test_looking_twice_changes_nothing(labeled: Project) -> None:
    assert find_issues.update_issues(labeled.pk) > 0
    assert find_issues.update_issues(labeled.pk) == 0


def test_what_is_odd_has_a_number_and_too_few_images_have_none(labeled: Project) -> None:
    find_issues.update_issues(labeled.pk)
    assert labeled.images.filter(outlier_score=None).count() == 20  # twenty are too few to say
    upload.add_images(labeled, [picture(kind, 100 + n) for n in range(3) for kind in (0, 1)], None)
    embed_images.embed(labeled.pk)
    find_issues.update_issues(labeled.pk)
    assert labeled.images.filter(outlier_score__gt=0).count() == 26


def test_an_empty_project_is_nothing_to_look_at(db: None) -> None:
    assert find_issues.update_issues(10**6) == 0


def reasons(project: Project, name: str) -> list[int]:
    return hard_examples.parse_reasons(project.images.get(name=name).hard_reasons)


def test_hard_examples_are_told_with_the_documented_reasons(labeled: Project) -> None:
    """A tiny dark strip among square images: far in size, shape, brightness, and from its label."""
    file = File()
    Picture.new("RGB", (40, 8), (2, 2, 2)).save(file, "PNG")
    file.seek(0)
    file.name = "strip.png"
    upload.add_images(labeled, [file], None)
    embed_images.embed(labeled.pk)
    suggest_labels.update_suggestions(labeled.pk)
    find_issues.update_issues(labeled.pk)
    assert {3, 5, 6, 7} <= set(reasons(labeled, "strip.png"))
    assert "strip.png" in names(labeled, "hard")
    assert "its shape is very different" in hard_examples.describe_reasons(
        labeled.images.get(name="strip.png").hard_reasons
    )
    assert reasons(labeled, "ring-0.png") == []


def test_an_unsure_suggestion_and_neighbours_that_disagree_are_reasons(labeled: Project) -> None:
    bob = make_user("bob")
    image = labeled.images.get(name="ring-5.png")
    actions.apply(labeled, [image.pk], remove=["ring"], by=bob)
    stripe = labeled.labels.get(name="stripe")
    Image.objects.filter(pk=image.pk).update(suggestion=stripe, confidence=0.4)
    table = suggest_labels.read_feature_table(labeled)
    assert hard_examples.parse_reasons(find_issues.hard_reasons(labeled, table)[image.pk][0])[:2] == [1, 2]


def test_with_few_labels_nothing_is_called_hard(project: Project) -> None:
    embed_images.embed(project.pk)
    find_issues.update_issues(project.pk)
    assert set(project.images.values_list("hard_reasons", flat=True)) == {""}


def test_measures_that_are_not_known_are_not_far(labeled: Project) -> None:
    labeled.images.update(brightness=None, sharpness=None)
    find_issues.update_issues(labeled.pk)
    assert not labeled.images.filter(hard_reasons__contains="7").exists()


def test_soft_pictures_are_not_blurred_among_their_like(labeled: Project) -> None:
    labeled.images.update(sharpness=7.0)
    odd = labeled.images.get(name="ring-0.png")
    Image.objects.filter(pk=odd.pk).update(sharpness=0.5)
    assert len(names(labeled, "blurred")) == 20  # before the workers have looked
    find_issues.update_issues(labeled.pk)
    assert names(labeled, "blurred") == {"ring-0.png"}
    labeled.images.update(sharpness=900.0)
    Image.objects.filter(pk=odd.pk).update(sharpness=24.0)
    find_issues.update_issues(labeled.pk)
    assert names(labeled, "blurred") == {"ring-0.png"}


SUFFIX = {"PNG": "png", "JPEG": "jpg"}


def add(project: Project, number: int, kind: str = "PNG", side: int = 96, quality: int = 85) -> Image:
    """Adds one of the numbered images, encoded in this format and size."""
    dots = np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    file = File()
    Picture.fromarray(dots).resize((side, side)).save(file, kind, quality=quality)
    file.seek(0)
    file.name = f"{number}-{side}.{SUFFIX[kind]}"
    [outcome] = upload.add_images(project, [file], None)
    return outcome.image


def groups(project: Project) -> set[frozenset[str]]:
    names_of: dict[int, set[str]] = {}
    for image in project.images.alive().exclude(duplicate_group=None):
        names_of.setdefault(image.duplicate_group, set()).add(image.name)
    return {frozenset(group) for group in names_of.values()}


@pytest.fixture
def scenes(fresh: None) -> Project:
    made = make_project(labels=0)
    for number in range(6):
        add(made, number)
    return made


def test_what_came_later_joins_its_copies_and_what_went_leaves_them(scenes: Project) -> None:
    add(scenes, 3, "JPEG", 200)
    find_duplicates.update_duplicate_groups(scenes)
    assert groups(scenes) == {frozenset({"3-96.png", "3-200.jpg"})}
    assert DuplicateKey.objects.count() == 7
    add(scenes, 3, "JPEG", 150, quality=60)
    add(scenes, 5, "JPEG", 150)
    assert find_duplicates.update_duplicate_groups(scenes) == 3
    everything = {frozenset({"3-96.png", "3-200.jpg", "3-150.jpg"}), frozenset({"5-96.png", "5-150.jpg"})}
    assert groups(scenes) == everything
    first, gone = scenes.images.get(name="3-96.png"), scenes.images.get(name="5-150.jpg")
    actions.delete_images(scenes, [first.pk, gone.pk], None)
    find_duplicates.update_duplicate_groups(scenes)
    assert groups(scenes) == {frozenset({"3-200.jpg", "3-150.jpg"})}
    actions.restore_images(scenes, [first.pk, gone.pk], None)
    find_duplicates.update_duplicate_groups(scenes)
    assert groups(scenes) == everything and DuplicateKey.objects.count() == 9


def test_issues_are_searched_when_the_last_image_is_embedded(scenes: Project) -> None:
    add(scenes, 3, "JPEG", 200)
    find_issues.update_issues(scenes.pk)
    assert groups(scenes) == set()
    embed_images.embed(scenes.pk)
    find_issues.update_issues(scenes.pk)
    assert groups(scenes) == {frozenset({"3-96.png", "3-200.jpg"})}


def test_an_image_without_a_readable_file_has_no_copy(scenes: Project) -> None:
    image = add(scenes, 3, "JPEG", 200)
    for name in (image.file_name, image.thumbnail_name):
        default_storage.delete(name)
    find_duplicates.update_duplicate_groups(scenes)
    assert groups(scenes) == set() and not DuplicateKey.objects.filter(image=image).exists()


def test_copies_of_too_many_images_count_as_unknown(
    labeled: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_duplicates.update_duplicate_groups(labeled)
    labeled.refresh_from_db()
    assert labeled.duplicates_searched.startswith("20:")
    monkeypatch.setattr(find_duplicates, "MAX_COMPARED_IMAGES", 19)
    assert find_duplicates.update_duplicate_groups(labeled) == 0
    labeled.refresh_from_db()
    assert labeled.duplicates_searched == ""
