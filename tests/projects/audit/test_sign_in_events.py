"""What people do to their account, how they sign in, and who lets them into a team."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core import mail as outbox
from django.test import Client
from django.urls import reverse

from projects.models import AuditEvent, Invitation, Membership, Role
from projects.sign_in import identities, invitations, mail
from projects.sign_in.claims import Identity
from tests.factories import PASSWORD, make_team, make_user
from tests.pages import html_of
from tests.projects.sign_in.authenticator import SoftwareKey
from tests.projects.sign_in.test_remote_user import header, status
from tests.projects.sign_in.test_second_factor import add_key, code_of, give, secret_of, set_up_app, sign_in

__all__ = ["header"]  # a fixture
pytestmark = pytest.mark.django_db
NEW = "another good password 9"


def last() -> tuple[str, str, str, dict[str, Any]]:
    """Of the last event: kind, person, target, details."""
    event = AuditEvent.objects.latest("pk")
    return event.kind, event.user_name, event.target, event.details


def kinds(*of: str) -> list[str]:
    return list(AuditEvent.objects.filter(kind__in=of).order_by("pk").values_list("kind", flat=True))


def test_second_factors_are_recorded_from_their_addition_to_their_removal() -> None:
    client = set_up_app()
    assert last() == ("factor.added", "alice", "alice", {"factor": "totp"})
    add_key(client, SoftwareKey(), "blue")
    assert last() == ("factor.added", "alice", "alice", {"factor": "webauthn", "name": "blue"})
    client.post("/security/codes/renew/", secure=True)
    assert last() == ("factor.codes", "alice", "alice", {"factor": "recovery_codes"})
    key = Authenticator.objects.get(type=Authenticator.Type.WEBAUTHN)
    client.post(f"/security/keys/{key.pk}/remove/", secure=True)
    assert last() == ("factor.removed", "alice", "alice", {"factor": "webauthn", "name": "blue"})
    client.post("/security/app/remove/", secure=True)
    assert last() == ("factor.removed", "alice", "alice", {"factor": "totp"})
    secrets = str(list(AuditEvent.objects.values_list("details", flat=True)))
    assert "seed" not in secrets and "credential" not in secrets


def test_a_sign_in_says_its_way_and_a_wrong_second_factor_is_a_failed_one() -> None:
    set_up_app()
    assert AuditEvent.objects.get(kind="sign-in").details == {"methods": ["password"]}
    client = Client()
    sign_in(client)
    give(client, code="000000")
    assert last() == ("sign-in.failed", "", "alice", {"step": "second factor"})
    give(client, code=code_of(secret_of("alice")))
    assert last() == ("sign-in", "alice", "", {"methods": ["password", "totp"]})
    client.post("/security/confirm/", {"password": "wrong"}, secure=True)
    assert last() == ("sign-in.failed", "alice", "alice", {"step": "confirmation"})


def test_the_trusted_header_gives_account_role_and_sign_in(client: Client, header: None) -> None:
    assert status(client, "nils", "ml") == 200
    events = list(AuditEvent.objects.order_by("pk").values_list("kind", "user_name", "target", "details"))
    by_header = {"provider": "trusted header"}
    assert events == [
        ("account.created", "", "nils", by_header),
        ("member.added", "", "nils", {"role": "Manager", **by_header}),
        ("sign-in", "nils", "", {"methods": ["trusted header"]}),
    ]


def test_roles_that_claims_give_change_and_take_name_the_provider(header: None, settings: Any) -> None:
    def follow(*groups: str) -> None:
        claims = {"groups": list(groups)}
        user = identities.account_of(Identity("https://idp", "1", "otto", claims=claims), is_invited=True)
        assert user.username == "otto"

    (rule,) = settings.SIGN_IN_TEAMS
    settings.SIGN_IN_TEAMS = (rule, type(rule)("groups", "students", "Greenhouse", "Viewer"))
    follow("ml")
    follow("ml")
    follow("students")
    follow()
    found = AuditEvent.objects.filter(kind__startswith="member.").order_by("pk")
    assert list(found.values_list("kind", "target", "team_name", "details")) == [
        ("member.added", "otto", "Greenhouse", {"role": "Manager", "provider": "https://idp"}),
        (
            "member.role",
            "otto",
            "Greenhouse",
            {"before": "Manager", "role": "Viewer", "provider": "https://idp"},
        ),
        ("member.removed", "otto", "Greenhouse", {"provider": "https://idp"}),
    ]


def test_a_team_that_requires_a_second_factor(alice: Client) -> None:
    team = make_team()
    for required in ("yes", "yes"):
        alice.post(f"/teams/{team.pk}/second-factor/", {"required": required})
    event = AuditEvent.objects.get(kind="team.second-factor")
    assert (event.user_name, event.team_name, event.details) == ("alice", "Greenhouse", {"is_required": True})


def test_ended_sessions_are_counted() -> None:
    make_team()
    first, second, third = Client(), Client(), Client()
    for client in (first, second, third):
        sign_in(client)
    row = UserSession.objects.get(session_key=first.session.session_key)
    third.post(f"/security/sessions/{row.pk}/end/", secure=True)
    assert last() == ("session.ended", "alice", "alice", {"sessions": 1})
    third.post("/security/sessions/end/", secure=True)
    third.post("/security/sessions/end/", secure=True)  # nothing is left to end
    assert kinds("session.ended") == ["session.ended"] * 2


def test_invitations_made_withdrawn_and_accepted(alice: Client, mallory: Client) -> None:
    team, by = make_team(), User.objects.get(username="alice")
    gone, _ = invitations.invite(team, Role.VIEWER, 7, by, "eve@example.org")
    assert last() == ("invitation.made", "alice", "eve@example.org", {"role": "Viewer", "days": 7})
    for _ in range(2):
        alice.post(reverse("withdraw_invitation", args=[team.pk, gone.pk]))
    assert last() == ("invitation.withdrawn", "alice", "eve@example.org", {"role": "Viewer"})
    _, token = invitations.invite(team, Role.REVIEWER, 7, by)
    mallory.post(f"/join/{token}/")
    assert last() == ("member.added", "mallory", "mallory", {"role": "Reviewer", "invited_by": "alice"})
    accepted = AuditEvent.objects.get(kind="invitation.accepted")
    assert (accepted.user_name, accepted.team_name) == ("mallory", "Greenhouse")
    assert kinds("invitation.withdrawn") == ["invitation.withdrawn"]


def test_an_invited_person_makes_an_account() -> None:
    team = make_team()
    _, token = invitations.invite(team, Role.LABELER, 7, User.objects.get(username="alice"))
    Client().post(f"/join/{token}/", {"username": "nora", "password1": NEW, "password2": NEW})
    created = AuditEvent.objects.get(kind="account.created")
    assert (created.user_name, created.target, created.details) == ("nora", "nora", {"invited_by": "alice"})
    assert kinds("invitation.accepted", "member.added", "sign-in") == [
        "invitation.accepted",
        "member.added",
        "sign-in",
    ]


def test_what_a_refused_invitation_would_have_done_is_not_recorded() -> None:
    with pytest.raises(invitations.InvitationRefused):
        invitations.register("no-token", "nora", NEW)
    assert not AuditEvent.objects.exists() and not Invitation.objects.exists()
    assert not Membership.objects.filter(user__username="nora").exists()


def test_a_password_reset_by_mail_is_recorded_at_each_step(
    client: Client, settings: LazySettings, redis: Any
) -> None:
    settings.MAIL = {"EMAIL_HOST": "localhost"}
    make_user("alice", email="alice@example.org")
    for email in ("alice@example.org", "nobody@example.org"):
        client.post("/sign-in/reset/", {"email": email})
        assert last() == ("password.reset-asked", "", "", {}), "the same for every address"
    mail.reset_password("alice@example.org", "https://exeml.example.org", "en")
    mail.reset_password("nobody@example.org", "https://exeml.example.org", "en")
    assert last() == ("password.reset-mailed", "", "alice", {})
    link = re.search(r"https?://\S+?(/sign-in/reset/\S+)", str(outbox.outbox[-1].body))
    assert link is not None
    form = client.get(link[1]).headers["Location"]
    assert "short" in html_of(client.post(form, {"new_password1": "x", "new_password2": "x"}))
    assert not kinds("password.reset")
    client.post(form, {"new_password1": NEW, "new_password2": NEW})
    assert last() == ("password.reset", "alice", "", {})
    assert PASSWORD not in str(list(AuditEvent.objects.values()))
