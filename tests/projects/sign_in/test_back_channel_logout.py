"""The provider ends sessions here (OpenID Connect Back-Channel Logout), with tokens that it has signed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from allauth.usersessions.models import UserSession
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client

from exeml_site.sign_in.environment import OidcSettings, TeamRule
from projects.models import AuditEvent
from tests.projects.sign_in.oidc_server import CLIENT, OidcServer, running_server

pytestmark = pytest.mark.django_db

EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture(scope="module")
def server() -> Iterator[OidcServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def provider(server: OidcServer, settings: LazySettings) -> Iterator[OidcServer]:
    settings.OIDC = OidcSettings(server.url, CLIENT, "secret", "Keycloak", ("openid", "profile"))
    settings.SIGN_IN_TEAMS = (TeamRule("groups", "ml", "Greenhouse", "Manager"),)
    yield server
    server.forge = None


def signed_in(provider: OidcServer, subject: str, sid: str | None = None) -> Client:
    """A browser of the person; `sid`: the session at the provider, if its ID tokens name one."""
    provider.set_person(subject, preferred_username=subject, groups=["ml"])
    more = {"sid": sid} if sid else {}
    provider.forge = lambda claims, key: jwt.encode({**claims, **more}, key, "RS256")
    client = Client()
    client.get(provider.consent(client.get("/sign-in/provider/").headers["Location"], subject))
    assert is_signed_in(client)
    return client


def is_signed_in(client: Client) -> bool:
    return bool(client.get("/projects/").status_code == 200)


def send(token: str) -> Any:
    return Client(enforce_csrf_checks=True).post("/sign-in/provider/logout/", {"logout_token": token})


def test_a_token_of_a_person_ends_their_sessions_and_no_others(provider: OidcServer) -> None:
    clients = [signed_in(provider, "anna"), signed_in(provider, "anna", "s-1")]
    other = signed_in(provider, "otto")

    answer = send(provider.logout_token(sub="anna"))

    assert answer.status_code == 200 and "no-store" in answer["Cache-Control"] and not answer.content
    assert [is_signed_in(client) for client in clients] == [False, False] and is_signed_in(other)
    assert UserSession.objects.count() == 1
    event = AuditEvent.objects.get(kind="session.ended")
    assert (event.target, event.details) == ("anna", {"sessions": 2, "provider": provider.url})


def test_a_token_of_a_session_ends_that_one(provider: OidcServer) -> None:
    first, second = signed_in(provider, "anna", "s-1"), signed_in(provider, "anna", "s-2")
    assert send(provider.logout_token(sub="anna", sid="s-2")).status_code == 200
    assert is_signed_in(first) and not is_signed_in(second)
    assert send(provider.logout_token(sid="s-1")).status_code == 200
    assert not is_signed_in(first)


def test_a_session_that_began_otherwise_and_one_that_began_later_go_on(provider: OidcServer) -> None:
    signed_in(provider, "anna").post("/sign-out/")
    local, later = Client(), signed_in(provider, "anna", "s-1")
    local.force_login(User.objects.get(username="anna"))
    assert send(provider.logout_token(sub="anna", iat=int(time.time()) - 300)).status_code == 200
    assert is_signed_in(later), "a token that is sent again ends no later sign-in"
    assert send(provider.logout_token(sub="anna")).status_code == 200
    assert not is_signed_in(later) and is_signed_in(local)


def test_a_person_whom_nobody_knows_here_is_no_error(provider: OidcServer) -> None:
    client = signed_in(provider, "anna")
    assert send(provider.logout_token(sub="nobody")).status_code == 200
    assert send(provider.logout_token(sid="nothing")).status_code == 200
    assert is_signed_in(client)


def other_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, form, serialization.NoEncryption()).decode()


def long_ago(seconds: int) -> int:
    return int(time.time()) - seconds


NOT_FOR_THIS: dict[str, Callable[[], dict[str, Any]]] = {
    "an ordinary JWT": lambda: {"kind": "JWT"},
    "another key": lambda: {"key": other_key()},
    "another issuer": lambda: {"iss": "https://other.example"},
    "another client": lambda: {"aud": "another-client"},
    "no client": lambda: {"aud": None},
    "no time": lambda: {"iat": None},
    "no events": lambda: {"events": None},
    "empty events": lambda: {"events": {}},
    "an event without an object": lambda: {"events": {EVENT: None}},
    "a list of events": lambda: {"events": [EVENT]},
    "a nonce": lambda: {"nonce": "n"},
    "nobody": lambda: {"sub": None},
    "no id": lambda: {"jti": None},
    "expired": lambda: {"exp": long_ago(300)},
    "old": lambda: {"iat": long_ago(3600), "exp": None},
}


@pytest.mark.parametrize("case", NOT_FOR_THIS)
def test_a_token_that_is_not_for_this_is_refused(provider: OidcServer, case: str) -> None:
    client = signed_in(provider, "anna")
    answer = send(provider.logout_token(**{"sub": "anna", **NOT_FOR_THIS[case]()}))
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_request"})
    assert is_signed_in(client) and not AuditEvent.objects.filter(kind="session.ended").exists()


@pytest.mark.parametrize("token", ["", "no token", "a.b.c"])
def test_what_is_no_token_is_refused(provider: OidcServer, token: str) -> None:
    assert send(token).status_code == 400
    assert Client().get("/sign-in/provider/logout/").status_code == 405


def test_an_id_token_ends_nothing(provider: OidcServer) -> None:
    client, tokens = signed_in(provider, "anna"), []
    provider.forge = lambda claims, key: tokens.append(jwt.encode(claims, key, "RS256")) or tokens[-1]
    other = Client()
    other.get(provider.consent(other.get("/sign-in/provider/").headers["Location"], "anna"))
    assert send(tokens[0]).status_code == 400 and is_signed_in(client)


def test_an_unsigned_token_is_refused(provider: OidcServer) -> None:
    client = signed_in(provider, "anna")
    claims = jwt.decode(provider.logout_token(sub="anna"), options={"verify_signature": False})
    assert send(jwt.encode(claims, None, "none", headers={"typ": "logout+jwt"})).status_code == 400
    assert is_signed_in(client)


def test_wrong_tokens_are_limited_and_a_provider_that_is_away_is_no_wrong_token(
    provider: OidcServer, settings: LazySettings
) -> None:
    for _ in range(60):
        assert send("no token").status_code == 400
    assert send("no token").status_code == 429
    client = signed_in(provider, "anna")
    assert send(provider.logout_token(sub="anna")).status_code == 200 and not is_signed_in(client)
    settings.OIDC = OidcSettings("http://127.0.0.1:1", CLIENT, "", "Keycloak", ("openid",))
    assert send(provider.logout_token(sub="anna")).status_code == 502
    settings.OIDC = None
    assert send(provider.logout_token(sub="anna")).status_code == 404
