"""Sign-in with the passwords of a real directory: roles follow its groups; all else is refused."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialAccount
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from exeml_site.sign_in.environment import TeamRule
from exeml_site.sign_in.ldap import LdapServer, LdapSettings, ldap
from projects.models import AuditEvent, Membership, Role
from projects.sign_in import ldap as directory_sign_in
from tests.factories import PASSWORD as LOCAL_PASSWORD
from tests.factories import make_user
from tests.pages import html_of
from tests.projects.sign_in.ldap_server import (
    BASE,
    GROUPS,
    PASSWORD,
    PEOPLE,
    READER,
    READER_PASSWORD,
    ROOT,
    ROOT_PASSWORD,
    Directory,
    running_directory,
)

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

UNAVAILABLE = "cannot be checked at the moment"
WRONG = "Wrong username or password"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    with running_directory(tmp_path_factory.mktemp("directory")) as running:
        yield running


@pytest.fixture
def directory(server: Directory, settings: LazySettings) -> Directory:
    settings.LDAP = LdapSettings(
        servers=(server.secure,),
        base=PEOPLE,
        bind_dn=READER,
        bind_password=READER_PASSWORD,
        ca_file=server.ca_file,
    )
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        settings.LDAP_BACKEND,
    ]
    settings.SIGN_IN_TEAMS = (
        TeamRule("groups", "ml", "Greenhouse", "Manager"),
        TeamRule("groups", "students", "Greenhouse", "Viewer"),
        TeamRule("departmentnumber", "7", "Orchard", "Labeler"),
    )
    return server


def sign_in(client: Client, username: str, password: str = PASSWORD) -> Any:
    return client.post("/sign-in/", {"username": username, "password": password})


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def roles(username: str) -> dict[str, int]:
    return dict(Membership.objects.filter(user__username=username).values_list("team__name", "role"))


def test_groups_and_attributes_give_an_account_with_roles(client: Client, directory: Directory) -> None:
    directory.add_person("nora", "ml", "students", cn="Nora Berg", departmentNumber="7", mail="n@example.org")

    answer = sign_in(client, "nora")

    assert answer.status_code == 302 and answer.headers["Location"] == "/projects/"
    assert client.get("/projects/").status_code == 200
    nora = User.objects.get(username="nora")
    assert (nora.get_full_name(), nora.email, nora.has_usable_password()) == ("Nora Berg", "", False)
    assert not nora.is_staff and roles("nora") == {"Greenhouse": Role.MANAGER, "Orchard": Role.LABELER}
    assert AuditEvent.objects.get(kind="sign-in", user_name="nora").details == {"methods": ["ldap"]}
    assert AuditEvent.objects.get(kind="account.created").details == {"provider": "ldap"}


def test_groups_are_searched_below_their_folder_also_over_starttls(
    client: Client, directory: Directory, settings: LazySettings
) -> None:
    dn = directory.add_person("olaf", "students")
    settings.LDAP = replace(settings.LDAP, servers=(directory.starttls,), group_base=GROUPS)
    sign_in(client, "olaf")
    assert roles("olaf") == {"Greenhouse": Role.VIEWER}
    settings.LDAP = replace(settings.LDAP, group_filter="(&(cn=ml)(member={dn}))")
    directory.join(dn, "ml")
    sign_in(Client(), "olaf")
    assert roles("olaf") == {"Greenhouse": Role.MANAGER}


def test_roles_follow_the_groups_at_each_sign_in_and_who_has_none_stays_out(directory: Directory) -> None:
    dn = directory.add_person("pia", "ml")
    directory.join(dn, "students")
    sign_in(Client(), "pia")
    directory.leave(dn, "ml")
    sign_in(Client(), "pia")
    assert roles("pia") == {"Greenhouse": Role.VIEWER}
    directory.leave(dn, "students")
    client = Client()
    answer = sign_in(client, "pia")
    assert answer.status_code == 422 and "no longer gives access" in html_of(answer)
    assert not is_signed_in(client) and roles("pia") == {}
    event = AuditEvent.objects.filter(kind="sign-in.failed").latest("pk")
    assert event.target == "pia" and event.details == {"provider": "ldap", "reason": "no-team"}


def test_an_account_that_is_disabled_there_or_here_does_not_come_in(directory: Directory) -> None:
    dn = directory.add_person("quinn", "ml")
    client = Client()
    sign_in(client, "quinn")
    client.post("/sign-out/")
    User.objects.filter(username="quinn").update(is_active=False)
    assert "switched off" in html_of(sign_in(client, "quinn"))
    User.objects.filter(username="quinn").update(is_active=True)
    directory.disable(dn)
    answer = sign_in(client, "quinn")
    assert answer.status_code == 422 and WRONG in html_of(answer) and not is_signed_in(client)


def test_a_person_without_a_rule_gets_no_account(client: Client, directory: Directory) -> None:
    directory.add_person("rolf")
    answer = sign_in(client, "rolf")
    assert answer.status_code == 422 and "no account for you" in html_of(answer)
    assert not User.objects.filter(username="rolf").exists() and not is_signed_in(client)


def test_a_renamed_person_keeps_the_account_and_a_new_one_with_the_old_name_gets_another(
    directory: Directory,
) -> None:
    dn = directory.add_person("sara", "ml")
    first, second, third = Client(), Client(), Client()
    sign_in(first, "sara")
    directory.rename(dn, "sara-2")
    directory.add_person("sara", "students")
    sign_in(second, "sara-2")
    sign_in(third, "sara")
    sara = first.session["_auth_user_id"]
    assert second.session["_auth_user_id"] == sara and third.session["_auth_user_id"] != sara


def test_a_name_of_a_local_account_never_opens_it(directory: Directory) -> None:
    operator = make_user("tina", is_staff=True, email="tina@example.org")
    directory.add_person("tina", "ml", mail="tina@example.org")
    client, local = Client(), Client()
    sign_in(client, "tina")
    assert client.session["_auth_user_id"] != str(operator.pk)
    assert not User.objects.get(pk=client.session["_auth_user_id"]).is_staff
    sign_in(local, "tina", LOCAL_PASSWORD)
    assert local.session["_auth_user_id"] == str(operator.pk)


def test_an_email_connects_only_where_an_operator_says_that_it_is_true(
    directory: Directory, settings: LazySettings
) -> None:
    local = make_user("udo", email="udo@example.org")
    settings.LDAP = replace(settings.LDAP, email="mail")
    directory.add_person("u.do", "ml", mail="udo@example.org")
    client = Client()
    sign_in(client, "u.do")
    assert client.session["_auth_user_id"] == str(local.pk)
    assert SocialAccount.objects.get(user=local).provider == "ldap"


@pytest.mark.parametrize("password", ["", "wrong", "correct horse battery ", "\x01", "ü" * 2000])
def test_another_password_never_signs_in(client: Client, directory: Directory, password: str) -> None:
    """The server takes a name without a password as an anonymous bind, which succeeds."""
    answer = sign_in(client, "vico", password)
    assert answer.status_code == 422 and UNAVAILABLE not in html_of(answer) and not is_signed_in(client)


@pytest.fixture(scope="module", autouse=True)
def vico(server: Directory) -> str:
    return server.add_person("vico", "ml")


def test_an_empty_password_is_not_even_sent(directory: Directory, settings: LazySettings) -> None:
    settings.LDAP = replace(settings.LDAP, servers=(LdapServer("127.0.0.1", 1),))
    assert directory_sign_in.identify("vico", "") is None


@pytest.mark.parametrize(
    "name",
    ["*", "vic*", "vico)(uid=*", "*)(|(uid=*", "vico)(&", "(uid=vico)", "vico\\2a", "\\", "vïco"],
)
def test_a_name_is_no_part_of_the_filter(client: Client, directory: Directory, name: str) -> None:
    answer = sign_in(client, name)
    assert answer.status_code == 422 and WRONG in html_of(answer) and not is_signed_in(client)


def test_a_name_that_means_two_people_signs_in_nobody(
    client: Client, directory: Directory, settings: LazySettings
) -> None:
    settings.LDAP = replace(settings.LDAP, person_filter="(|(uid={username})(sn={username}))")
    directory.add_person("wim", "ml", sn="double")
    directory.add_person("wanda", "ml", sn="double")
    assert WRONG in html_of(sign_in(client, "double"))
    assert sign_in(client, "wim").status_code == 302


def test_a_wrong_password_counts_and_is_an_event(directory: Directory) -> None:
    client = Client()
    for _ in range(10):
        assert sign_in(client, "vico", "wrong").status_code == 422
    answer = sign_in(client, "vico")
    assert answer.status_code == 429 and not is_signed_in(client)
    assert AuditEvent.objects.filter(kind="sign-in.failed").count() == 10
    assert AuditEvent.objects.filter(kind="sign-in.blocked").count() == 1


def test_a_second_factor_is_asked_for(directory: Directory) -> None:
    sign_in(Client(), "vico")
    TOTP.activate(User.objects.get(username="vico"), "A" * 32)
    client = Client()
    assert sign_in(client, "vico").headers["Location"] == "/sign-in/second-factor/"
    assert not is_signed_in(client)


def test_a_certificate_of_another_host_or_authority_is_refused(
    client: Client, directory: Directory, settings: LazySettings
) -> None:
    for ldap_settings in (
        replace(settings.LDAP, servers=(replace(directory.secure, host="127.0.0.1"),)),
        replace(settings.LDAP, servers=(replace(directory.starttls, host="127.0.0.1"),)),
        replace(settings.LDAP, ca_file=""),
    ):
        settings.LDAP = ldap_settings
        answer = sign_in(client, "vico")
        assert answer.status_code == 502 and UNAVAILABLE in html_of(answer) and not is_signed_in(client)


@pytest.mark.parametrize(
    "change",
    [
        {"bind_password": "wrong"},
        {"base": "ou=nobody,dc=example,dc=org"},
        {"group_base": "ou=nothing,dc=example,dc=org"},
        {"person_filter": "(uid={username}"},
    ],
)
def test_a_wrong_setting_gets_a_sentence_and_the_log_says_more(
    client: Client,
    directory: Directory,
    settings: LazySettings,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, str],
) -> None:
    settings.LDAP = replace(settings.LDAP, **change)
    answer = sign_in(client, "vico")
    assert answer.status_code == 502 and UNAVAILABLE in html_of(answer)
    assert "The directory at localhost could not be asked" in caplog.text and PASSWORD not in caplog.text


@pytest.fixture
def listener() -> Iterator[tuple[int, list[Any]]]:
    """A port that takes connections and says nothing, and who has called it."""
    calls: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            try:
                while True:
                    calls.append(listening.accept())
            except OSError:
                return

        threading.Thread(target=answer, daemon=True).start()
        yield listening.getsockname()[1], calls
        listening.shutdown(socket.SHUT_RDWR)
        for connection, _ in calls:
            connection.close()


def test_referrals_are_not_followed(
    client: Client, directory: Directory, listener: tuple[int, list[Any]]
) -> None:
    """Whoever can write one would get the password of the account that searches."""
    port, calls = listener
    directory.add_referral(f"ldap://127.0.0.1:{port}/{PEOPLE}??sub")
    assert sign_in(client, "vico").status_code == 302 and not calls


@pytest.mark.parametrize("kind", ["plain", "starttls", "tls", "away"])
def test_local_accounts_sign_in_while_the_directory_does_not_answer(
    directory: Directory,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
    listener: tuple[int, list[Any]],
    kind: str,
) -> None:
    port = 1 if kind == "away" else listener[0]
    monkeypatch.setattr(directory_sign_in, "ANSWER_S", 1)
    monkeypatch.setattr(directory_sign_in, "CONNECT_S", 1)
    server = LdapServer("127.0.0.1", port, kind == "tls", kind in ("plain", "away"))
    settings.LDAP = replace(settings.LDAP, servers=(server,))
    make_user("xenia", is_staff=True)
    assert sign_in(Client(), "xenia", LOCAL_PASSWORD).status_code == 302
    answer = sign_in(Client(), "vico")
    assert answer.status_code == 502 and UNAVAILABLE in html_of(answer)
    settings.LDAP = replace(settings.LDAP, servers=(server, directory.secure))
    assert sign_in(Client(), "vico").status_code == 302, "the next server of the list answers"


def test_root_of_the_directory_is_nobody_here(client: Client, directory: Directory) -> None:
    for name in (ROOT, "root", READER, "reader"):
        assert sign_in(client, name, ROOT_PASSWORD).status_code == 422 and not is_signed_in(client)


GOOD = {"EXEML_LDAP_URL": "ldaps://one, ldap://two:1389", "EXEML_LDAP_BASE": PEOPLE}


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ldap() is None
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    found = ldap()
    assert found is not None and found.base == PEOPLE and not found.bind_dn
    assert found.servers == (LdapServer("one", 636, True), LdapServer("two", 1389))
    monkeypatch.setenv("EXEML_LDAP_URL", "ldap+plain://localhost")
    assert ldap() == replace(found, servers=(LdapServer("localhost", 389, is_plain=True),))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EXEML_LDAP_URL", "http://one"),
        ("EXEML_LDAP_URL", "ldaps://"),
        ("EXEML_LDAP_URL", "ldaps://one:port"),
        ("EXEML_LDAP_URL", f"ldaps://one/{BASE}"),
        ("EXEML_LDAP_BASE", ""),
        ("EXEML_LDAP_BIND_DN", READER),
        ("EXEML_LDAP_BIND_PASSWORD", "alone"),
        ("EXEML_LDAP_FILTER", "(uid=*)"),
        ("EXEML_LDAP_FILTER", "(uid={name})"),
        ("EXEML_LDAP_FILTER", "uid={username}"),
        ("EXEML_LDAP_FILTER", "(&(uid={username})"),
        ("EXEML_LDAP_GROUP_FILTER", "(member=*)"),
        ("EXEML_LDAP_EMAIL", "mail)"),
        ("EXEML_LDAP_CA_FILE", "/nowhere/ca.pem"),
    ],
)
def test_a_setting_that_means_nothing_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for good_name, good_value in {**GOOD, name: value}.items():
        monkeypatch.setenv(good_name, good_value)
    with pytest.raises(ImproperlyConfigured, match=r"EXEML_LDAP_"):
        ldap()
