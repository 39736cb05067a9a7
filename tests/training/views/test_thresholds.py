"""Thresholds: figures equal scikit-learn's, a version's own thresholds are the start, settings are kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from projects.models import Membership, Role
from tests.factories import make_project, make_user, make_version
from tests.pages import html_of
from tests.training.bundles import COLOURS, give_bundle
from training.engine.bundle.decision import AnswerSettings
from training.engine.evaluation.evaluate import SamplePrediction
from training.evaluation import curve_rows
from training.evaluation.answer_figures import figures_under, stored_predictions
from training.jobs import record
from training.models import Curve, Status, TrainingVersion
from training.serving.inference.model_cache import decision_rule

pytestmark = pytest.mark.django_db
LABELS = tuple(COLOURS)
THRESHOLDS = (0.175, 0.55, 0.3, 0.325, 0.4, 0.5)  # of the training's grid
IMAGES = 120


def evaluated(is_multi: bool) -> TrainingVersion:
    """A version with a bundle, whose predictions follow its own rule; some scores lie at a threshold."""
    project = make_project(labels=2, images=IMAGES // 2, is_multi_label=is_multi)
    version = make_version(project, 1, Status.COMPLETED)
    give_bundle(version, is_multi_label=is_multi, thresholds=THRESHOLDS)
    rule, dice, predictions = decision_rule(version), np.random.default_rng(4), []
    for number, image in enumerate(project.images.values_list("pk", flat=True)):
        carried = dice.random(6) < 0.3 if is_multi else np.arange(6) == number % 6
        scores = np.clip(dice.normal(0.15 + 0.35 * carried, 0.15), 0, 1)
        if is_multi and number % 10 == 0:
            scores[number % 6] = np.float32(THRESHOLDS[number % 6])
        if not is_multi:
            scores = scores / scores.sum()
        decision = rule.decide(scores.round(6).tolist(), is_known=bool(number % 9), familiarity=number / 200)
        truth = tuple(np.array(LABELS)[carried].tolist())
        prediction = SamplePrediction(
            str(image), truth, decision.labels, tuple(scores), decision.is_known, number / 200
        )
        predictions.append(prediction)
    record.record(version, LABELS, predictions, [])
    version.refresh_from_db()
    return version


@pytest.fixture(params=[False, True], ids=["one label", "several labels"])
def version(request: pytest.FixtureRequest) -> Iterator[TrainingVersion]:
    version = evaluated(request.param)
    yield version
    shutil.rmtree(default_storage.path(version.folder))


@pytest.fixture
def several() -> Iterator[TrainingVersion]:
    version = evaluated(True)
    yield version
    shutil.rmtree(default_storage.path(version.folder))


@pytest.fixture
def single() -> Iterator[TrainingVersion]:
    version = evaluated(False)
    yield version
    shutil.rmtree(default_storage.path(version.folder))


@pytest.fixture
def rita(db: None) -> Client:
    """A Reviewer."""
    client = Client()
    client.force_login(make_user("rita"))
    return client


def address(version: TrainingVersion, view: str = "thresholds") -> str:
    return reverse(view, args=[version.project_id, version.number])


def arrays(version: TrainingVersion) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth [N, C]."""
    predictions = stored_predictions(version)
    truth = [[label in row for label in LABELS] for row in predictions.truths]
    return np.array(predictions.scores), np.array(truth)


def chosen(version: TrainingVersion, **changes: Any) -> dict[str, Any]:
    """The form's fields with these thresholds (several labels) or limits."""
    limits = {"min_confidence", "min_familiarity"}
    return {name if name in limits else f"threshold:{name}": value for name, value in changes.items()}


# --- the figures ---


def test_under_the_models_own_settings_the_figures_are_those_of_the_training(
    version: TrainingVersion, vera: Client
) -> None:
    figures = figures_under(decision_rule(version), stored_predictions(version), AnswerSettings())
    metrics = {(metric.label, metric.name): metric for metric in version.metrics.all()}
    assert figures.exact.hits == metrics["", "accuracy"].hits
    assert figures.macro_f1 == pytest.approx(metrics["", "f1"].value)
    html = html_of(vera.get(address(version)))
    for row, label in zip(figures.labels, LABELS, strict=True):
        assert row.report.recall.hits == metrics[label, "recall"].hits
        assert row.report.precision.value == metrics[label, "precision"].value
        if version.project.is_multi_label:
            assert f"Recall</span> {100 * row.report.recall.value:.1f} %" in html


def test_the_sliders_start_at_the_versions_own_thresholds_and_mark_them(
    several: TrainingVersion, vera: Client
) -> None:
    html = html_of(vera.get(address(several)))
    values = re.findall(r'name="threshold:(\w+)" value="([\d.]+)"', html)
    assert values == [(label, f"{value}") for label, value in zip(LABELS, THRESHOLDS, strict=True)]
    assert re.findall(r'data-own="([\d.]+)"', html) == [f"{value}" for value in THRESHOLDS]


def test_with_several_labels_calibration_is_that_of_each_decision(several: TrainingVersion) -> None:
    scores, truth = arrays(several)
    for label, confidence, right in [
        ("", scores.ravel(), truth.ravel()),
        *[(label, scores[:, i], truth[:, i]) for i, label in enumerate(LABELS)],
    ]:
        curve = several.curves.get(kind=Curve.Kind.CALIBRATION, label=label)
        filled = np.array([point for point in curve.points if point[0]])
        shares, means = calibration_curve(right, confidence, n_bins=10)
        assert (filled[:, 2] / filled[:, 0]).tolist() == pytest.approx(shares.tolist())
        assert filled[:, 1].tolist() == pytest.approx(means.tolist())
        error = (filled[:, 0] / filled[:, 0].sum() * abs(shares - means)).sum()
        assert curve.area == pytest.approx(error)
    assert not several.curves.filter(kind=Curve.Kind.COVERAGE).exists()


def test_with_one_label_calibration_is_that_of_the_best_score(single: TrainingVersion) -> None:
    scores, truth = arrays(single)
    curve = single.curves.get(kind=Curve.Kind.CALIBRATION)
    filled = np.array([point for point in curve.points if point[0]])
    right = truth[np.arange(len(scores)), scores.argmax(axis=1)]
    shares, means = calibration_curve(right, scores.max(axis=1), n_bins=10)
    assert (filled[:, 2] / filled[:, 0]).tolist() == pytest.approx(shares.tolist())
    assert filled[:, 1].tolist() == pytest.approx(means.tolist())


def test_labels_that_only_images_carry_leave_the_curves_of_the_others(single: TrainingVersion) -> None:
    images = list(single.evaluated_images.all())
    rows = curve_rows.curves_of(single, images, [*LABELS, "only in images"])
    assert [row.label for row in rows if row.kind == Curve.Kind.THRESHOLD] == list(LABELS)


def test_figures_under_other_thresholds_equal_those_of_scikit_learn(several: TrainingVersion) -> None:
    scores, truth = arrays(several)
    settings = AnswerSettings({"red": 0.41, "green": 0.05}, min_familiarity=0.1)
    rule = decision_rule(several)
    figures = figures_under(rule, stored_predictions(several), settings)
    predicted = scores >= np.array(rule.in_force(settings))
    for number, row in enumerate(figures.labels):
        pair = truth[:, number], predicted[:, number]
        assert row.report.precision.value == pytest.approx(precision_score(*pair))
        assert row.report.recall.value == pytest.approx(recall_score(*pair))
        assert row.report.f1 == pytest.approx(f1_score(*pair))
    assert figures.macro_f1 == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert figures.exact.value == pytest.approx(accuracy_score(truth, predicted))
    known = np.array(stored_predictions(several).familiarity) >= 0.1
    answered = predicted.any(axis=1) & known
    assert (figures.answered.hits, figures.unknown) == (answered.sum(), (~known).sum())
    assert figures.right.hits == (answered & (truth == predicted).all(axis=1)).sum()


def test_coverage_under_a_minimum_confidence_is_counted(single: TrainingVersion) -> None:
    scores, truth = arrays(single)
    settings = AnswerSettings(min_confidence=0.4)
    figures = figures_under(decision_rule(single), stored_predictions(single), settings)
    known = np.array([value is not False for value in stored_predictions(single).is_known])
    answered = known & (scores.max(axis=1) >= 0.4)
    right = truth[np.arange(len(scores)), scores.argmax(axis=1)]
    assert 0 < answered.sum() < known.sum()
    assert (figures.answered.hits, figures.right.hits) == (answered.sum(), (answered & right).sum())
    assert figures.right_of_all.value == pytest.approx((answered & right).mean())


# --- the page ---


def test_the_consequence_of_settings_is_shown_and_stores_nothing(
    several: TrainingVersion, vera: Client
) -> None:
    answer = vera.post(address(several, "answer_figures"), chosen(several, red="0.9", min_familiarity="0.3"))
    settings = AnswerSettings({"red": 0.9}, min_familiarity=0.3)
    figures = figures_under(decision_rule(several), stored_predictions(several), settings)
    html = html_of(answer)
    assert f"{figures.answered.hits} of {IMAGES}" in html and "chosen on these images look better" in html
    assert 'id="label-figures-0"' in html and 'hx-swap-oob="true"' in html
    several.refresh_from_db()
    assert several.answer_settings == {} and several.answer_settings_at is None


def test_a_reviewer_saves_settings_and_returns_to_the_models_own(
    version: TrainingVersion, rita: Client, vera: Client
) -> None:
    Membership.objects.create(team=version.project.team, user=make_user("rita"), role=Role.REVIEWER)
    is_multi = version.project.is_multi_label
    own = {label: f"{value}" for label, value in zip(LABELS, THRESHOLDS, strict=True)}
    fields = {**own, "green": "0.25"} if is_multi else {"min_confidence": "0.4"}
    metrics = list(version.metrics.values_list("label", "name", "value"))
    answer = rita.post(
        address(version, "save_answer_settings"), chosen(version, **fields, min_familiarity="0.05")
    )
    assert answer.status_code == 303
    version.refresh_from_db()
    changed = {"thresholds": {"green": 0.25}} if is_multi else {"min_confidence": 0.4}
    assert version.answer_settings == {**changed, "min_familiarity": 0.05}
    assert version.answer_settings_by.username == "rita" and version.answer_settings_at
    assert list(version.metrics.values_list("label", "name", "value")) == metrics
    html = html_of(vera.get(address(version)))
    assert "Saved by rita" in html and "Save for this version" not in html
    rita.post(address(version, "save_answer_settings"), {"reset": "1"})
    version.refresh_from_db()
    assert version.answer_settings == {} and version.answer_settings_by.username == "rita"


def test_who_labels_or_views_saves_nothing(version: TrainingVersion, bob: Client, vera: Client) -> None:
    for client in (bob, vera):
        assert client.post(address(version, "save_answer_settings"), {"reset": "1"}).status_code == 403
    version.refresh_from_db()
    assert version.answer_settings_at is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("threshold:red", "1.01", "Enter a number from 0 to 1"),
        ("threshold:red", "-0.1", "Enter a number from 0 to 1"),
        ("threshold:red", "nan", "Enter a number from 0 to 1"),
        ("threshold:red", "half", "Enter a number from 0 to 1"),
        ("threshold:violet", "0.5", "This model does not know the label “violet”."),
        ("min_familiarity", "2", "Enter a number from 0 to 1"),
    ],
)
def test_what_is_no_setting_is_refused_at_its_field(
    several: TrainingVersion, alice: Client, name: str, value: str, message: str
) -> None:
    for view in ("save_answer_settings", "answer_figures"):
        answer = alice.post(address(several, view), {name: value})
        assert answer.status_code == 422 and message in html_of(answer)
    several.refresh_from_db()
    assert several.answer_settings == {} and several.answer_settings_at is None


def test_without_the_model_the_thresholds_of_several_labels_are_not_known(
    version: TrainingVersion, vera: Client
) -> None:
    shutil.move(default_storage.path(f"{version.folder}/bundle"), default_storage.path("away"))
    html = html_of(vera.get(address(version)))
    assert (
        "The model of this version and its thresholds are missing" in html
    ) == version.project.is_multi_label
    assert "Precision and recall of one label" in html
    shutil.move(default_storage.path("away"), default_storage.path(f"{version.folder}/bundle"))
