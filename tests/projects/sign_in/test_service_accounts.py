"""Service accounts: members of one team with tokens alone, which nobody can sign in with."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.internal.flows.login import perform_login
from allauth.account.models import Login
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core import mail as outbox
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory

from projects.collaboration.progress import team_progress
from projects.forms.people import AssignForm
from projects.models import AccessToken, AuditEvent, Membership, Role, ServiceAccount, Team
from projects.notices.collectors import reviewers
from projects.sign_in import access_tokens, mail, service_accounts
from projects.sign_in.claims import Identity
from projects.sign_in.identities import SignInRefused, account_of
from projects.sign_in.remote_user import TrustedHeaderBackend
from projects.workspace import members
from tests.factories import PASSWORD, make_project, make_team, make_user
from tests.pages import html_of
from tests.projects.api.callers import ApiClient
from tests.projects.sign_in.test_access_tokens import FIELDS, plain_in, status_of
from tests.projects.sign_in.test_second_factor import sign_in

pytestmark = pytest.mark.django_db

NAME = "nightly (service account)"


@pytest.fixture
def team() -> Team:
    return make_team()


@pytest.fixture
def account(team: Team) -> ServiceAccount:
    return service_accounts.create(team, "nightly", Role.LABELER, by=make_user("alice"))


@pytest.fixture
def manager(team: Team) -> Client:
    client = Client()
    assert sign_in(client).status_code == 302
    return client


def address(team: Team, *parts: object) -> str:
    return "/".join([f"/teams/{team.pk}/service-accounts", *map(str, parts), ""])


def test_a_manager_creates_one_with_a_token_and_deletes_it(manager: Client, team: Team) -> None:
    answer = manager.post(address(team), {"name": "nightly", "role": Role.LABELER})
    account = ServiceAccount.objects.get()
    page = address(team, account.pk)
    assert (answer.status_code, answer.headers["Location"]) == (303, page)
    assert (account.user.username, account.user.has_usable_password()) == (NAME, False)
    assert [(one.team, one.role) for one in account.user.memberships.all()] == [(team, Role.LABELER)]

    created = manager.post(f"{page}tokens/new/", FIELDS, secure=True)
    plain = plain_in(created)
    assert f'data-settle-at="{page}"' in html_of(created) and plain not in html_of(manager.get(page))
    answered = ApiClient(None).get("/account", Authorization=f"Bearer {plain}").json()
    assert (answered["username"], answered["is_service_account"]) == (NAME, True)
    assert "1 token" in html_of(manager.get(f"/teams/{team.pk}/members/"))

    deleted = html_of(manager.post(f"{page}delete/", follow=True))
    assert "Service account “nightly” deleted." in deleted
    assert status_of(plain) == 401 and not AccessToken.objects.valid().exists()
    assert not Membership.objects.filter(user=account.pk).exists()
    assert not User.objects.get(pk=account.pk).is_active and manager.get(page).status_code == 404
    events = AuditEvent.objects.filter(team_id=team.pk).order_by("pk").values_list("kind", "target")
    assert list(events) == [
        ("service-account.created", NAME),
        ("access-token.created", "notebook"),
        ("access-token.revoked", "notebook"),
        ("service-account.deleted", NAME),
    ]


def test_one_token_is_revoked_and_the_others_work(manager: Client, account: ServiceAccount) -> None:
    by = make_user("alice")
    first, kept = (access_tokens.create(account.user, name, [], by=by) for name in ("first", "kept"))
    page = address(account.team, account.pk)
    assert manager.post(f"{page}tokens/{first[0].pk}/revoke/").headers["Location"] == page
    assert (status_of(first[1].plain), status_of(kept[1].plain)) == (401, 200)
    own, _ = access_tokens.create(by, "of alice", [], by=by)
    assert manager.post(f"{page}tokens/{own.pk}/revoke/").status_code == 404


def test_a_token_asks_its_creator_for_a_confirmation(alice: Client, account: ServiceAccount) -> None:
    """`alice` of this fixture did not show her password in this session."""
    path = address(account.team, account.pk, "tokens/new")
    assert alice.get(path).headers["Location"].startswith("/security/confirm/")
    assert alice.post(path, FIELDS).status_code == 302 and not AccessToken.objects.exists()


@pytest.mark.parametrize(
    ("name", "role", "message"),
    [
        ("Nightly", 20, "There is already a service account “Nightly”."),
        ("", 20, "This field is required"),
        ("x" * 65, 20, "Use at most 64 characters"),
        ("a\u202eb", 20, "hidden or control characters"),
        ("other", 99, "Select a valid choice"),
    ],
)
def test_what_is_wrong_stands_at_its_field(
    manager: Client, account: ServiceAccount, name: str, role: int, message: str
) -> None:
    answer = manager.post(address(account.team), {"name": name, "role": role})
    assert answer.status_code == 422 and message in html_of(answer)
    assert ServiceAccount.objects.count() == 1


def test_a_name_is_free_again_and_usernames_never_clash(account: ServiceAccount) -> None:
    alice, others = make_user("alice"), Team.objects.get(name="Strangers")
    assert service_accounts.delete(account, by=alice) and not service_accounts.delete(account, by=alice)
    again = service_accounts.create(account.team, "nightly", Role.VIEWER, by=alice)
    elsewhere = service_accounts.create(others, "nightly", Role.VIEWER, by=alice)
    numbered = "nightly (service account {})".format
    assert (again.user.username, elsewhere.user.username) == (numbered(2), numbered(3))


def test_a_team_has_a_limited_number(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_accounts, "MAX_ACCOUNTS", 1)
    service_accounts.create(team, "a", Role.VIEWER, by=make_user("alice"))
    with pytest.raises(service_accounts.ServiceAccountRefused, match="at most 1 service accounts"):
        service_accounts.create(team, "b", Role.VIEWER, by=make_user("alice"))


# --- Nobody signs in with it ---


def test_not_with_a_password_even_if_one_was_set(client: Client, account: ServiceAccount) -> None:
    assert "Wrong username or password" in html_of(sign_in(client, NAME, "!"))
    account.user.set_password(PASSWORD)
    account.user.save()
    answer = sign_in(client, NAME)
    assert answer.status_code == 422 and "Nobody can sign in with a service account." in html_of(answer)
    assert "_auth_user_id" not in client.session


def test_not_by_a_mail(account: ServiceAccount, settings: Any) -> None:
    settings.MAIL = {"EMAIL_HOST": "localhost"}
    account.user.email = "nightly@example.org"
    account.user.set_password(PASSWORD)
    account.user.save()
    mail.reset_password("nightly@example.org", "https://testserver", "en")
    assert outbox.outbox == []


def test_not_by_a_provider_nor_by_a_header(account: ServiceAccount, settings: Any) -> None:
    User.objects.filter(pk=account.pk).update(email="nightly@example.org")
    identity = Identity("https://idp", "s-1", username=NAME, email="nightly@example.org", claims={})
    with pytest.raises(SignInRefused, match="no account for you"):
        account_of(identity)
    account.user.socialaccount_set.create(provider="https://idp", uid="s-1")
    with pytest.raises(SignInRefused, match="Nobody can sign in"):
        account_of(identity)
    assert TrustedHeaderBackend().authenticate(None, identity=identity) is None


def test_not_by_any_way_that_checks_nothing(account: ServiceAccount, rf: RequestFactory) -> None:
    request = rf.get("/sign-in/")
    request.session = SessionStore()
    with pytest.raises(PermissionDenied):
        perform_login(request, Login(user=account.user))
    assert "_auth_user_id" not in request.session


# --- It is no person ---


def test_it_stands_apart_from_the_people_of_the_team(
    manager: Client, bob: Client, account: ServiceAccount
) -> None:
    page = f"/teams/{account.team_id}/members/"
    for client in (manager, bob):
        html = html_of(client.get(page))
        assert "3 people" in html and "Service accounts" in html and "nightly" in html
    assert address(account.team, account.pk) in html_of(manager.get(page))
    assert "/service-accounts/" not in html_of(bob.get(page))
    people = account.team.memberships.people().values_list("user__username", flat=True)
    assert set(people) == {"alice", "bob", "vera"}


def test_it_gets_no_notices(account: ServiceAccount) -> None:
    members.change_role(account.user.memberships.get(), Role.MANAGER)
    assert [user.username for user in reviewers(make_project(team=account.team))] == ["alice"]


def test_it_is_neither_assigned_images_nor_added_to_another_team(
    mallory: Client, account: ServiceAccount
) -> None:
    project = make_project(team=account.team)
    assert NAME not in str(AssignForm(project=project)["users"])
    assert NAME not in [worker.user.username for worker in team_progress(project).workers]
    others = Team.objects.get(name="Strangers")
    answer = mallory.post(f"/teams/{others.pk}/members/add/", {"person": NAME, "role": 10})
    assert answer.status_code == 422 and "No account has this name." in html_of(answer)


def test_its_role_is_changed_as_that_of_people_but_it_is_no_manager_of_its_own(
    manager: Client, account: ServiceAccount
) -> None:
    page = f"/teams/{account.team_id}/members/{account.pk}"
    assert manager.post(f"{page}/role/", {"role": Role.MANAGER}).status_code == 303
    assert account.user.memberships.get().role == Role.MANAGER
    with pytest.raises(members.MemberRefused, match="at least one Manager"):
        members.remove_member(account.team.memberships.get(user__username="alice"))
    removed = manager.post(f"{page}/remove/")
    assert removed.status_code == 409 and account.user.memberships.count() == 1


def test_the_page_asks_a_constant_number_of_queries(
    manager: Client, team: Team, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        account = service_accounts.create(team, f"robot {number}", Role.VIEWER, by=make_user("alice"))
        access_tokens.create(account.user, "x", [], by=make_user("alice"))
    with django_assert_max_num_queries(9):
        manager.get(f"/teams/{team.pk}/members/")
