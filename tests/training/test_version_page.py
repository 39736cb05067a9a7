"""A Completed version: its numbers, their definitions, the table, the charts and the warnings."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from projects import files
from projects.models import Project
from tests.making import make_project, make_version
from training import recording
from training.engine import CandidateReport
from training.engine.evaluating import Prediction
from training.models import Status, StopReason, TrainingVersion
from training.results import arranged, results_of

LABELS = ("daisy", "roses", "tulips")


def make_completed(images: int = 4, labels: tuple[str, ...] = LABELS, **fields: object) -> TrainingVersion:
    """`images` validation images a label; one rose is taken for a tulip."""
    project = make_project(labels=2, images=5)
    version = make_version(
        project,
        1,
        Status.COMPLETED,
        stop_reason=StopReason.CONVERGED,
        ran_on="CPU, 2 threads",
        model_bytes=13_630_000,
        inference_ms=6.24,
        progress={
            "used_s": 276.4,
            "curve": [[4, 0.5], [276, 0.94]],
            "charts": ["confusion-matrix", "precision-recall", "learning-curve"],
        },
        **fields,
    )
    answers = [(label, label) for label in labels for _ in range(images)]
    answers[images] = (labels[1], labels[-1])
    predictions = [
        Prediction("None", (truth,), (predicted,), (1.0, 0.0, 0.0)) for truth, predicted in answers
    ]
    candidates = [
        CandidateReport("EfficientNet-Lite1", 240, "fine-tuned", 0.94, 6.2, False, True, 200, True),
        CandidateReport(
            "EfficientNet-Lite2", 320, "fine-tuned", None, 9.9, False, True, 3, False, "No memory"
        ),
    ]
    recording.record(version, labels, predictions, candidates)
    now = timezone.now()
    type(version.dataset_version).objects.filter(pk=version.dataset_version_id).update(
        published_at=now, image_count=60, train_count=48, eval_count=12
    )
    return version


def address(project: Project, query: str = "") -> str:
    return reverse("training_version", args=[project.pk, 1]) + query


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", response.content.decode())


def labels_in(html: str) -> list[str]:
    return re.findall(r'<th scope="row"[^>]*title="([^"]*)"', html)


@pytest.fixture
def html(vera: Client) -> str:
    return text_of(vera.get(address(make_completed().project)))


@pytest.mark.django_db
def test_the_accuracy_stands_with_its_interval_and_its_counts(html: str) -> None:
    for words in ("91.7 %", "64.6–98.5 %", "11 of 12 validation images"):
        assert words in html


def test_the_evaluation_has_three_decimals_and_names_macro_averages(html: str) -> None:
    for term, number in (
        ("Recall", "0.917"),
        ("Precision", "0.933"),
        ("Accuracy", "0.917"),
        ("F1 Score", "0.915"),
    ):
        assert re.search(rf"<dt>{term} .*?{number}", html)
    assert "TP / (TP + FN)" in html and "TP / (TP + FP)" in html
    assert html.count("Macro average over the labels") == 3


def test_training_details_tell_how_long_it_ran_where_and_why_it_ended(html: str) -> None:
    for words in ("00:04:36", "CPU, 2 threads", "Converged: more time would not have helped"):
        assert words in html


def test_parameters_and_model_are_complete(html: str) -> None:
    for words in (
        "60 images: 48 training, 12 validation",
        "0.8 and 0.2",
        "NV_P4",
        "500 ms",
        "1 hour (60 minutes)",
        "Compute-intensive instance (GPU)",
        "exeML-flowers-V001",
        "13.6 MB",
        "6.2 ms",
        "an estimate for NV_P4",
    ):
        assert words in html


def test_candidates_show_which_was_chosen_and_which_failed(html: str) -> None:
    assert "chosen" in html
    assert 'title="No memory"' in html


def test_few_images_are_said_in_plain_words(html: str) -> None:
    assert "Only 4 images per label in validation: read these numbers with care." in html
    assert "3 of 4" in html  # the recall of roses


def test_one_image_per_label_is_said_as_one(vera: Client) -> None:
    html = text_of(vera.get(address(make_completed(images=1).project)))

    assert "Only 1 image per label in validation" in html


def test_enough_images_need_no_warning(vera: Client) -> None:
    html = text_of(vera.get(address(make_completed(images=12).project)))

    assert "read these numbers with care" not in html


def test_every_chart_has_a_text_that_says_the_same(html: str) -> None:
    assert "Confusion matrix: 11 of 12 right; most often confused: roses taken for tulips, once." in html
    assert "lowest recall: roses with 0.750" in html
    assert "Learning curve: on held-back training images" in html
    assert html.count("The same as a table") == 3


def test_a_chart_comes_as_svg_that_may_style_itself_and_nothing_else(vera: Client) -> None:
    version = make_completed()
    files.save_whole(f"{version.folder}/charts/confusion-matrix.svg", b"<svg/>")

    response = vera.get(reverse("training_chart", args=[version.project_id, 1, "confusion-matrix"]))

    assert response["Content-Type"] == "image/svg+xml"
    assert "private" in response["Cache-Control"]
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert b"".join(response.streaming_content) == b"<svg/>"


@pytest.mark.parametrize("name", ["bundle", "learning-curve", "..%2f..%2fsecret-key"])
def test_other_names_and_missing_charts_are_not_found(name: str, vera: Client) -> None:
    version = make_completed()

    url = f"/projects/{version.project_id}/train-model/1/charts/{name}.svg"

    assert vera.get(url).status_code == 404


def test_a_stranger_sees_no_chart(mallory: Client) -> None:
    version = make_completed()

    url = reverse("training_chart", args=[version.project_id, 1, "confusion-matrix"])

    assert mallory.get(url).status_code == 404


def test_the_table_sorts_by_any_column_both_ways(vera: Client) -> None:
    project = make_completed().project

    rising = text_of(vera.get(address(project, "?sort=recall"), headers={"HX-Request": "true"}))
    falling = text_of(vera.get(address(project, "?sort=-label"), headers={"HX-Request": "true"}))

    assert labels_in(rising)[0] == "roses"
    assert 'aria-sort="ascending"' in rising and "sort=-recall" in rising
    assert labels_in(falling) == ["tulips", "roses", "daisy"]
    assert "<html" not in rising


def test_the_table_is_searched_and_sorting_keeps_the_search(vera: Client) -> None:
    html = text_of(vera.get(address(make_completed().project, "?search=ROS&sort=f1")))

    assert labels_in(html) == ["roses"]
    assert "search=ROS" in html


def test_a_search_without_hits_says_so(vera: Client) -> None:
    html = text_of(vera.get(address(make_completed().project, "?search=<x>&sort=nonsense")))

    assert "No label contains “&lt;x&gt;”." in html


@pytest.mark.django_db
def test_rates_that_are_not_defined_come_last() -> None:
    version = make_completed(labels=("daisy", "roses", "tulips"))
    version.metrics.filter(label="daisy", name="precision").update(value=None)
    rows = results_of(version).rows

    assert [row.label for row in arranged(rows, "precision", "")][-1] == "daisy"
    assert [row.label for row in arranged(rows, "-precision", "")][-1] == "daisy"


def test_many_labels_take_no_more_queries(vera: Client, django_assert_max_num_queries: Any) -> None:
    version = make_completed(images=2, labels=tuple(f"label-{n:03d}" for n in range(136)))

    with django_assert_max_num_queries(16):
        html = text_of(vera.get(address(version.project)))

    assert len(labels_in(html)) == 136
    assert "The 40 weakest of 136 labels" in html
