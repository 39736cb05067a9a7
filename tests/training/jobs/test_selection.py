"""The job of an evaluation on selected images: figures, what is left out, cancelling, resuming."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django_rq
import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone
from redis import Redis
from sklearn.metrics import f1_score, precision_score, recall_score

from projects.labels import actions
from projects.models import DatasetVersion, Image, Label, Project
from tests.factories import make_team, make_user
from tests.training.colours import add_colour, make_colour_version, make_colours
from training.evaluation.selections import lifecycle
from training.evaluation.selections.results import result_of
from training.jobs import selection
from training.models import TrainingVersion, VersionEvaluation

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _clean_folders() -> Iterator[None]:
    """Primary keys restart in the next test, and files do not roll back."""
    yield
    for folder in ("training", "evaluations"):
        shutil.rmtree(settings.FILES_DIR / folder, ignore_errors=True)


def start(version: TrainingVersion, source: Project, ids: list[int] | None = None) -> VersionEvaluation:
    ids = list(source.images.values_list("pk", flat=True)) if ids is None else ids
    return lifecycle.create_evaluation(version, source, ids, name="all", query="", by=make_user("bob"))


def run(evaluation: VersionEvaluation) -> VersionEvaluation:
    selection.run(evaluation.pk)
    evaluation.refresh_from_db()
    return evaluation


def metric(figures: dict[str, Any], label: str, name: str) -> Any:
    return next(m["value"] for m in figures["metrics"] if (m["label"], m["name"]) == (label, name))


def test_figures_are_those_of_scikit_learn_on_the_stored_predictions() -> None:
    version = make_colour_version(make_colours("one"))
    source = make_colours("two", first_seed=500)
    blue, red = source.labels.get(name="blue"), source.labels.get(name="red")
    for image in source.images.filter(annotations__label=red)[:3]:
        image.annotations.update(label=blue)

    evaluation = run(start(version, source))

    assert (evaluation.status, evaluation.done, evaluation.problem) == ("Completed", 30, "")
    rows = list(evaluation.images.values_list("truth", "predicted"))
    truth, predicted = [row[0][0] for row in rows], [row[1][0] for row in rows]
    assert len(rows) == 30 and truth != predicted
    figures = evaluation.result["independent"]
    assert metric(figures, "", "accuracy") == pytest.approx(27 / 30)
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        expected = score(truth, predicted, average="macro", zero_division=0)
        assert metric(figures, "", name) == pytest.approx(expected, abs=1e-12)
    assert (evaluation.result["trained_on"], evaluation.result["all"]) == (0, None)
    assert evaluation.shown_at is not None
    assert not default_storage.exists(evaluation.images_file)


def test_images_of_the_training_split_are_counted_apart_also_in_another_project() -> None:
    project = make_colours("one")
    version = make_colour_version(project)
    trained = project.images.filter(split="TRAIN").count()
    evaluation = run(start(version, project))
    result = result_of(evaluation)
    assert result is not None and result.independent is not None and result.all_images is not None
    assert (result.trained_on, result.evaluated) == (trained, 30)
    assert result.independent.accuracy.support == 30 - trained
    assert result.all_images.accuracy.support == 30

    same_pictures = make_colours("two")  # the same bytes, so the same sha256
    assert run(start(version, same_pictures)).result["trained_on"] == trained

    only_trained = list(project.images.filter(split="TRAIN").values_list("pk", flat=True))
    evaluation = run(start(version, project, only_trained))
    assert evaluation.result["independent"] is None
    assert result_of(evaluation).independent is None  # type: ignore[union-attr]


def test_labels_are_matched_by_name_and_what_does_not_match_is_said() -> None:
    version = make_colour_version(make_colours("one"))
    source = make_colours("two", names=("RED", "Green"), images=5, first_seed=500)
    violet = Label.objects.create(project=source, name="violet", position=8)
    for seed in (900, 901):
        add_colour(source, violet, seed, "red")

    evaluation = run(start(version, source))

    assert evaluation.result["unknown_labels"] == {"violet": 2}
    assert (evaluation.result["unknown"], evaluation.images.count()) == (2, 10)
    assert {row.truth[0] for row in evaluation.images.all()} == {"red", "green"}
    result = result_of(evaluation)
    assert result is not None and result.left_out == [
        "V001 does not know these labels (and their images): “violet” (2).",
        "2 images are left out because V001 does not know the label.",
    ]


def test_a_version_that_gives_one_label_leaves_out_images_with_several() -> None:
    version = make_colour_version(make_colours("one"))
    source = make_colours("two", images=5, is_multi_label=True, first_seed=500)
    image = source.images.first()
    assert image is not None
    image.annotations.create(label=source.labels.get(name="red"), at=timezone.now())
    evaluation = run(start(version, source))
    assert (evaluation.result["several"], evaluation.images.count()) == (1, 14)


def test_a_version_with_several_labels_is_judged_on_the_labels_it_knows() -> None:
    version = make_colour_version(make_colours("one", is_multi_label=True))
    source = make_colours("two", images=5, is_multi_label=True, first_seed=500)
    violet = Label.objects.create(project=source, name="violet", position=8)
    image = source.images.first()
    assert image is not None
    image.annotations.create(label=violet, at=timezone.now())
    evaluation = run(start(version, source))
    assert (evaluation.result["unknown"], evaluation.result["unknown_labels"]) == (0, {"violet": 1})
    assert evaluation.images.count() == 15 and evaluation.result["independent"]["matrix"] == []


def test_deleted_unlabeled_and_unreadable_images_are_left_out_and_counted() -> None:
    version = make_colour_version(make_colours("one"))
    source = make_colours("two", images=5, first_seed=500)
    deleted, unlabeled, unreadable, purged = source.images.order_by("pk")[:4]
    evaluation = start(version, source)
    actions.delete_images(source, [deleted.pk], None)
    actions.apply(source, [unlabeled.pk], remove=["red"], by=None)
    default_storage.delete(unreadable.file_name)
    purged.delete()

    evaluation = run(evaluation)

    result = evaluation.result
    assert (result["gone"], result["unreadable"], evaluation.images.count()) == (3, 1, 11)


def test_an_interrupted_evaluation_continues_without_repeating(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "CHUNK_SIZE", 4)
    monkeypatch.setattr(selection, "SLICE_S", -1)  # it gives way after each chunk
    version = make_colour_version(make_colours("one"))
    source = make_colours("two", images=3, first_seed=500)
    violet = Label.objects.create(project=source, name="violet", position=8)
    add_colour(source, violet, 900, "red")
    evaluation = run(start(version, source))
    assert (evaluation.status, evaluation.done, evaluation.heartbeat_at) == ("Running", 4, None)

    monkeypatch.setattr(selection, "SLICE_S", 1800)
    evaluation = run(evaluation)
    assert (evaluation.status, evaluation.images.count()) == ("Completed", 9)
    assert evaluation.result["unknown_labels"] == {"violet": 1}


def test_a_cancelled_evaluation_leaves_no_predictions() -> None:
    version = make_colour_version(make_colours("one"))
    waiting = start(version, version.project)
    assert lifecycle.cancel(waiting) and waiting.status == "Cancelled"
    assert not default_storage.exists(waiting.images_file)
    assert run(waiting).status == "Cancelled" and not waiting.images.exists()

    running = start(version, version.project)
    VersionEvaluation.objects.filter(pk=running.pk).update(is_cancel_wanted=True)
    assert run(running).status == "Cancelled"
    assert not running.images.exists() and not default_storage.exists(running.images_file)
    assert lifecycle.delete(running) and not VersionEvaluation.objects.filter(pk=running.pk).exists()


def test_a_completed_evaluation_is_neither_cancelled_nor_deleted() -> None:
    version = make_colour_version(make_colours("one"))
    evaluation = run(start(version, version.project))
    assert not lifecycle.cancel(evaluation) and not lifecycle.delete(evaluation)
    assert VersionEvaluation.objects.get().status == "Completed"


def test_a_running_evaluation_is_claimed_by_one_job_only() -> None:
    version = make_colour_version(make_colours("one"))
    evaluation = start(version, version.project)
    VersionEvaluation.objects.filter(pk=evaluation.pk).update(status="Running", heartbeat_at=timezone.now())
    assert run(evaluation).done == 0


def test_what_cannot_be_evaluated_fails_with_a_sentence() -> None:
    version = make_colour_version(make_colours("one"))
    shutil.rmtree(Path(default_storage.path(version.folder)))
    evaluation = run(start(version, version.project))
    assert evaluation.status == "Failed" and "model cannot be loaded" in evaluation.problem
    assert not default_storage.exists(evaluation.images_file)

    version = make_colour_version(make_colours("two"))
    DatasetVersion.objects.filter(pk=version.dataset_version_id).update(sha256="0" * 64)
    evaluation = run(start(version, version.project))
    assert evaluation.status == "Failed" and "was changed after it was published" in evaluation.problem

    version = make_colour_version(make_colours("three"))
    evaluation = start(version, version.project)
    default_storage.delete(evaluation.images_file)
    assert run(evaluation).problem == selection.IMAGES_LOST


def test_the_evaluation_of_a_deleted_version_ends() -> None:
    version = make_colour_version(make_colours("one"))
    evaluation = start(version, version.project)
    TrainingVersion.objects.filter(pk=version.pk).update(deleted_at=timezone.now())
    assert run(evaluation).status == "Cancelled"


def test_a_lost_evaluation_is_queued_again(
    redis: Redis, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    version = make_colour_version(make_colours("one"))
    evaluation = start(version, version.project)
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.catch_up()
    queue = django_rq.get_queue(evaluation.queue_name)
    assert queue.job_ids == [f"run_evaluation-{evaluation.pk}"]


@pytest.mark.parametrize("status", ["Running", "Failed"])
def test_only_completed_versions_are_evaluated(status: str) -> None:
    version = make_colour_version(make_colours("one"))
    version.status = status
    with pytest.raises(lifecycle.EvaluationRefused, match=f"V001 is {status}"):
        start(version, version.project)


def test_no_images_and_too_many_images_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    version = make_colour_version(make_colours("one"))
    with pytest.raises(lifecycle.EvaluationRefused, match="None of the selected images has a label"):
        start(version, version.project, [])
    monkeypatch.setattr(lifecycle, "MAX_IMAGES", 2)
    with pytest.raises(lifecycle.EvaluationRefused, match="30 images are selected"):
        start(version, version.project)
    assert make_team() and not VersionEvaluation.objects.exists()


def test_an_image_that_is_purged_afterwards_still_counts() -> None:
    project = make_colours("one")
    version = make_colour_version(project)
    evaluation = run(start(version, project))
    Image.objects.filter(pk=project.images.values_list("pk", flat=True)[0]).delete()
    assert evaluation.images.count() == 30 and evaluation.images.filter(image=None).count() == 1
