"""The pages of a Completed version: Overview, Labels, Candidates and Details."""

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
from training.engine.config import CommonScore, ImagesUsed
from training.engine.evaluation.evaluate import SamplePrediction
from training.evaluation.report import report_html
from training.evaluation.results import CHARTS, filter_and_sort, results_of
from training.jobs import record
from training.models import Status, StopReason, TrainingVersion

LABELS = ("daisy", "roses", "tulips")
LITE1, LITE2 = "EfficientNet-Lite1", "EfficientNet-Lite2"
MIXED = "fine-tuned + fine-tuned + joint linear head"


def judged(hits: int, images: int) -> dict[str, Any]:
    """`hits` of the same 50 images right, fitted on 40 of 48 images, `images` of them held out."""
    used = ImagesUsed(48, 40, 40, images, {"reading": 8})
    return {"images": used, "common": CommonScore(50, hits, 0.3, 1.0)}


CANDIDATES = (
    CandidateReport(LITE2, 320, "fine-tuned", None, None, False, True, 3, False, "No memory. Try later."),
    CandidateReport(LITE1, 240, "linear head", 0.91, 6.2, False, True, 9.4, False, **judged(45, 48)),
    CandidateReport(f"{LITE1} + {LITE2}", 320, MIXED, 0.94, 8.2, False, True, 200, True, **judged(47, 12)),
    CandidateReport(LITE2, 320, "linear head", 0.92, 504, False, False, 61, False, **judged(46, 48)),
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


def address(project: Project, query: str = "", view: str = "training_version") -> str:
    return reverse(view, args=[project.pk, 1]) + query


def labels_in(html: str) -> list[str]:
    return re.findall(r'<th role="rowheader" scope="row"[^>]*title="([^"]*)"', html)


@pytest.fixture
def completed(db: None) -> TrainingVersion:
    return make_completed()


@pytest.fixture
def html(completed: TrainingVersion, vera: Client) -> str:
    """The Overview."""
    return html_of(vera.get(address(completed.project)))


@pytest.fixture
def labels_html(completed: TrainingVersion, vera: Client) -> str:
    return html_of(vera.get(address(completed.project, view="version_labels")))


@pytest.fixture
def candidates_html(completed: TrainingVersion, vera: Client) -> str:
    return html_of(vera.get(address(completed.project, view="version_candidates")))


@pytest.fixture
def details_html(completed: TrainingVersion, vera: Client) -> str:
    return html_of(vera.get(address(completed.project, view="version_details")))


@pytest.mark.django_db
def test_the_accuracy_stands_with_its_interval_and_its_counts(html: str) -> None:
    for text in ("91.7 %", "64.6–98.5 %", ">11 of 12</strong> validation images right"):
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


def test_macro_averages_stand_with_their_intervals(html: str, labels_html: str) -> None:
    macro = labels_html.split("Macro average</span>")[1].split("</tr>")[0]
    assert len(re.findall(r'<span class="count">\d\d\.\d–\d\d\.\d %</span>', macro)) == 3
    assert html.count('title="95 % interval"') == 4  # of the four scores


def test_training_details_tell_how_long_it_ran_where_and_why_it_ended(details_html: str) -> None:
    for text in ("00:04:36", "CPU, 2 threads", "Converged: more time would not have helped."):
        assert text in details_html


def test_parameters_and_model_are_complete(details_html: str) -> None:
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
        assert text in details_html


def test_what_was_tried_stands_best_first_with_the_chosen_one_marked(candidates_html: str) -> None:
    names = re.findall(r'<span title="([^"]*)">([^<]*)</span> <span class="muted nowrap">', candidates_html)

    assert [short for _, short in names] == ["Lite1 + Lite2", "Lite1", "Lite2", "Lite2"]
    assert re.findall(r'title="Rank on the same images">(.)', candidates_html) == ["1", "2"]
    assert names[0][0] == "EfficientNet-Lite1 + EfficientNet-Lite2"
    assert re.search(
        r'class="leaderboard-chosen">.{0,300}Lite1 \+ Lite2</span>.{0,90}chosen</span>', candidates_html
    )
    assert candidates_html.count(">chosen</span>") == 1


def test_recipes_and_times_of_what_was_tried_are_in_plain_words(candidates_html: str) -> None:
    for text in ("2 fine-tuned, mixed with a joint linear head", "Linear head on frozen features"):
        assert f">{text}</span>" in candidates_html
    for length in ("3.0 s", "9.4 s", "61 s", "3:20 min"):
        assert f">{length}</td>" in candidates_html


def test_candidates_that_failed_or_were_too_slow_are_said_in_words(candidates_html: str) -> None:
    assert 'title="No memory. Try later.">Failed: No memory.</span>' in candidates_html
    assert ">Too slow: over the limit of 500 ms. Not ranked.</span>" in candidates_html


def test_estimated_single_image_times_are_said_to_be_estimates(candidates_html: str) -> None:
    assert "Single image, estimate" in candidates_html and "is an estimate for NV_P4" in candidates_html


def test_measured_single_image_times_are_said_to_be_measured(vera: Client) -> None:
    version = make_completed(inference_hardware="CPU", is_inference_measured=True)

    html = html_of(vera.get(address(version.project, view="version_candidates")))

    assert "Single image, measured" in html and "was measured on the CPU" in html


@pytest.mark.parametrize(("hits", "is_explained"), [(47, False), (44, True)])
def test_a_chosen_candidate_that_is_not_the_first_is_explained(
    hits: int, is_explained: bool, vera: Client
) -> None:
    chosen = replace(CANDIDATES[2], **judged(hits, 12))
    project = make_completed(candidates=(*CANDIDATES[:2], chosen, CANDIDATES[3])).project

    html = html_of(vera.get(address(project, view="version_candidates")))

    assert ("has 1 more image right than the chosen candidate" in html) == is_explained


def test_the_chart_of_accuracy_and_time_has_its_words_and_its_table(candidates_html: str) -> None:
    assert (
        "single-image time of 3 candidates. Fastest: Lite1, 240 px, 90.0 % at 6.2 ms. "
        "Chosen: Lite1 + Lite2, 320 px, 94.0 % at 8.2 ms. 1 is slower than the limit."
    ) in candidates_html
    marks = re.findall(r"<td title=.*?</td>.*?<td>([^<]*)</td></tr>", candidates_html)
    assert marks == ["best for its time", "chosen", "too slow"]


def test_the_time_of_each_phase_is_a_bar_and_a_table(vera: Client) -> None:
    seconds = {"fine-tuning": 200.0, "pixels": 3.1, "polishing": 41, "heads": 12.3}
    project = make_completed(seconds_by_phase=seconds).project

    html = html_of(vera.get(address(project, view="version_candidates")))

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
    html = html_of(vera.get(address(make_completed(candidates=()).project, view="version_candidates")))

    assert "Where the time went" not in html and "Leaderboard" not in html


def test_who_stopped_a_training_is_named(vera: Client) -> None:
    stopped = make_completed(stop_reason=StopReason.USER, stop_requested_by=make_user("bob"))

    html = html_of(vera.get(address(stopped.project, view="version_details")))

    assert "Stopped by bob; the best model so far was kept." in html


def test_few_images_are_said_in_plain_words(html: str, labels_html: str) -> None:
    assert "With 12 validation images, accuracy is between 65 % and 99 %." in html
    assert "The recall of no label is known to within ± 10 points." in html
    assert "3 of 4" in labels_html  # the recall of roses


def test_one_image_per_label_is_said_as_one(vera: Client) -> None:
    html = html_of(vera.get(address(make_completed(images=1).project)))

    assert "With 3 validation images" in html
    assert "“daisy” has 1 image in validation" in html


def test_enough_images_need_no_warning(vera: Client) -> None:
    html = html_of(vera.get(address(make_completed(images=80).project)))

    assert "accuracy is between" not in html


def test_every_chart_has_a_text_that_says_the_same(labels_html: str, candidates_html: str) -> None:
    assert "Lowest recall: roses with 0.750" in labels_html
    assert "Learning curve: on held-out training images" in candidates_html
    assert labels_html.count("Show as a table") == 1 and candidates_html.count("Show as a table") == 2


@pytest.mark.parametrize(
    "view",
    [
        "training_version",
        "version_labels",
        "evaluated_images",
        "confusion_matrix",
        "thresholds",
        "version_candidates",
        "version_details",
    ],
)
def test_every_page_of_a_version_has_the_same_head_and_tabs(
    view: str, completed: TrainingVersion, alice: Client
) -> None:
    html = html_of(alice.get(address(completed.project, view=view)))

    assert '<h2 id="version-title">V001' in html and 'id="card-V001"' in html
    for part in ('id="star"', 'id="add-time"', "?version=1"):
        assert part in html
    tabs = html[html.index('<nav class="tabs version-tabs"') :].partition("</nav>")[0]
    names = re.findall(r">([A-Z][a-z]+)</a>", tabs)
    assert names[0] == "Overview" and set(names) >= {"Labels", "Images", "Confusion", "Candidates", "Details"}
    (current,) = re.findall(r'href="([^"]*)" aria-current="page"', tabs)
    assert current == address(completed.project, view=view)


def test_the_overview_shows_the_most_confident_mistakes_as_pictures(vera: Client) -> None:
    version = make_completed(images=30)
    image = version.project.images.first()
    wrong = version.evaluated_images.get(is_correct=False)
    wrong.image = image
    wrong.save()

    html = html_of(vera.get(address(version.project)))

    shown = html[html.index('id="surest-title"') :].partition("</section>")[0]
    assert "Most confident mistakes" in shown and "1 mistake<" in shown
    assert reverse("image_thumbnail", args=[version.project_id, image.sha256]) in shown
    assert f"{reverse('evaluated_image', args=[version.project_id, 1, wrong.pk])}?outcome=wrong" in shown
    assert re.search(r">roses</span>.*>tulips</strong>", shown)
    assert shown.count('class="surest-image"') == 1


def test_without_a_mistake_the_overview_shows_the_least_confident_images(vera: Client) -> None:
    version = make_completed(images=30)
    version.evaluated_images.update(is_correct=True)

    html = html_of(vera.get(address(version.project)))

    assert "No mistakes: the least confident images" in html
    assert html.count('class="surest-image"') == 6


@pytest.mark.parametrize("view", ["version_labels", "version_candidates", "version_details"])
def test_the_pages_of_an_evaluation_wait_until_the_version_is_completed(view: str, vera: Client) -> None:
    version = make_version(make_project(), 1, Status.RUNNING)

    assert vera.get(address(version.project, view=view)).status_code == 404


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

    rising = html_of(
        vera.get(address(project, "?sort=recall", view="version_labels"), headers={"HX-Request": "true"})
    )
    falling = html_of(
        vera.get(address(project, "?sort=-label", view="version_labels"), headers={"HX-Request": "true"})
    )

    assert labels_in(rising)[0] == "roses"
    assert 'aria-sort="ascending"' in rising and "sort=-recall" in rising
    assert labels_in(falling) == ["tulips", "roses", "daisy"]
    assert "<html" not in rising


def test_a_label_that_is_never_found_has_no_high_number(vera: Client) -> None:
    """Counted against the rest it would be 58.3 % right: it has 4 of 12 images, and none is found."""
    version = make_completed()
    version.evaluated_images.filter(true_names="tulips").update(predicted=["daisy"], predicted_names="daisy")
    images = list(version.evaluated_images.order_by("pk"))
    predictions = [
        SamplePrediction("None", tuple(i.truth), tuple(i.predicted), tuple(i.scores)) for i in images
    ]
    record.record(version, LABELS, predictions, [])

    html = html_of(
        vera.get(
            address(version.project, "?sort=recall", view="version_labels"), headers={"HX-Request": "true"}
        )
    )
    tulips = re.findall(r'<th role="rowheader" scope="row"[^>]*title="tulips">.*?</tr>', html)[0]
    headers = [name for name in ("Label", "Images", "Recall", "Precision", "F1 Score") if name in html]

    assert labels_in(html)[0] == "tulips" and "sort=accuracy" not in html
    assert headers == ["Label", "Images", "Recall", "Precision", "F1 Score"]
    assert "0 of 4" in tulips and "0.0–49.0 %" in tulips
    bars = re.findall(r'<meter min="0" max="1" value="([^"]*)"', tulips)
    assert bars == ["0.0000", "0.0000"]  # recall, and precision: the one image predicted as tulips is a rose


def test_the_table_is_searched_and_sorting_keeps_the_search(vera: Client) -> None:
    html = html_of(vera.get(address(make_completed().project, "?search=ROS&sort=f1", view="version_labels")))

    assert labels_in(html) == ["roses"]
    assert "search=ROS" in html


def test_a_search_without_hits_says_so(vera: Client) -> None:
    html = html_of(
        vera.get(address(make_completed().project, "?search=<x>&sort=nonsense", view="version_labels"))
    )

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

    with django_assert_max_num_queries(26):
        html = html_of(vera.get(address(version.project, view="version_labels")))

    assert len(labels_in(html)) == 136
    assert "The 40 weakest of 136 labels" in html


# --- cross-validation ---


def cross_validation(**changes: object) -> dict[str, object]:
    """Of 60 training and 15 validation images: 63 of 75 right in each of two repeats."""
    stored = {
        "network": LITE1,
        "resolution": 240,
        "recipe": "linear head",
        "is_chosen": True,
        "images": 75,
        "validation_images": 15,
        "accuracy": 0.84,
        "low": 0.79,
        "high": 0.88,
        "folds": 2 * [[[13, 15], [12, 15], [13, 15], [12, 15], [13, 15]]],
    }
    return stored | changes


def test_the_cross_validated_accuracy_stands_beside_that_of_the_validation_images(vera: Client) -> None:
    version = make_completed(cross_validation=cross_validation())

    html = html_of(vera.get(address(version.project)))

    assert "Accuracy is about 84 % (79 % to 88 %), cross-validated on 75 images." in html
    assert "The 60 training and 15 validation images were divided into 5 parts, 2 times." in html
    assert "64.6–98.5 %" in html  # of the 12 validation images
    version.refresh_from_db()
    assert "cross-validated on 75 images" in report_html(version)


def test_a_cross_validation_of_another_model_says_so(vera: Client) -> None:
    version = make_completed(cross_validation=cross_validation(is_chosen=False))

    html = html_of(vera.get(address(version.project)))

    assert "The model is fine-tuned, and is not cross-validated." in html
    assert (
        "Without fine-tuning (Lite1, 240 px, linear head on frozen features), accuracy is about 84 %" in html
    )


def test_without_a_cross_validation_none_is_shown(html: str) -> None:
    assert "ross-validated" not in html


def test_a_measured_time_shows_its_spread_on_every_page_that_shows_it(alice: Client) -> None:
    mixed = f"{LITE1} ×2 + {LITE2}"
    seen = {"inference_low_ms": 15.1, "inference_high_ms": 17.4}
    chosen = CandidateReport(mixed, 320, MIXED, 0.94, 16.2, True, True, 200, True, place=0, **seen)
    other = CandidateReport(LITE1, 240, "fine-tuned", 0.9, 6.2, False, True, 9.4, False, place=1)
    version = make_completed(candidates=(chosen, other), is_inference_measured=True, **seen)
    page = html_of(alice.get(address(version.project, view="version_candidates")))
    details = html_of(alice.get(address(version.project, view="version_details")))
    assert "15–17 ms" in page and "Lite1 ×2 + Lite2" in page and "15–17 ms" in details
    report = html_of(alice.get(reverse("version_report", args=[version.project_id, 1])))
    promote = html_of(alice.get(reverse("promote_candidate", args=[version.project_id, 1, 1])))
    assert "15–17 ms" in report and mixed in report and "15–17 ms" in promote
