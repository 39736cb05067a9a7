"""The page of access tokens: created after a confirmation, shown once, revoked."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from projects.models import AccessToken, AuditEvent, Scope
from projects.sign_in import access_tokens
from tests.factories import PASSWORD, make_project, make_team, make_user
from tests.pages import html_of
from tests.projects.api.callers import ApiClient
from tests.projects.sign_in.test_second_factor import set_up_app, sign_in

pytestmark = pytest.mark.django_db

PAGE, NEW = "/security/tokens/", "/security/tokens/new/"
FIELDS = {"name": "notebook", "scopes": ["label", "train"], "days": "30"}


@pytest.fixture
def alice() -> Client:
    """Signed in with the password just now, so nothing is asked again."""
    make_team()
    client = Client()
    assert sign_in(client).status_code == 302
    return client


def plain_in(answer: Any) -> str:
    found = re.search(r"exeml_[\w-]{43}", answer.content.decode())
    assert found, "no token is shown"
    return found[0]


def status_of(plain: str, path: str = "/account") -> int:
    return ApiClient(None).get(path, Authorization=f"Bearer {plain}").status_code


def test_a_token_is_created_shown_once_used_and_revoked(alice: Client) -> None:
    created = alice.post(NEW, FIELDS, secure=True)
    plain, row = plain_in(created), AccessToken.objects.get()
    assert created.status_code == 200 and "no-store" in created["Cache-Control"]
    assert f'data-settle-at="{PAGE}"' in html_of(created)
    assert row.scopes == ["label", "train"] and not row.has_second_factor
    assert abs(row.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    assert status_of(plain) == 200

    html = html_of(alice.get(PAGE))
    assert plain not in html and f"…{plain[-4:]}" in html
    assert "Read · Upload and label · Publish and train" in html and "last used" in html

    answer = alice.post(f"{PAGE}{row.pk}/revoke/", follow=True)
    assert "Token “notebook” revoked." in html_of(answer) and "No tokens yet." in html_of(answer)
    assert status_of(plain) == 401
    assert alice.post(f"{PAGE}{row.pk}/revoke/").status_code == 404
    kinds = AuditEvent.objects.filter(kind__startswith="access-token").values_list("kind", "user_name")
    assert list(kinds) == [("access-token.revoked", "alice"), ("access-token.created", "alice")]


def test_the_form_offers_scopes_with_sentences_and_a_token_may_never_expire(alice: Client) -> None:
    html = html_of(alice.get(NEW))
    for message in ("Upload images and change labels.", "Deploy, change and stop services; predict."):
        assert message in html
    assert 'value="read"' not in html and html.count('name="scopes"') == len(Scope) - 1
    alice.post(NEW, {"name": "always", "days": "never"}, secure=True)
    row = AccessToken.objects.get()
    assert (row.expires_at, row.scopes) == (None, []) and row.allows("read")
    assert "never expires" in html_of(alice.get(PAGE))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "Give the token a name"),
        ({"name": "x" * 65}, "Use at most 64 characters"),
        ({"name": "a\u202eb"}, "hidden or control characters"),
        ({"days": "31"}, "Select a valid choice"),
        ({"days": ""}, "This field is required"),
        ({"scopes": ["root"]}, "Select a valid choice"),
        ({"name": "NOTEBOOK"}, "There is already a token “NOTEBOOK”."),
    ],
)
def test_what_is_wrong_stands_at_its_field(alice: Client, changes: dict[str, Any], message: str) -> None:
    access_tokens.create(make_user("alice"), "notebook", [], by=make_user("alice"))
    answer = alice.post(NEW, FIELDS | changes, secure=True)
    assert answer.status_code == 422 and message in html_of(answer)
    assert AccessToken.objects.count() == 1


def test_who_signed_in_long_ago_confirms_first() -> None:
    make_team()
    client = Client()
    client.force_login(make_user("alice"))
    assert client.get(PAGE).status_code == 200
    asked = client.get(NEW)
    assert asked.headers["Location"].startswith("/security/confirm/")
    assert client.post(NEW, FIELDS).status_code == 302 and not AccessToken.objects.exists()
    resumed = client.post(asked.headers["Location"], {"password": PASSWORD})
    assert status_of(plain_in(resumed)) == 200 and client.get(NEW).status_code == 200


def test_a_token_made_after_a_second_factor_opens_teams_that_require_one() -> None:
    client, project = set_up_app(), make_project()
    type(project.team).objects.update(second_factor_required=True)
    plain = plain_in(client.post(NEW, FIELDS, secure=True))
    assert AccessToken.objects.get().has_second_factor
    assert status_of(plain, f"/projects/{project.pk}") == 200


def test_a_session_that_has_not_seen_the_factor_of_the_account_is_asked_for_it() -> None:
    client = set_up_app()
    session = client.session
    del session["second-factor"]
    session.save()
    assert client.get(NEW, secure=True).headers["Location"].startswith("/security/required/")
    assert client.post(NEW, FIELDS, secure=True).status_code == 303 and not AccessToken.objects.exists()


def test_nobody_sees_or_revokes_the_tokens_of_others(alice: Client) -> None:
    row, _ = access_tokens.create(make_user("bob"), "of bob", [], by=make_user("bob"))
    assert "of bob" not in html_of(alice.get(PAGE))
    assert alice.post(f"{PAGE}{row.pk}/revoke/").status_code == 404
    row.refresh_from_db()
    assert row.is_valid


def test_an_expired_token_is_marked_and_the_page_asks_a_constant_number_of_queries(
    alice: Client, django_assert_max_num_queries: Any
) -> None:
    owner = make_user("alice")
    for number in range(20):
        access_tokens.create(owner, f"token {number}", [], by=owner)
    AccessToken.objects.filter(name="token 3").update(expires_at=timezone.now())
    with django_assert_max_num_queries(8):
        html = html_of(alice.get(PAGE))
    assert html.count("Expired") == 1


def test_a_member_who_was_removed_loses_the_team_with_the_token_at_once() -> None:
    project = make_project()
    bob = ApiClient(make_user("bob"))
    assert bob.get(f"/projects/{project.pk}").status_code == 200
    project.team.memberships.get(user__username="bob").delete()
    assert bob.get(f"/projects/{project.pk}").status_code == 404
    assert bob.get("/account").json()["teams"] == []


def test_a_new_password_and_signing_out_everywhere_revoke_tokens_only_if_wanted(alice: Client) -> None:
    owner = make_user("alice")
    assert "revoke_tokens" not in html_of(alice.get("/password/")) + html_of(alice.get("/security/"))

    def works_after(path: str, fields: dict[str, str]) -> bool:
        row, _ = access_tokens.create(owner, path + str(len(fields)), [], by=owner)
        assert alice.post(path, fields).status_code in (302, 303)
        row.refresh_from_db()
        return row.is_valid

    def passwords(old: str, new: str) -> dict[str, str]:
        return {"old_password": old, "new_password1": new, "new_password2": new}

    assert works_after("/password/", passwords(PASSWORD, PASSWORD + "2"))
    assert "Also revoke my access tokens" in html_of(alice.get("/password/"))
    assert not works_after("/password/", passwords(PASSWORD + "2", PASSWORD) | {"revoke_tokens": "on"})
    assert works_after("/security/sessions/end/", {})
    assert not works_after("/security/sessions/end/", {"revoke_tokens": "on"})
    assert not AccessToken.objects.valid().exists()


def test_the_page_is_linked_from_security_and_the_menu(alice: Client) -> None:
    assert html_of(alice.get("/security/")).count(f'href="{PAGE}"') == 2
    assert User.objects.get(username="alice").access_tokens.count() == 0
