"""Backups, and the MCP server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exeml.cli import projects
from exeml.cli.output import Json, console, errors_as_exits, show
from exeml.client import connect

BACKUP = """A backup of everything is made where the server runs, by its operator:

    .venv/bin/python manage.py backup /backups/exeml.tar
    .venv/bin/python manage.py verify_backup /backups/exeml.tar

With EXEML_BACKUP_DIR the server makes one every day. The guide: docs/operating/backup.md of exeml.
One project, as a file: exeml backup PROJECT"""


def backup(
    project: Annotated[str, typer.Argument(help="The name of a project, or its id.")] = "",
    target: Annotated[Path | None, typer.Argument(help="The file; else PROJECT.exeml.tar.")] = None,
    is_json: Json = False,
) -> None:
    """Write a whole project with its history and models as a file, which `import` makes a project of again.

    Without a project: say how an operator makes a backup of everything.
    """
    if not project:
        console().print(BACKUP, markup=False)
        return
    with errors_as_exits(is_json=is_json), connect() as client:
        found = projects.find(client, project)
        path = found.backup(target or Path(f"{found.name}.exeml.tar"))
        show({"path": str(path), "bytes": path.stat().st_size}, ("path", "bytes"), is_json=is_json)


def serve_mcp() -> None:
    """Run the MCP server on the standard input and output, with the rights of the token."""
    with errors_as_exits():
        try:
            from exeml.mcp_server.main import serve
        except ImportError as error:
            raise ImportError("This needs the package mcp: pip install 'exeml-client[mcp]'") from error
        serve()
