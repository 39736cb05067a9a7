"""Pages of operators: every address below /admin/, read from the URLconf, is closed to everybody else.

test_access.py asks all other addresses; together they ask the whole URLconf.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver

from tests.architecture import test_access as access
from tests.architecture.test_hostile_requests import ADDRESSES, Address, walk

ALL = list(dict.fromkeys(walk(get_resolver().url_patterns)))
OPERATORS = [address for address in ALL if address.route.startswith("admin/")]
ASKED = [address for address in OPERATORS if address in ADDRESSES]
# They take a bearer token (RQ_API_TOKEN), which is not set here, and then answer nothing.
WITH_TOKEN = ("stats.json", "metrics")


def url(address: Address) -> str:
    return address.url(["0" if kind == "int" else "x" for kind, _ in address.arguments])


def test_every_address_is_asked_here_or_as_every_role() -> None:
    asked = {address.route for address in access.ADDRESSES} | {address.route for address in OPERATORS}
    of_programs = {address.route for address in ALL if address.route.startswith("api/v1/")}
    assert {address.route for address in ALL} - asked - of_programs == set()


@pytest.mark.parametrize(("person", "method"), [("", "get"), ("alice", "get"), ("alice", "post")])
def test_only_operators_get_an_answer(person: str, method: str, alice: Client, redis: Any) -> None:
    client = alice if person else Client()
    open_to_them = []
    for address in ASKED:
        answer = getattr(client, method)(url(address))
        is_refused = answer.status_code in (302, 401, 403, 404, 405)
        has_nothing = address.route.split("/")[-1].startswith(WITH_TOKEN) and b"queues" not in answer.content
        if not is_refused and not has_nothing:
            open_to_them.append((address.route, answer.status_code))
        if answer.status_code == 302:
            assert answer["Location"].startswith(("/sign-in/", "/admin/login/", "/admin/")), address.route
    assert open_to_them == []
