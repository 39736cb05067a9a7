"""Slices: every value of every column has the rate that its images say, and its mistakes behind a link."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.http import QueryDict
from django.test import Client
from django.urls import reverse

from projects.labels import metadata
from projects.models import Annotation, Image
from tests.factories import make_project, make_user, make_version
from tests.pages import html_of
from training.engine.evaluation.evaluate import SamplePrediction
from training.evaluation import slices
from training.evaluation.image_query import EvaluatedImageQuery
from training.jobs import record
from training.models import Status, TrainingVersion

pytestmark = pytest.mark.django_db
LABELS = ("label-0", "label-1")


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    cache.clear()


def evaluated(images: int = 60, wrong_person: str = "p3", *, is_multi_label: bool = False) -> TrainingVersion:
    """A version that is wrong on 90 % of one person's images and on 10 % of the others'."""
    project = make_project(labels=2, images=images, is_multi_label=is_multi_label)
    version = make_version(project, 1, Status.COMPLETED)
    ids = list(project.images.order_by("pk").values_list("pk", flat=True))
    truths = dict(Annotation.objects.values_list("image", "label__name"))
    for person in range(6):
        metadata.set_values(project, ids[person::6], {"person": f"p{person}"}, make_user("bob"))
    values = metadata.load_values(ids)
    predictions = []
    for number, pk in enumerate(ids):
        nth = number // 6 % 10
        is_right = nth == 0 if values[pk]["person"] == wrong_person else nth != 0
        predicted = truths[pk] if is_right else LABELS[1 - LABELS.index(truths[pk])]
        scores = tuple(0.8 if label == predicted else 0.2 for label in LABELS)
        predictions.append(SamplePrediction(str(pk), (truths[pk],), (predicted,), scores))
    record.record(version, LABELS, predictions, [])
    return version


def address(version: TrainingVersion, view: str) -> str:
    return reverse(view, args=[version.project_id, version.number])


def test_the_worst_person_comes_first_and_is_marked_alone() -> None:
    version = evaluated()
    rows = slices.rates(version, slices.column_of(version, ":person"))
    assert rows[0].value == "p3"
    assert (rows[0].rate.hits, rows[0].rate.support, rows[0].verdict) == (2, 20, "worse")
    assert {(row.rate.hits, row.rate.support) for row in rows[1:]} == {(18, 20)}
    assert all(row.verdict != "worse" for row in rows[1:])


def test_images_without_a_value_are_a_slice_of_their_own() -> None:
    version = evaluated()
    ids = list(Image.objects.order_by("pk").values_list("pk", flat=True)[:5])
    metadata.set_values(version.project, ids, {"person": ""}, None)
    rows = {
        row.value: row.rate.support for row in slices.rates(version, slices.column_of(version, ":person"))
    }
    assert rows[None] == 5 and sum(rows.values()) == 120


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_every_slice_of_every_column_has_its_images_behind_the_link(is_multi_label: bool) -> None:
    version = evaluated(is_multi_label=is_multi_label)
    ids = list(Image.objects.order_by("pk").values_list("pk", flat=True))
    Image.objects.filter(pk__in=ids[:10]).update(brightness=20, width=2000, height=1200)
    Image.objects.filter(pk__in=ids[10:30]).update(brightness=200, width=100)
    Annotation.objects.filter(image__in=ids[:7]).update(by=make_user("bob"), source="import")
    Annotation.objects.filter(image__in=ids[7:9]).delete()
    metadata.set_values(version.project, ids[:4], {"person": ""}, None)
    version.evaluated_images.filter(image=ids[50]).update(image=None)
    columns = slices.columns_of(version)
    built_in = ["source", "size", "brightness", "upload"]
    assert [column.name for column in columns] == [
        ":person", *([] if is_multi_label else ["label"]), *built_in,
    ]  # fmt: skip
    for column in columns:
        rows = slices.rates(version, column)
        assert sum(row.rate.support for row in rows) == 120, column.name
        for row in rows:
            query = EvaluatedImageQuery(outcome="all", slice=column.name, value=row.value or "")
            assert EvaluatedImageQuery.from_address(QueryDict(query.address()).dict()) == query
            images = query.images(version)
            assert images.count() == row.rate.support, (column.name, row.value)
            assert images.filter(is_correct=True).count() == row.rate.hits


def test_a_person_who_is_never_split_counts_as_one_unit() -> None:
    version = evaluated()
    column = slices.column_of(version, "label")
    alone = slices.rates(version, column)
    version.project.metadata_columns.update(is_never_split=True)
    grouped = slices.rates(version, column)
    assert {row.groups for row in grouped} == {6} and {row.groups for row in alone} == {60}
    widths = [max(row.rate.high - row.rate.low for row in rows) for rows in (alone, grouped)]
    assert widths[1] > 1.5 * widths[0]


def test_rare_values_are_one_slice() -> None:
    version = evaluated()
    ids = Image.objects.order_by("pk").values_list("pk", flat=True)
    for number, pk in enumerate(ids):
        metadata.set_values(version.project, [pk], {"serial": f"{number:03}"}, None)
    rows = slices.rates(version, slices.column_of(version, ":serial"))
    assert len(rows) == slices.MAX_SLICES + 1
    assert {row.rate.support for row in rows if row.value == slices.OTHERS} == {20}


def test_the_page_shows_the_table_and_leads_to_the_mistakes(
    vera: Client, django_assert_max_num_queries: Any
) -> None:
    version = evaluated()
    page = html_of(vera.get(address(version, "version_slices")))
    assert (
        "1 value is worse than the rest, corrected" in page and page.count("worse than the rest</span>") == 1
    )
    assert "outcome=wrong&amp;slice=%3Aperson&amp;value=p3" in page
    mistakes = html_of(
        vera.get(f"{address(version, 'evaluated_images')}?outcome=wrong&slice=:person&value=p3")
    )
    assert "18 images" in mistakes and "person: p3" in mistakes
    page = html_of(vera.get(address(version, "version_slices") + "?column=label"))
    assert "Recall" in page and "No value is reliably worse than the rest." in page
    with django_assert_max_num_queries(30):
        vera.get(address(version, "version_slices") + "?column=nonsense")


def test_unknown_columns_and_values_show_no_images(vera: Client) -> None:
    version = evaluated(images=6)
    for query in (
        "slice=:gone&value=x",
        "slice=upload&value=never",
        "slice=size&value=huge",
        "slice=source&value=x",
    ):
        page = html_of(vera.get(f"{address(version, 'evaluated_images')}?outcome=all&{query}"))
        assert "No matching images" in page


def test_a_version_without_an_evaluation_says_so(vera: Client) -> None:
    version = make_version(make_project(labels=2, images=3), 1, Status.COMPLETED)
    assert "No evaluation was recorded" in html_of(vera.get(address(version, "version_slices")))
