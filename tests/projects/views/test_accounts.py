"""Sign in, sign out, change password."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from projects.models import InitialPassword
from projects.workspace.initial_password import require_change
from tests.factories import PASSWORD, make_team, make_user
from tests.pages import html_of

WRONG = "Wrong username or password."


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
        ("wrong", "another good password 9", "another good password 9", "not your current password"),
        (PASSWORD, "short", "short", "too short"),
        (PASSWORD, "another good password 9", "another good password 8", "passwords differ"),
        (PASSWORD, "", "", "required"),
    ],
)
def test_a_bad_new_password_is_refused_at_its_field(
    alice: Client, old: str, new: str, again: str, message: str
) -> None:
    answer = alice.post("/password/", {"old_password": old, "new_password1": new, "new_password2": again})
    assert answer.status_code == 422 and message in html_of(answer)
    assert User.objects.get(username="alice").check_password(PASSWORD)


@pytest.mark.parametrize(
    ("old", "new", "again", "field", "message"),
    [
        ("wrong", "another good password 9", "another good password 9", "old_password", "not your current"),
        (PASSWORD, "short", "short", "new_password1", "too short"),
        (PASSWORD, "12345678", "12345678", "new_password1", "entirely numeric"),
        (PASSWORD, "another good password 9", "another good password 8", "new_password2", "differ"),
    ],
)
def test_what_is_wrong_stands_at_the_field_that_caused_it(
    alice: Client, old: str, new: str, again: str, field: str, message: str
) -> None:
    answer = alice.post("/password/", {"old_password": old, "new_password1": new, "new_password2": again})

    errors = answer.context["form"].errors
    assert list(errors) == [field] and message in str(errors[field])


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["/projects/", "/projects/new/"])
def test_a_password_that_somebody_else_chose_opens_only_the_page_that_changes_it(
    client: Client, page: str
) -> None:
    make_team()
    require_change(User.objects.get(username="alice"))
    sign_in(client)
    assert client.get(page).headers["Location"] == "/password/"
    assert client.get(page, headers={"HX-Request": "true"}).headers["HX-Redirect"] == "/password/"
    html = html_of(client.get("/password/"))
    assert "Choose a password of your own first" in html and "Cancel" not in html
    new = "another good password 9"
    client.post("/password/", {"old_password": PASSWORD, "new_password1": new, "new_password2": new})
    assert client.get(page).status_code == 200
    assert not InitialPassword.objects.exists()


@pytest.mark.django_db
def test_somebody_who_does_not_change_it_can_sign_out_and_is_asked_again(client: Client) -> None:
    make_team()
    require_change(User.objects.get(username="alice"))
    sign_in(client)
    assert client.post("/sign-out/").headers["Location"] == "/sign-in/"
    sign_in(client)
    assert client.get("/projects/").headers["Location"] == "/password/"


def test_pages_of_a_session_are_in_no_cache_and_signing_out_drops_the_pictures(alice: Client) -> None:
    for path in ("/projects/", "/no-such-page/", "/password/"):
        assert "no-store" in alice.get(path).headers["Cache-Control"], path
    assert alice.post("/sign-out/").headers["Clear-Site-Data"] == '"cache"'
