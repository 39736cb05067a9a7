"""Export of images and labels as streamed archives, manifests and tables. Importing one restores both.

An export contains the images that a query of Label Data matches, the bin excluded, ordered by id.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Any
from urllib.parse import unquote

from django.db import models
from django.utils.translation import gettext_lazy
from zipstream import ZIP_STORED, ZipStream

from exeml_site.lib import storage
from exeml_site.lib.bulk import chunks
from projects.datasets.publish import entry_label
from projects.formats import manifest
from projects.formats.columns import METADATA_MARK
from projects.formats.csv_labels import LABEL_LIST_HEAD, TABLE_HEAD
from projects.formats.csv_text import write_csv
from projects.formats.pictures.picture_formats import FORMATS
from projects.formats.splits.split_folders import usage_of_folder, usages_of_family
from projects.images.upload import clean_name
from projects.labels import metadata
from projects.models import Annotation, Image, Project
from projects.quality import hard_examples
from projects.transfers.file_sources import is_user_file

IMAGE_FOLDER = "images"
METADATA_FILE = "metadata.csv"  # path and columns of metadata, beside folders and text files
# No part of a file name on some system; and a percent sign that could be read as a code.
_NO_FILE_NAME = re.compile(r'[<>:"|?*\\/\x00-\x1f\x7f]|%(?=[0-9A-Fa-f]{2})|\A[.~]|[. ]\Z')
# Words of folders that an import may take for a split, or for one that only holds others.
_STRUCTURE = re.compile(
    r"(?:(?:train(?:ing|val)?|trn|val(?:id(?:ation|ate|ating)?)?|eval(?:uation)?|dev|test(?:s|ing)?|tst|holdout"
    r"|inference|default|unlabell?ed|unassigned|labell?ed|images?|imgs?|photos?|pictures?|pics?|jpegimages|data"
    r"|datasets?|sets?|splits?|folders?|dirs?|all|raw)[\W\d_]*)+",
    re.IGNORECASE,
)
_DEVICE = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)


class ExportFormat(models.TextChoices):
    """The formats of an export."""

    ARCHIVE = "archive", gettext_lazy("Everything (zip): images, manifest, labels with colours and keys")
    FOLDERS = "folders", gettext_lazy("A folder for each label (zip)")
    TEXTS = "texts", gettext_lazy("Text files (zip): 10.txt beside 10.jpg, one label per line")
    MANIFEST = "manifest", gettext_lazy("Only the manifest (ModelArts format)")
    TABLE = "table", gettext_lazy("Table (CSV)")


SUFFIXES = {ExportFormat.MANIFEST: ".manifest", ExportFormat.TABLE: ".csv"}
CONTENT_TYPES = {ExportFormat.MANIFEST: "application/jsonl", ExportFormat.TABLE: "text/csv; charset=utf-8"}


@dataclass(frozen=True)
class Export:
    """A file to send: its name and its content in pieces. `size_bytes` is 0 if unknown."""

    file_name: str
    content_type: str
    pieces: Iterable[bytes]
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One image with its labels. `name` is unique in the export, as is its stem."""

    image: Image
    name: str
    entry_labels: tuple[manifest.EntryLabel, ...]
    values: dict[str, str] = field(default_factory=dict)  # metadata

    @property
    def labels(self) -> list[str]:
        return [label.name for label in self.entry_labels]


def export_images(project: Project, image_ids: Sequence[int], format: ExportFormat) -> Export:
    rows = read_rows(project, image_ids)
    name = f"{project.name}{SUFFIXES.get(format, '.zip')}"
    if format == ExportFormat.MANIFEST:
        return Export(name, CONTENT_TYPES[format], manifest.write(map(_entry, rows)))
    if format == ExportFormat.TABLE:
        return Export(name, CONTENT_TYPES[format], _csv_table(rows, _column_names(project)))
    archive = _ARCHIVE_WRITERS[format](project, rows)
    return Export(name, "application/zip", archive, len(archive))


def read_rows(project: Project, image_ids: Sequence[int]) -> Iterator[ExportRow]:
    """The images among `image_ids` that are not in the bin, with their labels, ordered by id."""
    names = _UniqueNames()
    for chunk in chunks(sorted(image_ids)):
        labels_of: dict[int, list[manifest.EntryLabel]] = {}
        carried = Annotation.objects.filter(image_id__in=chunk).order_by("label__position", "pk")
        fields = ("image_id", "label__name", "source", "by__username", "at", "confidence")
        for image_id, name, source, by, at, confidence in carried.values_list(*fields):
            labels_of.setdefault(image_id, []).append(entry_label(name, source, by, at, confidence))
        values = metadata.load_values(chunk)
        for image in Image.objects.alive().filter(project=project, pk__in=chunk).order_by("pk"):
            labels = tuple(labels_of.get(image.pk, ()))
            yield ExportRow(image, names.unique(image), labels, values.get(image.pk, {}))


class _UniqueNames:
    """File names of one export: valid on every system, each stem unique, case ignored."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, image: Image) -> str:
        name = PurePosixPath(safe_name(clean_name(image.name)))
        suffixes = FORMATS[image.format].suffixes
        suffix = name.suffix if name.suffix.lower() in suffixes else suffixes[0]
        stem = name.name.removesuffix(suffix)
        if stem.lower() in self._taken:
            stem = f"{stem}-{image.pk}"
        self._taken.add(stem.lower())
        return stem + suffix


def safe_name(name: str) -> str:
    """A file name that is valid on every system, is not hidden and does not lead out of the archive."""
    safe = "".join("_" if character in '<>:"|?*\\/' else character for character in name).rstrip(". ")
    return f"_{safe}" if safe.startswith(".") or not safe else safe


# --- folders of labels ---


def folder_of_label(label: str) -> str:
    """The folder of a label: another one for every label, from which `label_of_folder` restores it.

    What no system allows in a name is percent-encoded, and the first letter of a name that has a meaning:
    a device of Windows, a folder that an import passes over or takes for a split.
    """
    folder = _NO_FILE_NAME.sub(lambda found: "".join(map(_percent, found[0])), label)
    has_meaning = (
        not is_user_file(folder)
        or _STRUCTURE.fullmatch(folder) is not None
        or usage_of_folder(folder) is not None
        or _DEVICE.fullmatch(folder.partition(".")[0].strip()) is not None
    )
    return _percent(folder[0]) + folder[1:] if has_meaning else folder


def label_of_folder(folder: str) -> str:
    return unquote(folder)


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


class _LabelFolders:
    """Folders of one export. Labels that differ in capitals alone have two, also where a system sees one."""

    def __init__(self, labels: Iterable[str]) -> None:
        self._family = usages_of_family(labels)  # an import would take `a_train` beside `a_test` for splits
        self._folders: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, label: str) -> str:
        if label not in self._folders:
            folder = folder_of_label(label)
            if folder.casefold() in self._taken or label in self._family:
                folder = "".join(map(_percent, label))
            self._taken.add(folder.casefold())
            self._folders[label] = folder
        return self._folders[label]


# --- manifests and tables ---


def _entry(row: ExportRow) -> manifest.Entry:
    image = row.image
    properties: dict[str, Any] = {manifest.SHA256: image.sha256, manifest.FILE_NAME: image.name}
    if image.hard_reasons:
        properties[manifest.HARD_REASONS] = hard_examples.parse_reasons(image.hard_reasons)
    return manifest.Entry(
        source=f"{IMAGE_FOLDER}/{row.name}",
        usage=image.split,
        id=image.sha256[:32],
        entry_labels=row.entry_labels,
        is_hard=True if image.is_hard else None,
        properties=properties,
        values=row.values,
    )


def _column_names(project: Project) -> list[str]:
    return list(project.metadata_columns.values_list("name", flat=True))


def _csv_table(rows: Iterable[ExportRow], columns: Sequence[str]) -> Iterator[bytes]:
    yield write_csv([[*TABLE_HEAD, *columns]])
    for row in rows:
        first = row.entry_labels[0] if row.entry_labels else manifest.EntryLabel("", "")
        image, by = row.image, first.annotated_by.partition("/")[2]
        cells: list[object] = [f"{IMAGE_FOLDER}/{row.name}", row.labels, image.split]
        cells += [image.width, image.height, by, first.creation_time]
        yield write_csv([[*cells, *(row.values.get(column, "") for column in columns)]])


# --- archives ---


def _full_archive(project: Project, rows: Iterable[ExportRow]) -> ZipStream:
    archive, lines = _new_archive(), _Spool()
    for row in rows:
        _add_image(archive, f"{IMAGE_FOLDER}/{row.name}", row.image)
        lines.write(b"".join(manifest.write([_entry(row)])))
    archive.add(lines.pieces(), f"{project.name}.manifest", size=lines.size)
    archive.add(_label_list(project), "labels.csv")
    return archive


def _label_list(project: Project) -> bytes:
    labels = [[label.name, label.colour, label.hot_key] for label in project.labels.all()]
    return write_csv([LABEL_LIST_HEAD, *labels])


def _folder_archive(project: Project, rows: Iterable[ExportRow]) -> ZipStream:
    """One folder per label. An image with several labels is in several folders, an unlabeled one in none."""
    archive, folders = _new_archive(), _LabelFolders(project.labels.values_list("name", flat=True))
    table = _MetadataTable(project)
    for row in rows:
        for folder in [f"{folders.of(label)}/" for label in row.labels] or [""]:
            _add_image(archive, f"{folder}{row.name}", row.image)
            table.add(f"{folder}{row.name}", row)
    table.add_to(archive)
    return archive


def _text_archive(project: Project, rows: Iterable[ExportRow]) -> ZipStream:
    archive, table = _new_archive(), _MetadataTable(project)
    for row in rows:
        _add_image(archive, row.name, row.image)
        table.add(row.name, row)
        if row.labels:
            archive.add("".join(f"{label}\n" for label in row.labels), f"{PurePosixPath(row.name).stem}.txt")
    table.add_to(archive)
    return archive


_ARCHIVE_WRITERS: dict[str, Callable[[Project, Iterable[ExportRow]], ZipStream]] = {
    ExportFormat.ARCHIVE: _full_archive,
    ExportFormat.FOLDERS: _folder_archive,
    ExportFormat.TEXTS: _text_archive,
}


def _new_archive() -> ZipStream:
    """Stored, not compressed: images do not compress further, and the archive's size is known beforehand."""
    return ZipStream(compress_type=ZIP_STORED, sized=True)


def _add_image(archive: ZipStream, path: str, image: Image) -> None:
    archive.add(storage.read_chunks(image.file_name), path, size=image.size_bytes)


class _MetadataTable:
    """The table of metadata beside folders or text files; a project without columns has none."""

    def __init__(self, project: Project) -> None:
        self._columns, self._lines = _column_names(project), _Spool()
        self._lines.write(write_csv([["path", *(f"{METADATA_MARK}{name}" for name in self._columns)]]))

    def add(self, path: str, row: ExportRow) -> None:
        if row.values:
            self._lines.write(write_csv([[path, *(row.values.get(column, "") for column in self._columns)]]))

    def add_to(self, archive: ZipStream) -> None:
        if self._columns:
            archive.add(self._lines.pieces(), METADATA_FILE, size=self._lines.size)


class _Spool:
    """The manifest, collected while images are added to the archive; a large one spills to disk."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(1 << 22)  # noqa: SIM115 (read later)
        self.size = 0

    def write(self, content: bytes) -> None:
        self.size += self._file.write(content)

    def pieces(self) -> Iterator[bytes]:
        with self._file as file:
            file.seek(0)
            yield from iter(lambda: file.read(storage.CHUNK_BYTES), b"")
