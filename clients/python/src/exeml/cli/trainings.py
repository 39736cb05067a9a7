"""Trainings: start, watch, list, compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

from exeml.cli import projects
from exeml.cli.output import Json, console, errors_as_exits, print_json, show
from exeml.client import connect
from exeml.core.modes import Blocking
from exeml.evaluation import Metrics
from exeml.version import Version

COLUMNS = ("number", "name", "status", "accuracy", "model_name", "inference_ms", "title")
Number = Annotated[str, typer.Argument(metavar="VERSION", help="Number or name, such as V001.")]


def train(
    project: projects.Name,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    max_training_hours: Annotated[float | None, typer.Option(help="0.1 to 100.")] = None,
    max_inference_ms: Annotated[int | None, typer.Option(help="1 to 20000.")] = None,
    training_ratio: Annotated[float | None, typer.Option(help="Above 0 and below 1.")] = None,
    inference_hardware: Annotated[str | None, typer.Option(help="NV_P4 or CPU.")] = None,
    incremental_version: Annotated[int | None, typer.Option(help="Number of a version.")] = None,
    dataset_version: Annotated[str | None, typer.Option(help="A new name.")] = None,
    instance_flavor: Annotated[int | None, typer.Option(help="Id of a flavor.")] = None,
    is_json: Json = False,
) -> None:
    """Train on the current labels. What is left out gets the default of Training Configuration."""
    with errors_as_exits(is_json=is_json), connect() as client:
        version = projects.find(client, project).train(
            max_training_hours=max_training_hours,
            max_inference_ms=max_inference_ms,
            training_ratio=training_ratio,
            inference_hardware=inference_hardware,
            incremental_version=incremental_version,
            dataset_version=dataset_version,
            instance_flavor=instance_flavor,
        )
        if wait:
            with _status(is_shown=not is_json) as report:
                version.wait(report)
        show(version, COLUMNS, is_json=is_json)


@contextmanager
def _status(*, is_shown: bool) -> Iterator[Any]:
    """A function that shows what a training does, on the standard error of a terminal."""
    screen = Console(stderr=True)
    if not (is_shown and screen.is_terminal):
        yield None
        return
    with screen.status("Waiting") as status:

        def report(version: Version[Blocking]) -> None:
            progress = version.progress
            share = f", {progress.share:.0%}" if progress and progress.share is not None else ""
            message = f": {progress.message}" if progress and progress.message else ""
            status.update(f"{version.name} {version.status}{message}{share}")

        yield report


def list_versions(project: projects.Name, is_json: Json = False) -> None:
    """List the training versions, the newest first."""
    with errors_as_exits(is_json=is_json), connect() as client:
        show(list(projects.find(client, project).versions()), COLUMNS, is_json=is_json)


def show_metrics(project: projects.Name, version: Number, is_json: Json = False) -> None:
    """The evaluation of a version: figures with their 95 % intervals, and what to think of them."""
    with errors_as_exits(is_json=is_json), connect() as client:
        metrics = projects.find(client, project).version(version).metrics
    if is_json:
        print_json(metrics)
    else:
        _print_metrics(metrics)


def _print_metrics(metrics: Metrics) -> None:
    for name in ("accuracy", "precision", "recall", "f1"):
        console().print(f"{name:<10}{getattr(metrics, name)}", markup=False)
    for line in dict.fromkeys([*metrics.notes, *metrics.advice]):  # advice repeats some notes
        console().print(line, markup=False)


def compare(project: projects.Name, version: Number, other: Number, is_json: Json = False) -> None:
    """How another version differs from the first one, on the images that both predicted."""
    with errors_as_exits(is_json=is_json), connect() as client:
        found = projects.find(client, project)
        comparison = found.version(version).compare(found.version(other))
    if is_json:
        print_json(comparison)
        return
    for row in comparison.versions:
        console().print(f"V{row.number:03d}  {row.accuracy}", markup=False)
    for pair in comparison.pairs:
        console().print(pair.summary, markup=False)
