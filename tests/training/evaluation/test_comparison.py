"""Compare versions: the same images for all, exact tests, and predictions that are still missing."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from PIL import Image as Picture

from projects.datasets import publish as dataset_publish
from projects.labels import actions
from projects.models import DatasetVersion, Image, Project, Split
from tests.factories import make_image, make_project, make_user, make_version, store_file
from tests.pages import html_of
from tests.training.bundles import give_bundle
from training.engine.evaluation import significance
from training.engine.evaluation.evaluate import SamplePrediction
from training.evaluation import comparison
from training.jobs import record, rescore
from training.models import LaterPrediction, Status, TrainingVersion

pytestmark = pytest.mark.django_db


def publish(project: Project, name: str) -> DatasetVersion:
    version = DatasetVersion.objects.create(project=project, name=name, training_ratio=Decimal("0.5"))
    dataset_publish.publish(version)
    return version


def trained(project: Project, number: int, wrong: set[int] = frozenset(), **fields: Any) -> TrainingVersion:
    """A Completed version that is wrong on the validation images at these indices."""
    dataset = publish(project, f"V{number:03d}")
    version = make_version(project, number, Status.COMPLETED, **fields)
    images = list(project.images.filter(split=Split.EVAL).order_by("pk"))
    predictions = []
    for place, image in enumerate(images):
        truth = image.annotations.get().label.name
        answer = {"label-0": "label-1", "label-1": "label-0"}[truth] if place in wrong else truth
        predictions.append(SamplePrediction(str(image.pk), (truth,), (answer,), (0.5, 0.5)))
    record.record(version, ["label-0", "label-1"], predictions, [])
    assert version.dataset_version == dataset
    version.refresh_from_db()
    return version


@pytest.fixture
def project() -> Project:
    return make_project(labels=2, images=40)


def page_of(project: Project, *numbers: int) -> str:
    query = "&".join(f"v={number}" for number in numbers)
    return f"{reverse('compare_versions', args=[project.pk])}?{query}"


# --- the test itself ---


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1.0), (3, 3, 1.0), (0, 5, 0.0625), (0, 6, 0.03125), (1, 9, 22 / 1024), (10, 2, 158 / 4096)],
)
def test_p_values_are_those_of_the_binomial_distribution(only_first: int, only_second: int, p: float) -> None:
    assert significance.mcnemar_p_value(only_first, only_second) == pytest.approx(p)
    assert significance.mcnemar_p_value(only_second, only_first) == pytest.approx(p)


def test_equal_versions_are_called_different_in_at_most_five_of_a_hundred_comparisons() -> None:
    dice = np.random.default_rng(3)
    for images, accuracy in ((40, 0.8), (200, 0.9), (1000, 0.7)):
        false = 0
        for _ in range(1000):
            hard = dice.random(images) < 0.5  # versions fail on the same images more often than by chance
            first = dice.random(images) < np.where(hard, accuracy - 0.1, accuracy + 0.1)
            second = dice.random(images) < np.where(hard, accuracy - 0.1, accuracy + 0.1)
            false += (
                significance.mcnemar_p_value(int((first & ~second).sum()), int((second & ~first).sum()))
                < 0.05
            )
        assert false <= 50 + 2 * np.sqrt(50)


def test_the_images_that_are_said_to_be_needed_do_tell() -> None:
    """True accuracies 0.85 and 0.90: the number of images that is promised has a power of 0.8."""
    dice, significant_count = np.random.default_rng(4), 0
    needed = significance.images_needed(80, 130, 1000)
    for _ in range(400):
        division = dice.multinomial(needed, [0.08, 0.13, 0.79])
        significant_count += significance.mcnemar_p_value(int(division[0]), int(division[1])) < 0.05
    assert 0.7 < significant_count / 400 < 0.9
    assert significance.images_needed(5, 5, 100) is None


def test_several_comparisons_share_the_level() -> None:
    assert significance.holm_adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


# --- significance ---


def test_a_clearly_better_version_is_called_better(project: Project, vera: Client) -> None:
    trained(project, 1, wrong=set(range(12)))
    trained(project, 2, wrong={0})
    html = html_of(vera.get(page_of(project, 1, 2)))
    assert "V002 is better than V001. Of 40 images, V002 alone got 11 right, and V001 alone 0" in html
    assert html.count("evaluated-tile") == 11
    assert "39 of 40" in html and "28 of 40" in html


def test_a_small_difference_is_not_told_and_the_page_says_what_would(project: Project, vera: Client) -> None:
    trained(project, 1, wrong={1, 2})
    trained(project, 2, wrong={2, 3, 4})
    html = html_of(vera.get(page_of(project, 1, 2)))
    assert "There is no reliable difference between V002 and V001 yet." in html
    assert "more validation images would show it." in html


def test_versions_that_answer_alike_are_said_to(project: Project, vera: Client) -> None:
    trained(project, 1, wrong={0})
    trained(project, 2, wrong={0})
    html = html_of(vera.get(page_of(project, 1, 2)))
    assert "no reliable difference between V002 and V001 yet. On each of the 40 images, both are" in html


def test_only_what_differs_is_listed(project: Project) -> None:
    first, second = trained(project, 1), trained(project, 2, max_training_minutes=6)
    names = [name for name, _ in comparison.differing_parameters([first, second])]
    assert names == ["Dataset Version", "Max. Training Time"]


# --- independent images ---


def test_images_that_any_of_them_was_trained_on_judge_none(project: Project) -> None:
    first, second = trained(project, 1), trained(project, 2)
    moved = Image.objects.filter(project=project, split=Split.TRAIN).first()
    Image.objects.filter(pk=moved.pk).update(split=Split.EVAL)
    independent, excluded = comparison.independent_images(project, [first, second])
    assert moved.pk not in independent and excluded == 1 and len(independent) == 40


def test_what_a_continued_version_was_trained_on_counts_as_well(project: Project) -> None:
    base = trained(project, 1)
    image = project.images.filter(split=Split.TRAIN).first()
    actions.delete_images(project, [image.pk], make_user("bob"))  # no longer in V002
    heir = trained(project, 2, incremental_version=base)
    actions.restore_images(project, [image.pk], make_user("bob"))
    Image.objects.filter(pk=image.pk).update(split=Split.EVAL)
    assert image.pk in comparison.training_image_ids(heir)
    assert image.pk not in comparison.independent_images(project, [heir])[0]


def test_versions_are_judged_by_todays_labels(project: Project) -> None:
    first, second = trained(project, 1), trained(project, 2)
    image = project.images.filter(split=Split.EVAL).first()
    actions.apply(project, [image.pk], add=["weed"], by=make_user("bob"))
    result = comparison.compare(project, [first, second])
    assert [column.accuracy.hits for column in result.columns] == [39, 39]


# --- asking older versions ---


@pytest.fixture
def stored(project: Project) -> Iterator[TrainingVersion]:
    """An older version with a stored model, and an image that came after it."""
    version = trained(project, 1)
    give_bundle(version)
    yield version
    shutil.rmtree(Path(default_storage.path(version.folder)))


def red(project: Project) -> Image:
    image = make_image(project, 900, [project.labels.first()])
    Image.objects.filter(pk=image.pk).update(split=Split.EVAL)
    out = io.BytesIO()
    Picture.new("RGB", (40, 40), (250, 10, 10)).save(out, "PNG")
    store_file(image, out.getvalue())
    return image


def test_an_older_version_is_asked_about_images_that_came_later(stored: TrainingVersion) -> None:
    image = red(stored.project)
    second = trained(stored.project, 2)
    before = comparison.compare(stored.project, [stored, second])
    assert before.is_waiting and before.columns[0].waiting == 1 and before.images == 40
    assert rescore.rescore(stored.pk) == 1
    assert LaterPrediction.objects.get(image=image).predicted == ["red"]
    after = comparison.compare(stored.project, [stored, second])
    assert not after.is_waiting and after.images == 41
    assert rescore.rescore(stored.pk) == 0


def test_a_file_that_is_gone_compares_nothing_and_is_asked_for_once(stored: TrainingVersion) -> None:
    image = make_image(stored.project, 901, [stored.project.labels.first()])
    default_storage.delete(image.file_name)
    Image.objects.filter(pk=image.pk).update(split=Split.EVAL)
    assert rescore.rescore(stored.pk) == 1
    second = trained(stored.project, 2)
    result = comparison.compare(stored.project, [stored, second])
    assert result.images == 40 and not result.is_waiting


# --- the page ---


def test_one_version_alone_has_nothing_to_be_compared_with(project: Project, vera: Client) -> None:
    trained(project, 1)
    assert "Two completed versions are needed" in html_of(vera.get(page_of(project)))


def test_three_versions_are_compared_with_the_oldest(project: Project, vera: Client) -> None:
    for number in (1, 2, 3):
        trained(project, number, wrong={number})
    html = html_of(vera.get(page_of(project, 1, 2, 3)))
    assert "adjusted for 2 comparisons (Holm)" in html
    assert html.count("no reliable difference between") == 2
