"""Look inside an evaluation: every number again with scikit-learn, every cell with its images, every key."""

from __future__ import annotations

import random
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
)

from projects.models import Annotation, Project
from tests.factories import make_project, make_version
from tests.pages import html_of
from training.engine.evaluation import curves
from training.engine.evaluation.evaluate import SamplePrediction
from training.engine.evaluation.metrics import wilson
from training.evaluation import confusion_matrix as confusion_matrix_module
from training.evaluation import curve_rows
from training.evaluation.plots import svg_plots
from training.evaluation.results import results_of
from training.evaluation.uncertainty import accuracy_note, images_needed
from training.jobs import record
from training.models import Curve, Metric, Status, TrainingVersion

pytestmark = pytest.mark.django_db
LABELS = ("daisy", "roses", "tulips")


def predictions(project: Project, seed: int = 1, is_multi: bool = False) -> list[SamplePrediction]:
    """Scores that lean to the truth, answers that follow the scores."""
    dice, predictions = np.random.default_rng(seed), []
    for image in project.images.values_list("pk", flat=True):
        if is_multi:
            carried = dice.random(3) < 0.5
            scores = np.clip(dice.normal(0.35 + 0.3 * carried, 0.2), 0, 1)
            truth = tuple(np.array(LABELS)[carried].tolist())
            predicted = tuple(np.array(LABELS)[scores >= 0.5].tolist())
        else:
            true = int(dice.integers(3))
            raw = dice.random(3) + 0.7 * (np.arange(3) == true)
            scores = raw / raw.sum()
            truth, predicted = (LABELS[true],), (LABELS[int(scores.argmax())],)
        predictions.append(
            SamplePrediction(str(image), truth, predicted, tuple(scores), bool(scores.max() > 0.4), 0.5)
        )
    return predictions


def completed(is_multi: bool = False) -> TrainingVersion:
    project = make_project(labels=2, images=60, is_multi_label=is_multi)
    version = make_version(project, 1, Status.COMPLETED)
    record.record(version, LABELS, predictions(project, is_multi=is_multi), [])
    version.refresh_from_db()
    return version


@pytest.fixture
def version() -> TrainingVersion:
    return completed()


def stored(version: TrainingVersion) -> tuple[list[str], list[str], np.ndarray]:
    rows = list(version.evaluated_images.values_list("truth", "predicted", "scores"))
    return [row[0][0] for row in rows], [row[1][0] for row in rows], np.array([row[2] for row in rows])


def address(version: TrainingVersion, view: str, *more: int) -> str:
    return reverse(view, args=[version.project_id, version.number, *more])


# --- the numbers ---


def test_averages_curves_and_matrix_equal_those_of_scikit_learn(version: TrainingVersion) -> None:
    truth, predicted, scores = stored(version)
    results = results_of(version)
    assert results.accuracy.value == pytest.approx(accuracy_score(truth, predicted))
    for average, row in zip(("macro", "weighted"), results.averages, strict=True):
        expected = precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
        assert (row.precision, row.recall, row.f1) == pytest.approx(expected[:3])
    assert version.confusion["matrix"] == confusion_matrix(truth, predicted, labels=LABELS).tolist()
    for place, label in enumerate(LABELS):
        curve = version.curves.get(kind=Curve.Kind.THRESHOLD, label=label)
        is_one = np.array(truth) == label
        assert curve.area == pytest.approx(average_precision_score(is_one, scores[:, place]))
        for step in svg_plots.threshold_steps(curve.points):
            named = scores[:, place] >= step.threshold
            assert step.recall.value == pytest.approx(recall_score(is_one, named))
            if named.any():
                assert step.precision.value == pytest.approx(precision_score(is_one, named))
            assert step.false_alarms == (named & ~is_one).sum()
            assert step.missed == (~named & is_one).sum()


def test_measures_of_several_labels_equal_those_of_scikit_learn() -> None:
    version = completed(is_multi=True)
    rows = list(version.evaluated_images.values_list("truth", "predicted", "scores"))
    truth = np.array([[label in row[0] for label in LABELS] for row in rows])
    predicted = np.array([[label in row[1] for label in LABELS] for row in rows])
    scores = np.array([row[2] for row in rows])
    results = results_of(version)
    for average, row in zip(("macro", "weighted", "micro"), results.averages, strict=True):
        expected = precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
        assert (row.precision, row.recall, row.f1) == pytest.approx(expected[:3])
    assert results.accuracy.value == pytest.approx(accuracy_score(truth, predicted))
    assert results.hamming == pytest.approx((truth == predicted).mean())
    assert results.mean_average_precision == pytest.approx(average_precision_score(truth, scores))


def test_coverage_and_calibration_are_counted_from_the_stored_predictions(version: TrainingVersion) -> None:
    rows = list(version.evaluated_images.values_list("confidence", "is_correct", "is_known"))
    sure, right = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    coverage = version.curves.get(kind=Curve.Kind.COVERAGE)
    for step in svg_plots.coverage_steps(coverage.points):
        answered = sure >= step.threshold
        assert (step.answered.hits, step.right.hits) == (answered.sum(), (answered & right).sum())
    (known,) = version.curves.get(kind=Curve.Kind.KNOWN).points
    assert known == [sum(row[1] for row in rows if row[2]), sum(bool(row[2]) for row in rows)]
    bins = version.curves.get(kind=Curve.Kind.CALIBRATION)
    assert sum(point[0] for point in bins.points) == len(rows)
    gaps = [
        abs(right[inside].mean() - sure[inside].mean()) * inside.sum()
        for low in np.arange(0, 1, 0.1)
        if (inside := (np.clip((sure * 10).astype(int), 0, 9) == round(low * 10))).any()
    ]
    assert bins.area == pytest.approx(sum(gaps) / len(rows))


def test_headline_table_and_matrix_agree(version: TrainingVersion) -> None:
    results, matrix = results_of(version), confusion_matrix_module.build_matrix(version.confusion)
    diagonal = sum(cell.images for cell in matrix.filled if cell.is_right)
    assert diagonal == results.accuracy.hits == sum(row.recall.hits for row in results.rows)
    assert sum(cell.images for cell in matrix.filled) == results.accuracy.support
    for row in results.rows:
        of_row = [cell for cell in matrix.filled if cell.true == row.label]
        assert sum(cell.images for cell in of_row) == row.images


@pytest.mark.parametrize("share", [0.5, 0.83, 0.94, 1.0])
@pytest.mark.parametrize("half_width", [0.05, 0.1])
def test_so_many_images_tell_a_rate_and_one_less_does_not(share: float, half_width: float) -> None:
    needed = images_needed(share, half_width)

    def half(images: int) -> float:
        z2 = 1.959963984540054**2
        return (
            1.959963984540054
            * np.sqrt(share * (1 - share) / images + z2 / (4 * images**2))
            / (1 + z2 / images)
        )

    assert half(needed) <= half_width < half(needed - 1)


def test_the_intervals_hold_in_simulated_evaluations() -> None:
    """200 evaluations of 60 images each at known accuracies: 95 % of the intervals hold the true rate."""
    dice, held = np.random.default_rng(7), 0
    for number in range(200):
        true = (0.6, 0.8, 0.9, 0.97)[number % 4]
        rate = wilson(int(dice.binomial(60, true)), 60)
        held += rate.low <= true <= rate.high
    assert held >= 184  # 190 expected; less than 184 happens once in 200 times


def test_doubt_says_how_many_images_are_needed() -> None:
    rate = wilson(10, 12)
    few = Metric(value=rate.value, low=rate.low, high=rate.high, hits=10, support=12)
    note = accuracy_note(few, Decimal("0.8"))
    assert note.startswith("With 12 validation images, accuracy is between 55 % and 95 %")
    assert f"About {-(-images_needed(10 / 12, 0.05) // 10) * 10} validation images" in note


def test_a_version_without_curves_gets_them_from_its_predictions(
    version: TrainingVersion, vera: Client
) -> None:
    before = list(version.curves.values_list("kind", "label", "points", "area"))
    version.curves.all().delete()
    vera.get(address(version, "thresholds"))
    assert list(version.curves.values_list("kind", "label", "points", "area")) == before
    curve_rows.add_missing_curves(version)
    assert version.curves.count() == len(before)


# --- the pages ---


def test_a_cell_of_the_matrix_opens_exactly_its_images(version: TrainingVersion, vera: Client) -> None:
    for cell in confusion_matrix_module.build_matrix(version.confusion).filled:
        html = html_of(vera.get(f"{address(version, 'evaluated_images')}?{cell.query}"))
        assert html.count('class="evaluated-tile') == cell.images
        assert f">{cell.images} image" in html
    assert f"?{cell.query.replace('&', '&amp;')}" in html_of(vera.get(address(version, "confusion_matrix")))


def test_mistakes_come_surest_first(version: TrainingVersion, vera: Client) -> None:
    html = html_of(vera.get(address(version, "evaluated_images")))
    shown = [float(text) for text in re.findall(r'<span class="tabular">([\d.]+) %</span>', html)]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == min(version.evaluated_images.filter(is_correct=False).count(), 60)


@pytest.mark.parametrize("is_multi", [False, True])
def test_what_a_label_missed_and_what_it_was_given_wrongly_can_be_seen(is_multi: bool, vera: Client) -> None:
    version = completed(is_multi)
    for name, mine, other in (("missed", "truth", "predicted"), ("wrongly", "predicted", "truth")):
        rows = version.evaluated_images.values(mine, other)
        count = sum("roses" in row[mine] and "roses" not in row[other] for row in rows)
        html = html_of(vera.get(f"{address(version, 'evaluated_images')}?{name}=roses"))
        assert f">{count} image" in html


def test_a_name_within_another_is_not_taken_for_it(version: TrainingVersion) -> None:
    evaluated = version.evaluated_images.first()
    evaluated.true_names = "rose\nwild roses"
    evaluated.save()
    mine = version.evaluated_images.filter(pk=evaluated.pk)
    assert not mine.with_true_label("roses").exists() and not mine.with_true_label("wild").exists()
    assert mine.with_true_label("rose").exists() and mine.with_true_label("wild roses").exists()


def test_one_image_shows_its_scores_and_one_key_relabels_it_and_goes_on(
    version: TrainingVersion, bob: Client, vera: Client
) -> None:
    wrong = list(version.evaluated_images.filter(is_correct=False).order_by("-confidence", "pk"))
    first, second = wrong[:2]
    predicted = first.predicted[0]
    version.project.labels.update_or_create(name=predicted, defaults={"position": 9})
    page = address(version, "evaluated_image", first.pk)
    assert 'id="accept"' not in html_of(vera.get(page))
    html = html_of(bob.get(page))
    assert 'id="accept"' in html and f'data-heat="{predicted}"' in html
    answer = bob.post(address(version, "relabel_evaluated", first.pk), {"label": predicted})
    assert answer["Location"].startswith(address(version, "evaluated_image", second.pk))
    assert [annotation.label.name for annotation in Annotation.objects.filter(image=first.image)] == [
        predicted
    ]
    first.refresh_from_db()
    assert not first.is_correct  # the evaluation stays what it was


def test_pages_of_many_images_and_labels_take_few_queries(
    vera: Client, django_assert_max_num_queries: Any
) -> None:
    project = make_project(labels=2, images=40)
    version = make_version(project, 1, Status.COMPLETED)
    labels = [f"label-{number:03d}" for number in range(136)]
    dice = random.Random(1)
    predictions = []
    for image in project.images.values_list("pk", flat=True):
        true, named = dice.choice(labels), dice.choice(labels)
        predictions.append(SamplePrediction(str(image), (true,), (named,), tuple(1 / 136 for _ in labels)))
    record.record(version, labels, predictions, [])
    pages = ("training_version", "version_labels", "version_candidates", "version_details")
    for view in (*pages, "evaluated_images", "confusion_matrix", "thresholds"):
        with django_assert_max_num_queries(33):
            assert vera.get(address(version, view)).status_code == 200


def test_without_a_stored_model_the_heat_map_is_a_sentence(version: TrainingVersion, vera: Client) -> None:
    evaluated = version.evaluated_images.first()
    answer = vera.get(address(version, "evaluated_heat", evaluated.pk))
    assert answer.status_code == 422 and "The model cannot be loaded." in html_of(answer)


def test_counting_thresholds_counts_a_score_at_its_own_threshold() -> None:
    points = curves.threshold_counts(np.array([0.29, 0.57, 1.0, 0.0]), np.array([True, False, True, False]))
    assert points[29] == [2, 3] and points[30] == [1, 2] and points[57] == [1, 2] and points[100] == [1, 1]
    assert points[0] == [2, 4]
