"""Test images in a training: never fitted, evaluated once the model is chosen, hidden until opened."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.storage import default_storage

from projects.labels import image_splits
from projects.models import Image, Label, Project
from tests.factories import cpu_flavor, make_version
from tests.training.bundles import COLOURS
from tests.training.colours import add_colour, make_colour_version, make_colours
from tests.training.jobs.test_train_version import make_coloured_project
from training.engine.bundle.writer import hash_ids, read_trained_on
from training.evaluation.selections.results import final_test_of
from training.jobs import final_test, train_version
from training.models import Status, TrainingVersion, VersionEvaluation

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _clean_folders() -> Iterator[None]:
    """Primary keys restart in the next test, and files do not roll back."""
    yield
    shutil.rmtree(settings.WORK_DIR, ignore_errors=True)
    shutil.rmtree(settings.FILES_DIR / "training", ignore_errors=True)


def set_aside(project: Project, per_label: int) -> list[Image]:
    ids: list[int] = []
    for label in project.labels.all():
        ids += list(project.images.filter(annotations__label=label).values_list("pk", flat=True))[:per_label]
    image_splits.keep_as_test(project, ids, None)
    return list(project.images.filter(pk__in=ids).order_by("pk"))


def evaluate(version: TrainingVersion) -> VersionEvaluation:
    """What the training does with its test images, with the bundle that is there."""
    bundle = Path(default_storage.path(f"{version.folder}/bundle"))
    shares = list[float]()
    test = final_test.predict_test_images(version, bundle, train_version._image_path, shares.append)
    assert test is not None
    final_test.record_test(version, test)
    return version.evaluations.get(kind="test")


def test_the_result_is_stored_with_every_prediction_and_hidden() -> None:
    project = make_colours(images=10)
    tests = set_aside(project, 4)
    wrong = tests[0]
    wrong.annotations.update(label=project.labels.get(name="blue"))
    version = make_colour_version(project)

    evaluation = evaluate(version)

    assert evaluation.is_hidden and (evaluation.total, evaluation.images.count()) == (12, 12)
    figures = evaluation.result["independent"]
    accuracy = next(m for m in figures["metrics"] if (m["label"], m["name"]) == ("", "accuracy"))
    assert (accuracy["hits"], accuracy["support"], accuracy["value"]) == (11, 12, 11 / 12)
    assert accuracy["low"] < 11 / 12 < accuracy["high"]
    assert (evaluation.result["trained_on"], evaluation.result["all"]) == (0, None)
    assert evaluation.images.get(is_correct=False).image == wrong
    shown = final_test_of(version)
    assert (shown.result, shown.figures, shown.looks) == (None, None, 0)


def test_images_that_an_ancestor_was_trained_on_judge_nothing() -> None:
    project = make_colours(images=10)
    base = make_colour_version(project, 1)
    trained = project.images.filter(split="TRAIN", annotations__label__name="red").first()
    assert trained is not None
    copy = add_colour(project, project.labels.get(name="red"), 900, "red")
    clean = project.images.filter(split="EVAL").first()
    assert clean is not None
    image_splits.keep_as_test(project, [trained.pk, copy.pk, clean.pk], None)
    other = project.images.filter(split="TRAIN").first()
    assert other is not None  # the copy is found to be a duplicate of it later
    Image.objects.filter(pk__in=[other.pk, copy.pk]).update(duplicate_group=other.pk)
    version = make_colour_version(project, 2, incremental_version=base)

    evaluation = evaluate(version)

    assert set(evaluation.images.filter(was_trained_on=True).values_list("image", flat=True)) == {
        trained.pk,
        copy.pk,
    }
    assert evaluation.result["trained_on"] == 2
    supports = {m["support"] for m in evaluation.result["independent"]["metrics"] if m["label"] == ""}
    assert supports == {1}


def test_a_label_that_only_test_images_carry_is_named_and_left_out() -> None:
    project = make_colours(images=10)
    violet = Label.objects.create(project=project, name="violet", position=9)
    image = add_colour(project, violet, 900, "red")
    image_splits.keep_as_test(project, [image.pk, *[i.pk for i in set_aside(project, 2)]], None)
    version = make_colour_version(project)

    evaluation = evaluate(version)

    assert evaluation.result["unknown_labels"] == {"violet": 1}
    assert (evaluation.result["unknown"], evaluation.images.count(), evaluation.total) == (1, 6, 7)


def test_a_missing_file_is_counted_and_no_result_at_all_costs_no_model() -> None:
    project = make_colours(images=10)
    first, *_ = set_aside(project, 1)
    version = make_colour_version(project)
    default_storage.delete(first.file_name)
    assert evaluate(version).result["unreadable"] == 1

    shutil.rmtree(Path(default_storage.path(version.folder)))
    bundle = Path(default_storage.path(f"{version.folder}/bundle"))
    assert final_test.predict_test_images(version, bundle, train_version._image_path, print) is None
    final_test.record_test(version, None)
    assert not version.evaluations.exists()


def test_a_later_attempt_replaces_the_result() -> None:
    project = make_colours(images=10)
    set_aside(project, 2)
    version = make_colour_version(project)
    first, second = evaluate(version), evaluate(version)
    assert first.pk != second.pk and version.evaluations.get() == second


def test_test_images_with_several_labels() -> None:
    project = make_colours(images=10, is_multi_label=True)
    tests = set_aside(project, 3)
    tests[0].annotations.create(label=project.labels.get(name="blue"), at="2026-01-01T00:00Z")
    version = make_colour_version(project)
    evaluation = evaluate(version)
    metrics = {(m["label"], m["name"]): m for m in evaluation.result["independent"]["metrics"]}
    assert metrics["", "accuracy"]["support"] == 9
    assert metrics["", "accuracy"]["hits"] == evaluation.images.filter(is_correct=True).count()
    assert metrics["blue", "recall"]["support"] == 4
    assert evaluation.result["independent"]["matrix"] == []
    assert set(COLOURS) >= {label for row in evaluation.images.all() for label in row.predicted}


def test_time_for_the_test_images_is_reserved() -> None:
    project = make_colours(images=10)
    set_aside(project, 3)
    version = make_colour_version(project)
    config = train_version._config(version, 0, Path(settings.WORK_DIR) / "nothing")
    assert config.test_images == 9


def test_a_training_never_fits_its_test_images_and_evaluates_them(tiny_network: None) -> None:
    project = make_coloured_project(images=8)
    tests = set_aside(project, 2)
    version = make_version(
        project, 1, flavor=cpu_flavor(), max_inference_ms=6, max_training_minutes=6
    )  # the tiny network alone answers in 6 ms, so the search ends by itself

    train_version.train(version.pk, 1)

    version.refresh_from_db()
    assert (version.status, version.failure_cause) == (Status.COMPLETED, "")
    evaluation = version.evaluations.get()
    assert evaluation.kind == "test" and evaluation.is_hidden
    assert set(evaluation.images.values_list("image", flat=True)) == {image.pk for image in tests}
    assert not version.evaluated_images.filter(image__in=tests).exists()
    trained = set(read_trained_on(train_version.bundle_path(version)).tolist())
    assert trained and not trained & set(hash_ids(str(image.pk) for image in tests).tolist())
    assert "test" in version.seconds_by_phase
