"""Writes a project file, streamed: rows of one moment, then the files that they name."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from django.contrib.auth.models import User
from django.db import connections, models
from django.utils import timezone, translation

from exeml_site import __version__
from exeml_site.lib import storage
from projects.backup import files, rows
from projects.backup.archive import ArchiveWriter
from projects.backup.snapshot import snapshot
from projects.labels.event_text import describe_event
from projects.models import Image, LabelEvent, Project
from projects.transfers.project_file.tables import ProjectFilePart, ProjectTable, image_member, parts

FORMAT, FORMAT_VERSION = "exeml project", 1
PEOPLE = "people.json"
SETTINGS = ("is_multi_label", "opinion_share", "blur_limit", "description")

logger = logging.getLogger(__name__)


def stream(project: Project) -> Iterator[bytes]:
    """The file in pieces. A thread writes it into a pipe, so that no more than a piece is in memory."""
    source, target = os.pipe()
    with open(source, "rb") as pipe:
        writer = threading.Thread(target=_write_into, args=(project, target), daemon=True)
        writer.start()
        yield from iter(lambda: pipe.read(storage.CHUNK_BYTES), b"")
    writer.join()


def _write_into(project: Project, target: int) -> None:
    """A reader that went away ends the work; after a failure the file has no end, so no import takes it."""
    try:
        with open(target, "wb") as file:
            write(project, file)
    except BrokenPipeError:
        pass
    except Exception:
        logger.exception("the file of project %s could not be written", project.pk)
    finally:
        connections.close_all()


def write(project: Project, file: BinaryIO) -> None:
    archive = ArchiveWriter(file, _head(project))
    people: set[int] = set()
    every = parts()
    with snapshot() as alias:
        counts = {
            table.label: _write_table(archive, table, table.rows(project).using(alias), people)
            for part in every
            for table in part.tables
        }
    known = User.objects.filter(pk__in=people).values_list("pk", "username", "email")
    archive.add_bytes(PEOPLE, rows.as_json({str(pk): [name, email] for pk, name, email in known}))
    number, size, vanished = files.add_named(archive, _files(project, every))
    archive.end({"rows": counts, "files": number, "file_bytes": size, "vanished_count": len(vanished)})


def _head(project: Project) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "program_version": __version__,
        "created_at": timezone.now().isoformat(),
        "project": {"id": project.pk, "name": project.name}
        | {name: getattr(project, name) for name in SETTINGS},
    }


def _files(project: Project, every: Sequence[ProjectFilePart]) -> Iterator[tuple[str, str]]:
    for image in Image.objects.filter(project=project).order_by("pk").iterator(chunk_size=2000):
        yield image.file_name, image_member(image.sha256)
    for part in every:
        yield from part.files(project)


def _write_table(
    archive: ArchiveWriter, table: ProjectTable, found: models.QuerySet[Any], people: set[int]
) -> int:
    found = found.order_by("pk")
    columns = table.columns
    values: Iterable[Sequence[Any]]
    if table.model is LabelEvent:
        values = _events(found, columns)
    else:
        values = found.values_list(*columns).iterator(chunk_size=2000)
    persons = [columns.index(name) for name in columns if _is_person(table.model, name)]
    return rows.write_values(archive, table.model, columns, _noting(values, persons, people))


def _noting(
    values: Iterable[Sequence[Any]], persons: Sequence[int], people: set[int]
) -> Iterator[Sequence[Any]]:
    """The rows as they are; the people whom they name are added to `people`."""
    for row in values:
        people.update(row[place] for place in persons if row[place] is not None)
        yield row


def _is_person(model: type[models.Model], column: str) -> bool:
    return any(
        field.attname == column and field.related_model is User for field in model._meta.concrete_fields
    )


def _events(events: models.QuerySet[Any], columns: Sequence[str]) -> Iterator[Sequence[Any]]:
    """Events with the action as an English text, and the name of the person, who may be unknown elsewhere."""
    related = events.select_related("by", "undoes__undoes__undoes")
    with translation.override("en"):
        for event in related.iterator(chunk_size=200):
            name = event.by.username if event.by else event.details.get("by_name", "")
            event.details = {"text": describe_event(event), "by_name": name}
            yield [getattr(event, column) for column in columns]
