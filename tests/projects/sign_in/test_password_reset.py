"""A new password by mail, for whoever reads the mail and nobody else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core import mail as outbox
from django.test import Client

from projects.models import AccessToken, InitialPassword
from projects.sign_in import access_tokens, mail
from projects.workspace.login_throttle import LIMITS, Kind
from tests.factories import PASSWORD, make_team, make_user
from tests.pages import html_of

pytestmark = pytest.mark.django_db

NEW = "another good password 9"


@pytest.fixture
def mailbox(settings: LazySettings) -> list[Any]:
    settings.MAIL = {"EMAIL_HOST": "localhost"}
    return outbox.outbox


def link() -> str:
    return re.search(r"https?://\S+?(/sign-in/reset/\S+)", outbox.outbox[-1].body)[1]


def choose(client: Client, address: str, password: str = NEW) -> Any:
    """The page moves the token from the address into the session, so that no other site hears of it."""
    form = client.get(address).headers.get("Location", address)
    return client.post(form, {"new_password1": password, "new_password2": password})


@pytest.mark.parametrize("revokes", [True, False])
def test_tokens_are_revoked_with_the_password_only_if_wanted(
    client: Client, mailbox: list[Any], revokes: bool
) -> None:
    alice = make_user("alice", email="alice@example.org")
    access_tokens.create(alice, "cron", [], by=alice)
    mail.reset_password("alice@example.org", "https://testserver", "en")
    form = client.get(link()).headers["Location"]
    assert "Also revoke my access tokens" in html_of(client.get(form))
    more = {"revoke_tokens": "on"} if revokes else {}
    assert client.post(form, {"new_password1": NEW, "new_password2": NEW, **more}).status_code == 302
    assert AccessToken.objects.valid().exists() != revokes


def test_without_mail_there_is_no_such_page(client: Client, settings: LazySettings) -> None:
    settings.MAIL = {}
    assert client.get("/sign-in/reset/").status_code == 404
    assert "Lost your password?" not in html_of(client.get("/sign-in/"))


def test_a_known_and_an_unknown_address_get_the_same_answer(
    client: Client, mailbox: list[Any], redis: Any
) -> None:
    make_user("alice", email="alice@example.org")
    pages = [
        html_of(client.post("/sign-in/reset/", {"email": email}))
        for email in ("alice@example.org", "nobody@example.org")
    ]
    plain = [re.sub(r"csrf[^>]+|x-csrftoken[^>]+", "", page) for page in pages]
    assert plain[0] == plain[1] and "a mail is on its way" in pages[0]
    assert not mailbox, "the worker sends it, so both take the same time"
    assert redis.llen("rq:queue:short") == 2


def test_the_mail_leads_to_a_new_password_once(client: Client, mailbox: list[Any]) -> None:
    make_team()
    User.objects.filter(username="alice").update(email="Alice@example.org")
    other = Client()
    other.force_login(User.objects.get(username="alice"))
    InitialPassword.objects.create(user=User.objects.get(username="alice"))
    mail.reset_password("alice@example.org", "https://exeml.example.org", "en")
    assert mailbox[0].to == ["Alice@example.org"] and "https://exeml.example.org/" in mailbox[0].body

    assert choose(client, link(), "short").status_code == 422
    answer = choose(client, link())

    assert answer.headers["Location"] == "/sign-in/"
    assert "_auth_user_id" not in client.session, "a second factor is still asked for"
    assert User.objects.get(username="alice").check_password(NEW)
    assert not InitialPassword.objects.exists()
    assert other.get("/projects/").status_code == 302, "other sessions end"
    assert "expired or was used already" in html_of(Client().get(link()))


def test_a_link_ends_after_an_hour(
    client: Client, mailbox: list[Any], monkeypatch: pytest.MonkeyPatch, settings: LazySettings
) -> None:
    make_user("alice", email="alice@example.org")
    mail.reset_password("alice@example.org", "https://exeml.example.org", "en")
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert "expired or was used already" in html_of(client.get(link()))
    assert User.objects.get(username="alice").check_password(PASSWORD)


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "!unusable"}])
def test_who_cannot_sign_in_with_a_password_gets_no_mail(mailbox: list[Any], change: dict[str, Any]) -> None:
    make_user("alice", email="alice@example.org")
    User.objects.update(**change)
    mail.reset_password("alice@example.org", "https://exeml.example.org", "en")
    assert not mailbox


def test_mails_are_limited(client: Client, mailbox: list[Any], redis: Any) -> None:
    for _ in range(LIMITS[Kind.MAILS][0]):
        assert client.post("/sign-in/reset/", {"email": "alice@example.org"}).status_code == 200
    answer = client.post("/sign-in/reset/", {"email": "alice@example.org"})
    assert answer.status_code == 429 and answer.headers["Retry-After"]


def test_no_address_is_an_error_at_the_field(client: Client, mailbox: list[Any]) -> None:
    assert client.post("/sign-in/reset/", {"email": "nobody"}).status_code == 422


def test_a_queue_that_does_not_answer_is_said(client: Client, mailbox: list[Any]) -> None:
    answer = client.post("/sign-in/reset/", {"email": "alice@example.org"})
    assert answer.status_code == 503 and "No mail can be sent" in html_of(answer)
