"""Predictions of a Completed version replace the suggestions as long as the version is good enough."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator

import pytest
from django.core.files.storage import default_storage

from projects.images import upload
from projects.labels import actions, suggestions
from projects.models import Prediction, Project
from tests.factories import make_project, make_user, make_version
from tests.training.bundles import colour_picture, give_bundle
from training.assist import embed_images, predict_unlabeled, suggest_labels
from training.models import Status, TrainingVersion
from training.serving.inference import model_cache, predictor

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
COLOURS = ("red", "green", "blue")


def file(colour: str, number: int) -> io.BytesIO:
    content = io.BytesIO(colour_picture(colour, size=(40 + number, 40)))
    content.name = f"{colour}-{number}.png"
    return content


@pytest.fixture
def project(db: None) -> Iterator[Project]:
    """Six images of three colours, one of each labeled; the version was trained on as many."""
    suggest_labels.forget()
    model_cache._cache.clear()
    made = make_project(labels=0)
    upload.add_images(made, [file(colour, number) for colour in COLOURS for number in range(2)], None)
    for colour in COLOURS:
        actions.apply(made, [made.images.get(name=f"{colour}-0.png").pk], add=[colour], by=make_user("bob"))
    yield made
    for version in made.training_versions.all():
        shutil.rmtree(default_storage.path(version.folder), ignore_errors=True)


def complete(project: Project, images: int = 3, labels: tuple[str, ...] = COLOURS) -> TrainingVersion:
    version = make_version(project, status=Status.COMPLETED)
    version.dataset_version.counts = {label: {"TRAIN": 1, "EVAL": 0} for label in labels}
    version.dataset_version.image_count = images
    version.dataset_version.save()
    give_bundle(version)
    return version


def suggested(project: Project) -> dict[str, str | None]:
    waiting = project.images.unlabeled().select_related("suggestion")
    return {image.name: image.suggestion and image.suggestion.name for image in waiting}


def work(project: Project) -> None:
    embed_images.embed(project.pk)
    suggest_labels.update_suggestions(project.pk)
    predict_unlabeled.predict_waiting(project.pk)
    suggest_labels.update_suggestions(project.pk)


def test_a_version_says_what_the_waiting_images_show(project: Project) -> None:
    """One image per label is too few for suggestions; the version predicts better."""
    work(project)
    assert set(suggested(project).values()) == {None}
    version = complete(project)
    work(project)
    assert suggested(project) == {f"{colour}-1.png": colour for colour in COLOURS}
    answer = predictor.predict(version, colour_picture("red", size=(41, 40)))
    image = project.images.get(name="red-1.png")
    assert image.confidence == pytest.approx(dict(answer.scores)["red"], abs=0.001)


def test_predictions_never_become_labels_and_what_is_refused_is_not_said_again(project: Project) -> None:
    complete(project)
    work(project)
    assert project.images.unlabeled().count() == 3
    image = project.images.get(name="red-1.png")
    suggestions.reject_suggestions(project, [image.pk], make_user("bob"))
    work(project)
    assert suggested(project)["red-1.png"] != "red"


def test_every_image_is_asked_about_once(project: Project) -> None:
    complete(project)
    work(project)
    assert predict_unlabeled.predict_waiting(project.pk) == 0
    assert Prediction.objects.count() == 3


def test_a_newer_version_is_asked_anew(project: Project) -> None:
    complete(project)
    work(project)
    newer = make_version(project, 2, Status.COMPLETED)
    newer.dataset_version.counts, newer.dataset_version.image_count = {c: {} for c in COLOURS}, 3
    newer.dataset_version.save()
    give_bundle(newer)
    assert predict_unlabeled.predict_waiting(project.pk) == 3
    assert set(Prediction.objects.values_list("version", flat=True)) == {str(newer.job_id)}


@pytest.mark.parametrize(
    ("images", "labels"), [(1, COLOURS), (3, ("red", "green"))], ids=["knows too little", "lacks a label"]
)
def test_a_version_that_knows_less_than_today_is_not_asked(
    project: Project, images: int, labels: tuple[str, ...]
) -> None:
    complete(project, images, labels)
    assert predict_unlabeled.usable_version(project) is None
    work(project)
    assert not Prediction.objects.exists()


def test_a_version_whose_files_are_gone_leaves_the_suggestions_alone(project: Project) -> None:
    version = make_version(project, status=Status.COMPLETED)
    version.dataset_version.counts, version.dataset_version.image_count = {c: {} for c in COLOURS}, 3
    version.dataset_version.save()
    work(project)
    assert not Prediction.objects.exists()


def test_a_file_that_is_gone_is_asked_about_once(project: Project) -> None:
    complete(project)
    image = project.images.get(name="red-1.png")
    default_storage.delete(image.file_name)
    work(project)
    assert predict_unlabeled.predict_waiting(project.pk) == 0
    assert suggested(project)["red-1.png"] is None
    assert suggested(project)["blue-1.png"] == "blue"
