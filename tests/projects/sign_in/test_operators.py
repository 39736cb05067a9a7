"""What operators see and do about factors, providers and sessions of others."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from projects.access import SECOND_FACTOR_KEY
from tests.factories import PASSWORD, make_team
from tests.pages import html_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("olga", password=PASSWORD))
    return client


@pytest.fixture
def alice() -> User:
    """With an app, a provider and a session."""
    make_team()
    user = User.objects.get(username="alice")
    Client().post("/sign-in/", {"username": "alice", "password": PASSWORD})
    TOTP.activate(user, generate_totp_secret())
    RecoveryCodes.activate(user)
    SocialAccount.objects.create(user=user, provider="https://idp.example", uid="s-1")
    return user


def address(model: type[Model], page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.mark.parametrize("model", [Authenticator, SocialAccount, UserSession])
def test_rows_are_shown_without_secrets_and_cannot_be_changed(
    operator: Client, alice: User, model: type[Model]
) -> None:
    row = model._default_manager.filter(user=alice).first()
    for path in (address(model, "changelist") + "?q=alice", address(model, "change", row.pk)):
        html = html_of(operator.get(path))
        secrets = [session.session_key for session in UserSession.objects.all()]
        secrets += [
            factor.data.get("secret") or factor.data["seed"] for factor in Authenticator.objects.all()
        ]
        assert "alice" in html and not [secret for secret in secrets if secret in html]
    assert operator.get(address(model, "add")).status_code == 403
    assert operator.post(address(model, "change", row.pk), {"user": alice.pk}).status_code == 403


def test_deleting_the_factors_lets_somebody_in_who_lost_them(operator: Client, alice: User) -> None:
    client = Client()
    asked = client.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    assert asked.headers["Location"] == "/sign-in/second-factor/"
    keys = list(Authenticator.objects.values_list("pk", flat=True))
    operator.post(
        address(Authenticator, "changelist"),
        {"action": "delete_selected", "_selected_action": keys, "post": "yes"},
    )
    assert not Authenticator.objects.exists()
    client.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    assert client.get("/projects/").status_code == 200


@pytest.mark.parametrize("several", [False, True])
def test_deleting_a_session_signs_the_person_out(operator: Client, alice: User, several: bool) -> None:
    client = Client()
    Authenticator.objects.all().delete()
    client.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    pk = UserSession.objects.get(session_key=client.session.session_key).pk
    if several:
        data = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
        operator.post(address(UserSession, "changelist"), data)
    else:
        operator.post(address(UserSession, "delete", pk), {"post": "yes"})
    assert client.get("/projects/").status_code == 302


def test_an_account_with_factors_and_sessions_can_be_deleted(operator: Client, alice: User) -> None:
    operator.post(reverse("admin:auth_user_delete", args=[alice.pk]), {"post": "yes"})
    assert not User.objects.filter(username="alice").exists()


def test_the_admin_opens_after_a_second_factor_where_it_is_required(
    operator: Client, settings: LazySettings
) -> None:
    olga = User.objects.get(username="olga")
    assert operator.get("/admin/").status_code == 200
    name = "projects.sign_in.operators.OperatorsSecondFactorMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, name]
    client = Client()
    client.force_login(olga)
    for path in ("/admin/", "/admin/auth/user/"):
        assert client.get(path).headers["Location"] == f"/security/required/?next={path}"
    assert client.post("/admin/auth/user/add/").headers["Location"].startswith("/security/required/")
    assert client.get("/projects/").status_code == 200
    assert Client().get("/admin/").headers["Location"].startswith("/admin/login/")
    session = client.session
    session[SECOND_FACTOR_KEY] = olga.pk
    session.save()
    assert client.get("/admin/").status_code == 200
    session[SECOND_FACTOR_KEY] = olga.pk + 1
    session.save()
    assert client.get("/admin/").status_code == 303, "somebody else's"
