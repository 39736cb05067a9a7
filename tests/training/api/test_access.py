"""Access to every operation of the API, called as every role and with every scope.

The operations are read from the API itself, so new ones are tested without a change here. An operation
without an access decorator fails.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from copy import copy
from typing import Any

import pytest
from django.db import transaction
from ninja.operation import Operation

from exeml_site.lib.http import Access
from projects.api.core.body import Body
from projects.models import Role, Scope
from tests.architecture.test_access import LOWER, PEOPLE, World
from tests.factories import make_user
from tests.projects.api.callers import ApiClient
from training.api.urls import api

pytestmark = pytest.mark.slow

OPERATIONS: list[tuple[str, Operation]] = [
    (f"{operation.methods[0]} {prefix}{path}", operation)
    for router in api._get_bound_routers()
    for prefix in [router.prefix]
    for path, view in router.path_operations.items()
    for operation in view.operations
]


def access_of(operation: Operation) -> Access:
    return operation.view_func.access


def test_every_operation_has_an_access_decorator_and_a_name_of_its_own() -> None:
    assert len(OPERATIONS) > 5
    for name, operation in OPERATIONS:
        assert isinstance(getattr(operation.view_func, "access", None), Access), name
        assert access_of(operation).scope in Scope.values, name
        assert inspect.getdoc(operation.view_func), f"{name} says nothing about itself"
        kind = access_of(operation).kind
        assert ("{int:project_id}" in name) == (kind == "project"), name
        assert ("{int:team_id}" in name) == (kind == "team"), name
        if operation.methods[0] != "GET":
            assert access_of(operation).scope != Scope.READ, f"{name} changes something"
    names = [operation.view_func.__name__ for _, operation in OPERATIONS]
    assert len(names) == len(set(names))


def test_no_answer_that_is_kept_has_a_secret() -> None:
    kept = [(name, one) for name, one in OPERATIONS if hasattr(one.view_func, "not_kept")]
    assert len(kept) > 10
    for name, operation in kept:
        answer = operation.response_models[200].model_fields["response"].annotation
        secrets = {"token", "secret"} & set(answer.model_fields)
        assert secrets <= {operation.view_func.not_kept}, name


def test_no_body_ignores_a_name_that_it_does_not_know() -> None:
    """A mistyped name would change nothing, or train with the default: bodies derive from `Body`."""
    bodies = [
        (name, field.annotation)
        for name, operation in OPERATIONS
        for model in operation.models
        if model.__ninja_param_source__ == "body"
        for field in model.model_fields.values()
    ]
    assert len(bodies) > 25
    assert [name for name, body in bodies if not issubclass(body, Body)] == []


def path_of(name: str, world: World) -> str:
    def value(match: re.Match[str]) -> str:
        return str(world.argument(match[1]))

    return re.sub(r"\{(?:\w+:)?(\w+)\}", value, name.split()[1])


@pytest.fixture(scope="module")
def untouched_world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """Rows in a transaction around all tests of this file; each test rolls back to them."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield World()
        transaction.set_rollback(True)


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_only_the_right_token_gets_in(
    name: str, operation: Operation, untouched_world: World, db: None
) -> None:
    world, access, method = copy(untouched_world), access_of(operation), name.split()[0]
    path = path_of(name, world)
    body = None if method == "GET" else {}

    def status(client: ApiClient) -> tuple[int, str]:
        answer = client.call(method, path, body)
        is_problem = answer["Content-Type"] == "application/problem+json"
        return answer.status_code, answer.json()["type"].rpartition(":")[2] if is_problem else ""

    assert status(ApiClient(None))[0] == 401
    role = Role(access.role) if access.role else Role.VIEWER
    person = make_user(PEOPLE[role])
    if access.scope != Scope.READ:
        others = [scope for scope in Scope.values if scope != access.scope]
        assert status(ApiClient(person, others)) == (403, "scope-missing")
    if access.kind in ("team", "project"):
        assert status(ApiClient(make_user("mallory"))) == (404, "not-found")
        if role in LOWER:
            assert status(ApiClient(make_user(LOWER[role]))) == (403, "role-too-low")
    code, kind = status(ApiClient(person, [access.scope]))
    assert code < 500 and code != 401 and kind not in ("scope-missing", "role-too-low")
