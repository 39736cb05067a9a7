"""Teams, members, service accounts and usage over the API: the rules and sentences of the pages."""

from __future__ import annotations

from typing import Any

import pytest

from projects.models import AccessToken, AuditEvent, Role, ServiceAccount, Team, Usage
from projects.sign_in import service_accounts
from projects.workspace import members
from tests.factories import make_team, make_user
from tests.projects.api.callers import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return make_team()


@pytest.fixture
def alice(team: Team) -> ApiClient:
    return ApiClient(make_user("alice"))


def errors(answer: Any) -> dict[str, str]:
    assert answer.status_code == 422
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


# --- Teams and members ---


def test_the_teams_of_the_owner_are_listed_with_role_and_counts(alice: ApiClient, team: Team) -> None:
    service_accounts.create(team, "nightly", Role.LABELER, by=make_user("alice"))
    (item,) = alice.get("/teams").json()["items"]
    assert (item["name"], item["role"]) == ("Greenhouse", "manager")
    assert (item["member_count"], item["service_account_count"]) == (3, 1)
    assert alice.get(f"/teams/{team.pk}").json() == item
    assert ApiClient(make_user("mallory")).get(f"/teams/{team.pk}").status_code == 404


def test_a_person_is_added_changed_and_removed(alice: ApiClient, team: Team) -> None:
    dora = make_user("dora", email="dora@example.org")
    path = f"/teams/{team.pk}/members"
    added = alice.post(path, {"username": "dora@example.org", "role": "viewer"})
    assert added.status_code == 200 and added.json()["user_id"] == dora.pk
    assert alice.patch(f"{path}/{dora.pk}", {"role": "reviewer"}).json()["role"] == "reviewer"
    assert dora.memberships.get().role == Role.REVIEWER
    names = [item["username"] for item in alice.get(f"{path}?limit=3").json()["items"]]
    assert names == ["alice", "bob", "vera"]
    assert alice.get(f"{path}/{dora.pk}").json()["username"] == "dora"
    assert alice.delete(f"{path}/{dora.pk}").status_code == 204
    assert alice.get(f"{path}/{dora.pk}").status_code == 404 and not dora.memberships.exists()
    kinds = (
        AuditEvent.objects.filter(way="api", team_id=team.pk).order_by("pk").values_list("kind", "user_name")
    )
    assert list(kinds) == [(kind, "alice") for kind in ("member.added", "member.role", "member.removed")]


def test_a_person_who_cannot_be_added_stands_at_the_field(alice: ApiClient, team: Team) -> None:
    path = f"/teams/{team.pk}/members"
    assert "No account has this name" in errors(alice.post(path, {"username": "nobody"}))["username"]
    assert "already a member" in errors(alice.post(path, {"username": "bob"}))["username"]
    assert set(errors(alice.post(path, {"username": "mallory", "role": "boss"}))) == {"role"}
    assert team.memberships.count() == 3


def test_the_last_manager_stays_and_service_accounts_are_not_removed(alice: ApiClient, team: Team) -> None:
    path = f"/teams/{team.pk}/members/{make_user('alice').pk}"
    for answer in (alice.patch(path, {"role": "viewer"}), alice.delete(path)):
        assert (answer.status_code, answer.json()["detail"]) == (409, str(members.LAST_MANAGER))
    account = service_accounts.create(team, "nightly", Role.LABELER, by=make_user("alice"))
    path = f"/teams/{team.pk}/members/{account.pk}"
    assert alice.get(path).json()["is_service_account"] is True
    assert alice.delete(path).json()["detail"] == str(members.IS_SERVICE_ACCOUNT)


def test_lists_cost_the_same_for_many_rows(
    alice: ApiClient, team: Team, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        members.add_member(team, make_user(f"person-{number}"), Role.VIEWER)
        service_accounts.create(team, f"robot {number}", Role.VIEWER, by=make_user("alice"))
    for path in ("members", "service-accounts"):
        with django_assert_max_num_queries(9):
            items = alice.get(f"/teams/{team.pk}/{path}").json()["items"]
        assert len(items) >= 10


# --- Service accounts ---


def test_a_service_account_gets_a_token_and_is_deleted(alice: ApiClient, team: Team) -> None:
    path = f"/teams/{team.pk}/service-accounts"
    created = alice.post(path, {"name": "nightly", "role": "labeler"}).json()
    account = ServiceAccount.objects.get()
    assert (created["user_id"], created["username"]) == (account.pk, "nightly (service account)")
    assert alice.get(path).json()["items"] == [created] == [alice.get(f"{path}/{account.pk}").json()]

    tokens = f"{path}/{account.pk}/tokens"
    token = alice.post(tokens, {"name": "cron", "scopes": ["label"], "days": None}).json()
    assert (token["scopes"], token["expires_at"]) == (["label", "read"], None)
    robot = ApiClient(None)
    robot.token = token["token"]
    assert robot.get("/account").json()["is_service_account"] is True
    (listed,) = alice.get(tokens).json()["items"]
    assert listed["hint"] == token["token"][-4:] and "token" not in listed

    second = alice.post(tokens, {"name": "second"}).json()
    assert second["expires_at"] is not None
    assert alice.delete(f"{tokens}/{second['id']}").status_code == 204
    assert alice.delete(f"{tokens}/{second['id']}").status_code == 404

    assert alice.delete(f"{path}/{account.pk}").status_code == 204
    assert robot.get("/account").status_code == 401 and alice.get(f"{path}/{account.pk}").status_code == 404


def test_what_is_wrong_with_an_account_or_a_token_stands_at_its_field(alice: ApiClient, team: Team) -> None:
    path = f"/teams/{team.pk}/service-accounts"
    account = service_accounts.create(team, "nightly", Role.LABELER, by=make_user("alice"))
    assert "already a service account" in errors(alice.post(path, {"name": "NIGHTLY"}))["name"]
    assert set(errors(alice.post(path, {"name": "x" * 65}))) == {"name"}
    tokens = f"{path}/{account.pk}/tokens"
    wrong = alice.post(tokens, {"name": "", "scopes": ["root"], "days": 31})
    assert set(errors(wrong)) == {"name", "scopes", "days"}
    alice.post(tokens, {"name": "cron"})
    assert "already a token" in errors(alice.post(tokens, {"name": "cron"}))["name"]


def test_a_token_gives_no_scope_that_it_lacks_and_no_second_factor(team: Team) -> None:
    account = service_accounts.create(team, "nightly", Role.MANAGER, by=make_user("alice"))
    path = f"/teams/{team.pk}/service-accounts/{account.pk}/tokens"
    weak = ApiClient(make_user("alice"), ["admin"])
    assert (
        "lacks the scope “deploy”" in errors(weak.post(path, {"name": "x", "scopes": ["deploy"]}))["scopes"]
    )
    assert weak.post(path, {"name": "x", "scopes": ["admin"]}).status_code == 200
    assert not AccessToken.objects.get(user=account.pk).has_second_factor
    strong = ApiClient(make_user("alice"), has_second_factor=True)
    strong.post(path, {"name": "y"})
    assert AccessToken.objects.get(name="y").has_second_factor


# --- Usage ---


def test_usage_has_the_rows_of_the_file(alice: ApiClient, team: Team) -> None:
    common = {"month": "2026-10-01", "team": team, "project_id": 1, "measured_at": "2026-10-02T00:00Z"}
    names = {"team_name": team.name, "project_name": "flowers", "user_name": "alice"}
    training = {"kind": "training", "quantity": 5400, "price_per_hour": "2.50", "flavor_name": "GPU"}
    Usage.objects.create(source="a", **training, **common, **names)
    Usage.objects.create(source="b", kind="calls", quantity=7, **common, **names)
    body = alice.get(f"/teams/{team.pk}/usage?month=2026-10").json()
    assert (body["month"], body["cost"], body["totals"]["calls"]) == ("2026-10", 3.75, 7)
    lines = {line["kind"]: line for line in body["items"]}
    assert (lines["training"]["quantity"], lines["training"]["unit"]) == (1.5, "hours")
    assert (lines["calls"]["quantity"], lines["calls"]["person"]) == (7, "alice")
    short = alice.get(f"/teams/{team.pk}/usage?month=2026-10&fields=kind,cost").json()["items"]
    assert [set(line) for line in short] == [{"kind", "cost"}] * 2
    assert alice.get(f"/teams/{team.pk}/usage").json()["items"] == []
    assert "such as 2026-11" in errors(alice.get(f"/teams/{team.pk}/usage?month=2026-13"))["month"]
    assert ApiClient(make_user("bob")).get(f"/teams/{team.pk}/usage").status_code == 403
