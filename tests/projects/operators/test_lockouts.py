"""People who are locked out, and the operator who lets them in."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from projects.models import FailedAttempts
from tests.factories import PASSWORD, make_team, make_user

LIST = "admin:auth_user_changelist"


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator", password=PASSWORD))
    return client


def sign_in(name: str, password: str, address: str = "192.0.2.1") -> int:
    fields = {"username": name, "password": password}
    return Client().post("/sign-in/", fields, REMOTE_ADDR=address).status_code


def locked(operator: Client) -> list[str]:
    return [
        user.username for user in operator.get(reverse(LIST), {"locked": "yes"}).context["cl"].result_list
    ]


def test_an_operator_lets_a_person_in_and_nobody_else(operator: Client) -> None:
    make_user("alice")
    make_user("alice.b")
    for name in ("alice", "alice.b"):
        for _ in range(10):
            sign_in(name, "wrong")
    assert sign_in("alice", PASSWORD) == 429
    assert set(locked(operator)) == {"alice", "alice.b"}

    alice = User.objects.get(username="alice")
    answer = operator.post(reverse(LIST), {"action": "unlock", "_selected_action": [alice.pk]}, follow=True)

    assert "Can sign in again: alice." in answer.content.decode()
    assert locked(operator) == ["alice.b"]
    assert sign_in("alice", PASSWORD) == 302 and sign_in("alice.b", PASSWORD) == 429
    assert FailedAttempts.objects.filter(kind=FailedAttempts.Kind.ADDRESS).exists()
    again = operator.post(reverse(LIST), {"action": "unlock", "_selected_action": [alice.pk]}, follow=True)
    assert "1 had no wrong passwords." in again.content.decode()


def test_the_list_of_people_has_their_roles(operator: Client) -> None:
    make_team("Greenhouse")
    html = operator.get(reverse(LIST)).content.decode()
    assert "Greenhouse: Manager" in html and "Greenhouse: Viewer" in html
