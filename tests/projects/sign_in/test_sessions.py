"""The list of sessions, sign-out of one and everywhere, limits of age; the hash of passwords."""

from __future__ import annotations

import time

import pytest
from allauth.usersessions.models import UserSession
from django.conf import LazySettings
from django.contrib.auth.hashers import PBKDF2PasswordHasher, identify_hasher
from django.contrib.auth.models import User
from django.test import Client

from exeml_site import settings as product_settings
from projects.sign_in.sessions import SEEN_AT, SIGNED_IN_AT
from tests.factories import PASSWORD, make_team, make_user
from tests.pages import html_of

pytestmark = pytest.mark.django_db

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1"
HOUR = 3600


def signed_in(agent: str = FIREFOX, name: str = "alice") -> Client:
    make_team()
    client = Client(HTTP_USER_AGENT=agent, REMOTE_ADDR="192.0.2.7")
    assert client.post("/sign-in/", {"username": name, "password": PASSWORD}).status_code == 302
    return client


def is_open(client: Client) -> bool:
    return client.get("/projects/").status_code == 200


def grow_older(client: Client, seconds: int, *keys: str) -> None:
    session = client.session
    for key in keys:
        session[key] -= seconds
    session.save()


def test_the_page_lists_sessions_with_browser_and_address() -> None:
    signed_in(SAFARI)
    html = html_of(signed_in().get("/security/"))
    assert "Firefox on Linux" in html and "Safari on iOS" in html and "192.0.2.7" in html
    assert html.count("this one") == 1


def test_one_session_is_signed_out_and_only_an_own_one() -> None:
    first, second, bob = signed_in(), signed_in(), signed_in(name="bob")
    row = UserSession.objects.get(session_key=first.session.session_key)
    assert bob.post(f"/security/sessions/{row.pk}/end/").status_code == 404 and is_open(first)
    assert second.post(f"/security/sessions/{row.pk}/end/").headers["Location"] == "/security/"
    assert not is_open(first) and is_open(second) and is_open(bob)


def test_sign_out_everywhere_ends_sessions_of_before_the_list_as_well() -> None:
    first, second, bob = signed_in(), signed_in(), signed_in(name="bob")
    UserSession.objects.filter(session_key=first.session.session_key).delete()
    answer = second.post("/security/sessions/end/", follow=True)
    assert "Signed out everywhere else: 1 session." in html_of(answer)
    assert not is_open(first) and is_open(second) and is_open(bob)


def limited(settings: LazySettings, **hours: int) -> None:
    settings.SESSION_HOURS, settings.SESSION_IDLE_HOURS = hours.get("age", 0), hours.get("idle", 0)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "projects.sign_in.sessions.SessionAgeMiddleware"]


def test_without_limits_nothing_ends_and_no_middleware_is_installed() -> None:
    client = signed_in()
    grow_older(client, 1000 * HOUR, SIGNED_IN_AT, SEEN_AT)
    assert is_open(client)
    assert not any("SessionAge" in name or "TrustedHeader" in name for name in product_settings.MIDDLEWARE)


def test_a_session_ends_at_its_greatest_age_however_busy_it_is(settings: LazySettings) -> None:
    limited(settings, age=8)
    client = signed_in()
    grow_older(client, 8 * HOUR - 60, SIGNED_IN_AT)
    assert is_open(client)
    grow_older(client, 120, SIGNED_IN_AT)
    assert not is_open(client)


def test_an_idle_session_ends_and_a_busy_one_does_not(settings: LazySettings) -> None:
    limited(settings, idle=1)
    client = signed_in()
    for _ in range(3):
        grow_older(client, HOUR - 60, SEEN_AT)
        assert is_open(client) and time.time() - client.session[SEEN_AT] < 5
    grow_older(client, HOUR + 60, SEEN_AT)
    assert not is_open(client)


def test_a_busy_session_is_not_written_at_each_request(settings: LazySettings) -> None:
    limited(settings, idle=1)
    client = signed_in()
    grow_older(client, 100, SEEN_AT)
    before = client.session[SEEN_AT]
    assert is_open(client) and client.session[SEEN_AT] == before


def test_a_session_of_before_the_limits_ends(settings: LazySettings) -> None:
    client = signed_in()
    session = client.session
    del session[SIGNED_IN_AT], session[SEEN_AT]
    session.save()
    limited(settings, age=8)
    client.handler.load_middleware()
    assert not is_open(client)


def test_a_former_hash_keeps_working_and_becomes_argon2(settings: LazySettings) -> None:
    settings.PASSWORD_HASHERS = product_settings.PASSWORD_HASHERS
    user = make_user("alice")
    User.objects.filter(pk=user.pk).update(password=PBKDF2PasswordHasher().encode(PASSWORD, "salt", 1000))
    signed_in()
    user.refresh_from_db()
    assert identify_hasher(user.password).algorithm == "argon2" and "m=19456,t=2,p=1" in user.password
    signed_in()
