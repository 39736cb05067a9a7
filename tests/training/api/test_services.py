"""Services through the API: deploy, change, share, roll back, settings, tokens, monitoring, delete."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage

from projects.models import IdempotentCall, Project
from tests.factories import make_project, make_user
from tests.projects.api.callers import ApiClient
from tests.training.serving.shadows import make_rival
from training.models import CallMinute, Service, TrainingVersion
from training.serving import deploy, rollout, tokens

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def api(project: Project) -> ApiClient:
    return ApiClient(make_user("alice"))


@pytest.fixture
def service(opened: tuple[Service, str]) -> Service:
    return opened[0]


@pytest.fixture
def rival(service: Service) -> Iterator[TrainingVersion]:
    version = make_rival(service.project)
    yield version
    shutil.rmtree(default_storage.path(version.folder))  # primary keys begin again in the next test


def root(project: Project) -> str:
    return f"/projects/{project.pk}/services"


def path(service: Service, rest: str = "") -> str:
    return f"{root(service.project)}/{service.pk}{rest}"


def kind_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


def field_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["field"]


def test_a_version_is_deployed_and_its_token_is_shown_once(api: ApiClient, version: TrainingVersion) -> None:
    body = {"version_number": version.number, "auto_stop_hours": 3}
    key = {"Idempotency-Key": "deploy-once"}
    answer = api.post(root(version.project), body, **key).json()
    service = Service.objects.get()
    assert answer["service"]["status"] == "Deploying" and answer["service"]["auto_stop_hours"] == 3
    assert answer["service"]["url"] == f"http://testserver/v1/infers/{service.pk}"
    assert tokens.find_token(service.pk, answer["token"]) is not None
    again = api.post(root(version.project), body, **key).json()
    assert again == answer | {"token": None} and Service.objects.count() == 1
    assert answer["token"] not in str(IdempotentCall.objects.get().answer)
    deploy.bring_up(str(service.pk))
    shown = api.get(path(service)).json()
    assert (shown["status"], shown["version_number"], shown["deployed_by"]) == ("Running", 1, "alice")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"version_number": 99}, "version_number"),
        ({"version_number": 1, "auto_stop_hours": 25}, "auto_stop_hours"),
        ({"version_number": 1, "auto_stop_hours": 0}, "auto_stop_hours"),
        ({"version_number": "V001"}, "version_number"),
        ({}, "version_number"),
    ],
)
def test_what_cannot_be_deployed_is_said_at_its_field(
    api: ApiClient, version: TrainingVersion, body: dict[str, object], field: str
) -> None:
    assert field_of(api.post(root(version.project), body)) == (422, field)
    assert not Service.objects.exists()


def test_without_auto_stop_it_runs_on_and_a_full_team_is_a_conflict(
    api: ApiClient, version: TrainingVersion, settings: Any
) -> None:
    settings.EXEML_MAX_SERVICES_PER_TEAM = 1
    body = {"version_number": version.number}
    assert api.post(root(version.project), body).json()["service"]["auto_stop_hours"] is None
    answer = api.post(root(version.project), body)
    assert kind_of(answer) == (409, "conflict") and "at most 1 service" in answer.json()["detail"]


def test_the_list_has_pages_without_doubles(
    api: ApiClient, version: TrainingVersion, django_assert_num_queries: Any
) -> None:
    for name in "abc":
        Service.objects.create(project=version.project, training_version=version, name=name)
    Service.objects.update(deployed_at=Service.objects.first().deployed_at)  # as after a restore
    first = api.get(f"{root(version.project)}?limit=2").json()
    last = api.get(f"{root(version.project)}?limit=2&cursor={first['next']}").json()
    assert sorted(row["name"] for row in first["items"] + last["items"]) == ["a", "b", "c"]
    assert last["next"] is None
    with django_assert_num_queries(4):  # token, project, membership, services
        api.get(root(version.project))


@pytest.mark.parametrize("cursor", ["WzEsMl0", "eyJhIjoxfQ", "WyIyMDI2LTAxLTAxIiwieCJd", "bnVsbA", "x"])
def test_a_cursor_of_another_list_is_refused(api: ApiClient, project: Project, cursor: str) -> None:
    assert field_of(api.get(f"{root(project)}?cursor={cursor}")) == (422, "cursor")


def test_it_is_stopped_started_and_deleted(api: ApiClient, service: Service) -> None:
    assert api.post(path(service, "/stop")).json()["status"] == "Stopped"
    assert api.post(path(service, "/stop")).json()["status"] == "Stopped"
    assert api.post(path(service, "/start")).json()["status"] == "Deploying"
    events = api.get(path(service, "/events?limit=2")).json()
    assert [(row["message"], row["by"]) for row in events["items"]] == [
        ("Started again.", "alice"),
        ("Stopped.", "alice"),
    ]
    assert api.delete(path(service)).status_code == 204
    assert kind_of(api.get(path(service))) == (404, "not-found")
    assert api.get(root(service.project)).json()["items"] == []


def test_another_version_takes_over_and_the_service_rolls_back(
    api: ApiClient, service: Service, rival: TrainingVersion
) -> None:
    answer = api.post(path(service, "/change-version"), {"version_number": rival.number}).json()
    assert (answer["version_number"], answer["next_version_number"]) == (1, 2)
    rollout.change_over(str(service.pk))
    assert api.get(path(service)).json()["version_number"] == 2
    assert api.post(path(service, "/roll-back")).json()["next_version_number"] == 1
    own = api.post(path(service, "/change-version"), {"version_number": 2})
    assert field_of(own) == (422, "version_number")


def test_a_canary_and_a_shadow_begin_and_end(
    api: ApiClient, service: Service, rival: TrainingVersion
) -> None:
    for percent in (20, 0):
        api.post(path(service, "/share"), {"version_number": rival.number, "percent": percent})
        rollout.change_over(str(service.pk))
        shown = api.get(path(service)).json()
        assert (shown["canary_version_number"], shown["canary_percent"]) == (2, percent)
        assert api.delete(path(service, "/share")).json()["canary_version_number"] is None
    answer = api.delete(path(service, "/share"))
    assert kind_of(answer) == (409, "conflict") and "no canary" in answer.json()["detail"]
    for percent in (-1, 100):
        refused = api.post(path(service, "/share"), {"version_number": 2, "percent": percent})
        assert field_of(refused) == (422, "percent")


def test_settings_are_changed_and_nothing_half_written(api: ApiClient, service: Service) -> None:
    body = {"allowed_origins": ["https://shop.example.org/"], "collects": True}
    changed = api.patch(path(service), body).json()
    assert (changed["allowed_origins"], changed["collects"]) == (["https://shop.example.org"], True)
    assert (changed["keeps_days"], changed["number_format"]) == (30, "")
    wrong = {"collects": False, "allowed_origins": ["shop"]}
    assert field_of(api.patch(path(service), wrong)) == (422, "allowed_origins")
    assert field_of(api.patch(path(service), {"keeps_days": 0})) == (422, "keeps_days")
    assert field_of(api.patch(path(service), {"number_format": "int4"})) == (422, "number_format")
    assert api.get(path(service)).json() == changed


def test_tokens_are_created_rotated_and_revoked(api: ApiClient, service: Service) -> None:
    created = api.post(path(service, "/tokens"), {"name": "shop"}).json()
    assert tokens.find_token(service.pk, created["token"]) is not None
    assert field_of(api.post(path(service, "/tokens"), {"name": "Shop"})) == (422, "name")
    rotated = api.post(path(service, f"/tokens/{created['id']}/rotate")).json()
    assert rotated["name"] == "shop" and tokens.find_token(service.pk, created["token"]) is None
    listed = api.get(path(service, "/tokens")).json()["items"]
    assert [row["name"] for row in listed] == ["first token", "shop"]
    assert not any("token" in row for row in listed)
    assert api.delete(path(service, f"/tokens/{rotated['id']}")).status_code == 204
    assert tokens.find_token(service.pk, rotated["token"]) is None
    for answer in (
        api.delete(path(service, f"/tokens/{rotated['id']}")),
        api.post(path(service, f"/tokens/{created['id']}/rotate")),
    ):
        assert kind_of(answer) == (404, "not-found")


def test_monitoring_has_the_numbers_of_the_page(api: ApiClient, service: Service) -> None:
    CallMinute.objects.create(
        service=service,
        training_version=service.training_version,
        minute=service.deployed_at,
        process=uuid4(),
        calls=4,
        failed=1,
        images=3,
        labels={"red": 2, "blue": 1},
        errors={"IMAGE_UNREADABLE": 1},
        buckets={"20": 2, "61": 1},
    )
    board = api.get(path(service, "/monitoring?hours=1")).json()
    assert board["total"]["label_counts"] == {"red": 2, "blue": 1}
    assert board["total"]["error_counts"] == {"IMAGE_UNREADABLE": 1}
    assert (board["total"]["call_count"], board["total"]["failed_count"]) == (4, 1)
    assert board["total"]["p99_ms"] == 30_000
    assert sum(step["call_count"] for step in board["steps"]) == 4 and len(board["steps"]) == 60
    assert [row["version_number"] for row in board["versions"]] == [1]
    assert board["drift"]["shares"][0]["share"] == pytest.approx(2 / 3)
    assert board["shadow"] is None
    assert field_of(api.get(path(service, "/monitoring?hours=2"))) == (422, "hours")


def test_a_service_of_another_project_is_not_found(api: ApiClient, service: Service) -> None:
    other = make_project("trees", images=0)
    for rest in ("", "/tokens", "/events", "/monitoring", "/batches"):
        assert api.get(f"{root(other)}/{service.pk}{rest}").status_code == 404
    assert api.post(f"{root(other)}/{service.pk}/stop").status_code == 404
