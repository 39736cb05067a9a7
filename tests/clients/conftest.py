"""Clients of a real server in this process, with the tokens of Alice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import exeml
from tests.factories import make_team, make_user
from tests.projects.api.callers import token_of

Client = exeml.Client[exeml.Blocking]


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("EXEML_URL", "EXEML_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EXEML_CONFIG", str(tmp_path / "config" / "exeml.json"))


@pytest.fixture
def server(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, str]]:
    """The URL, and a token of Alice with these scopes; all of them by default."""
    make_team()

    def with_scopes(*scopes: str) -> tuple[str, str]:
        options = {"scopes": scopes} if scopes else {}
        return live_server.url, token_of(make_user("alice"), **options)

    return with_scopes


@pytest.fixture
def client(server: Callable[..., tuple[str, str]]) -> Iterator[Client]:
    with exeml.connect(*server()) as connected:
        yield connected
