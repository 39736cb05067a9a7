"""A row that somebody deletes while a call is under way: the call finds nothing, the server does not fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from projects.models import AccessToken, AuditEvent, Membership, Role, Webhook
from projects.sign_in import service_accounts
from tests.factories import make_project, make_team, make_user
from tests.projects.api.callers import ApiClient

pytestmark = pytest.mark.django_db


@contextmanager
def meanwhile(change: Callable[[], Any], before: str) -> Iterator[None]:
    """Another person makes the change just before the first statement that begins so."""
    is_done = False

    def execute(run: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        nonlocal is_done
        if sql.startswith(before) and not is_done:
            is_done = True
            change()
        return run(sql, *arguments)

    with connection.execute_wrapper(execute):
        yield
    assert is_done, f"there is no statement {before}"


def webhook() -> Webhook:
    project = make_project(labels=0)
    fields = {"url": "https://93.184.216.34/", "events": ["training.completed"], "secret": "", "is_on": False}
    return Webhook.objects.create(team=project.team, project=project, site="", **fields)


@pytest.mark.parametrize(
    ("method", "path", "body", "statement"),
    [
        ("PATCH", "", {"events": ["training.failed"]}, 'UPDATE "projects_webhook"'),
        ("PATCH", "", {"is_on": True}, 'UPDATE "projects_webhook"'),
        ("POST", "/secret", None, "SAVEPOINT"),
        ("DELETE", "", None, "SAVEPOINT"),
    ],
)
def test_a_webhook(method: str, path: str, body: Any, statement: str) -> None:
    one = webhook()
    alice = ApiClient(make_user("alice"))
    with meanwhile(Webhook.objects.filter(pk=one.pk).delete, statement):
        answer = alice.call(method, f"/projects/{one.project_id}/webhooks/{one.pk}{path}", body)
    if method == "DELETE":
        assert answer.status_code == 204
    else:
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:exeml:problem:not-found")
        assert answer["Content-Type"] == "application/problem+json"
    assert not AuditEvent.objects.filter(kind__startswith="webhook").exists()


def test_a_member() -> None:
    team = make_team()
    bob = Membership.objects.get(team=team, user=make_user("bob"))
    alice = ApiClient(make_user("alice"))
    with meanwhile(Membership.objects.filter(pk=bob.pk).delete, "SAVEPOINT"):
        answer = alice.patch(f"/teams/{team.pk}/members/{bob.user_id}", {"role": "viewer"})
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:exeml:problem:not-found")
    assert not AuditEvent.objects.filter(kind="member.role-changed").exists()


def test_a_service_account() -> None:
    team, alice = make_team(), make_user("alice")
    account = service_accounts.create(team, "nightly", Role.LABELER, by=alice)
    program = ApiClient(alice)
    with meanwhile(lambda: service_accounts.delete(account, by=alice), "SAVEPOINT"):
        answer = program.post(f"/teams/{team.pk}/service-accounts/{account.pk}/tokens", {"name": "night"})
    assert answer.status_code == 404 and not AccessToken.objects.filter(user=account.user).exists()


def test_the_caller_itself_leaves_the_team() -> None:
    team = make_team()
    bob = make_user("bob")
    program = ApiClient(bob)
    membership = Membership.objects.filter(team=team, user=bob)
    with meanwhile(membership.delete, 'SELECT "projects_membership"'):
        answer = program.get(f"/teams/{team.pk}")
    assert answer.status_code == 404


def test_pages_answer_so_too(alice: Client) -> None:
    one = webhook()
    alice.raise_request_exception = False
    with meanwhile(Webhook.objects.filter(pk=one.pk).delete, "SAVEPOINT"):
        answer = alice.post(f"/teams/{one.team_id}/webhooks/{one.pk}/secret/")
    assert answer.status_code == 404
    assert Membership.objects.get(user__username="alice").role == Role.MANAGER
