"""Invitations: a link with a role and an end, good once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core import mail as outbox
from django.test import Client
from django.utils import timezone

from projects.models import Invitation, Membership, Role, Team
from projects.sign_in import invitations, mail
from tests.factories import make_team
from tests.pages import html_of

pytestmark = pytest.mark.django_db

PASSWORD = "another good password 9"
ACCOUNT = {"username": "nora", "password1": PASSWORD, "password2": PASSWORD}


@pytest.fixture
def team(settings: LazySettings) -> Team:
    settings.MAIL = {}
    return make_team()


def invite(alice: Client, team: Team, role: Role = Role.LABELER, **more: Any) -> str:
    """The path of the link that the page shows."""
    answer = alice.post(f"/teams/{team.pk}/invite/", {"role": role, "days": 7, **more})
    assert answer.status_code == 200
    return re.search(r"http://testserver(/join/[\w-]+/)", html_of(answer))[1]


def test_a_person_without_an_account_makes_one_and_joins(alice: Client, client: Client, team: Team) -> None:
    path = invite(alice, team, Role.REVIEWER)
    html = html_of(client.get(path))
    assert "Join Greenhouse" in html and "alice invites you" in html and "Reviewer" in html

    answer = client.post(path, ACCOUNT)

    assert answer.headers["Location"] == "/projects/" and client.get("/projects/").status_code == 200
    nora = User.objects.get(username="nora")
    assert Membership.objects.get(user=nora).role == Role.REVIEWER and nora.email == ""
    assert Client().get(path).status_code == 404 and Client().post(path, ACCOUNT).status_code == 404


def test_somebody_with_an_account_joins_with_one_click(alice: Client, mallory: Client, team: Team) -> None:
    path = invite(alice, team)
    assert "Join as mallory" in html_of(mallory.get(path))
    mallory.post(path)
    assert Membership.objects.get(team=team, user__username="mallory").role == Role.LABELER
    assert Invitation.objects.get().accepted_by.username == "mallory"


def test_a_manager_is_not_made_less_by_an_invitation(alice: Client, team: Team) -> None:
    path = invite(alice, team, Role.VIEWER)
    alice.post(path)
    assert Membership.objects.get(team=team, user__username="alice").role == Role.MANAGER


@pytest.mark.parametrize("username", ["alice", "ALICE", "", "bad\u202ename", "x" * 151])
def test_a_username_that_is_taken_or_bad_is_said_at_its_field(
    alice: Client, client: Client, team: Team, username: str
) -> None:
    path = invite(alice, team)
    answer = client.post(path, {**ACCOUNT, "username": username})
    assert answer.status_code == 422 and list(answer.context["form"].errors) == ["username"]
    assert Invitation.objects.get().accepted_at is None


def test_an_invitation_ends_and_can_be_withdrawn(alice: Client, client: Client, team: Team) -> None:
    path = invite(alice, team)
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(path).status_code == 404 and client.post(path, ACCOUNT).status_code == 404
    path = invite(alice, team)
    pk = Invitation.objects.order_by("-pk").first().pk
    assert alice.post(f"/teams/{team.pk}/invite/{pk}/withdraw/").status_code == 303
    assert "expired, was used already or was withdrawn" in html_of(client.get(path))
    assert not User.objects.filter(username="nora").exists()


def test_an_invitation_of_another_team_cannot_be_withdrawn(
    mallory: Client, alice: Client, team: Team
) -> None:
    invite(alice, team)
    pk, own = Invitation.objects.get().pk, Team.objects.get(name="Strangers").pk
    assert mallory.post(f"/teams/{own}/invite/{pk}/withdraw/").status_code == 404


@pytest.mark.parametrize("fields", [{"role": 99}, {"days": 0}, {"days": 31}, {"days": "x"}, {"role": ""}])
def test_a_bad_invitation_is_refused(alice: Client, team: Team, fields: dict[str, Any]) -> None:
    answer = alice.post(f"/teams/{team.pk}/invite/", {"role": 20, "days": 7, **fields})
    assert answer.status_code == 422 and list(answer.context["form"].errors) == list(fields)
    assert not Invitation.objects.exists()


def test_a_mailed_link_is_shown_to_nobody_else_and_proves_the_address(
    alice: Client, client: Client, team: Team, settings: LazySettings, redis: Any
) -> None:
    settings.MAIL = {"EMAIL_HOST": "localhost"}
    answer = alice.post(
        f"/teams/{team.pk}/invite/", {"role": 20, "days": 7, "email": "nora@example.org"}, follow=True
    )
    html = html_of(answer)
    assert "Invitation sent to nora@example.org." in html and "/join/" not in html
    invitation, token = invitations.invite(
        team, Role.LABELER, 7, User.objects.get(username="alice"), "nora@example.org"
    )
    mail.send_invitation(
        invitation.email, f"https://exeml.example.org/join/{token}/", "Greenhouse", "alice", "en"
    )
    assert outbox.outbox[0].to == ["nora@example.org"] and token in outbox.outbox[0].body
    client.post(f"/join/{token}/", ACCOUNT)
    assert User.objects.get(username="nora").email == "nora@example.org"


def test_the_token_is_not_stored(alice: Client, team: Team) -> None:
    token = invite(alice, team).split("/")[2]
    assert token not in str(Invitation.objects.values().get())


def test_old_invitations_are_forgotten(alice: Client, team: Team) -> None:
    invite(alice, team)
    invitations.forget_old()
    assert Invitation.objects.exists()
    Invitation.objects.update(expires_at=timezone.now() - timedelta(days=31))
    invitations.forget_old()
    assert not Invitation.objects.exists()
