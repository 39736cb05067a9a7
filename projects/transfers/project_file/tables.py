"""The tables that a project file holds, and how a row of one becomes a row of another project.

`settings.PROJECT_FILE_PARTS` names the parts of all apps. A row of a file is not trusted: a part says what is
kept of it, references lead to rows of the same file or nowhere, and each value is checked as in a form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.conf import settings
from django.db import models
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from projects.backup.archive import ArchiveMember, ArchiveReader, BadArchive
from projects.backup.rows import Row, columns_of
from projects.models import (
    Annotation,
    DatasetVersion,
    Image,
    Label,
    LabelEvent,
    MetadataColumn,
    MetadataValue,
    Opinion,
    Project,
)


class NewProject(Protocol):
    """The project that a file is imported into (`read.ProjectImport`), as its parts see it.

    `keys`: table → key in the file → key of the new row. `pictures`: sha256 → what its decoding found.
    """

    project: Project
    archive: ArchiveReader
    keys: dict[str, dict[int, int]]
    pictures: dict[str, Row]

    @property
    def members(self) -> dict[str, ArchiveMember]:
        """The stored files of the archive, by name."""

    def store_manifest(self, row: Row) -> Row:
        """Store the manifest of a dataset version with the images of this project; its name and sha256."""


Adapt = Callable[[Row, NewProject], None]


def _nothing(row: Row, to: NewProject) -> None:
    pass


@dataclass(frozen=True)
class ProjectTable:
    """Rows of one model: those of a project, without the columns `left_out`, which get their defaults.

    `adapt` changes an imported row, whose references lead to new rows already. Raises BadArchive.
    """

    model: type[models.Model]
    rows: Callable[[Project], QuerySet[Any]]
    left_out: frozenset[str] = frozenset()
    adapt: Adapt = _nothing

    @property
    def label(self) -> str:
        return self.model._meta.label_lower

    @property
    def columns(self) -> list[str]:
        return [column.attname for column in columns_of(self.model) if column.attname not in self.left_out]


@dataclass(frozen=True)
class ProjectFilePart:
    """What one app gives: tables in the order of their references, and files.

    `files` yields names in the storage and in the archive. `store` stores the files of an import, whose rows
    are there already.
    """

    tables: tuple[ProjectTable, ...]
    files: Callable[[Project], Iterator[tuple[str, str]]] = field(default=lambda _: iter(()))
    store: Callable[[NewProject], None] = field(default=lambda _: None)


def parts() -> list[ProjectFilePart]:
    return [import_string(name) for name in settings.PROJECT_FILE_PARTS]


def _adapt_image(row: Row, to: NewProject) -> None:
    """What the file says of the picture itself was read from it: `to.pictures` decoded it."""
    picture = to.pictures.pop(row["sha256"], None)
    if picture is None:
        raise BadArchive("The file is refused: it has two images of the same content.")
    row |= picture


def _adapt_opinion(row: Row, to: NewProject) -> None:
    labels = to.keys[Label._meta.label_lower]
    for name in ("labels", "first"):
        row[name] = [labels[pk] for pk in row[name] if isinstance(pk, int) and pk in labels]


def _adapt_event(row: Row, to: NewProject) -> None:
    """Keeps which image got which labels, and the action as a text: ids within it would lead elsewhere."""
    images = to.keys[Image._meta.label_lower]
    changes = [change for change in row["changes"] if isinstance(change, dict) and "image" in change]
    row["changes"] = [
        {"image": images[change["image"]], "from": _texts(change.get("from")), "to": _texts(change.get("to"))}
        for change in changes
        if isinstance(change["image"], int) and change["image"] in images
    ]
    details = row["details"]
    row["details"] = {name: str(details.get(name, ""))[:1000] for name in ("text", "by_name")}


def _texts(value: Any) -> list[str]:
    return [str(item)[:64] for item in value] if isinstance(value, list) else []


def _adapt_dataset_version(row: Row, to: NewProject) -> None:
    row |= to.store_manifest(row)


def _published(project: Project) -> QuerySet[DatasetVersion]:
    return DatasetVersion.objects.filter(project=project, published_at__isnull=False).exclude(manifest="")


def _files(project: Project) -> Iterator[tuple[str, str]]:
    for version in _published(project).order_by("pk"):
        yield version.manifest, manifest_member(version.pk)


def image_member(sha256: str) -> str:
    return f"images/{sha256}"


def manifest_member(pk: int) -> str:
    return f"datasets/{pk}.manifest"


COMPUTED = frozenset(  # by the workers; they compute it again
    {
        *("transfer_id", "suggestion_id", "confidence", "acquisition_score", "suspected_label_id"),
        *("suspected_confidence", "outlier_score", "duplicate_group", "brightness", "sharpness"),
    }
)
PROJECT_PART = ProjectFilePart(
    tables=(
        ProjectTable(Label, lambda project: Label.objects.filter(project=project)),
        ProjectTable(MetadataColumn, lambda project: MetadataColumn.objects.filter(project=project)),
        ProjectTable(Image, lambda project: Image.objects.filter(project=project), COMPUTED, _adapt_image),
        ProjectTable(Annotation, lambda project: Annotation.objects.filter(image__project=project)),
        ProjectTable(MetadataValue, lambda project: MetadataValue.objects.filter(image__project=project)),
        ProjectTable(
            Opinion, lambda project: Opinion.objects.filter(image__project=project), adapt=_adapt_opinion
        ),
        ProjectTable(
            LabelEvent,
            lambda project: LabelEvent.objects.filter(project=project),
            frozenset({"undoes_id"}),
            _adapt_event,
        ),
        ProjectTable(DatasetVersion, _published, adapt=_adapt_dataset_version),
    ),
    files=_files,
)
