"""How many training images a model was really fitted on stands wherever its numbers stand."""

from __future__ import annotations

import io
import json
from zipfile import ZipFile

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import make_version
from tests.pages import html_of
from tests.training.views.test_version import address, make_completed
from training.evaluation.comparison import differing_parameters
from training.evaluation.report import parameters_of, report_html
from training.models import Status, TrainingVersion

pytestmark = pytest.mark.django_db
USED = {"given": 1321, "fitted": 425, "fewest": 425, "judged": 425, "left_out": {"reading": 896}}
NOTE = "Only 425 of 1,321 images can be read in the time limit."
FITTED = "425 of 1,321"


@pytest.fixture
def version() -> TrainingVersion:
    made = make_completed(images_used=USED)
    made.progress["notes"] = [NOTE]
    made.save()
    return TrainingVersion.objects.get(pk=made.pk)


def test_overview_details_and_report_say_it_with_its_cause(version: TrainingVersion, vera: Client) -> None:
    overview = html_of(vera.get(address(version.project)))
    details = html_of(vera.get(address(version.project, view="version_details")))
    report = html_of(vera.get(reverse("version_report", args=[version.project_id, 1])))
    cause = "896 images were not read, because reading may take only a share of the time limit."
    for page in (overview, details, report):
        assert FITTED in page
    assert cause in overview and cause in report
    assert NOTE in details and NOTE in report


def test_the_archive_has_the_counts_and_the_notes(version: TrainingVersion, vera: Client) -> None:
    answer = vera.get(reverse("version_archive", args=[version.project_id, 1]))
    with ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as archive:
        parameters = json.loads(archive.read("parameters.json"))
        assert FITTED in archive.read("report.html").decode()
    assert parameters["training_images"] == 48
    assert parameters["training_images_fitted"] == 425
    assert parameters["training_images_left_out"] == {"reading": 896}
    assert (parameters["validation_images"], parameters["validation_images_judged"]) == (12, 12)
    assert parameters["notes"] == [NOTE]


def test_compare_shows_it_where_versions_differ(version: TrainingVersion) -> None:
    whole = USED | {"fitted": 1321, "fewest": 1321, "left_out": {}}
    make_version(version.project, 2, Status.COMPLETED, images_used=whole)
    other = TrainingVersion.objects.get(number=2)
    assert ("Training images fitted", [FITTED, "1,321 of 1,321"]) in differing_parameters([version, other])


def test_a_version_of_an_earlier_release_says_nothing_that_was_not_recorded(vera: Client) -> None:
    version = TrainingVersion.objects.get(pk=make_completed().pk)
    assert "Fitted on" not in html_of(vera.get(address(version.project)))
    assert parameters_of(version)["training_images_fitted"] is None
    assert "Fitted on 4" not in report_html(version).split("Leaderboard")[0]
