"""Programs that call the API in tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client

from projects.models import Scope
from projects.sign_in import access_tokens

ROOT = "/api/v1"


def token_of(user: User, scopes: Iterable[str] = Scope.values, **options: Any) -> str:
    """The plain text of a new token."""
    name = f"token {user.access_tokens.count()}"
    return access_tokens.create(user, name, scopes, by=user, **options)[1].plain


class ApiClient:
    """Calls with one token; paths without `/api/v1`, bodies as values of JSON."""

    def __init__(self, user: User | None, scopes: Iterable[str] = Scope.values, **options: Any) -> None:
        self.token = token_of(user, scopes, **options) if user else ""
        self.client = Client(raise_request_exception=False)

    def get(self, path: str, **headers: str) -> HttpResponse:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self.call("PATCH", path, body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self.call("PUT", path, body, **headers)

    def delete(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self.call("DELETE", path, body, **headers)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        content = b"" if body is None else json.dumps(body).encode()
        return self.client.generic(
            method, ROOT + path, content, content_type="application/json", headers=headers
        )

    def upload(
        self, path: str, files: Iterable[Any] = (), name: str = "files", **fields: Any
    ) -> HttpResponse:
        """A form with files, as a browser sends it."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return self.client.post(ROOT + path, {**fields, name: list(files)}, headers=headers)
