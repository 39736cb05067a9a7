"""Second factors: set up, asked for at sign-in, limited, each code once; and teams that require one."""

from __future__ import annotations

import html
import json
import re
import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.utils import decrypt
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from projects.models import Team
from projects.sign_in import second_factor
from projects.workspace.login_throttle import LIMITS, Kind
from tests.factories import PASSWORD, make_project, make_team, make_user
from tests.pages import html_of
from tests.projects.sign_in.authenticator import SoftwareKey

pytestmark = pytest.mark.django_db

Type = Authenticator.Type


def sign_in(client: Client, name: str = "alice", password: str = PASSWORD, **more: str) -> Any:
    return client.post("/sign-in/", {"username": name, "password": password, **more}, secure=True)


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def code_of(secret: str, later: int = 0) -> str:
    """The code of an app now, or some half minutes later."""
    return totp.format_hotp_value(totp.hotp_value(secret, int(time.time()) // 30 + later))


def secret_of(name: str) -> str:
    return decrypt(Authenticator.objects.get(user__username=name, type=Type.TOTP).data["secret"])


def set_up_app(name: str = "alice") -> Client:
    """Signed in with a password, then with an app set up."""
    make_team()
    client = Client()
    assert sign_in(client, name).status_code == 302
    client.get("/security/app/", secure=True)
    for _ in range(2):  # a half minute may end between the two lines
        code = code_of(client.session[totp.SECRET_SESSION_KEY], -1)
        answer = client.post("/security/app/", {"code": code}, secure=True)
        if answer.status_code != 422:
            break
    assert answer.headers["Location"] == "/security/codes/"
    return client


def give(client: Client, **fields: str) -> Any:
    return client.post("/sign-in/second-factor/", fields, secure=True)


def options(answer: Any) -> dict[str, Any]:
    text = re.search(r'data-security-key="([^"]+)"', answer.content.decode())
    assert text
    return json.loads(html.unescape(text[1]))


def add_key(client: Client, key: SoftwareKey, name: str = "") -> Any:
    answer = key.register(options(client.get("/security/keys/add/", secure=True)))
    return client.post("/security/keys/add/", {"name": name, "credential": json.dumps(answer)}, secure=True)


def test_the_secret_of_an_app_is_not_readable_in_the_database() -> None:
    set_up_app()
    stored = Authenticator.objects.get(type=Type.TOTP).data["secret"]
    assert stored != secret_of("alice") and len(secret_of("alice")) == 32


def test_with_an_app_the_password_alone_does_not_sign_in() -> None:
    set_up_app()
    client = Client()
    assert sign_in(client, next="/projects/new/").headers["Location"] == "/sign-in/second-factor/"
    assert not is_signed_in(client) and client.get("/projects/", secure=True).status_code == 302
    assert "known-" not in str(client.cookies.keys())

    wrong = give(client, code="000000")
    assert wrong.status_code == 422 and "wrong or was used already" in html_of(wrong)
    assert not is_signed_in(client)

    right = give(client, code=code_of(secret_of("alice")))
    assert right.headers["Location"] == "/projects/new/" and is_signed_in(client)


def test_the_second_step_is_closed_without_the_first(client: Client) -> None:
    set_up_app()
    for answer in (client.get("/sign-in/second-factor/"), give(client, code=code_of(secret_of("alice")))):
        assert answer.headers["Location"] == "/sign-in/" and not is_signed_in(client)


def test_a_code_is_good_once_also_the_one_that_set_the_app_up() -> None:
    set_up_app()
    secret, first, second = secret_of("alice"), Client(), Client()
    sign_in(first)
    assert give(first, code=code_of(secret, -1)).status_code == 422, "it set the app up"
    code = code_of(secret)
    assert give(first, code=code).status_code == 302
    sign_in(second)
    assert give(second, code=code).status_code == 422 and not is_signed_in(second)
    assert give(second, code=code_of(secret, -1)).status_code == 422, "an older code"
    assert give(second, code=code_of(secret, 1)).status_code == 302


def test_wrong_codes_are_limited_for_the_account_from_everywhere() -> None:
    set_up_app()
    client = Client()
    for attempt in range(LIMITS[Kind.SECOND][0]):
        sign_in(client)
        assert (
            client.post(
                "/sign-in/second-factor/", {"code": "1"}, secure=True, REMOTE_ADDR=f"192.0.2.{attempt}"
            ).status_code
            == 422
        )
    answer = give(client, code=code_of(secret_of("alice")))
    assert (
        answer.status_code == 429 and int(answer.headers["Retry-After"]) > 3000 and not is_signed_in(client)
    )


def test_a_right_password_does_not_clear_the_limit_before_the_second_factor() -> None:
    set_up_app()
    client = Client()
    answers = [sign_in(client).status_code for _ in range(LIMITS[Kind.ACCOUNT_ADDRESS][0] + 1)]
    assert answers[-1] == 429


def test_a_recovery_code_stands_in_once() -> None:
    owner = set_up_app()
    codes = re.findall(r"<li>(\d{8})</li>", html_of(owner.get("/security/codes/", secure=True)))
    assert len(codes) == 10
    client = Client()
    sign_in(client)
    assert give(client, code=f"{codes[0][:4]} {codes[0][4:]}").status_code == 302
    other = Client()
    sign_in(other)
    assert give(other, code=codes[0]).status_code == 422
    owner.post("/security/codes/renew/", secure=True)
    assert give(other, code=codes[1]).status_code == 422, "replaced"


def test_a_lost_secret_key_locks_codes_out_instead_of_letting_them_in(settings: LazySettings) -> None:
    set_up_app()
    settings.SECRET_KEY = "another-secret-key-than-the-one-of-that-time-0123456789"
    alice = User.objects.get(username="alice")
    assert second_factor.accept_code(alice, code_of("")) is None
    assert second_factor.accept_code(alice, "00000000") is None


def test_a_security_key_signs_in() -> None:
    make_team()
    owner, key = Client(), SoftwareKey()
    sign_in(owner)
    assert add_key(owner, key, "Blue key").headers["Location"] == "/security/codes/"
    assert "Blue key" in html_of(owner.get("/security/", secure=True))

    client = Client()
    assert sign_in(client).headers["Location"] == "/sign-in/second-factor/"
    asked = options(client.get("/sign-in/second-factor/", secure=True))
    answer = json.dumps(key.sign(asked))
    assert give(client, credential=answer).status_code == 302 and is_signed_in(client)

    other = Client()
    sign_in(other)
    other.get("/sign-in/second-factor/", secure=True)
    replayed = give(other, credential=answer)
    assert replayed.status_code == 422 and not is_signed_in(other), "the challenge is another one"


@pytest.mark.parametrize("key", [SoftwareKey(), SoftwareKey("https://evil.example"), None])
def test_another_key_and_another_site_are_refused(key: SoftwareKey | None) -> None:
    make_team()
    owner, own = Client(), SoftwareKey()
    sign_in(owner)
    add_key(owner, own)
    client = Client()
    sign_in(client)
    asked = options(client.get("/sign-in/second-factor/", secure=True))
    if key is not None and key.origin != own.origin:
        key.id, key._private = own.id, own._private  # the same key, asked by another site
    answers = [json.dumps(key.sign(asked))] if key else ["{}", "[]", "no JSON", '{"id": 1}', '"text"', "1"]
    for answer in answers:
        assert give(client, credential=answer).status_code == 422, answer
    assert not is_signed_in(client)


def test_a_key_of_another_site_cannot_be_added() -> None:
    make_team()
    client = Client()
    sign_in(client)
    refused = add_key(client, SoftwareKey("https://evil.example"))
    assert refused.status_code == 422 and not Authenticator.objects.exists()
    for answer in ("", "{}", "[]", "no JSON", '{"id": 1}'):
        assert client.post("/security/keys/add/", {"credential": answer}, secure=True).status_code == 422


@pytest.mark.parametrize("path", ["/security/app/", "/security/keys/add/", "/security/codes/"])
def test_changes_ask_for_the_password_again_after_a_while(path: str) -> None:
    client = set_up_app() if "codes" in path else Client()
    make_team()
    client.force_login(make_user("alice"))  # no password was given in this session
    session = client.session
    session.pop("account_authentication_methods", None)
    session.save()
    answer = client.get(path, secure=True)
    assert answer.headers["Location"] == f"/security/confirm/?next={path.replace('/', '%2F')}"
    wrong = client.post("/security/confirm/", {"password": "wrong", "next": path}, secure=True)
    assert wrong.status_code == 422 and "not your current password" in html_of(wrong)
    right = client.post("/security/confirm/", {"password": PASSWORD, "next": path}, secure=True)
    assert right.headers["Location"] == path and client.get(path, secure=True).status_code == 200


def test_the_confirmation_never_leads_to_another_site(alice: Client) -> None:
    answer = alice.post("/security/confirm/", {"password": PASSWORD, "next": "https://evil.example/"})
    assert answer.headers["Location"] == "/security/"


def test_the_confirmation_is_limited_as_sign_in(alice: Client) -> None:
    for _ in range(LIMITS[Kind.ACCOUNT_ADDRESS][0]):
        alice.post("/security/confirm/", {"password": "wrong"})
    assert alice.post("/security/confirm/", {"password": PASSWORD}).status_code == 429


def test_removing_the_last_factor_takes_the_recovery_codes_along() -> None:
    client = set_up_app()
    assert client.post("/security/app/remove/", secure=True).headers["Location"] == "/security/"
    assert not Authenticator.objects.exists()
    other = Client()
    assert sign_in(other).headers["Location"] == "/projects/"


def test_nobody_touches_the_keys_of_others() -> None:
    owner = set_up_app()
    add_key(owner, SoftwareKey())
    key = Authenticator.objects.get(type=Type.WEBAUTHN)
    other = Client()
    sign_in(other, "bob")
    assert other.post(f"/security/keys/{key.pk}/remove/", secure=True).status_code == 404
    assert Authenticator.objects.filter(pk=key.pk).exists()


def test_a_team_that_requires_a_second_factor_leads_there_and_then_opens(alice: Client) -> None:
    project = make_project("flowers")
    team = project.team
    page, own = f"/projects/{project.pk}/label-data/", f"/teams/{team.pk}/members/"
    answer = alice.post(f"/teams/{team.pk}/second-factor/", {"required": "yes"})
    assert answer.status_code == 303 and Team.objects.get(pk=team.pk).second_factor_required

    bob = Client()
    sign_in(bob, "bob")
    for closed in (page, own, "/projects/", f"/projects/?team={team.pk}"):
        led = bob.get(closed, secure=True)
        assert led.headers["Location"].startswith("/security/required/?next="), closed
    assert bob.get(page, secure=True, headers={"HX-Request": "true"}).headers["HX-Redirect"]
    assert "Second factor required" in html_of(bob.get("/security/required/", secure=True))

    bob.get("/security/app/", secure=True)
    code = code_of(bob.session[totp.SECRET_SESSION_KEY])
    bob.post("/security/app/", {"code": code}, secure=True)
    assert bob.get(page, secure=True).status_code == 200
    bob.post("/security/app/remove/", secure=True)
    assert bob.get(page, secure=True).headers["Location"].startswith("/security/required/")


def test_a_session_that_has_not_seen_the_factor_is_asked_for_it() -> None:
    """One that began before the factor was set up, or that a proxy signed in."""
    set_up_app("bob")
    project = make_project("flowers")
    Team.objects.update(second_factor_required=True)
    client = Client()
    client.force_login(User.objects.get(username="bob"))
    page = f"/projects/{project.pk}/label-data/"
    asked = client.get(page, secure=True, follow=True)
    assert asked.redirect_chain[-1][0].startswith("/security/confirm/factor/?next=")
    answer = client.post(
        "/security/confirm/factor/", {"code": code_of(secret_of("bob")), "next": page}, secure=True
    )
    assert answer.headers["Location"] == page and client.get(page, secure=True).status_code == 200


def test_pages_ask_the_database_nothing_about_sign_in(alice: Client) -> None:
    """Where nothing is configured a page costs no query more than before."""
    team = make_team()
    pages = ["/projects/", f"/teams/{team.pk}/members/", "/password/"]
    with CaptureQueriesContext(connection) as asked:
        assert [alice.get(page).status_code for page in pages] == [200, 200, 200]
    tables = ("mfa_", "socialaccount_", "usersessions_", "account_emailaddress", "projects_invitation")
    assert len(asked) > 10 and not [
        query for query in asked if any(table in query["sql"] for table in tables)
    ]
