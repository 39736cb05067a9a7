"""Answer settings through the API: those of a version, those in a service, and figures under them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator

import pytest
from django.core.files.storage import default_storage

from projects.models import Membership, Role
from tests.factories import make_user
from tests.projects.api.callers import ApiClient
from tests.training.api.test_services import field_of, kind_of
from tests.training.serving.shadows import make_rival
from tests.training.views.test_thresholds import THRESHOLDS, evaluated
from training.engine.bundle.decision import AnswerSettings
from training.evaluation.answer_figures import figures_under, stored_predictions
from training.models import Service, ServiceEvent, TrainingVersion
from training.serving.inference.model_cache import decision_rule
from training.versions import answer_settings

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def several() -> Iterator[TrainingVersion]:
    version = evaluated(is_multi=True)
    yield version
    shutil.rmtree(default_storage.path(version.folder))


@pytest.fixture
def single() -> Iterator[TrainingVersion]:
    version = evaluated(is_multi=False)
    yield version
    shutil.rmtree(default_storage.path(version.folder))


def path(version: TrainingVersion, rest: str = "") -> str:
    return f"/projects/{version.project_id}/versions/{version.number}/answer-settings{rest}"


def in_service(service: Service, rest: str = "") -> str:
    return f"/projects/{service.project_id}/services/{service.pk}/answer-settings{rest}"


def rita(version: TrainingVersion, scopes: Iterable[str] = ("train",)) -> ApiClient:
    """A Reviewer of the version's team."""
    user = make_user("rita")
    Membership.objects.get_or_create(team=version.project.team, user=user, role=Role.REVIEWER)
    return ApiClient(user, scopes)


def test_thresholds_are_stored_with_a_version_and_left_out_ones_are_its_own(several: TrainingVersion) -> None:
    own = dict(zip(decision_rule(several).labels, THRESHOLDS, strict=True))
    api, red = rita(several), next(iter(own))
    shown = api.get(path(several)).json()
    assert shown["thresholds"] == shown["own_thresholds"] == own and shown["is_own"]
    assert shown["min_confidence"] is None and shown["changed_by"] is None
    changed = api.put(path(several), {"thresholds": {red: 0.9}, "min_familiarity": 0.2}).json()
    assert changed["thresholds"] == own | {red: 0.9} and changed["own_thresholds"] == own
    assert (changed["min_familiarity"], changed["is_own"], changed["changed_by"]) == (0.2, False, "rita")
    several.refresh_from_db()
    assert answer_settings.settings_of(several) == AnswerSettings({red: 0.9}, 0.0, 0.2)
    assert api.get(path(several)).json() == changed
    assert api.put(path(several), {}).json()["is_own"]
    several.refresh_from_db()
    assert several.answer_settings == {}


def refused_fields(version: TrainingVersion, *bodies: dict[str, object]) -> list[str]:
    """The field of each refusal; nothing is stored."""
    fields = []
    for body in bodies:
        status, field = field_of(rita(version).put(path(version), body))
        assert status == 422
        fields.append(field)
    version.refresh_from_db()
    assert version.answer_settings_at is None
    return fields


def test_limits_of_several_labels_are_their_thresholds(several: TrainingVersion) -> None:
    bodies: list[dict[str, object]] = [
        {"thresholds": {"red": 1.5}},
        {"thresholds": {"tulip": 0.5}},
        {"min_confidence": 0.5},
        {"confidence": 0.5},
    ]
    fields = ["thresholds.red", "thresholds", "min_confidence", "confidence"]
    assert refused_fields(several, *bodies) == fields
    assert kind_of(ApiClient(make_user("bob")).put(path(several), {})) == (403, "role-too-low")


def test_the_limit_of_one_label_is_its_confidence(single: TrainingVersion) -> None:
    bodies: list[dict[str, object]] = [{"thresholds": {"red": 0.5}}, {"min_confidence": -1}]
    assert refused_fields(single, *bodies) == ["thresholds", "min_confidence"]


def test_figures_are_those_of_the_page_and_nothing_is_stored(single: TrainingVersion) -> None:
    settings = AnswerSettings(min_confidence=0.4)
    predictions = stored_predictions(single)
    assert predictions is not None
    expected = figures_under(decision_rule(single), predictions, settings)
    body = ApiClient(make_user("vera"), ["train"]).post(path(single, "/figures"), {"min_confidence": 0.4})
    figures = body.json()
    assert figures["image_count"] == len(predictions)
    assert figures["answered"]["hits"] == expected.answered.hits < len(predictions)
    assert figures["right"]["value"] == expected.right.value
    assert [row["recall"]["value"] for row in figures["labels"]] == [
        row.report.recall.value for row in expected.labels
    ]
    assert figures["macro_f1"] == expected.macro_f1 and figures["unknown_count"] == expected.unknown
    single.refresh_from_db()
    assert single.answer_settings == {} and single.answer_settings_at is None


def test_a_version_answers_in_a_service_by_settings_of_its_own(opened: tuple[Service, str]) -> None:
    service, version = opened[0], opened[0].training_version
    api = ApiClient(make_user("alice"), ["deploy"])
    [row] = api.get(in_service(service)).json()["items"]
    assert (row["version_number"], row["min_confidence"], row["is_changed"]) == (1, 0.0, False)
    changed = api.put(in_service(service, "/1"), {"min_confidence": 0.75}).json()
    assert (changed["min_confidence"], changed["is_changed"], changed["is_own"]) == (0.75, True, False)
    service.refresh_from_db()
    assert answer_settings.settings_in(service, version) == AnswerSettings(min_confidence=0.75)
    assert ServiceEvent.objects.filter(message__contains="0.750", by__username="alice").count() == 1
    assert api.get(in_service(service)).json()["items"] == [changed]
    version.refresh_from_db()
    assert version.answer_settings == {}
    answer_settings.save(version, AnswerSettings(min_confidence=0.5), make_user("alice"))
    stored = api.delete(in_service(service, "/1")).json()
    assert (stored["min_confidence"], stored["is_changed"]) == (0.5, False)
    assert field_of(api.put(in_service(service, "/1"), {"min_confidence": 2})) == (422, "min_confidence")
    assert rita(version, ["deploy"]).delete(in_service(service, "/1")).status_code == 403


def test_only_versions_that_answer_have_settings_in_a_service(opened: tuple[Service, str]) -> None:
    service, api = opened[0], ApiClient(make_user("alice"))
    rival = make_rival(service.project)
    assert kind_of(api.put(in_service(service, f"/{rival.number}"), {})) == (404, "not-found")
    shutil.rmtree(default_storage.path(rival.folder))


def test_a_version_without_its_predictions_has_none(version: TrainingVersion) -> None:
    answer = rita(version).get(path(version))
    assert answer.status_code == 404 and "predictions of V001" in answer.json()["detail"]
