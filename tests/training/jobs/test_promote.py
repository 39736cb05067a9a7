"""Promote: another candidate of a finished search becomes a version of its own."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import make_project, make_version
from tests.pages import html_of
from training.engine import CandidateReport
from training.engine.evaluation.evaluate import SamplePrediction
from training.evaluation.leaderboard import why_it_ended
from training.jobs import record
from training.models import Candidate, Status, TrainingVersion
from training.versions import lifecycle

pytestmark = pytest.mark.django_db


@pytest.fixture
def version() -> TrainingVersion:
    base = make_version(make_project(), 1, Status.COMPLETED)
    return make_version(
        base.project, 2, Status.COMPLETED, accuracy=0.9, max_inference_ms=70, incremental_version=base
    )


@pytest.fixture
def candidate(version: TrainingVersion) -> Candidate:
    make_candidate(version, 0, is_best=True, network="EfficientNet-Lite2", inference_ms=40)
    return make_candidate(version, 1)


def make_candidate(version: TrainingVersion, place: int | None, **fields: object) -> Candidate:
    values = {"network": "EfficientNet-Lite0", "resolution": 224, "recipe": "linear head", "accuracy": 0.9}
    return Candidate.objects.create(
        training_version=version, place=place, **({"inference_ms": 9} | values | fields)
    )


def url(candidate: Candidate) -> str:
    version = candidate.training_version
    return reverse("promote_candidate", args=[version.project_id, version.number, candidate.place])


def test_it_becomes_a_version_of_its_own_on_the_same_images(candidate: Candidate, alice: Client) -> None:
    version = candidate.training_version
    asked = {"submission": str(uuid.uuid4())}
    alice.post(url(candidate), asked)
    alice.post(url(candidate), asked)  # pressed twice
    made = version.project.training_versions.get(number=3)
    assert version.project.training_versions.count() == 3
    assert (made.dataset_version, made.promoted_candidate) == (version.dataset_version, candidate)
    assert (made.incremental_version, made.max_inference_ms) == (version.incremental_version, 70)
    assert made.status == Status.INITIALIZING


def test_the_dialog_shows_it_beside_the_chosen_one(candidate: Candidate, alice: Client) -> None:
    page = html_of(alice.get(url(candidate)))
    assert "Lite0" in page and "Lite2" in page and "Nothing is trained again" in page
    assert "slower than the limit" not in page
    Candidate.objects.filter(pk=candidate.pk).update(is_admissible=False)
    assert "slower than the limit of 70 ms" in html_of(alice.get(url(candidate)))


def test_the_list_offers_only_what_was_kept_and_not_chosen(candidate: Candidate, alice: Client) -> None:
    version = candidate.training_version
    predictions = [SamplePrediction("0", ("label-0",), ("label-0",), (0.9, 0.1))]
    report = CandidateReport("EfficientNet-Lite0", 224, "linear head", 0.9, 9, False, True, 3, False, place=1)
    reports = [replace(report, place=0, is_best=True), report, replace(report, place=None)]
    record.record(version, ["label-0", "label-1"], predictions, reports)
    page = html_of(alice.get(reverse("version_candidates", args=[version.project_id, 2])))
    assert page.count("/promote/") == 2 and url(candidate) in page  # href and hx-get of one link


def test_a_labeler_cannot_promote(candidate: Candidate, bob: Client) -> None:
    version = candidate.training_version
    assert bob.post(url(candidate), {"submission": str(uuid.uuid4())}).status_code == 403
    page = html_of(bob.get(reverse("training_version", args=[version.project_id, 2])))
    assert "/promote/" not in page


def test_what_cannot_be_promoted_is_refused_in_words(candidate: Candidate, alice: Client) -> None:
    chosen = candidate.training_version.candidates.get(is_best=True)
    answer = alice.post(url(chosen), {"submission": str(uuid.uuid4())})
    assert answer.status_code == 409 and "is already the model of V002" in html_of(answer)
    assert alice.post(url(candidate), {}).status_code == 422
    lost = make_candidate(candidate.training_version, None)
    by = candidate.training_version.submitted_by
    with pytest.raises(lifecycle.TrainingRefused, match="not stored"):
        lifecycle.promote(lost, by=by, submission=uuid.uuid4())
    assert TrainingVersion.objects.count() == 2


def test_its_source_stays_until_it_is_made_and_is_named_ever_after(candidate: Candidate) -> None:
    version = candidate.training_version
    made = lifecycle.promote(candidate, by=version.submitted_by, submission=uuid.uuid4())
    with pytest.raises(lifecycle.TrainingRefused, match="V003 is being made from V002"):
        lifecycle.delete(version, version.submitted_by)
    TrainingVersion.objects.filter(pk=made.pk).update(
        status=Status.COMPLETED, finished_at=version.submitted_at, stop_reason="promoted"
    )
    assert any("V003 started from it" in sentence for sentence in lifecycle.delete_consequences(version))
    made.refresh_from_db()
    assert why_it_ended(made) == "Nothing was trained: another candidate of V002 was promoted."


def test_the_page_says_where_it_comes_from(candidate: Candidate, alice: Client) -> None:
    version = candidate.training_version
    made = lifecycle.promote(candidate, by=version.submitted_by, submission=uuid.uuid4())
    page = html_of(alice.get(reverse("training_version", args=[version.project_id, made.number])))
    assert "Promoted from" in page and "Lite0, 224 px" in page
