"""Labels that were changed after an evaluation are counted, those that favour the version apart."""

from __future__ import annotations

import re

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from projects.images.similarity import pack, sketches
from projects.labels import actions, undo
from projects.models import Embedding, Image, Label, Split
from tests.factories import make_image, make_project, make_user
from tests.pages import html_of
from tests.training.evaluation.test_comparison import trained
from training.evaluation import comparison
from training.evaluation.label_changes import LabelChanges, label_changes
from training.evaluation.report import report_html
from training.models import TrainingVersion

pytestmark = pytest.mark.django_db


@pytest.fixture
def version() -> TrainingVersion:
    """Wrong on the first three of its validation images."""
    return trained(make_project(labels=2, images=40), 1, wrong={0, 1, 2})


def validation_images(version: TrainingVersion) -> list[Image]:
    return list(version.project.images.filter(split=Split.EVAL).order_by("pk"))


def give(image: Image, name: str) -> None:
    actions.apply(
        image.project,
        [image.pk],
        add=[name],
        remove=list(Label.objects.filter(annotations__image=image)),
        by=make_user("bob"),
    )


def other(image: Image) -> str:
    return {"label-0": "label-1", "label-1": "label-0"}[image.annotations.get().label.name]


def test_without_changes_nothing_is_said(version: TrainingVersion, vera: Client) -> None:
    found = label_changes(version)

    assert (found.changed, found.to_predicted, found.summary) == (0, 0, "")
    html = html_of(vera.get(reverse("training_version", args=[version.project_id, 1])))
    assert "label-changes" not in html


def test_relabeled_mistakes_are_counted_on_the_page_and_in_the_report(
    version: TrainingVersion, vera: Client
) -> None:
    images = validation_images(version)
    give(images[0], other(images[0]))  # a mistake, to what was predicted
    give(images[1], other(images[1]))
    give(images[9], other(images[9]))  # a right answer, to what was not
    count = len(images)

    assert label_changes(version) == LabelChanges(version, count, 3, 2)
    sentence = f"3 of {count} validation labels were changed after V001 was evaluated, 2 of them to what V001"
    assert sentence in html_of(vera.get(reverse("training_version", args=[version.project_id, 1])))
    assert sentence in report_html(version)
    assert version.metrics.get(label="", name="accuracy").hits == count - 3


def test_the_comparison_counts_them_for_each_version(version: TrainingVersion, vera: Client) -> None:
    second = trained(version.project, 2)
    images = validation_images(version)
    give(images[0], other(images[0]))

    first, last = comparison.compare(version.project, [version, second]).columns

    assert (first.relabeled, last.relabeled) == (1, 0)
    url = reverse("compare_versions", args=[version.project_id])
    html = html_of(vera.get(f"{url}?v=1&v=2"))
    assert "Relabeled as predicted" in html and f"<td>1 of {len(images)}</td>" in html


def test_a_new_name_of_a_label_changes_no_label(version: TrainingVersion) -> None:
    label = version.project.labels.get(name="label-0")
    event = actions.rename_label(label, "daisies", make_user("bob"))
    assert label_changes(version).changed == 0
    undo.undo(event, make_user("bob"))
    assert label_changes(version).changed == 0
    label.refresh_from_db()
    actions.rename_label(label, "asters", make_user("bob"))
    assert label_changes(version).changed == 0


def test_a_deleted_image_is_not_counted(version: TrainingVersion) -> None:
    images = validation_images(version)
    give(images[0], other(images[0]))
    actions.delete_images(version.project, [images[0].pk], by=make_user("bob"))

    assert label_changes(version) == LabelChanges(version, len(images) - 1, 0, 0)


# --- similar training images ---


def test_similar_images_are_those_it_was_trained_on_with_their_labels_of_then(
    version: TrainingVersion, vera: Client
) -> None:
    project = version.project
    images = list(project.images.order_by("pk"))
    random = np.random.default_rng(0)
    vectors = random.standard_normal((len(images), 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    evaluated = version.evaluated_images.order_by("pk").first()
    place = [image.pk for image in images].index(evaluated.image_id)
    near = next(i for i, image in enumerate(images) if image.split == Split.TRAIN)
    vectors[near] = vectors[place]
    Embedding.objects.bulk_create(
        Embedding(image=image, network="lite0", vector=vector, sketch=sketch)
        for image, vector, sketch in zip(images, pack(vectors), sketches(vectors), strict=True)
    )
    then, now = images[near].annotations.get().label.name, other(images[near])
    give(images[near], now)
    late = make_image(project, 900, [project.labels.first()])
    Image.objects.filter(pk=late.pk).update(split=Split.TRAIN)
    Embedding.objects.create(
        image=late, network="lite0", vector=pack(vectors[[place]])[0], sketch=sketches(vectors[[place]])[0]
    )

    url = reverse("evaluated_image", args=[project.pk, 1, evaluated.pk])
    names = re.findall(r'<li title="([^"]*)">.*?</li>', html_of(vera.get(url)).split("near-title")[-1])
    first = html_of(vera.get(url)).split("near-title")[-1].split("</li>")[0]

    assert names[0] == images[near].name and late.name not in names and len(names) == 6
    assert then in first and now not in first
