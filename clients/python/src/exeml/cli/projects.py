"""Projects: list and create them, and find the one that a command names."""

from __future__ import annotations

from typing import Annotated

import typer

from exeml.cli.output import Json, errors_as_exits, show
from exeml.client import Client, connect
from exeml.core.modes import Blocking
from exeml.project import Project

app = typer.Typer(help="List projects; `create` makes one.", invoke_without_command=True)
Name = Annotated[str, typer.Argument(metavar="PROJECT", help="Name or id of a project.")]
COLUMNS = ("id", "name", "image_count", "labeled_count", "label_count")


def find(client: Client[Blocking], name: str) -> Project[Blocking]:
    """The project with this name, or with this id."""
    return client.project(int(name) if name.isascii() and name.isdecimal() else name)


@app.callback()
def list_projects(
    context: typer.Context,
    search: Annotated[str, typer.Option(help="Words of the name or the description.")] = "",
    is_json: Json = False,
) -> None:
    if context.invoked_subcommand:
        return
    with errors_as_exits(is_json=is_json), connect() as client:
        show(list(client.projects(search=search)), COLUMNS, is_json=is_json)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Its name, which never changes.")],
    team: Annotated[
        str | None,
        typer.Option(help="Name of a team that you manage, if there are several."),
    ] = None,
    description: str = "",
    multi_label: Annotated[bool, typer.Option(help="An image can have several labels.")] = False,
    is_json: Json = False,
) -> None:
    """Create a project."""
    with errors_as_exits(is_json=is_json), connect() as client:
        options = {"description": description, "is_multi_label": multi_label}
        project = client.create_project(name, team=team, **options)  # type: ignore[arg-type]
        show(project, COLUMNS, is_json=is_json)
