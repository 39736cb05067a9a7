"""Every call that the client can make is an operation of the API."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import exeml
from training.api.urls import api

SOURCE = Path(exeml.__file__).resolve().parent
PROJECT = "/projects/{}"
SERVICE = f"{PROJECT}/services/{{}}"
# What `self._path` is in each class.
PATHS = {
    "Client": "",
    "Project": PROJECT,
    "DatasetVersion": f"{PROJECT}/dataset-versions/{{}}",
    "Image": f"{PROJECT}/images/{{}}",
    "Label": f"{PROJECT}/labels/{{}}",
    "Version": f"{PROJECT}/versions/{{}}",
    "Service": SERVICE,
    "Batch": f"{SERVICE}/batches/{{}}",
    "CollectedCall": f"{SERVICE}/collected/{{}}",
    "Transfer": f"{PROJECT}/imports/{{}}",
    "ServiceAccount": "/teams/{}/service-accounts/{}",
    "Webhook": "/{}/{}/webhooks/{}",
}
METHODS = {"get": "GET", "post": "POST", "create": "POST"}


def calls() -> Iterator[tuple[str, str, str]]:
    """Module, method and path of every call in the code of the client; variable parts are `{}`."""
    for path in sorted(SOURCE.glob("*.py")):
        tree = ast.parse(path.read_text())
        for owner in tree.body:
            for node in ast.walk(owner):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    found = _call(node, owner.name if isinstance(owner, ast.ClassDef) else "")
                    if found:
                        yield f"{path.stem}:{node.lineno}", *found


def _call(node: ast.Call, owner: str) -> tuple[str, str] | None:
    name = getattr(node.func, "id", "")
    if name == "Call" and len(node.args) > 1 and isinstance(node.args[0], ast.Constant):
        return str(node.args[0].value), _template(node.args[1], owner)
    if name in METHODS and node.args:
        return METHODS[name], _template(node.args[0], owner)
    return None


def _template(node: ast.expr, owner: str) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part, owner) for part in node.values)
    text = ast.unparse(node.value if isinstance(node, ast.FormattedValue) else node)
    if text == "self._path":
        return PATHS[owner]
    return PROJECT if text in ("path", "project") else "{}"


def operations() -> set[tuple[str, str]]:
    document = api.get_openapi_schema(path_prefix="")
    return {
        (method.upper(), re.sub(r"\{\w+\}", "{}", "/" + path.strip("/")))
        for path, methods in document["paths"].items()
        for method in methods
    }


CALLS = list(calls())


def test_the_calls_of_all_resources_are_found() -> None:
    assert len(CALLS) > 90
    assert {path for _, _, path in CALLS} >= set(PATHS.values()) - {""}


def test_every_call_is_an_operation_of_the_api() -> None:
    known = operations()
    unknown = [
        f"{place}: {method} {path}"
        for place, method, path in CALLS
        if not any(method == verb and _pattern(path).fullmatch(address) for verb, address in known)
    ]
    assert unknown == []


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.escape(path).replace(r"\{\}", r"[^/]+"))
