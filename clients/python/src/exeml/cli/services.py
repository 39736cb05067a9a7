"""Services: deploy, list, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exeml.cli import projects
from exeml.cli.output import Json, errors_as_exits, print_json, print_table, show
from exeml.cli.trainings import Number
from exeml.client import connect
from exeml.core.modes import Blocking
from exeml.errors import Problem
from exeml.project import Project
from exeml.service import RUNNING, Service

COLUMNS = ("id", "name", "status", "version_number", "url")


def deploy(
    project: projects.Name,
    version: Number,
    auto_stop_hours: Annotated[
        int | None,
        typer.Option(help="Stop after so many hours, 1 to 24; without it it runs on."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is Running.")] = True,
    is_json: Json = False,
) -> None:
    """Put a Completed version behind an address. The token of the service is shown this once."""
    with errors_as_exits(is_json=is_json), connect() as client:
        found = projects.find(client, project)
        service = found.deploy(found.version(version), auto_stop_hours=auto_stop_hours)
        if wait:
            service.wait()
        show(service, (*COLUMNS, "token"), is_json=is_json)


def list_services(project: projects.Name, is_json: Json = False) -> None:
    """List the services, the newest first."""
    with errors_as_exits(is_json=is_json), connect() as client:
        show(list(projects.find(client, project).services()), COLUMNS, is_json=is_json)


def predict(
    project: projects.Name,
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    service: Annotated[
        str | None,
        typer.Option(help="Id of a service; without it the newest one that is Running."),
    ] = None,
    is_json: Json = False,
) -> None:
    """Predict the labels of images."""
    with errors_as_exits(is_json=is_json), connect() as client:
        found = projects.find(client, project)
        chosen = found.service(service) if service else _running(found)
        predictions = chosen.predict_many(images)
    rows = [
        {"file": str(path), **prediction.model_dump(mode="json")}
        for path, prediction in zip(images, predictions, strict=True)
    ]
    if is_json:
        print_json(rows)
        return
    for row in rows:
        row["score"] = dict(row["scores"]).get(row["predicted_label"])
    print_table(rows, ("file", "predicted_label", "score", "is_known", "version"))


def _running(project: Project[Blocking]) -> Service[Blocking]:
    for service in project.services():
        if service.status == RUNNING:
            return service
    raise Problem(404, "Not found", f"No service of {project.name} is Running. Deploy a version first.")
