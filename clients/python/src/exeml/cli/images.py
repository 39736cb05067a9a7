"""Images and labels: upload, list, label, import, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from exeml.cli import projects
from exeml.cli.output import REFUSED, Json, console, errors_as_exits, note, print_json, show
from exeml.client import connect
from exeml.records import UploadReport
from exeml.upload import FOLDERS

Add = Annotated[list[str] | None, typer.Option("--add", help="A label to give; may be repeated.")]
Remove = Annotated[
    list[str] | None,
    typer.Option("--remove", help="A label to take; may be repeated."),
]


def upload(
    project: projects.Name,
    paths: Annotated[list[Path], typer.Argument(help="Folders with images, and images.")],
    folders: Annotated[bool, typer.Option(help="The first folder of an image is its label.")] = False,
    label: Annotated[
        list[str] | None,
        typer.Option(help="A label of all images; may be repeated."),
    ] = None,
    is_json: Json = False,
) -> None:
    """Upload images. Called again after an interruption, it sends only those that are missing."""
    if folders and label:
        raise typer.BadParameter("Use either --folders or --label.")
    with errors_as_exits(is_json=is_json), connect() as client:
        found = projects.find(client, project)
        source: Any = paths[0] if len(paths) == 1 else paths
        report = found.upload(source, FOLDERS if folders else label, shows_progress=not is_json)
    if is_json:
        print_json(report)
    else:
        _print_report(report)
    if report.refused:
        raise typer.Exit(REFUSED)


def _print_report(report: UploadReport) -> None:
    for file in [*report.refused, *report.remarks]:
        note(f"{file.name}: {file.reason}")
    present = report.known_count + report.duplicate_count
    console().print(f"{report.stored_count} stored, {present} there before, {len(report.refused)} refused.")


def list_images(
    project: projects.Name,
    tab: Annotated[str, typer.Option(help="all, unlabeled, suggested, labeled or bin.")] = "all",
    label: Annotated[str | None, typer.Option(help="Images with this label.")] = None,
    search: Annotated[str | None, typer.Option(help="A part of the file name.")] = None,
    check: Annotated[str | None, typer.Option(help="A possible issue.")] = None,
    sort: Annotated[str | None, typer.Option(help="As on Label Data.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    is_json: Json = False,
) -> None:
    """List images, with the filters of Label Data."""
    with errors_as_exits(is_json=is_json), connect() as client:
        found = projects.find(client, project)
        images = found.images(limit, tab=tab, label=label, q=search, check=check, sort=sort)
        show(list(images), ("id", "name", "labels", "split", "width", "height"), is_json=is_json)


def label(
    project: projects.Name,
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Ids of images; - reads them from the standard input."),
    ] = None,
    add: Add = None,
    remove: Remove = None,
    is_json: Json = False,
) -> None:
    """Give images labels, or take them; one action, which Undo takes back. Without images: list labels."""
    with errors_as_exits(is_json=is_json), connect() as client:
        found = projects.find(client, project)
        if not images:
            show(list(found.labels()), ("id", "name", "image_count"), is_json=is_json)
            return
        if not (add or remove):
            raise typer.BadParameter("Name labels with --add or --remove.")
        names = sys.stdin.read().split() if images == ["-"] else images
        action = found.annotate([_image_id(name) for name in names], add=add or (), remove=remove or ())
        show(action, ("event_id", "changed_count"), is_json=is_json)


def _image_id(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise typer.BadParameter(f"“{text}” is no id of an image.")
    return int(text)


def import_file(
    project: projects.Name,
    file: Annotated[Path, typer.Argument(help="An archive, a label file or a table.", exists=True)],
    wait: Annotated[bool, typer.Option(help="Wait until it has ended.")] = True,
    is_json: Json = False,
) -> None:
    """Import images and labels from a file, in a worker of the server."""
    with errors_as_exits(is_json=is_json), connect() as client:
        transfer = projects.find(client, project).import_file(file)
        if wait:
            transfer.wait()
        show(transfer, ("id", "status", "done_count", "refused_count", "doubts"), is_json=is_json)


def export(
    project: projects.Name,
    target: Annotated[Path, typer.Argument(help="The zip to write.")],
    is_json: Json = False,
) -> None:
    """Write the images and labels of a project as a zip, which can be imported again."""
    with errors_as_exits(is_json=is_json), connect() as client:
        path = projects.find(client, project).export(target)
        show({"path": str(path), "bytes": path.stat().st_size}, ("path", "bytes"), is_json=is_json)
