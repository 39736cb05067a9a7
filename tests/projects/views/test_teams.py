"""The members of a team: who sees them, who changes them, and the last Manager."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.test import Client

from projects.models import Membership, Role, Team
from projects.workspace import members as team_members
from tests.factories import make_team, make_user
from tests.pages import html_of


@pytest.fixture
def team(db: None) -> Team:
    return make_team()


def followed(client: Client, answer: HttpResponse) -> HttpResponse:
    assert answer.status_code == 303
    return client.get(answer.headers["Location"])


def members(team: Team) -> dict[str, int]:
    return dict(team.memberships.values_list("user__username", "role"))


def address(team: Team, person: str = "", action: str = "") -> str:
    user = f"{make_user(person).pk}/" if person else ""
    return f"/teams/{team.pk}/members/{user}{action}"


def test_everybody_in_the_team_sees_members_and_roles(vera: Client, team: Team) -> None:
    html = html_of(vera.get(address(team)))
    for message in ("alice", "bob", "vera", "Manager", "Labeler", "Viewer"):
        assert message in html
    assert "/members/add/" not in html and "/remove/" not in html


def test_a_stranger_does_not_learn_that_the_team_exists(mallory: Client, team: Team) -> None:
    assert mallory.get(address(team)).status_code == 404
    assert mallory.post(address(team, action="add/"), {"person": "mallory", "role": 30}).status_code == 404


@pytest.mark.parametrize("typed", ["dora", "DORA", "dora@example.org", "Dora@Example.org", " dora "])
def test_a_manager_adds_somebody_by_username_or_email(alice: Client, team: Team, typed: str) -> None:
    make_user("dora", email="dora@example.org")
    answer = followed(
        alice, alice.post(address(team, action="add/"), {"person": typed, "role": Role.LABELER})
    )
    assert "dora now has the role Labeler in Greenhouse." in html_of(answer)
    assert members(team)["dora"] == Role.LABELER


@pytest.mark.parametrize(
    ("typed", "role", "message"),
    [
        ("nobody", 20, "No account has this name. Ask an operator to create it."),
        ("", 20, "This field is required"),
        ("bob", 30, "bob is already a member of Greenhouse."),
        ("shared@example.org", 20, "Several accounts match. Type the exact username."),
        ("gone", 20, "This account is switched off."),
        ("dora", 99, "Select a valid choice"),
        ("dora", "", "This field is required"),
    ],
)
def test_who_cannot_be_added_gets_a_sentence_and_nothing_changes(
    alice: Client, team: Team, typed: str, role: object, message: str
) -> None:
    make_user("dora", email="shared@example.org")
    make_user("erik", email="shared@example.org")
    make_user("gone", is_active=False)
    before = members(team)
    answer = alice.post(address(team, action="add/"), {"person": typed, "role": role})
    assert answer.status_code == 422 and message in html_of(answer)
    assert members(team) == before


def test_an_exact_username_wins_over_another_ones_email(alice: Client, team: Team) -> None:
    make_user("dora@example.org")
    make_user("erik", email="dora@example.org")
    alice.post(address(team, action="add/"), {"person": "dora@example.org", "role": 10})
    assert "dora@example.org" in members(team) and "erik" not in members(team)


def test_a_manager_changes_a_role(alice: Client, team: Team) -> None:
    alice.post(address(team, "bob", "role/"), {"role": Role.MANAGER})
    assert members(team)["bob"] == Role.MANAGER


def test_an_unknown_role_changes_nothing(alice: Client, team: Team) -> None:
    for role in ("", "99", "boss"):
        assert alice.post(address(team, "bob", "role/"), {"role": role}).status_code == 422
    assert members(team)["bob"] == Role.LABELER


def test_a_manager_removes_a_member(alice: Client, bob: Client, team: Team) -> None:
    answer = followed(alice, alice.post(address(team, "bob", "remove/")))
    assert "bob is no longer a member of Greenhouse." in html_of(answer)
    assert "bob" not in members(team)
    assert bob.get(address(team)).status_code == 404


def test_somebody_who_is_no_member_cannot_be_changed_or_removed(alice: Client, team: Team) -> None:
    assert alice.post(address(team, "mallory", "role/"), {"role": 10}).status_code == 404
    assert alice.post(address(team, "mallory", "remove/")).status_code == 404
    assert Membership.objects.get(user__username="mallory").role == Role.MANAGER


@pytest.mark.parametrize("person", ["bob", "vera"])
def test_only_managers_change_members(request: pytest.FixtureRequest, team: Team, person: str) -> None:
    client = request.getfixturevalue(person)
    before = members(team)
    for action in ("role/", "remove/"):
        assert client.post(address(team, person, action), {"role": Role.MANAGER}).status_code == 403
    assert client.post(address(team, action="add/"), {"person": "mallory", "role": 10}).status_code == 403
    assert members(team) == before


@pytest.mark.parametrize(("action", "fields"), [("role/", {"role": Role.VIEWER}), ("remove/", {})])
def test_the_last_manager_stays_manager(
    alice: Client, team: Team, action: str, fields: dict[str, int]
) -> None:
    answer = alice.post(address(team, "alice", action), fields)
    assert answer.status_code == 409
    assert str(team_members.LAST_MANAGER) in html_of(answer)
    assert members(team)["alice"] == Role.MANAGER


def test_a_manager_may_step_down_when_another_one_is_there(alice: Client, team: Team) -> None:
    team_members.change_role(team.memberships.get(user__username="bob"), Role.MANAGER)
    stepping_down = {"role": Role.VIEWER, "confirm": "yes"}
    answer = followed(alice, alice.post(address(team, "alice", "role/"), stepping_down))
    assert answer.status_code == 200 and members(team)["alice"] == Role.VIEWER


def test_a_manager_who_steps_down_is_asked_first(alice: Client, team: Team) -> None:
    team_members.change_role(team.memberships.get(user__username="bob"), Role.MANAGER)

    question = alice.post(address(team, "alice", "role/"), {"role": Role.LABELER})

    assert question.status_code == 200 and members(team)["alice"] == Role.MANAGER
    html = html_of(question)
    assert "Become a Labeler of Greenhouse?" in html
    assert "Only another Manager can make you a Manager again." in html
    assert 'name="role" value="20"' in html and 'name="confirm"' in html


def test_others_are_demoted_without_a_question(alice: Client, team: Team) -> None:
    followed(alice, alice.post(address(team, "bob", "role/"), {"role": Role.VIEWER}))
    assert members(team)["bob"] == Role.VIEWER


def test_the_page_does_not_offer_what_the_last_manager_cannot_do(alice: Client, team: Team) -> None:
    own = address(team, "alice")

    html = html_of(alice.get(address(team)))
    assert str(team_members.LAST_MANAGER) in html
    assert f"{own}role/" not in html and f"{own}remove/" not in html

    team_members.change_role(team.memberships.get(user__username="bob"), Role.MANAGER)
    html = html_of(alice.get(address(team)))
    assert str(team_members.LAST_MANAGER) not in html
    assert f"{own}role/" in html and f"{own}remove/" in html


def test_a_manager_may_leave_when_another_one_is_there(alice: Client, team: Team) -> None:
    team_members.change_role(team.memberships.get(user__username="bob"), Role.MANAGER)
    answer = followed(alice, alice.post(address(team, "alice", "remove/")))
    assert "You left Greenhouse." in html_of(answer)
    assert "You are not in a team yet" in html_of(answer)


def test_making_the_last_manager_a_manager_again_is_no_offence(alice: Client, team: Team) -> None:
    assert alice.post(address(team, "alice", "role/"), {"role": Role.MANAGER}).status_code == 303


def test_adding_the_same_person_twice_at_once_is_refused(team: Team) -> None:
    dora = make_user("dora")
    team_members.add_member(team, dora, Role.VIEWER)
    with pytest.raises(team_members.MemberRefused, match="already a member"):
        team_members.add_member(team, dora, Role.MANAGER)
    assert members(team)["dora"] == Role.VIEWER


def test_the_page_asks_a_constant_number_of_queries(
    alice: Client, team: Team, django_assert_max_num_queries
) -> None:
    for n in range(30):
        team_members.add_member(team, make_user(f"person-{n}"), Role.VIEWER)
    with django_assert_max_num_queries(8):
        alice.get(address(team))


@pytest.mark.django_db
def test_somebody_without_a_team_is_told_what_to_do(client: Client) -> None:
    client.force_login(make_user("dora"))
    html = html_of(client.get("/projects/"))
    assert "You are not in a team yet" in html and "Ask a Manager" in html
    assert client.get("/projects/new/").status_code == 403
