"""What is not a call of the API: backups, and the MCP server."""

from __future__ import annotations

from exeml.cli.output import console, errors_as_exits

BACKUP = """A backup is made where the server runs, by its operator; there is no call for it:

    .venv/bin/python manage.py backup /backups/exeml.tar
    .venv/bin/python manage.py verify_backup /backups/exeml.tar

With EXEML_BACKUP_DIR the server makes one every day. The guide: docs/operating/backup.md of exeml.
The images and labels of one project: exeml export PROJECT FILE.zip"""


def backup() -> None:
    """Say how an operator makes a backup on the server."""
    console().print(BACKUP, markup=False)


def serve_mcp() -> None:
    """Run the MCP server on the standard input and output, with the rights of the token."""
    with errors_as_exits():
        try:
            from exeml.mcp_server.main import serve
        except ImportError as error:
            raise ImportError("This needs the package mcp: pip install 'exeml-client[mcp]'") from error
        serve()
