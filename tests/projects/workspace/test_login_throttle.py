"""Limits of wrong passwords and tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test import Client, RequestFactory
from django.utils import timezone

from exeml_site.environment import env_networks
from exeml_site.logs.client_address import client_address
from projects.models import FailedAttempts
from projects.workspace import login_throttle
from projects.workspace.login_throttle import LIMITS, Kind, count_sign_in, forget_old
from tests.factories import PASSWORD, make_user
from tests.pages import html_of

WRONG = "Wrong username or password."
PAIR, BROWSER = LIMITS[Kind.ACCOUNT_ADDRESS][0], LIMITS[Kind.BROWSER][0]
ACCOUNT, ADDRESS = LIMITS[Kind.ACCOUNT][0], LIMITS[Kind.ADDRESS][0]

OTHER_PROCESS = """
import django
django.setup()
from django.db import connection
connection.settings_dict["NAME"] = {name!r}
from django.test import RequestFactory
from projects.workspace import login_throttle
print(login_throttle.count_sign_in(RequestFactory().post("/"), "alice").is_refused)
"""


def sign_in(client: Client, username: str = "alice", password: str = PASSWORD, address: str = "192.0.2.1"):
    data = {"username": username, "password": password}
    return client.post("/sign-in/", data, REMOTE_ADDR=address)


def guess(times: int, username: str = "alice", address: str = "192.0.2.1") -> list[bool]:
    """Wrong passwords, without the time that hashing them takes; whether each was refused."""
    request = RequestFactory().post("/sign-in/", REMOTE_ADDR=address)
    return [count_sign_in(request, username).is_refused for _ in range(times)]


def let_pass(time: timedelta) -> None:
    FailedAttempts.objects.update(ends_at=F("ends_at") - time)


@pytest.mark.django_db
def test_after_ten_wrong_passwords_even_the_right_one_is_refused(client: Client) -> None:
    make_user("alice")
    for _ in range(PAIR):
        assert sign_in(client, password="wrong").status_code == 422
    answer = sign_in(client)
    assert answer.status_code == 429 and 290 <= int(answer.headers["Retry-After"]) <= 300
    assert "Wait 5 minutes" in html_of(answer) and WRONG not in html_of(answer)
    assert "_auth_user_id" not in client.session


@pytest.mark.django_db
def test_refused_attempts_do_not_make_the_wait_longer(client: Client) -> None:
    make_user("alice")
    guess(PAIR)
    let_pass(timedelta(minutes=4))
    assert all(guess(30))
    let_pass(timedelta(minutes=1))
    assert sign_in(client).status_code == 302


@pytest.mark.django_db
@pytest.mark.parametrize("spelling", ["ａｌｉｃｅ", "ALICE", " alice ", "ａLIｃE", "𝒶𝓁𝒾𝒸ℯ"])
def test_every_spelling_that_means_an_account_counts_for_it(client: Client, spelling: str) -> None:
    """Django asks for the NFKC form, so full-width letters sign in as plain ones."""
    make_user("alice")
    guess(PAIR, spelling)
    assert sign_in(client).status_code == 429


@pytest.mark.django_db
def test_another_address_and_another_account_are_not_stopped(client: Client) -> None:
    make_user("alice")
    make_user("bob")
    guess(PAIR)
    assert sign_in(client, "bob").status_code == 302
    assert sign_in(Client(), address="192.0.2.7").status_code == 302


@pytest.mark.django_db
def test_one_account_from_many_addresses_is_stopped(client: Client) -> None:
    make_user("alice")
    passed = [not refused for number in range(100) for refused in guess(1, address=f"198.51.100.{number}")]
    assert sum(passed) == ACCOUNT
    assert sign_in(client, address="203.0.113.9").status_code == 429


@pytest.mark.django_db
def test_one_password_for_many_accounts_is_stopped(client: Client) -> None:
    make_user("alice")
    passed = [not refused for number in range(150) for refused in guess(1, f"person-{number}")]
    assert sum(passed) == ADDRESS
    assert sign_in(client).status_code == 429
    assert sign_in(client, address="192.0.2.2").status_code == 302


@pytest.mark.django_db
def test_an_attacker_with_an_account_cannot_clear_the_counter_of_the_address(client: Client) -> None:
    make_user("mallory")
    guess(ADDRESS - 1, "alice")
    for number in range(ADDRESS - PAIR - 1):
        guess(1, f"person-{number}")
    assert sign_in(client, "mallory").status_code == 302
    assert FailedAttempts.objects.get(kind=Kind.ADDRESS).count == ADDRESS - 1


@pytest.mark.django_db
def test_the_owner_signs_in_from_a_known_browser_whatever_others_do(client: Client) -> None:
    make_user("alice")
    assert sign_in(client).status_code == 302
    client.post("/sign-out/")
    for number in range(ACCOUNT):
        guess(1, address=f"198.51.100.{number}")
    guess(PAIR)
    assert sign_in(Client()).status_code == 429
    assert sign_in(client).status_code == 302


@pytest.mark.django_db
def test_a_known_browser_has_a_limit_of_its_own_and_knows_one_account_only(client: Client) -> None:
    make_user("alice")
    make_user("bob")
    sign_in(client)
    client.post("/sign-out/")
    for _ in range(BROWSER):
        assert sign_in(client, password="wrong").status_code == 422
    assert sign_in(client).status_code == 429
    guess(PAIR, "bob")
    assert sign_in(client, "bob").status_code == 429


@pytest.mark.django_db
def test_a_forged_cookie_makes_no_browser_known(client: Client) -> None:
    make_user("alice")
    sign_in(client)
    name = next(name for name in client.cookies if name.startswith("known-"))
    forger = Client()
    forger.cookies[name] = client.cookies[name].value[:-2] + "xx"
    guess(PAIR)
    assert sign_in(forger).status_code == 429


@pytest.mark.django_db
def test_signing_in_clears_the_wrong_attempts_before_it(client: Client) -> None:
    make_user("alice")
    guess(PAIR - 1)
    assert sign_in(client).status_code == 302
    assert not any(guess(PAIR))


@pytest.mark.django_db(transaction=True)
def test_a_crowd_that_tries_at_once_gets_no_more_than_ten() -> None:
    def one(_: int) -> bool:
        try:
            return guess(1)[0]
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(one, range(60))).count(False) == PAIR


@pytest.mark.django_db(transaction=True)
def test_all_processes_and_machines_share_the_limit() -> None:
    guess(PAIR - 1, address="127.0.0.1")
    database = (
        {} if connection.vendor == "sqlite" else {"DATABASE_URL": os.environ["EXEML_TEST_DATABASE_URL"]}
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "exeml_site.settings", **database}
    command = [sys.executable, "-c", OTHER_PROCESS.format(name=connection.settings_dict["NAME"])]
    answers = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    ]
    assert answers == ["False", "True"]
    assert guess(1, address="127.0.0.1") == [True]


@pytest.mark.django_db
def test_the_current_password_cannot_be_guessed_on_the_page_that_changes_it(alice: Client) -> None:
    new = {"new_password1": "another good password 9", "new_password2": "another good password 9"}
    for _ in range(PAIR):
        assert alice.post("/password/", {"old_password": "wrong", **new}).status_code == 422
    answer = alice.post("/password/", {"old_password": PASSWORD, **new})
    assert answer.status_code == 429 and "Too many wrong passwords" in html_of(answer)
    assert User.objects.get(username="alice").check_password(PASSWORD)


@pytest.mark.django_db
def test_operators_see_who_was_stopped_and_let_them_try_again(admin_client: Client, client: Client) -> None:
    make_user("alice")
    guess(PAIR)
    html = admin_client.get("/admin/projects/failedattempts/").content.decode()
    assert "alice from 192.0.2.1" in html
    keys = list(FailedAttempts.objects.values_list("pk", flat=True))
    action = {"action": "delete_selected", "_selected_action": keys, "post": "yes"}
    admin_client.post("/admin/projects/failedattempts/", action)
    assert sign_in(client).status_code == 302


@pytest.mark.django_db
def test_what_was_typed_as_a_name_is_not_kept_where_no_account_has_it() -> None:
    guess(3, "my secret passphrase")
    rows = FailedAttempts.objects.values_list("kind", "key", "who")
    assert len(rows) == 3 and "secret" not in str(list(rows))


@pytest.mark.django_db
def test_counters_are_deleted_when_their_window_has_ended() -> None:
    guess(3)
    let_pass(timedelta(minutes=10))
    forget_old()
    assert set(FailedAttempts.objects.values_list("kind", flat=True)) == {Kind.ACCOUNT, Kind.ADDRESS}
    assert FailedAttempts.objects.filter(ends_at__gt=timezone.now()).count() == 2


@pytest.mark.django_db
def test_one_subscriber_of_ipv6_is_one_address() -> None:
    answers = [guess(1, address=f"2001:db8:1:2::{number:x}")[0] for number in range(PAIR + 1)]
    assert answers == [False] * PAIR + [True]
    assert guess(1, address="2001:db8:1:3::1") == [False]


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.5", "203.0.113.5"),  # the first one is what the client claims
        ("10.0.0.1", "203.0.113.5, 10.0.0.2", "203.0.113.5"),  # two proxies
        ("10.0.0.1", "203.0.113.5:4711", "203.0.113.5"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("192.0.2.8", "203.0.113.5", "192.0.2.8"),  # not a proxy of ours
        ("::ffff:10.0.0.1", "203.0.113.5", "203.0.113.5"),
    ],
)
def test_only_trusted_proxies_say_where_a_request_comes_from(
    settings, remote: str, forwarded: str, address: str
) -> None:
    settings.EXEML_TRUSTED_PROXIES = [*_networks("10.0.0.0/24")]
    request = RequestFactory().get("/", REMOTE_ADDR=remote, HTTP_X_FORWARDED_FOR=forwarded)
    assert client_address(request) == address


def _networks(text: str) -> list:
    os.environ["EXEML_TEST_NETWORKS"] = text
    return env_networks("EXEML_TEST_NETWORKS")


def test_somebody_names_proxies_that_are_no_addresses() -> None:
    with pytest.raises(Exception, match="must be IP addresses or networks"):
        _networks("proxy.example.org")


@pytest.mark.django_db
def test_without_trusted_proxies_a_header_is_not_believed() -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.8", HTTP_X_FORWARDED_FOR="203.0.113.5")
    assert client_address(request) == "192.0.2.8"
    assert login_throttle.normalized("ＡＤＭＩＮ") == "admin"
