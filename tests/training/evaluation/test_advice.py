"""Advice: each line has its evidence, and the forecast of gains agrees with a known learning curve."""

from __future__ import annotations

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from projects.images.similarity import pack, sketches
from projects.models import Embedding, Image, Project
from tests.factories import make_project, make_version
from tests.pages import html_of
from tests.projects.datasets.test_compare import publish
from training.assist import forecast_gains
from training.assist.embed_images import network_name
from training.engine.assist import learning_curves as curves
from training.engine.evaluation.evaluate import SamplePrediction
from training.evaluation.advice import advice_for, expected_gains
from training.jobs import record
from training.models import Status, StopReason, TrainingVersion

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def pictures(count: int, seed: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around three centres: label 0 apart, labels 1 and 2 close to each other."""
    dice = np.random.default_rng(seed)
    middles = np.eye(24)[:3] * np.array([[4.0], [1.6], [1.6]])
    labels = np.arange(3).repeat(count)
    rows = middles[labels] + noise * dice.normal(0, 0.6, (3 * count, 24))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.eye(3, dtype=np.float32)[labels]


def test_the_forecast_lies_near_what_more_pictures_really_bring() -> None:
    """Forty images per label, then eighty: measured on a thousand unseen ones."""
    from training.engine.assist import label_suggestions

    unseen, truth = pictures(1000, 99)
    real = {}
    for count in (40, 80):
        hits = []
        for seed in range(12):
            fitted = label_suggestions.fit(*pictures(count, seed), False)
            answers = fitted.probabilities(unseen).argmax(1)
            hits.append([(answers[truth[:, c] > 0] == c).mean() for c in range(3)])
        real[count] = np.mean(hits, axis=0)
    forecasts = []
    for seed in range(12):
        rows, targets = pictures(40, seed)
        forecasts.append(curves.expected_gains(rows, targets, np.arange(len(rows)), 40, seed=seed))
    for label in (0, 1, 2):
        gains = [gains_of[label] for gains_of in forecasts]
        assert np.mean([gain.gain for gain in gains]) == pytest.approx(
            real[80][label] - real[40][label], abs=0.04
        )
        assert np.mean([gain.now for gain in gains]) == pytest.approx(real[40][label], abs=0.08)
        assert all(gain.low <= gain.gain <= gain.high for gain in gains)


def test_a_label_that_is_always_found_gains_little_and_a_rare_one_has_no_forecast() -> None:
    found = []
    for seed in range(8):
        rows, targets = pictures(40, seed)
        found.append(curves.expected_gains(rows, targets, np.arange(len(rows)), 20, seed=seed)[:2])
    easy, hard = (np.mean([pair[label].gain for pair in found]) for label in (0, 1))
    assert easy < hard
    keep = np.concatenate([np.arange(45), np.arange(80, 120)])  # five of label 1
    assert curves.expected_gains(rows[keep], targets[keep], keep, 20)[1] is None


# --- the job and the page ---


@pytest.fixture
def version() -> TrainingVersion:
    project = make_project(labels=3, images=20)
    dataset = publish(project, "V001")
    rows, _ = pictures(20, 3)
    images = list(project.images.order_by("pk"))
    Embedding.objects.bulk_create(
        Embedding(image=image, network=network_name(), vector=vector, sketch=sketch)
        for image, vector, sketch in zip(images, pack(rows), sketches(rows), strict=True)
    )
    version = make_version(project, 1, Status.COMPLETED, stop_reason=StopReason.TIME_LIMIT)
    assert version.dataset_version == dataset
    answers = [("label-1", "label-2")] * 3 + [("label-0", "label-0")] * 9
    found = [
        SamplePrediction(str(image.pk), (truth,), (said,), (0.2, 0.5, 0.3))
        for image, (truth, said) in zip(images, answers, strict=False)
    ]
    record.record(version, ["label-0", "label-1", "label-2"], found, [])
    version.refresh_from_db()
    return version


def page_of(version: TrainingVersion) -> str:
    return reverse("training_version", args=[version.project_id, version.number])


def test_the_job_foretells_every_label_with_images_enough(version: TrainingVersion) -> None:
    assert forecast_gains.forecast(version.pk) == 3
    version.refresh_from_db()
    pictures_, now, gain, low, high = version.learning["label-1"]
    assert pictures_ == 20 and 0 <= now <= 1 and low <= gain <= high


def test_without_features_nothing_is_foretold(version: TrainingVersion) -> None:
    Embedding.objects.all().delete()
    assert forecast_gains.forecast(version.pk) == 0
    assert forecast_gains.forecast(0) == 0


def test_every_line_has_its_evidence_and_its_link(version: TrainingVersion, vera: Client) -> None:
    project: Project = version.project
    label = project.labels.get(name="label-2")
    suspect = project.images.first()
    Image.objects.filter(pk=suspect.pk).update(suspected_label=label, suspected_confidence=0.9)
    TrainingVersion.objects.filter(pk=version.pk).update(
        learning={"label-1": [20, 0.7, 0.06, 0.03, 0.09], "label-0": [20, 1.0, 0.0, 0.0, 0.0]}
    )
    html = html_of(vera.get(page_of(version)))
    assert "1 label is probably wrong" in html and "check=suspects" in html
    assert "“label-1” was predicted as “label-2” 3 times, in 100 % of its images" in html
    assert "true=label-1&amp;predicted=label-2" in html
    # The curve's own recall is 0.7 and 20 images take a fifth of its misses; the version misses all three.
    assert (
        "20 more images of “label-1” would probably raise its recall from 0.000 (0 of 3) by 20.0 points "
        "(10.0 to 30.0)."
    ) in html
    assert "70 %" not in html
    assert "20 more images of “label-0”" not in html
    assert "The search stopped at the time limit" in html


def test_a_forecast_never_promises_more_than_the_version_misses(version: TrainingVersion) -> None:
    version.metrics.filter(label="label-1", name="recall").update(value=0.95, hits=19, support=20)
    version.learning = {"label-1": [20, 0.7, 0.06, 0.03, 0.45], "label-0": [20, 0.6, 0.2, 0.1, 0.3]}

    (gain, *others) = expected_gains(version)

    assert gain.label == "label-1" and gain.recall.value == 0.95
    assert (gain.gain, gain.low, gain.high) == pytest.approx((0.01, 0.005, 0.05))
    assert [(other.label, other.gain) for other in others] == [("label-0", 0)]  # it is always found here


def test_where_nothing_stands_out_that_is_said(version: TrainingVersion) -> None:
    TrainingVersion.objects.filter(pk=version.pk).update(
        stop_reason=StopReason.CONVERGED, confusion={"labels": ["a"], "matrix": [[3]]}
    )
    version.refresh_from_db()
    assert advice_for(version, []) == []
