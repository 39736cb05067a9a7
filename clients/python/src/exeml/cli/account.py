"""Whose token is used: login, logout, account."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from exeml.cli.output import Json, errors_as_exits, note, show
from exeml.client import connect
from exeml.core import settings
from exeml.errors import SettingsMissing


def login(
    url: Annotated[str | None, typer.Argument(help="Such as https://exeml.example.org.")] = None,
) -> None:
    """Store the server and a token of your account, for this command and for Python.

    The token is asked for, or read from the standard input. Create it on the page of your account, under
    Access tokens.
    """
    with errors_as_exits():
        url = settings.normalized(url or typer.prompt("URL of the server"))
        is_terminal = sys.stdin.isatty()
        token = typer.prompt("Token", hide_input=True) if is_terminal else sys.stdin.readline()
        if not token.strip():
            raise SettingsMissing("No token was given.")
        with connect(url, token.strip()) as client:
            account = client.account()
        path = settings.store(url, token.strip())
    note(f"{account.username} on {url}: {', '.join(account.scopes)}. Stored in {path}.")


def logout() -> None:
    """Remove the stored token from this machine. On the page of your account it can be revoked."""
    note("The token was removed." if settings.forget() else "No token was stored.")


def show_account(is_json: Json = False) -> None:
    """Whose token is used, and what it allows."""
    with errors_as_exits(is_json=is_json), connect() as client:
        show(client.account(), ("username", "token_name", "scopes", "expires_at"), is_json=is_json)
