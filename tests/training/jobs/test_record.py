"""Predictions are stored as rows, and every metric can be computed again from them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from projects.models import Image, Project
from tests.factories import make_project, make_version
from training.engine import CandidateReport
from training.engine.evaluation.evaluate import SamplePrediction
from training.engine.evaluation.metrics import report, wilson
from training.jobs import record
from training.models import EvaluatedImage, Status, TrainingVersion

pytestmark = pytest.mark.django_db
LABELS = ("daisy", "roses", "tulips", "never seen")
CANDIDATE = CandidateReport("EfficientNet-Lite0", 224, "linear head", 0.9, 5.9, False, True, 12.5, True)


def predictions_for(project: Project, seed: int = 0) -> list[SamplePrediction]:
    """Right in seven of ten cases on average; the last label is never the truth."""
    chance = random.Random(seed)
    images = list(project.images.values_list("pk", flat=True))
    found = []
    for image in images:
        truth = chance.choice(LABELS[:3])
        predicted = truth if chance.random() < 0.7 else chance.choice(LABELS)
        scores = tuple(0.7 if label == predicted else 0.1 for label in LABELS)
        found.append(SamplePrediction(str(image), (truth,), (predicted,), scores))
    return found


def recorded(**fields: object) -> TrainingVersion:
    project = make_project(labels=2, images=30)
    version = make_version(project, 1, Status.RUNNING, **fields)
    record.record(version, LABELS, predictions_for(project), [CANDIDATE])
    version.refresh_from_db()
    return version


def stored(version: TrainingVersion) -> tuple[list[str], list[str]]:
    rows = list(version.evaluated_images.values_list("truth", "predicted"))
    return [truth[0] for truth, _ in rows], [predicted[0] for _, predicted in rows]


def value(version: TrainingVersion, name: str, label: str = "") -> float | None:
    return version.metrics.get(label=label, name=name).value


def test_the_overall_numbers_equal_those_of_scikit_learn() -> None:
    version = recorded()
    truth, predicted = stored(version)

    accuracy = version.metrics.get(label="", name="accuracy")
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, average="macro", zero_division=0
    )

    assert accuracy.value == pytest.approx(np.mean([t == p for t, p in zip(truth, predicted, strict=True)]))
    assert (accuracy.hits, accuracy.support) == (
        sum(t == p for t, p in zip(truth, predicted, strict=True)),
        60,
    )
    assert accuracy.low < accuracy.value < accuracy.high
    assert value(version, "precision") == pytest.approx(precision)
    assert value(version, "recall") == pytest.approx(recall)
    assert value(version, "f1") == pytest.approx(f1)


def test_the_numbers_of_each_label_equal_those_of_scikit_learn() -> None:
    version = recorded()
    truth, predicted = stored(version)

    precision, recall, _, support = precision_recall_fscore_support(
        truth, predicted, labels=LABELS, zero_division=np.nan
    )
    f1 = f1_score(truth, predicted, labels=LABELS, average=None, zero_division=np.nan)

    for place, label in enumerate(LABELS):
        expected = {"precision": precision[place], "recall": recall[place], "f1": f1[place]}
        for name, number in expected.items():
            found = value(version, name, label)
            assert found is None if np.isnan(number) else found == pytest.approx(number)
        assert version.metrics.get(label=label, name="recall").support == support[place]
        agree = [(t == label) == (p == label) for t, p in zip(truth, predicted, strict=True)]
        assert value(version, "accuracy", label) == pytest.approx(np.mean(agree))


def test_macro_averages_and_f1_scores_have_the_interval_of_their_images() -> None:
    version = recorded()
    truth, predicted = ([(name,) for name in side] for side in stored(version))
    expected = report(LABELS, truth, predicted)

    for name in ("precision", "recall", "f1"):
        metric = version.metrics.get(label="", name=name)
        assert (metric.low, metric.high) == getattr(expected.macro_intervals, name)
        assert metric.low < metric.value < metric.high
    roses = version.metrics.get(label="roses", name="f1")
    assert (roses.low, roses.high) == expected.per_label[1].f1_interval
    assert version.metrics.get(label="never seen", name="recall").low is None


def test_duplicates_widen_the_intervals() -> None:
    """Ten pictures, each there six times with the same answer."""
    project = make_project(labels=2, images=30)
    images = list(project.images.order_by("pk"))
    for place, image in enumerate(images):
        image.duplicate_group = place // 6
    Image.objects.bulk_update(images, ["duplicate_group"])
    right = [place // 6 not in (2, 7, 8) for place in range(60)]
    predictions = [
        SamplePrediction(str(image.pk), ("roses",), ("roses" if hit else "daisy",), (0.3, 0.7))
        for image, hit in zip(images, right, strict=True)
    ]
    version = make_version(project, 1, Status.RUNNING)
    record.record(version, ("daisy", "roses"), predictions, [])

    accuracy = version.metrics.get(label="", name="accuracy")
    assert (accuracy.hits, accuracy.support) == (42, 60)
    ten = wilson(7, 10)
    assert accuracy.low < ten.low and accuracy.high > ten.high


def test_the_confusion_adds_up_to_the_stored_predictions() -> None:
    version = recorded()

    assert version.confusion["labels"] == list(LABELS)
    assert version.confusion["matrix"] == confusion_matrix(*stored(version), labels=LABELS).tolist()


def test_candidates_keep_their_time_and_the_chosen_one_is_marked() -> None:
    candidate = recorded().candidates.get()

    assert (candidate.network, candidate.resolution, candidate.is_best) == ("EfficientNet-Lite0", 224, True)
    assert (candidate.inference_ms, candidate.is_measured, candidate.seconds) == (5.9, False, 12.5)


def test_recording_again_replaces_what_an_earlier_attempt_left() -> None:
    version = recorded()
    record.record(version, LABELS, predictions_for(version.project, seed=1), [])

    assert version.evaluated_images.count() == 60
    assert version.metrics.count() == 4 + 4 * len(LABELS)
    assert version.candidates.count() == 0


def test_an_image_that_was_purged_meanwhile_keeps_its_answer() -> None:
    project = make_project(labels=2, images=5)
    version = make_version(project, 1, Status.RUNNING)
    predictions = predictions_for(project)
    Image.objects.filter(pk=int(predictions[0].id)).delete()

    record.record(version, LABELS, predictions, [])

    assert version.evaluated_images.count() == 10
    assert version.evaluated_images.filter(image=None).count() == 1


def test_several_labels_an_image_have_no_confusion_and_count_as_right_only_all_together() -> None:
    project = make_project(is_multi_label=True, labels=2, images=2)
    version = make_version(project, 1, Status.RUNNING)
    images = list(project.images.values_list("pk", flat=True))
    answers = [(("a", "b"), ("b", "a")), (("a",), ("a", "b")), (("b",), ()), (("a",), ("a",))]
    predictions = [
        SamplePrediction(str(image), truth, predicted, (0.6, 0.6))
        for image, (truth, predicted) in zip(images, answers, strict=True)
    ]

    record.record(version, ("a", "b"), predictions, [])

    assert value(version, "accuracy") == 0.5
    assert version.metrics.get(label="a", name="precision").hits == 3
    version.refresh_from_db()
    assert version.confusion["matrix"] == []


def test_a_label_that_the_model_does_not_know_counts_against_it() -> None:
    project = make_project(labels=2, images=1)
    version = make_version(project, 1, Status.RUNNING)
    first, second = project.images.values_list("pk", flat=True)
    predictions = [
        SamplePrediction(str(first), ("a",), ("a",), (1.0,)),
        SamplePrediction(str(second), ("unknown",), ("a",), (1.0,)),
    ]

    record.record(version, ("a",), predictions, [])

    assert value(version, "accuracy") == 0.5
    assert value(version, "recall", "unknown") == 0
    assert EvaluatedImage.objects.filter(training_version=version, is_correct=True).count() == 1
