"""Sign-in by the header of a trusted proxy, and by nobody else's."""

from __future__ import annotations

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from exeml_site.environment import env_networks
from exeml_site.sign_in.environment import TeamRule, remote_user_header
from projects.models import Membership, Role
from projects.sign_in.remote_user import BACKEND
from tests.factories import make_team, make_user

pytestmark = pytest.mark.django_db

PROXY, ELSEWHERE = "10.0.0.5", "192.0.2.1"


@pytest.fixture
def header(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXEML_REMOTE_USER_HEADER", "X-Remote-User")
    monkeypatch.setenv("EXEML_TRUSTED_PROXIES", "10.0.0.0/24")
    settings.EXEML_TRUSTED_PROXIES = env_networks("EXEML_TRUSTED_PROXIES")
    settings.REMOTE_USER_HEADER = remote_user_header(settings.EXEML_TRUSTED_PROXIES)
    settings.SIGN_IN_TEAMS = (TeamRule("groups", "ml", "Greenhouse", "Manager"),)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "projects.sign_in.remote_user.TrustedHeaderMiddleware"]
    settings.AUTHENTICATION_BACKENDS = [*settings.AUTHENTICATION_BACKENDS, BACKEND]
    make_team()


def status(client: Client, name: str = "", groups: str = "", sender: str = PROXY, **more: str) -> int:
    headers = {"X-Remote-User": name, "X-Remote-Groups": groups, **more}
    headers = {key: value for key, value in headers.items() if value}
    return client.get("/projects/", headers=headers, REMOTE_ADDR=sender).status_code


def test_the_proxy_signs_people_in_and_out(client: Client, header: None) -> None:
    assert status(client) == 302
    assert status(client, "alice", "ml") == 200
    assert status(client, "alice", "ml") == 200
    assert status(client) == 302, "the proxy no longer names her"
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("sender", [ELSEWHERE, "", "unix:", "10.0.1.5"])
def test_nobody_else_sends_the_header(client: Client, header: None, sender: str) -> None:
    assert status(client, "alice", "ml", sender) == 302
    assert status(client, "alice", "ml", sender, **{"X-Forwarded-For": PROXY}) == 302
    assert "_auth_user_id" not in client.session


def test_the_header_means_nothing_where_it_is_not_configured(
    client: Client, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_team()
    monkeypatch.setenv("EXEML_TRUSTED_PROXIES", "10.0.0.0/24")
    settings.EXEML_TRUSTED_PROXIES = env_networks("EXEML_TRUSTED_PROXIES")
    assert status(client, "alice") == 302


def test_another_person_and_other_groups_begin_another_session(client: Client, header: None) -> None:
    status(client, "alice", "ml")
    assert status(client, "bob", "ml") == 200
    assert client.session["_auth_user_id"] == str(User.objects.get(username="bob").pk)
    assert Membership.objects.get(user__username="bob").role == Role.MANAGER
    status(client, "bob", "")
    assert not Membership.objects.filter(user__username="bob").exists()


def test_an_account_is_made_only_for_a_group_with_a_role(client: Client, header: None) -> None:
    assert status(client, "nils", "other") == 302 and not User.objects.filter(username="nils").exists()
    assert status(client, "nils", "other, ml") == 200
    assert not User.objects.get(username="nils").has_usable_password()


def test_an_account_that_is_switched_off_stays_out(client: Client, header: None) -> None:
    make_user("olga", is_active=False)
    assert status(client, "olga", "ml") == 302


@pytest.mark.parametrize("name", ["x" * 151, "a\0b"])
def test_a_name_that_no_account_can_have_is_nobody(client: Client, header: None, name: str) -> None:
    assert status(client, name, "ml") in (302, 400)


def test_a_session_with_a_password_is_left_alone(alice: Client, header: None) -> None:
    assert status(alice) == 200 and status(alice, sender=ELSEWHERE) == 200


def test_the_header_needs_the_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXEML_REMOTE_USER_HEADER", "X-Remote-User")
    with pytest.raises(ImproperlyConfigured, match="EXEML_TRUSTED_PROXIES"):
        remote_user_header([])
    monkeypatch.setenv("EXEML_REMOTE_USER_HEADER", "X Remote")
    with pytest.raises(ImproperlyConfigured, match="header's name"):
        remote_user_header([1])
