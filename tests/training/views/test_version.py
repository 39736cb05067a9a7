"""A Completed version: its numbers, their definitions, the table, the charts and the warnings."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from exeml_site.lib import storage
from projects.models import Project
from tests.factories import make_project, make_user, make_version
from tests.pages import html_of
from training.engine import CandidateReport
from training.engine.evaluation.evaluate import SamplePrediction
from training.evaluation.results import CHARTS, filter_and_sort, results_of
from training.jobs import record
from training.models import Status, StopReason, TrainingVersion

LABELS = ("daisy", "roses", "tulips")
LITE1, LITE2 = "EfficientNet-Lite1", "EfficientNet-Lite2"
MIXED = "fine-tuned + fine-tuned + joint linear head"
CANDIDATES = (
    CandidateReport(LITE2, 320, "fine-tuned", None, None, False, True, 3, False, "No memory. Try later."),
    CandidateReport(LITE1, 240, "linear head", 0.91, 6.2, False, True, 9.4, False),
    CandidateReport(f"{LITE1} + {LITE2}", 320, MIXED, 0.94, 8.2, False, True, 200, True),
    CandidateReport(LITE2, 320, "linear head", 0.92, 504, False, False, 61, False),
)


def make_completed(
    images: int = 4,
    labels: tuple[str, ...] = LABELS,
    candidates: tuple[CandidateReport, ...] = CANDIDATES,
    **fields: object,
) -> TrainingVersion:
    """`images` validation images a label; one rose is predicted as a tulip."""
    project = make_project(labels=2, images=5)
    fields.setdefault("stop_reason", StopReason.CONVERGED)
    version = make_version(
        project,
        1,
        Status.COMPLETED,
        ran_on="CPU, 2 threads",
        model_bytes=13_630_000,
        inference_ms=6.24,
        progress={
            "used_s": 276.4,
            "curve": [[4, 0.5], [276, 0.94]],
            "charts": list(CHARTS),
        },
        **fields,
    )
    answers = [(label, label) for label in labels for _ in range(images)]
    answers[images] = (labels[1], labels[-1])
    predictions = [
        SamplePrediction("None", (truth,), (predicted,), (1.0, 0.0, 0.0)) for truth, predicted in answers
    ]
    record.record(version, labels, predictions, candidates)
    now = timezone.now()
    type(version.dataset_version).objects.filter(pk=version.dataset_version_id).update(
        published_at=now, image_count=60, train_count=48, eval_count=12
    )
    return version


def address(project: Project, query: str = "") -> str:
    return reverse("training_version", args=[project.pk, 1]) + query


def labels_in(html: str) -> list[str]:
    return re.findall(r'<th scope="row"[^>]*title="([^"]*)"', html)


@pytest.fixture
def html(vera: Client) -> str:
    return html_of(vera.get(address(make_completed().project)))


@pytest.mark.django_db
def test_the_accuracy_stands_with_its_interval_and_its_counts(html: str) -> None:
    for text in ("91.7 %", "64.6–98.5 %", "11 of 12 validation images"):
        assert text in html


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
    for text in ("00:04:36", "CPU, 2 threads", "Converged: more time would not have helped."):
        assert text in html


def test_parameters_and_model_are_complete(html: str) -> None:
    for text in (
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
        assert text in html


def test_what_was_tried_stands_best_first_with_the_chosen_one_marked(html: str) -> None:
    names = re.findall(r'<span class="leaderboard-name"><span title="([^"]*)">([^<]*)</span>', html)

    assert [short for _, short in names] == ["Lite1 + Lite2", "Lite2", "Lite1", "Lite2"]
    assert names[0][0] == "EfficientNet-Lite1 + EfficientNet-Lite2"
    assert re.search(r'class="leaderboard-chosen">.{0,300}Lite1 \+ Lite2</span>.{0,90}chosen</span>', html)
    assert html.count(">chosen</span>") == 1


def test_recipes_and_times_of_what_was_tried_are_in_plain_words(html: str) -> None:
    for text in ("2 fine-tuned, mixed with a joint linear head", "Linear head on frozen features"):
        assert f">{text}</span>" in html
    for length in ("3.0 s", "9.4 s", "61 s", "3:20 min"):
        assert f">{length}</td>" in html


def test_candidates_that_failed_or_were_too_slow_are_said_in_words(html: str) -> None:
    assert 'title="No memory. Try later.">Failed: No memory.</span>' in html
    assert ">Too slow: over the limit of 500 ms.</span>" in html


def test_estimated_single_image_times_are_said_to_be_estimates(html: str) -> None:
    assert "Single image, estimate" in html and "is an estimate for NV_P4" in html


def test_measured_single_image_times_are_said_to_be_measured(vera: Client) -> None:
    version = make_completed(inference_hardware="CPU", is_inference_measured=True)

    html = html_of(vera.get(address(version.project)))

    assert "Single image, measured" in html and "was measured on the CPU" in html


@pytest.mark.parametrize(("accuracy", "is_explained"), [(0.94, False), (0.915, True)])
def test_a_chosen_candidate_that_is_not_the_first_is_explained(
    accuracy: float, is_explained: bool, vera: Client
) -> None:
    chosen = replace(CANDIDATES[2], accuracy=accuracy)
    project = make_completed(candidates=(*CANDIDATES[:2], chosen, CANDIDATES[3])).project

    html = html_of(vera.get(address(project)))

    assert ("so the chosen candidate need not be first" in html) == is_explained


def test_the_chart_of_accuracy_and_time_has_its_words_and_its_table(html: str) -> None:
    assert (
        "single-image time of 3 candidates; fastest, Lite1, 240 px: 91.0 % at 6.2 ms; "
        "chosen, Lite1 + Lite2, 320 px: 94.0 % at 8.2 ms; 1 slower than the limit."
    ) in html
    marks = re.findall(r"<td title=.*?</td>.*?<td>([^<]*)</td></tr>", html)
    assert marks == ["best for its time", "chosen", "too slow"]


def test_the_time_of_each_phase_is_a_bar_and_a_table(vera: Client) -> None:
    seconds = {"fine-tuning": 200.0, "pixels": 3.1, "polishing": 41, "heads": 12.3}
    project = make_completed(seconds_by_phase=seconds).project

    html = html_of(vera.get(address(project)))

    rows = re.findall(r"</span>([^<]*)</span></th> <td[^>]*>([^<]*)</td> <td[^>]*>([^<]*)</td>", html)
    assert rows == [
        ("Reading images", "3.1 s", "1.1 %"),
        ("Frozen features and heads", "12 s", "4.5 %"),
        ("Fine-tuning", "3:20 min", "72.4 %"),
        ("Polishing", "41 s", "14.8 %"),
        ("Other", "20 s", "7.2 %"),
    ]
    assert html.count('height="12" />') == len(rows)
    assert "style=" not in html


def test_without_known_phases_and_candidates_there_is_no_empty_card(vera: Client) -> None:
    html = html_of(vera.get(address(make_completed(candidates=()).project)))

    assert "Where the time went" not in html and "Leaderboard" not in html


def test_who_stopped_a_training_is_named(vera: Client) -> None:
    stopped = make_completed(stop_reason=StopReason.USER, stop_requested_by=make_user("bob"))

    html = html_of(vera.get(address(stopped.project)))

    assert "Stopped by bob; the best model so far was kept." in html


def test_few_images_are_said_in_plain_words(html: str) -> None:
    assert "With 12 validation images, accuracy is between 65 % and 99 %." in html
    assert "The recall of every label is not known to within ± 10 points." in html
    assert "3 of 4" in html  # the recall of roses


def test_one_image_per_label_is_said_as_one(vera: Client) -> None:
    html = html_of(vera.get(address(make_completed(images=1).project)))

    assert "With 3 validation images" in html
    assert "“daisy” has 1 image in validation" in html


def test_enough_images_need_no_warning(vera: Client) -> None:
    html = html_of(vera.get(address(make_completed(images=80).project)))

    assert "accuracy is between" not in html


def test_every_chart_has_a_text_that_says_the_same(html: str) -> None:
    assert "Confusion matrix: 11 of 12 right; most often confused: roses predicted as tulips, once." in html
    assert "lowest recall: roses with 0.750" in html
    assert "Learning curve: on held-back training images" in html
    assert html.count("Show as a table") == 4


def test_a_chart_comes_as_svg_that_may_style_itself_and_nothing_else(vera: Client) -> None:
    version = make_completed()
    storage.save_whole(f"{version.folder}/charts/confusion-matrix.svg", b"<svg/>")

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

    rising = html_of(vera.get(address(project, "?sort=recall"), headers={"HX-Request": "true"}))
    falling = html_of(vera.get(address(project, "?sort=-label"), headers={"HX-Request": "true"}))

    assert labels_in(rising)[0] == "roses"
    assert 'aria-sort="ascending"' in rising and "sort=-recall" in rising
    assert labels_in(falling) == ["tulips", "roses", "daisy"]
    assert "<html" not in rising


def test_the_table_is_searched_and_sorting_keeps_the_search(vera: Client) -> None:
    html = html_of(vera.get(address(make_completed().project, "?search=ROS&sort=f1")))

    assert labels_in(html) == ["roses"]
    assert "search=ROS" in html


def test_a_search_without_hits_says_so(vera: Client) -> None:
    html = html_of(vera.get(address(make_completed().project, "?search=<x>&sort=nonsense")))

    assert "No label contains “&lt;x&gt;”." in html


@pytest.mark.django_db
def test_rates_that_are_not_defined_come_last() -> None:
    version = make_completed(labels=("daisy", "roses", "tulips"))
    version.metrics.filter(label="daisy", name="precision").update(value=None)
    rows = results_of(version).rows

    assert [row.label for row in filter_and_sort(rows, "precision", "")][-1] == "daisy"
    assert [row.label for row in filter_and_sort(rows, "-precision", "")][-1] == "daisy"


def test_many_labels_take_no_more_queries(vera: Client, django_assert_max_num_queries: Any) -> None:
    labels = tuple(f"label-{n:03d}" for n in range(136))
    version = make_completed(
        images=2, labels=labels, candidates=30 * CANDIDATES, stop_requested_by=make_user("bob")
    )

    with django_assert_max_num_queries(24):
        html = html_of(vera.get(address(version.project)))

    assert len(labels_in(html)) == 136
    assert "The 40 weakest of 136 labels" in html


def test_a_measured_time_shows_its_spread_on_every_page_that_shows_it(alice: Client) -> None:
    mixed = f"{LITE1} ×2 + {LITE2}"
    seen = {"inference_low_ms": 15.1, "inference_high_ms": 17.4}
    chosen = CandidateReport(mixed, 320, MIXED, 0.94, 16.2, True, True, 200, True, place=0, **seen)
    other = CandidateReport(LITE1, 240, "fine-tuned", 0.9, 6.2, False, True, 9.4, False, place=1)
    version = make_completed(candidates=(chosen, other), is_inference_measured=True, **seen)
    page = html_of(alice.get(address(version.project)))
    assert "15–17 ms" in page and "Lite1 ×2 + Lite2" in page
    report = html_of(alice.get(reverse("version_report", args=[version.project_id, 1])))
    promote = html_of(alice.get(reverse("promote_candidate", args=[version.project_id, 1, 1])))
    assert "15–17 ms" in report and mixed in report and "15–17 ms" in promote
