"""The evaluation of a version for programs: the figures of its page and of its JSON download."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from projects.models import Project
from tests.factories import make_project, make_user, make_version
from tests.projects.api.callers import ApiClient
from tests.training.bundles import number_format_report
from tests.training.views.test_evaluation import LABELS, completed
from training.evaluation.results import results_of
from training.models import EvaluatedImage, Status, TrainingVersion

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(db: None) -> TrainingVersion:
    return completed()


@pytest.fixture
def vera(version: TrainingVersion) -> ApiClient:
    return ApiClient(make_user("vera"), ["read"])


def path(version: TrainingVersion, part: str) -> str:
    return f"/projects/{version.project_id}/versions/{version.number}/{part}"


def downloaded_json(version: TrainingVersion) -> dict[str, Any]:
    """The page's JSON download."""
    browser = Client()
    browser.force_login(make_user("vera"))
    url = reverse("version_json", args=[version.project_id, version.number])
    return json.loads(browser.get(url).content)


def rows_of(caller: ApiClient, address: str) -> list[dict[str, Any]]:
    """The items of all pages of a list."""
    rows, cursor, sign = [], "", "&" if "?" in address else "?"
    while True:
        body = caller.get(f"{address}{sign}cursor={cursor}").json()
        rows += body["items"]
        if not (cursor := body["next"]):
            return rows


def as_stored(metric: dict[str, Any], label: str, name: str) -> dict[str, Any]:
    """A metric of an answer, as the download writes it."""
    numbers = {key: metric[key] for key in ("value", "low", "high")}
    return {"label": label, "name": name, **numbers} | {
        "hits": metric["hit_count"],
        "support": metric["image_count"],
    }


def assert_figures_of_the_download(caller: ApiClient, version: TrainingVersion) -> None:
    """Metrics, labels and matrix are those of the page's JSON download."""
    found, names = downloaded_json(version), ("accuracy", "precision", "recall", "f1")
    metrics = caller.get(path(version, "metrics")).json()
    told = [as_stored(metrics[name], "", name) for name in names]
    for row in rows_of(caller, path(version, "labels?limit=2")):
        told += [as_stored(row[name], row["label"], name) for name in names]
    order = lambda row: (row["label"], row["name"])  # noqa: E731
    assert sorted(told, key=order) == sorted(found["metrics"], key=order)
    confusion = caller.get(path(version, "confusion")).json()
    assert (confusion["labels"], confusion["matrix"]) == (found["labels"], found["confusion"])


def test_the_figures_are_those_of_the_json_download(vera: ApiClient, version: TrainingVersion) -> None:
    assert_figures_of_the_download(vera, version)


def test_the_metrics_say_what_overview_says(vera: ApiClient, version: TrainingVersion) -> None:
    version.number_formats = [number_format_report("float32"), number_format_report("int8", hits=187)]
    version.stop_reason = "converged"
    version.save()
    body, results = vera.get(path(version, "metrics")).json(), results_of(version)
    accuracy = body["accuracy"]
    assert 0 < accuracy["low"] < accuracy["value"] < accuracy["high"] < 1
    assert accuracy["image_count"] == 120 and accuracy["hit_count"] == results.accuracy.hits
    assert [row["name"] for row in body["averages"]] == ["Macro average", "Weighted average"]
    assert body["averages"][0]["recall"] == body["recall"]["value"]
    changed = "120 of 120 validation labels were changed after V001 was evaluated."
    assert body["notes"] == [*results.uncertainty_notes, changed]
    assert body["why_it_ended"] == "Converged: more time would not have helped."
    assert [row["accuracy"]["hit_count"] for row in body["number_formats"]] == [188, 187]
    assert (body["is_multi_label"], body["final_test"], body["cross_validation"]) == (False, None, None)


def test_several_labels_have_their_own_figures_and_no_matrix(db: None) -> None:
    version = completed(is_multi=True)
    vera = ApiClient(make_user("vera"), ["read"])
    assert_figures_of_the_download(vera, version)
    body = vera.get(path(version, "metrics")).json()
    assert body["is_multi_label"] and 0 < body["hamming"] < 1 and 0 < body["mean_average_precision"] < 1
    confusion = vera.get(path(version, "confusion")).json()
    assert confusion["matrix"] == confusion["confusions"] == []


def test_labels_are_sorted_and_searched_as_on_the_page(vera: ApiClient, version: TrainingVersion) -> None:
    rows = rows_of(vera, path(version, "labels?sort=-recall"))
    recalls = [row["recall"]["value"] for row in rows]
    assert len(rows) == 3 and recalls == sorted(recalls, reverse=True)
    assert [row["label"] for row in rows_of(vera, path(version, "labels?search=S"))] == list(LABELS)
    assert [row["label"] for row in rows_of(vera, path(version, "labels?search=ROSE"))] == ["roses"]
    assert vera.get(path(version, "labels?sort=colour")).json()["errors"][0]["field"] == "sort"


def test_confused_pairs_come_most_frequent_first(vera: ApiClient, version: TrainingVersion) -> None:
    wrong = Counter(
        (row.truth[0], row.predicted[0]) for row in EvaluatedImage.objects.filter(is_correct=False)
    )
    pairs = vera.get(path(version, "confusion")).json()["confusions"]
    assert {(pair["label"], pair["predicted"]): pair["image_count"] for pair in pairs} == wrong
    assert [pair["image_count"] for pair in pairs] == sorted(wrong.values(), reverse=True)


# --- evaluated images ---


def test_images_come_by_pages_in_the_order_that_was_asked_for(
    vera: ApiClient, version: TrainingVersion
) -> None:
    rows = rows_of(vera, path(version, "images?limit=50"))
    assert len(rows) == len({row["id"] for row in rows}) == 120
    confidences = [row["confidence"] for row in rows]
    assert confidences == sorted(confidences, reverse=True) and rows[0]["scores"] is None
    unsure = rows_of(vera, path(version, "images?sort=unsure&limit=70"))
    assert [row["confidence"] for row in unsure] == sorted(confidences)
    named = [row["name"] for row in rows_of(vera, path(version, "images?sort=name"))]
    assert named == sorted(named)


def test_scores_come_where_they_are_asked_for(vera: ApiClient, version: TrainingVersion) -> None:
    row = vera.get(path(version, "images?limit=1&with_scores=true")).json()["items"][0]
    stored = EvaluatedImage.objects.get(pk=row["id"])
    assert row["scores"] == dict(zip(LABELS, stored.scores, strict=True))
    assert (row["image_id"], row["labels"], row["predicted"]) == (
        stored.image_id,
        stored.truth,
        stored.predicted,
    )


def test_filters_choose_what_the_page_chooses(vera: ApiClient, version: TrainingVersion) -> None:
    def ids(filters: str) -> set[int]:
        return {row["id"] for row in rows_of(vera, path(version, f"images?{filters}"))}

    rows = list(EvaluatedImage.objects.all())
    assert ids("outcome=wrong") == {row.pk for row in rows if not row.is_correct}
    assert ids("outcome=unknown") == {row.pk for row in rows if row.is_known is False}
    of_roses = {row.pk for row in rows if row.truth == ["roses"]}
    assert ids("true=roses") == of_roses
    assert ids("missed=roses") == {
        row.pk for row in rows if row.pk in of_roses and row.predicted != ["roses"]
    }
    assert ids("predicted=daisy&wrongly=daisy") == {
        row.pk for row in rows if row.predicted == ["daisy"] and row.truth != ["daisy"]
    }
    assert len(ids("q=picture-7.")) == 1


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ("outcome=odd", "outcome"),
        ("sort=size", "sort"),
        ("slice=:nobody", "slice"),
        ("cursor=x", "cursor"),
        ("cursor=LTE", "cursor"),  # -1
        ("q=" + 101 * "x", "q"),
    ],
)
def test_a_filter_that_does_not_exist_is_refused(
    vera: ApiClient, version: TrainingVersion, filters: str, field: str
) -> None:
    answer = vera.get(path(version, f"images?{filters}"))
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field


def test_the_queries_do_not_grow_with_the_page(
    vera: ApiClient, version: TrainingVersion, django_assert_num_queries: Any
) -> None:
    vera.get("/account")  # notes the use of the token
    with django_assert_num_queries(5):
        assert len(vera.get(path(version, "images?limit=100")).json()["items"]) == 100


# --- candidates, and what has no evaluation ---


def test_candidates_come_as_on_the_leaderboard(vera: ApiClient, version: TrainingVersion) -> None:
    fields = {"resolution": 224, "recipe": "linear head", "common_images": 100}
    chosen = version.candidates.create(
        network="lite0", common_hits=90, is_best=True, place=0, accuracy=0.9, common_loss=0.2, **fields
    )
    better = version.candidates.create(
        network="lite1", common_hits=91, accuracy=0.95, common_loss=0.3, p_value=0.7, **fields
    )
    slow = version.candidates.create(
        network="lite2", is_admissible=False, resolution=300, recipe="linear head"
    )
    body = vera.get(path(version, "candidates")).json()
    rows = body["items"]
    assert [(row["id"], row["rank"]) for row in rows] == [(chosen.pk, 2), (better.pk, 1), (slow.pk, None)]
    assert rows[0]["accuracy"]["hit_count"] == 90 and rows[0]["accuracy"]["value"] == 0.9
    assert rows[0]["is_chosen"] and rows[0]["is_stored"] and not rows[1]["is_stored"]
    assert rows[2]["accuracy"] is None and not rows[2]["is_fast_enough"]
    assert body["choice_note"] == results_of(version).choice_note != ""


@pytest.mark.parametrize("part", ["metrics", "labels", "confusion", "images", "candidates"])
def test_a_version_that_is_not_completed_has_no_evaluation(db: None, part: str) -> None:
    project: Project = make_project()
    version = make_version(project, 1, Status.RUNNING)
    answer = ApiClient(make_user("vera")).get(path(version, part))
    assert answer.status_code == 404
    assert answer.json()["detail"] == "V001 is Running. Only a Completed version has this."
