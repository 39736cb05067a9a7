"""Sign in, sign out, change password."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from projects.workspace import login_throttle
from tests.factories import PASSWORD, make_team, make_user
from tests.pages import html_of

WRONG = "Wrong username or password."


@pytest.fixture(autouse=True)
def _no_failures_yet() -> None:
    cache.clear()


def sign_in(client: Client, username: str = "alice", password: str = PASSWORD, **more: str):
    return client.post("/sign-in/", {"username": username, "password": password, **more})


@pytest.mark.django_db
def test_the_sign_in_page_shows_the_brand_and_the_two_fields(client: Client) -> None:
    html = html_of(client.get("/sign-in/"))
    assert "exeml" in html and 'autocomplete="username"' in html and 'autocomplete="current-password"' in html


@pytest.mark.django_db
def test_signing_in_leads_to_the_projects(client: Client) -> None:
    make_team()
    assert sign_in(client).headers["Location"] == "/projects/"
    assert client.get("/projects/").status_code == 200


@pytest.mark.django_db
def test_signing_in_leads_back_to_the_page_that_was_asked_for(client: Client) -> None:
    make_team()
    asked = client.get("/projects/new/")
    assert asked.headers["Location"] == "/sign-in/?next=/projects/new/"
    assert sign_in(client, next="/projects/new/").headers["Location"] == "/projects/new/"


@pytest.mark.django_db
@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_signing_in_never_leads_to_another_site(client: Client, elsewhere: str) -> None:
    make_user("alice")
    assert sign_in(client, next=elsewhere).headers["Location"] == "/projects/"


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "password"), [("alice", "wrong"), ("nobody", PASSWORD), ("alice", "")])
def test_a_wrong_name_or_password_gets_one_sentence_and_no_session(
    client: Client, name: str, password: str
) -> None:
    make_user("alice")
    answer = sign_in(client, name, password)
    assert answer.status_code == 422
    assert "_auth_user_id" not in client.session
    assert name in html_of(answer)
    if password:
        assert html_of(answer).count(WRONG) == 1


@pytest.mark.django_db
def test_an_account_that_is_switched_off_cannot_sign_in(client: Client) -> None:
    make_user("alice", is_active=False)
    assert sign_in(client).status_code == 422


@pytest.mark.django_db
def test_ten_wrong_passwords_make_the_name_rest_even_for_the_right_one(client: Client) -> None:
    make_user("alice")
    for _ in range(login_throttle.MAX_FAILURES):
        assert sign_in(client, password="wrong").status_code == 422
    answer = sign_in(client)
    assert answer.status_code == 429 and answer.headers["Retry-After"] == "300"
    assert "Wait five minutes" in html_of(answer)
    assert "_auth_user_id" not in client.session


@pytest.mark.django_db
def test_the_brake_holds_one_name_from_one_address_only(client: Client) -> None:
    make_user("alice")
    make_user("bob")
    for _ in range(login_throttle.MAX_FAILURES):
        sign_in(client, password="wrong")
    assert sign_in(client, "bob").status_code == 302
    assert sign_in(Client(REMOTE_ADDR="192.0.2.7")).status_code == 302


@pytest.mark.django_db
def test_signing_in_forgets_the_wrong_tries_before_it(client: Client) -> None:
    make_user("alice")
    for _ in range(login_throttle.MAX_FAILURES - 1):
        sign_in(client, password="wrong")
    sign_in(client)
    assert not login_throttle.is_throttled("alice", "127.0.0.1")
    assert sign_in(Client(), password="wrong").status_code == 422
    assert sign_in(Client()).status_code == 302


def test_somebody_signed_in_is_sent_on_from_the_sign_in_page(alice: Client) -> None:
    assert alice.get("/sign-in/").headers["Location"] == "/projects/"


def test_signing_out_is_a_post_and_ends_the_session(alice: Client) -> None:
    assert alice.get("/sign-out/").status_code == 405
    assert alice.post("/sign-out/").headers["Location"] == "/sign-in/"
    assert alice.get("/projects/").headers["Location"].startswith("/sign-in/")


def test_changing_the_password_keeps_this_session_and_ends_the_others(alice: Client) -> None:
    other = Client()
    other.force_login(User.objects.get(username="alice"))
    new = "another good password 9"
    answer = alice.post(
        "/password/", {"old_password": PASSWORD, "new_password1": new, "new_password2": new}, follow=True
    )
    assert "Your password has been changed" in html_of(answer)
    assert User.objects.get(username="alice").check_password(new)
    assert other.get("/projects/").status_code == 302


@pytest.mark.parametrize(
    ("old", "new", "again", "message"),
    [
        ("wrong", "another good password 9", "another good password 9", "old password"),
        (PASSWORD, "short", "short", "too short"),
        (PASSWORD, "another good password 9", "another good password 8", "match"),
        (PASSWORD, "", "", "required"),
    ],
)
def test_a_bad_new_password_is_refused_at_its_field(
    alice: Client, old: str, new: str, again: str, message: str
) -> None:
    answer = alice.post("/password/", {"old_password": old, "new_password1": new, "new_password2": again})
    assert answer.status_code == 422 and message in html_of(answer)
    assert User.objects.get(username="alice").check_password(PASSWORD)
