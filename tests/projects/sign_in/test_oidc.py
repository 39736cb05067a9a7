"""Sign-in with a real OpenID Connect server: roles follow its claims; forged answers are refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client

from exeml_site.sign_in.environment import OidcSettings, TeamRule
from projects.models import AuditEvent, Membership, Role, Team
from tests.factories import make_team, make_user
from tests.pages import html_of
from tests.projects.sign_in.oidc_server import CLIENT, OidcServer, running_server

pytestmark = pytest.mark.django_db

NOT_VERIFIED = "could not be verified"
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def server() -> Iterator[OidcServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def provider(server: OidcServer, settings: LazySettings) -> Iterator[OidcServer]:
    settings.OIDC = OidcSettings(server.url, CLIENT, "secret", "Keycloak", ("openid", "profile", "email"))
    settings.SIGN_IN_TEAMS = (
        TeamRule("groups", "ml", "Greenhouse", "Manager"),
        TeamRule("groups", "students", "Greenhouse", "Viewer"),
        TeamRule("realm_access.roles", "grower", "Orchard", "Labeler"),
    )
    yield server
    server.forge, server.refuses_user_info = None, False


def begin(client: Client, query: str = "") -> str:
    """The provider's page to which the button leads."""
    return client.get(f"/sign-in/provider/{query}").headers["Location"]


def sign_in(client: Client, provider: OidcServer, subject: str, query: str = "") -> Any:
    return client.get(provider.consent(begin(client, query), subject))


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def roles(username: str) -> dict[str, int]:
    return dict(Membership.objects.filter(user__username=username).values_list("team__name", "role"))


def refusals() -> list[tuple[str, str]]:
    """Who was refused and why, as the audit log has it."""
    events = AuditEvent.objects.filter(kind="sign-in.failed").order_by("pk")
    return [(event.target, event.details["reason"]) for event in events]


def test_the_button_is_there_only_with_a_provider(client: Client, settings: LazySettings) -> None:
    settings.OIDC = None
    assert "Sign in with" not in html_of(client.get("/sign-in/"))
    assert client.get("/sign-in/provider/").status_code == 404
    assert client.get("/sign-in/provider/callback/").status_code == 404


def test_groups_give_an_account_with_roles(client: Client, provider: OidcServer) -> None:
    assert "Sign in with Keycloak" in html_of(client.get("/sign-in/"))
    provider.set_person(
        "s-1",
        preferred_username="nora",
        name="Nora Berg",
        email="nora@example.org",
        email_verified=True,
        groups=["ml", "students"],
        realm_access={"roles": ["grower"]},
    )
    asked = parse_qs(urlsplit(begin(client)).query)
    assert asked["code_challenge_method"] == ["S256"] and asked["nonce"][0] and asked["state"][0]

    answer = sign_in(client, provider, "s-1")

    assert answer.headers["Location"] == "/projects/"
    assert client.get("/projects/").status_code == 200
    nora = User.objects.get(username="nora")
    assert (nora.get_full_name(), nora.email, nora.has_usable_password()) == (
        "Nora Berg",
        "nora@example.org",
        False,
    )
    assert roles("nora") == {"Greenhouse": Role.MANAGER, "Orchard": Role.LABELER}
    assert AuditEvent.objects.get(kind="sign-in", user_name="nora").details == {"methods": ["provider"]}
    assert AuditEvent.objects.get(kind="account.created").details == {"provider": provider.url}


def test_roles_follow_the_groups_at_each_sign_in(provider: OidcServer) -> None:
    provider.set_person("s-2", preferred_username="otto", groups=["ml"], realm_access={"roles": ["grower"]})
    sign_in(Client(), provider, "s-2")
    other = Team.objects.create(name="Own")
    Membership.objects.create(team=other, user=User.objects.get(username="otto"), role=Role.VIEWER)
    provider.set_person("s-2", preferred_username="otto", groups=["students"])

    sign_in(Client(), provider, "s-2")

    assert roles("otto") == {"Greenhouse": Role.VIEWER, "Own": Role.VIEWER}, (
        "a team without rules is left alone"
    )


def test_who_lost_the_groups_loses_access_and_open_sessions_see_nothing(provider: OidcServer) -> None:
    provider.set_person("s-3", preferred_username="pia", groups=["ml"])
    first, second = Client(), Client()
    sign_in(first, provider, "s-3")
    team = Team.objects.get(name="Greenhouse")
    provider.set_person("s-3", preferred_username="pia", groups=[])

    answer = sign_in(second, provider, "s-3")

    assert answer.status_code == 403 and "no longer gives access" in html_of(answer)
    assert not is_signed_in(second) and roles("pia") == {}
    assert first.get(f"/teams/{team.pk}/members/").status_code == 404


def test_an_account_that_the_provider_or_an_operator_disabled_does_not_come_in(provider: OidcServer) -> None:
    provider.set_person("s-4", preferred_username="quinn", groups=["ml"])
    sign_in(Client(), provider, "s-4")
    provider.refuses_user_info = True
    client = Client()
    assert sign_in(client, provider, "s-4").status_code == 403 and not is_signed_in(client)
    assert refusals() == [("", "refused")]
    provider.refuses_user_info = False
    User.objects.filter(username="quinn").update(is_active=False)
    answer = sign_in(client, provider, "s-4")
    assert answer.status_code == 403 and "switched off" in html_of(answer) and not is_signed_in(client)


def test_nobody_registers_who_has_no_group(client: Client, provider: OidcServer) -> None:
    provider.set_person("s-5", preferred_username="rolf", email="rolf@example.org", email_verified=True)
    answer = sign_in(client, provider, "s-5")
    assert answer.status_code == 403 and "no account for you" in html_of(answer)
    assert refusals() == [("rolf", "no-account")]
    assert not User.objects.filter(username="rolf").exists() and not is_signed_in(client)


def test_a_verified_email_connects_to_the_account_that_has_it(client: Client, provider: OidcServer) -> None:
    make_team()
    make_user("sara", email="sara@example.org")
    provider.set_person("s-6", email="Sara@Example.org", email_verified=True, groups=["students"])
    sign_in(client, provider, "s-6")
    assert client.session["_auth_user_id"] == str(User.objects.get(username="sara").pk)
    assert SocialAccount.objects.get(uid="s-6").user.username == "sara"


@pytest.mark.parametrize("verified", [False, None, "false", 1, "yes"])
def test_an_email_that_is_not_verified_never_connects(provider: OidcServer, verified: Any) -> None:
    """Whoever writes the victim's e-mail into an account at the provider gets an account of their own."""
    make_user("victim", email="victim@example.org", is_staff=True)
    provider.set_person("s-7", email="victim@example.org", email_verified=verified, groups=["ml"])
    client = Client()
    sign_in(client, provider, "s-7")
    attacker = User.objects.get(pk=client.session["_auth_user_id"])
    assert attacker.username != "victim" and attacker.email == "" and not attacker.is_staff


def test_an_email_that_changed_hands_does_not_change_the_account(provider: OidcServer) -> None:
    mail = {"email": "post@example.org", "email_verified": True, "groups": ["ml"]}
    provider.set_person("s-8", preferred_username="tina", **mail)
    sign_in(Client(), provider, "s-8")
    provider.set_person("s-9", preferred_username="tom", **mail)
    client = Client()
    answer = sign_in(client, provider, "s-9")
    assert answer.status_code == 403 and "belongs to somebody else" in html_of(answer)
    assert not is_signed_in(client)


def test_a_name_that_is_taken_gives_another_account(client: Client, provider: OidcServer) -> None:
    alice = make_user("alice")
    provider.set_person("s-10", preferred_username="alice", groups=["ml"])
    sign_in(client, provider, "s-10")
    assert client.session["_auth_user_id"] != str(alice.pk)


def test_one_email_of_two_accounts_connects_to_none(client: Client, provider: OidcServer) -> None:
    users = {str(make_user(name, email="both@example.org").pk) for name in ("una", "udo")}
    provider.set_person("s-11", email="both@example.org", email_verified=True, groups=["ml"])
    sign_in(client, provider, "s-11")
    assert client.session["_auth_user_id"] not in users


def test_an_answer_is_good_once_and_only_in_the_browser_that_asked(provider: OidcServer) -> None:
    provider.set_person("s-12", preferred_username="vico", groups=["ml"])
    victim, attacker = Client(), Client()
    callback = provider.consent(begin(attacker), "s-12")
    answer = victim.get(callback)
    assert answer.status_code == 403 and "expired or was used" in html_of(answer) and not is_signed_in(victim)
    assert attacker.get(callback).status_code == 302
    attacker.post("/sign-out/")
    assert attacker.get(callback).status_code == 403 and not is_signed_in(attacker)


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?state=x&code=y", "?error=access_denied"])
def test_an_answer_that_nobody_asked_for_is_refused(client: Client, provider: OidcServer, query: str) -> None:
    assert client.get(f"/sign-in/provider/callback/{query}").status_code == 403
    assert not is_signed_in(client) and refusals() == [], "what anybody can send fills no log"


def test_a_state_without_its_code_and_a_wrong_code_are_refused(client: Client, provider: OidcServer) -> None:
    for rest in ("", "&code=wrong", "&error=server_error"):
        state = parse_qs(urlsplit(begin(client)).query)["state"][0]
        answer = client.get(f"/sign-in/provider/callback/?state={state}{rest}")
        assert answer.status_code == 403 and not is_signed_in(client)


def test_who_cancels_at_the_provider_is_told_so(client: Client, provider: OidcServer) -> None:
    answer = client.get(provider.deny(begin(client)))
    assert answer.status_code == 403 and "You cancelled at the provider" in html_of(answer)


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_sign_in_never_leads_to_another_site(client: Client, provider: OidcServer, elsewhere: str) -> None:
    provider.set_person("s-13", preferred_username="wim", groups=["ml"])
    answer = sign_in(client, provider, "s-13", f"?next={elsewhere}")
    assert answer.headers["Location"] == "/projects/"


def test_sign_in_leads_back_to_the_page_that_was_asked_for(client: Client, provider: OidcServer) -> None:
    provider.set_person("s-14", preferred_username="xenia", groups=["ml"])
    assert sign_in(client, provider, "s-14", "?next=/projects/new/").headers["Location"] == "/projects/new/"


def signed(**changes: Any) -> Callable[[dict[str, Any], Any], str]:
    """The same token with some claims changed (None: left out), signed with the provider's own key."""

    def forge(claims: dict[str, Any], key: Any) -> str:
        values = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return jwt.encode(values, key, "RS256")

    return forge


def by_another_key(claims: dict[str, Any], key: Any) -> str:
    return jwt.encode(claims, OTHER_KEY, "RS256")


def unsigned(claims: dict[str, Any], key: Any) -> str:
    return jwt.encode(claims, None, "none")


def by_a_shared_secret(claims: dict[str, Any], key: Any) -> str:
    return jwt.encode(claims, "secret-that-the-client-also-has-0123456789", "HS256")


@pytest.mark.parametrize(
    "forge",
    [
        *(by_another_key, unsigned, by_a_shared_secret),
        *(signed(iss="https://other.example"), signed(iss=None)),
        *(signed(aud="another-client"), signed(aud=None), signed(aud=[CLIENT, "another"])),
        *(signed(azp="another-client"), signed(exp=int(time.time()) - 3600), signed(exp=None)),
        *(signed(nonce="that-of-another-sign-in"), signed(nonce=None)),
        *(signed(sub="somebody-else"), signed(sub=None), signed(iat=int(time.time()) + 3600)),
        lambda claims, key: "not a token",
    ],
    ids=lambda forge: getattr(forge, "__name__", ""),
)
def test_a_token_that_is_not_for_this_sign_in_is_refused(
    client: Client, provider: OidcServer, forge: Any
) -> None:
    provider.set_person("s-15", preferred_username="yara", groups=["ml"])
    provider.forge = forge
    answer = sign_in(client, provider, "s-15")
    assert answer.status_code == 403 and NOT_VERIFIED in html_of(answer)
    assert refusals() == [("", "not-verified")]
    assert not is_signed_in(client) and not User.objects.filter(username="yara").exists()


def test_the_forged_token_without_a_change_is_good(client: Client, provider: OidcServer) -> None:
    """So the test above refuses what it changes, not the forging."""
    provider.set_person("s-15", preferred_username="yara", groups=["ml"])
    provider.forge = signed()
    assert sign_in(client, provider, "s-15").status_code == 302 and is_signed_in(client)


def test_the_answer_of_another_provider_is_refused(client: Client, provider: OidcServer) -> None:
    provider.set_person("s-16", preferred_username="zoe", groups=["ml"])
    callback = provider.consent(begin(client), "s-16")
    answer = client.get(f"{callback}&iss=https://other.example")
    assert answer.status_code == 403 and NOT_VERIFIED in html_of(answer) and not is_signed_in(client)


def test_a_provider_with_another_address_has_other_people(
    provider: OidcServer, settings: LazySettings
) -> None:
    """The same subject at another issuer is another person."""
    provider.set_person("s-17", preferred_username="abel", groups=["ml"])
    SocialAccount.objects.create(user=make_user("alice"), provider="https://old.example", uid="s-17")
    client = Client()
    sign_in(client, provider, "s-17")
    assert User.objects.get(pk=client.session["_auth_user_id"]).username == "abel"


def test_another_site_cannot_begin_a_sign_in(client: Client, provider: OidcServer) -> None:
    answer = client.get("/sign-in/provider/", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.headers["Location"] == "/sign-in/"


def test_a_provider_that_is_away_gets_a_sentence(client: Client, settings: LazySettings) -> None:
    settings.OIDC = OidcSettings("http://127.0.0.1:1", CLIENT, "", "Keycloak", ("openid",))
    answer = client.get("/sign-in/provider/")
    assert answer.status_code == 502 and "does not answer" in html_of(answer)


def test_who_is_signed_in_as_somebody_else_is_signed_out_first(alice: Client, provider: OidcServer) -> None:
    alice.get("/projects/")
    provider.set_person("s-18", preferred_username="bert", groups=["ml"])
    sign_in(alice, provider, "s-18")
    assert User.objects.get(pk=alice.session["_auth_user_id"]).username == "bert"
