"""Reads a project file into an empty project. Nothing in it is trusted.

The whole file is read and every sha256 compared first. Pictures are decoded and stored as uploaded ones are.
Rows are checked one by one and written in short transactions, so that others can go on working; if one is
refused, those before it are deleted and the project is empty again. What is refused is said in English: it is
stored.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from itertools import islice
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, models, transaction
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext_noop

from exeml_site import __version__
from exeml_site.lib import storage
from projects.backup import rows
from projects.backup.archive import ArchiveMember, ArchiveReader, BadArchive
from projects.backup.rows import Row, key_column
from projects.formats import manifest
from projects.images import upload
from projects.images.decode import ImageRefused
from projects.models import Annotation, DatasetVersion, Image, LabelEvent, LabelEventImage, Project
from projects.transfers.project_file.tables import ProjectTable, image_member, manifest_member, parts
from projects.transfers.project_file.write import FORMAT, FORMAT_VERSION, PEOPLE, SETTINGS

MAX_CHUNK_BYTES = 1 << 26
MAX_MEMBERS = 3_000_000
MAX_PEOPLE_BYTES = 1 << 24
ROWS_AT_ONCE = 300
PICTURES_AT_ONCE = 16
SHA256 = re.compile(r"[0-9a-f]{64}")
NOT_EMPTY = gettext_noop("This project is not empty. Create a new project and import the file there.")
NO_PROJECT_FILE = gettext_noop("This file is not a project file of exeml.")


class ProjectImport:
    """One import of a project file. `keys`: table → key in the file → key of the new row."""

    def __init__(
        self, project: Project, file: BinaryIO, beat: Callable[[int, int], None] = lambda done, total: None
    ) -> None:
        self.project, self._beat = project, beat
        self.archive = ArchiveReader(file)
        self.keys: dict[str, dict[int, int]] = {}
        self.left_out: dict[
            str, set[int]
        ] = {}  # keys of rows whose picture was refused, or what refers to them
        self.pictures: dict[str, Row] = {}
        self.refused: list[tuple[str, str]] = []  # pictures: name and reason
        self.done = 0

    def run(self) -> None:
        """Raises BadArchive; then the project is empty."""
        self._require_readable()
        self.counts = self.archive.check(lambda: self._beat(0, 0))
        self._tables = [table for part in parts() for table in part.tables]
        self.delete_all()
        try:
            for table in self._tables:
                self._read_table(table)
            for part in parts():
                part.store(self)
            self._finish()
        except BaseException:
            self.delete_all()
            raise

    def _require_readable(self) -> None:
        head = self.archive.head
        if head.get("format") != FORMAT:
            raise BadArchive(NO_PROJECT_FILE)
        if head.get("format_version") != FORMAT_VERSION:
            raise BadArchive(
                f"This project file was written by a newer version ({head.get('program_version')}) than this "
                f"one ({__version__}). Import it there, or upgrade first."
            )

    def delete_all(self) -> None:
        """Empty the project; an import that was killed may have left rows."""
        for part in reversed(parts()):
            for table in reversed(part.tables):
                while keys := list(table.rows(self.project).values_list("pk", flat=True)[:ROWS_AT_ONCE]):
                    table.model._base_manager.filter(pk__in=keys).delete()

    @cached_property
    def members(self) -> dict[str, ArchiveMember]:
        """The stored files of the archive, by name."""
        found = {}
        for member in self.archive.members():
            if member.name.startswith("files/"):
                found[member.name.removeprefix("files/")] = member
            if len(found) > MAX_MEMBERS:
                raise BadArchive("The file is refused: it has too many members.")
        return found

    @cached_property
    def people(self) -> dict[int, User]:
        """People of the file who are members of the project's team, by e-mail address, else by name."""
        member = next((each for each in self.archive.members() if each.name == PEOPLE), None)
        if member is None or member.size > MAX_PEOPLE_BYTES:
            raise BadArchive("The file is damaged: its list of people is missing.")
        team = list(User.objects.filter(memberships__team=self.project.team_id))
        by_mail = {user.email.lower(): user for user in team if user.email}
        by_name = {user.username: user for user in team}
        found = {}
        try:
            for pk, (name, email) in json.loads(self.archive.open(member).read()).items():
                user = by_mail.get(str(email).lower()) or by_name.get(str(name))
                if user is not None:
                    found[int(pk)] = user
        except (ValueError, TypeError, AttributeError) as problem:
            raise BadArchive("The file is damaged: its list of people cannot be read.") from problem
        return found

    # --- rows ---

    def _read_table(self, table: ProjectTable) -> None:
        self.keys[table.label], self.left_out[table.label] = {}, set()
        found = (
            row
            for member in self.archive.members()
            if rows.table_of(member) == table.label
            for row in rows.read_chunk(self.archive, member, MAX_CHUNK_BYTES)
        )
        while batch := [self._checked(table, row) for row in islice(found, ROWS_AT_ONCE)]:
            if table.model is Image:
                batch = self._store_pictures(batch)
            try:
                self._insert(table, batch)
            except DatabaseError as problem:
                reason = (str(problem).strip().splitlines() or [""])[0]
                raise BadArchive(
                    f"The file is refused: rows of {table.label} cannot be stored ({reason})."
                ) from problem
            self._beat(self.done, sum(self.counts["rows"].values()))

    @staticmethod
    def _checked(table: ProjectTable, row: Row) -> Row:
        """The row in Python's values, each one valid for its column. Raises BadArchive."""
        if set(row) != set(table.columns):
            raise BadArchive(f"The file is refused: a row of {table.label} has other columns.")
        row = rows.to_python(table.model, row)
        for column in rows.columns_of(table.model):
            if column.attname in row:
                _check_value(table, column, row[column.attname])
        return row

    def _insert(self, table: ProjectTable, batch: list[Row]) -> None:
        own = key_column(table.model).attname
        with transaction.atomic():
            kept = [row for row in batch if not self._is_left_out(table, row)]
            new_keys = allocate_keys(table.model, len(kept))
            ready = []
            for row, key in zip(kept, new_keys, strict=True):
                old, row[own] = row[own], key
                self._point_to_new_rows(table, row)
                self.keys[table.label][old] = key
                table.adapt(row, self)
                ready.append(_with_defaults(table.model, row))
            rows.insert(connection, table.model, ready)
            if table.model is LabelEvent:
                _insert_event_images(ready)
        self.done += len(batch)

    def _is_left_out(self, table: ProjectTable, row: Row) -> bool:
        """Whether the row is, or refers to, one that was left out."""
        own = row[key_column(table.model).attname]
        is_out = own in self.left_out[table.label] or any(
            row[column.attname] in self.left_out.get(_target_of(column), ()) and not column.null
            for column in rows.columns_of(table.model)
            if column.is_relation and column.attname in row
        )
        if is_out:
            self.left_out[table.label].add(own)
        return is_out

    def _point_to_new_rows(self, table: ProjectTable, row: Row) -> None:
        """Let each reference lead to the new row. Raises BadArchive if it must and the file has none."""
        for column in rows.columns_of(table.model):
            if not column.is_relation or column.attname not in row:
                continue
            old = row[column.attname]
            if column.related_model is User:
                row[column.attname] = self.people[old].pk if old in self.people else None
            elif column.related_model is Project:
                is_own = old == self.archive.head["project"]["id"]
                row[column.attname] = self.project.pk if is_own else None
            else:
                row[column.attname] = self.keys.get(_target_of(column), {}).get(old)
            if row[column.attname] is None and not column.null:
                raise BadArchive(f"The file is refused: a row of {table.label} refers to no row of the file.")

    # --- files ---

    def read(self, name: str, limit: int) -> bytes:
        """The content of a stored file. Raises BadArchive if it is missing or larger than `limit` bytes."""
        member = self.members.get(name)
        if member is None:
            raise BadArchive(f"The file is not complete: {name[:100]} is missing.")
        if member.size > limit:
            raise BadArchive(f"The file is refused: {name[:100]} is larger than {limit >> 20} MB.")
        return self.archive.open(member).read()

    def _store_pictures(self, batch: list[Row]) -> list[Row]:
        """Decode and store the pictures of image rows; those that are refused are left out and noted."""
        with ThreadPoolExecutor(2) as pool:  # Pillow releases the GIL; `images.decode` admits two at once
            for start in range(0, len(batch), PICTURES_AT_ONCE):
                some = batch[start : start + PICTURES_AT_ONCE]
                contents = [self._read_picture(row) for row in some]
                for row, found in zip(some, pool.map(self._store_picture, some, contents), strict=True):
                    if isinstance(found, str):
                        self.left_out[Image._meta.label_lower].add(row["id"])
                        self.refused.append((row["name"], found))
                    else:
                        self.pictures[row["sha256"]] = found
                self._beat(self.done, sum(self.counts["rows"].values()))
        return batch

    def _read_picture(self, row: Row) -> bytes | str:
        if not SHA256.fullmatch(row["sha256"]):
            raise BadArchive("The file is refused: an image has no sha256.")
        try:
            return self.read(image_member(row["sha256"]), settings.EXEML_MAX_IMAGE_MB << 20)
        except BadArchive as problem:
            return str(problem)

    def _store_picture(self, row: Row, content: bytes | str) -> Row | str:
        if isinstance(content, str):
            return content
        if sha256(content).hexdigest() != row["sha256"]:
            return "Its content does not fit its sha256."
        try:
            stored = upload.store_image(self.project, row["name"], content)
        except ImageRefused as refusal:
            return str(refusal)
        decoded = stored.decoded
        return {
            "name": stored.name,
            "format": decoded.format,
            "width": decoded.width,
            "height": decoded.height,
            "size_bytes": stored.size_bytes,
        }

    def store_manifest(self, row: Row) -> Row:
        """Store the manifest of a dataset version with the images of this project; its name and sha256."""
        old = next(
            key for key, new in self.keys[DatasetVersion._meta.label_lower].items() if new == row["id"]
        )
        member = self.members.get(manifest_member(old))
        if member is None:
            raise BadArchive(f"The file is not complete: the manifest of {row['name']} is missing.")
        name, digest = f"datasets/{self.project.pk}/{row['name']}.manifest", sha256()
        with tempfile.TemporaryFile() as file:
            try:
                entries = manifest.read(self.archive.open(member))
                for line in manifest.write(map(self._entry_of_new_image, entries)):
                    digest.update(line)
                    file.write(line)
            except manifest.ManifestError as problem:
                raise BadArchive(f"The manifest of {row['name']} cannot be read. {problem}") from problem
            file.seek(0)
            storage.save_whole(name, file)
        return {"manifest": name, "sha256": digest.hexdigest()}

    def _entry_of_new_image(self, entry: manifest.Entry) -> manifest.Entry:
        """The entry, pointing to the image of this project; one that is gone has no file and no valid id."""
        digest = str(entry.properties.get(manifest.SHA256, ""))
        suffix = entry.source.rpartition(".")[2]
        if (
            not SHA256.fullmatch(digest)
            or not re.fullmatch(r"[a-z0-9]{1,8}", suffix)
            or entry.image_id is None
        ):
            raise BadArchive("The file is refused: a manifest names an image without its sha256.")
        new = self.keys[Image._meta.label_lower].get(entry.image_id, -abs(entry.image_id))
        source = f"images/{self.project.pk}/{digest[:2]}/{digest}.{suffix}"
        return replace(entry, source=source, properties=entry.properties | {manifest.IMAGE_ID: new})

    def _finish(self) -> None:
        """What images are labeled, and the settings of the project."""
        labeled = Image.objects.filter(Exists(Annotation.objects.filter(image=OuterRef("pk"))))
        labeled.filter(project=self.project).update(is_labeled=True)
        Image.objects.filter(project=self.project).exclude(pk__in=labeled.values("pk")).update(
            is_labeled=False
        )
        given = self.archive.head["project"]
        for name in SETTINGS:
            column = next(field for field in Project._meta.concrete_fields if field.name == name)
            try:
                setattr(self.project, name, column.clean(given.get(name), self.project))
            except ValidationError as problem:
                raise BadArchive(f"The file is refused: {name} of the project is not valid.") from problem
        self.project.save(update_fields=[*SETTINGS])


def is_empty(project: Project) -> bool:
    """Whether a project file can be imported into the project."""
    return not any(table.rows(project).exists() for part in parts() for table in part.tables)


def allocate_keys(model: type[models.Model], count: int) -> list[int]:
    """Keys that no row has; within a transaction, in which the rows are inserted."""
    table, key = model._meta.db_table, str(key_column(model).column)
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
                [quote(table), key, count],
            )
            return [value for (value,) in cursor.fetchall()]
        cursor.execute(f"SELECT coalesce(max({quote(key)}), 0) FROM {quote(table)}")
        last = cursor.fetchone()[0]
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        first = max([last, *(value for (value,) in cursor.fetchall())]) + 1
    return list(range(first, first + count))


def _check_value(table: ProjectTable, column: models.Field[Any, Any], value: Any) -> None:
    """Raises BadArchive for a value that the column must not have."""
    if column.is_relation or column.primary_key:
        is_good = value is None or (isinstance(value, int) and 0 < value < 1 << 62)
    elif isinstance(column, models.JSONField):
        is_good = not column.has_default() or type(value) is type(column.get_default())
        is_good = is_good and "\\u0000" not in json.dumps(value)
    else:
        is_good = value is not None or column.null
        if isinstance(value, str) and "\0" in value:
            is_good = False
        if is_good and column.choices and value not in (None, ""):
            is_good = value in {choice for choice, _ in column.flatchoices}
        try:
            column.run_validators(value)
        except ValidationError:
            is_good = False
    if not is_good:
        raise BadArchive(f"The file is refused: {column.name} of a row of {table.label} is not valid.")


def _target_of(column: models.Field[Any, Any]) -> str:
    """The label of the table that a reference leads to."""
    return str(cast(type[models.Model], column.related_model)._meta.label_lower)


def _with_defaults(model: type[models.Model], row: Mapping[str, Any]) -> Row:
    filled = model(**row)
    return {column.attname: getattr(filled, column.attname) for column in rows.columns_of(model)}


def _insert_event_images(events: list[Row]) -> None:
    """The index of events by image, from what they changed."""
    pairs = {(event["id"], change["image"]) for event in events for change in event["changes"]}
    LabelEventImage.objects.bulk_create(
        (LabelEventImage(event_id=event, image_id=image) for event, image in sorted(pairs)), batch_size=1000
    )
