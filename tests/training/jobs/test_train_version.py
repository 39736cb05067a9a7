"""The training job: claimed once, every ending recorded, and end to end with the real engine."""

from __future__ import annotations

import errno
import io
import json
import shutil
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone
from PIL import Image as Picture

from projects.datasets.publish import ManifestDamaged
from projects.models import Image, Label, Project, WebhookDelivery
from tests.factories import (
    cpu_flavor,
    default_flavor,
    make_image,
    make_project,
    make_team,
    make_version,
    store_file,
)
from tests.projects.webhooks.receivers import make_webhook
from training.engine import EngineError, Event, StoppedBeforeModel
from training.engine.bundle.bundle import Bundle
from training.evaluation.leaderboard import points_of
from training.evaluation.results import CHARTS
from training.jobs import completion, train_version
from training.jobs.reporter import Reporter
from training.models import Status, StopReason, TrainingVersion
from training.models.version import JOB_SLACK
from training.versions import lifecycle

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _clean_folders() -> Iterator[None]:
    """Primary keys restart in the next test, and files do not roll back."""
    yield
    shutil.rmtree(settings.WORK_DIR, ignore_errors=True)
    shutil.rmtree(settings.FILES_DIR / "training", ignore_errors=True)


def make_waiting(project: Project | None = None, **fields: object) -> TrainingVersion:
    return make_version(project or make_project(), 1, flavor=cpu_flavor(), **fields)


def claimed(version: TrainingVersion) -> TrainingVersion:
    claimed_version = train_version.claim(version.pk, version.attempt)
    assert claimed_version is not None
    return claimed_version


# --- claiming ---


def test_an_attempt_is_claimed_by_one_job_only() -> None:
    version = make_waiting()

    first, second = train_version.claim(version.pk, 1), train_version.claim(version.pk, 1)

    assert first is not None and second is None
    assert (first.status, first.claimed_attempt) == (Status.RUNNING, 1)
    assert first.heartbeat_at is not None


def test_the_next_attempt_keeps_the_start_of_the_first() -> None:
    began = timezone.now() - timedelta(minutes=20)
    version = make_version(make_project(), 1, Status.RUNNING, started_at=began, attempt=2, claimed_attempt=1)

    assert claimed(version).started_at == began


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.STOPPED])
def test_a_final_version_is_not_claimed(status: str) -> None:
    version = make_version(make_project(), 1, status)

    train_version.train(version.pk, 1)

    version.refresh_from_db()
    assert version.status == status and version.claimed_attempt == 0


def test_a_job_of_an_older_attempt_and_of_a_deleted_version_does_nothing() -> None:
    newer = make_waiting(attempt=2)
    gone = make_version(make_project("gone"), 1, deleted_at=timezone.now())

    assert train_version.claim(newer.pk, 1) is None
    assert train_version.claim(gone.pk, 1) is None
    assert train_version.claim(0, 1) is None


# --- while it runs ---


def test_progress_is_written_at_most_every_two_seconds_and_the_curve_is_kept() -> None:
    version = claimed(make_waiting())
    reporter = Reporter(version)

    reporter.report(Event("phase", 1, "Reading images", 0.1, remaining_s=100))
    reporter.report(Event("best", 2, "EfficientNet-Lite0, linear head", accuracy=0.8))
    version.refresh_from_db()

    assert version.progress["message"] == "Reading images"
    assert "best_accuracy" not in version.progress
    assert reporter.state["best_accuracy"] == 0.8
    assert reporter.state["curve"][0][1] == 0.8


def test_a_result_that_is_repeated_as_progress_does_not_hide_what_is_going_on() -> None:
    reporter = Reporter(claimed(make_waiting()))

    for kind, message in (
        ("phase", "Trying heads"),
        ("candidate", "Lite1: broke"),
        ("progress", "Lite1: broke"),
    ):
        reporter.report(Event(kind, 1, message))

    assert reporter.state["message"] == "Trying heads"


def test_the_live_curve_never_falls_and_starts_again_on_other_images() -> None:
    reporter = Reporter(claimed(make_waiting()))

    for accuracy in (0.8, 0.9, 0.85):
        reporter.report(Event("best", 1, "x", accuracy=accuracy, judged=64))
    assert [accuracy for _, accuracy in reporter.state["curve"]] == [0.8, 0.9]
    assert (reporter.state["best_accuracy"], reporter.state["judged"]) == (0.9, 64)
    reporter.report(Event("best", 1, "x", accuracy=0.7, judged=200))
    assert [accuracy for _, accuracy in reporter.state["curve"]] == [0.7]


def test_notes_of_the_engine_are_kept_once_each() -> None:
    reporter = Reporter(claimed(make_waiting()))

    for note in ("Heads are fitted on 200 of 900 images.", "No time for fine-tuning.") * 2:
        reporter.report(Event("note", 1, note))

    assert reporter.state["notes"] == ["Heads are fitted on 200 of 900 images.", "No time for fine-tuning."]


def test_a_stop_is_wanted_once_a_person_asked() -> None:
    version = claimed(make_waiting())
    assert not Reporter(version).should_stop()

    TrainingVersion.objects.filter(pk=version.pk).update(stop_requested_at=timezone.now())

    reporter = Reporter(version)
    assert reporter.should_stop() and reporter.is_ours


def test_a_deleted_project_stops_its_training() -> None:
    version = claimed(make_waiting())
    Project.objects.filter(pk=version.project_id).update(deleted_at=timezone.now())

    assert Reporter(version).should_stop()


def test_a_row_that_another_attempt_took_is_not_written_any_more() -> None:
    version = claimed(make_waiting())
    reporter = Reporter(version)
    TrainingVersion.objects.filter(pk=version.pk).update(attempt=2, progress={"message": "theirs"})

    reporter.begin("dataset", "mine")

    version.refresh_from_db()
    assert version.progress == {"message": "theirs"}
    assert not reporter.is_ours and reporter.should_stop()


def test_the_time_of_an_earlier_attempt_counts_but_not_the_time_between() -> None:
    version = make_version(
        make_project(),
        1,
        Status.RUNNING,
        attempt=2,
        claimed_attempt=1,
        started_at=timezone.now() - timedelta(days=1),
        progress={"used_s": 600},
    )
    reporter = Reporter(claimed(version))

    config = train_version._config(version, reporter.used_s, Path("/nowhere"))

    assert config.max_seconds == pytest.approx(3600 - 600, abs=5)
    assert (config.finish_seconds, config.first_model_seconds) == (completion.FINISH_S, 0)


def test_an_attempt_after_a_crash_waits_for_a_model_though_the_limit_is_near() -> None:
    version = claimed(make_waiting(progress={"used_s": 3599, "lost": 1}))

    config = train_version._config(version, Reporter(version).used_s, Path("/nowhere"))

    assert 0 < config.max_seconds < 5
    assert config.first_model_seconds == train_version.MAX_OVERTIME_S
    assert JOB_SLACK.total_seconds() > train_version.MAX_OVERTIME_S


def test_the_start_of_the_process_counts_and_every_step_is_named() -> None:
    reporter = Reporter(claimed(make_waiting(progress={"used_s": 50, "seconds_by_step": {"start": 5}})), 20)

    assert reporter.used_s == pytest.approx(70, abs=2)
    begin = time.monotonic()
    reporter.begin("dataset", "Publishing the dataset version")
    time.sleep(0.2)
    reporter.end_step()
    dataset_s = time.monotonic() - begin
    time.sleep(0.2)  # the engine counts this time
    begin = time.monotonic()
    reporter.begin("charts", "Drawing the charts")
    reporter.end_step()
    charts_s = time.monotonic() - begin

    seconds = reporter.state["seconds_by_step"]
    assert list(seconds) == ["start", "dataset", "charts"]
    assert seconds["start"] == pytest.approx(25, abs=1)
    assert 0.2 <= seconds["dataset"] <= dataset_s + 0.01 and seconds["charts"] <= charts_s + 0.01


# --- endings ---


def test_labels_that_went_away_after_submitting_are_said_and_nothing_is_published() -> None:
    project = make_project()
    version = make_waiting(project)
    Image.objects.filter(project=project).update(deleted_at=timezone.now())

    train_version.train(version.pk, 1)

    version.refresh_from_db()
    assert version.status == Status.FAILED
    assert "at least two labels" in version.failure_cause and "Retry" in version.failure_remedy
    assert version.finished_at is not None and version.traceback == ""
    assert not version.dataset_version.is_published


@pytest.mark.parametrize(
    ("problem", "cause"),
    [
        (EngineError("No network fits.", "Raise the limit."), "No network fits."),
        (ManifestDamaged("The manifest was changed."), "The manifest was changed."),
        (MemoryError(), "ran out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: out of memory"), "ran out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk of the machine is full"),
        (ValueError("secret path /x"), "Something unexpected happened (ValueError)"),
    ],
)
def test_every_ending_has_a_cause_and_a_remedy_in_plain_words(problem: Exception, cause: str) -> None:
    version = claimed(make_waiting())
    train_version.work_folder(version.pk).mkdir(parents=True)

    train_version._end_with_failure(version, problem)

    version.refresh_from_db()
    assert version.status == Status.FAILED
    assert cause in version.failure_cause and version.failure_remedy
    assert "secret" not in version.failure_cause + version.failure_remedy
    assert not train_version.work_folder(version.pk).exists()


def test_the_trace_of_an_unexpected_ending_is_kept_for_operators() -> None:
    version = claimed(make_waiting())

    train_version._end_with_failure(version, ValueError("what happened"))

    version.refresh_from_db()
    assert "what happened" in version.traceback
    assert str(version.job_id) in version.failure_remedy


def test_a_stop_before_any_model_is_stopped() -> None:
    version = claimed(make_waiting())

    train_version._end_with_failure(version, StoppedBeforeModel())

    version.refresh_from_db()
    assert (version.status, version.stop_reason, version.failure_cause) == (
        Status.STOPPED,
        StopReason.USER,
        "",
    )


def test_an_ending_of_an_attempt_that_lost_the_row_changes_nothing() -> None:
    version = claimed(make_waiting())
    TrainingVersion.objects.filter(pk=version.pk).update(attempt=2)

    train_version._end_with_failure(version, ValueError())

    version.refresh_from_db()
    assert version.status == Status.RUNNING


def test_a_gpu_flavor_without_a_gpu_is_told(settings: Any) -> None:
    settings.EXEML_ENGINE_THREADS = 2
    version = make_version(make_project(), 1, flavor=default_flavor())

    assert (
        completion.describe_device(version, "cpu")
        == "CPU, 2 threads (the flavor asks for a GPU; this machine has none)"
    )
    assert completion.describe_device(make_waiting(make_project("cpu")), "cpu") == "CPU, 2 threads"


# --- with the real engine ---


def picture(colour: tuple[int, int, int], seed: int) -> bytes:
    """Noise around a colour, which a pretrained network can distinguish."""
    noise = np.random.default_rng(seed).normal(0, 25, (64, 64, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Picture.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def make_coloured_project(images: int = 6) -> Project:
    """A project of red, green and blue images with real files."""
    project = Project.objects.create(team=make_team(), name="colours")
    colours = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
    for position, (name, colour) in enumerate(colours.items()):
        label = Label.objects.create(project=project, name=name, position=position)
        for seed in range(images):
            image = make_image(project, 100 * position + seed, [label])
            store_file(image, picture(colour, 100 * position + seed))
    return project


def test_a_resumed_training_keeps_its_best_model_when_the_time_is_up() -> None:
    """An earlier attempt used all but ten seconds of six minutes."""
    version = make_waiting(
        make_coloured_project(),
        max_training_minutes=6,
        attempt=2,
        claimed_attempt=1,
        progress={"used_s": 350, "lost": 1},
    )
    make_webhook("https://hooks.example.org/", version.project)

    train_version.train(version.pk, 2)

    version.refresh_from_db()
    assert (version.status, version.failure_cause) == (Status.COMPLETED, "")
    assert version.stop_reason in (StopReason.TIME_LIMIT, StopReason.CONVERGED)
    assert version.progress["used_s"] > 350
    named_s = sum(version.seconds_by_phase.values())
    assert 0.9 * (version.progress["used_s"] - 350) < named_s < version.progress["used_s"] - 350 + 1
    assert {"start", "dataset", "pixels", "heads", "export", "search"} <= version.seconds_by_phase.keys()
    assert {"evaluation", "charts", "recording"} <= version.seconds_by_phase.keys()
    assert_complete(version)
    assert version.model_bytes > 1_000_000
    told = [json.loads(delivery.body) for delivery in WebhookDelivery.objects.order_by("pk")]
    assert [payload["type"] for payload in told] == ["dataset.published", "training.completed"]
    accuracy = version.metrics.get(label="", name="accuracy").value
    assert told[1]["data"]["version"]["accuracy"] == accuracy


def test_another_candidate_of_a_training_can_be_promoted(tiny_network: None) -> None:
    """The tiny network alone answers in 6 ms, so the search ends by itself."""
    version = make_waiting(make_coloured_project(), max_inference_ms=6, max_training_minutes=6)

    train_version.train(version.pk, 1)

    version.refresh_from_db()
    assert (version.status, version.failure_cause) == (Status.COMPLETED, "")
    assert_complete(version)
    judged, dataset = version.cross_validation, version.dataset_version
    assert judged["images"] == dataset.train_count + dataset.eval_count
    assert judged["validation_images"] == dataset.eval_count
    assert 0 < judged["low"] < judged["accuracy"] <= judged["high"]
    assert_another_candidate_can_be_promoted(version)


def assert_another_candidate_can_be_promoted(version: TrainingVersion) -> None:
    """The candidate becomes a version of its own, evaluated on the same images."""
    other = version.candidates.filter(is_best=False, place__isnull=False).first()
    made = lifecycle.promote(other, by=version.submitted_by, submission=uuid.uuid4())
    train_version.train(made.pk, 1)
    made.refresh_from_db()
    assert (made.status, made.stop_reason) == (Status.COMPLETED, StopReason.PROMOTED)
    assert made.evaluated_images.count() == version.evaluated_images.count()
    assert made.cross_validation == {}
    # INT8 too where there was time for it, which a busy machine has not.
    formats = {report["number_format"] for report in made.number_formats}
    assert "float32" in formats and formats <= {"float32", "int8"}
    assert made.number_format == "float32"  # so few images tell no difference
    chosen = made.candidates.get()
    assert (chosen.recipe, chosen.is_best, chosen.accuracy) == (other.recipe, True, other.accuracy)
    assert_answers_as_evaluated(made)


def assert_complete(version: TrainingVersion) -> None:
    """Rows, files and metrics of a Completed version agree."""
    dataset_version = version.dataset_version
    dataset_version.refresh_from_db()
    assert dataset_version.is_published and dataset_version.eval_count >= 3
    assert version.evaluated_images.count() == dataset_version.eval_count
    accuracy = version.metrics.get(label="", name="accuracy")
    assert accuracy.hits == version.evaluated_images.filter(is_correct=True).count()
    reports = {report["number_format"]: report for report in version.number_formats}
    assert version.number_formats[0]["number_format"] == "float32"
    assert {report["images"] for report in reports.values()} == {dataset_version.eval_count}
    assert reports[version.number_format]["hits"] == accuracy.hits
    assert version.candidates.filter(is_best=True).count() == 1
    assert version.model_name == "exeML-colours-V001"
    assert version.model_bytes > 100_000 and version.inference_ms > 0
    assert "CPU" in version.ran_on and version.progress["best_accuracy"] > 0.5
    used = version.images_used
    assert used["given"] == dataset_version.train_count == used["fitted"] + sum(used["left_out"].values())
    assert version.candidates.get(is_best=True).common_images > 0
    drawn = version.progress["charts"]
    can_compare = len(points_of(version.candidates.all())) > 1
    assert drawn == [name for name in CHARTS if name != "accuracy-latency" or can_compare]
    for name in drawn:
        assert default_storage.exists(f"{version.folder}/charts/{name}.svg")
    assert not train_version.work_folder(version.pk).exists()
    assert_answers_as_evaluated(version)


def assert_answers_as_evaluated(version: TrainingVersion) -> None:
    bundle = Bundle.load(train_version.bundle_path(version))
    bundle.self_test()
    for evaluated in version.evaluated_images.select_related("image"):
        with default_storage.open(evaluated.image.file_name) as content:
            scores = bundle.predict_one(content.read())
        assert np.allclose(scores, evaluated.scores, atol=1e-4)
        assert list(bundle.predicted_labels(scores)) == evaluated.predicted


def test_a_training_that_was_asked_to_stop_before_its_first_model_is_stopped() -> None:
    version = make_waiting(make_coloured_project(), max_training_minutes=6, stop_requested_at=timezone.now())

    train_version.train(version.pk, 1)

    version.refresh_from_db()
    assert (version.status, version.failure_cause) == (Status.STOPPED, "")
    assert not default_storage.exists(f"{version.folder}/bundle/bundle.json")


def test_images_whose_files_are_gone_are_a_failure_with_a_cause() -> None:
    project = make_coloured_project()
    for image in project.images.all():
        default_storage.delete(image.file_name)
    version = make_waiting(project)

    train_version.train(version.pk, 1)

    version.refresh_from_db()
    assert version.status == Status.FAILED
    assert "None of the images can be read" in version.failure_cause and version.failure_remedy
    assert version.traceback == ""


def test_a_base_whose_model_is_gone_is_said() -> None:
    project = make_coloured_project()
    base = make_version(project, 1, Status.COMPLETED)
    version = make_version(project, 2, flavor=cpu_flavor(), incremental_version=base)

    train_version.train(version.pk, 1)

    version.refresh_from_db()
    assert version.status == Status.FAILED
    assert "The model of V001" in version.failure_cause
