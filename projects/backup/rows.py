"""Rows of tables as compressed JSON Lines, the same for every database, and back.

A chunk is one member of an archive: the first line has the columns, each further one the values of a row.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import gzip
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from projects.backup.archive import ArchiveMember, ArchiveReader, ArchiveWriter, BadArchive

ROWS_FOLDER = "rows"
CHUNK_BYTES = 1 << 22  # of the text of a chunk, before its last row
MAX_CHUNK_BYTES = 1 << 28  # of one that is read; a row of an action on 100,000 images takes 20 MB
INSERTED_AT_ONCE = 1000
Row = dict[str, Any]


def columns_of(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    """The columns that hold values, without generated ones."""
    return [field for field in model._meta.concrete_fields if not getattr(field, "generated", False)]


def key_column(model: type[models.Model]) -> models.Field[Any, Any]:
    return next(field for field in model._meta.concrete_fields if field.primary_key)


def write_rows(archive: ArchiveWriter, rows: models.QuerySet[Any]) -> int:
    """Write all columns of the rows as chunks of their table; return how many rows."""
    columns = [field.attname for field in columns_of(rows.model)]
    return write_values(archive, rows.model, columns, rows.values_list(*columns).iterator(chunk_size=2000))


def write_values(
    archive: ArchiveWriter,
    model: type[models.Model],
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> int:
    """Write rows as chunks of the table; return how many."""
    count = number = size = 0
    lines: list[str] = []
    for row in rows:
        lines.append(_dump(row))
        size += len(lines[-1])
        count += 1
        if size > CHUNK_BYTES:
            number += 1
            _write_chunk(archive, model, number, [_dump(columns), *lines])
            lines, size = [], 0
    if lines:
        _write_chunk(archive, model, number + 1, [_dump(columns), *lines])
    return count


def _write_chunk(
    archive: ArchiveWriter, model: type[models.Model], number: int, lines: Sequence[str]
) -> None:
    content = gzip.compress("\n".join(lines).encode(), 3, mtime=0)
    archive.add_bytes(f"{ROWS_FOLDER}/{model._meta.label_lower}/{number:06}.jsonl.gz", content)


def table_of(member: ArchiveMember) -> str:
    """The label of the model whose rows the member holds, such as projects.image; empty for other members."""
    parts = member.name.split("/")
    return parts[1] if len(parts) == 3 and parts[0] == ROWS_FOLDER else ""


def read_chunk(
    archive: ArchiveReader, member: ArchiveMember, max_bytes: int = MAX_CHUNK_BYTES
) -> Iterator[Row]:
    """The rows of a member, as stored. Raises BadArchive, also for one of more than `max_bytes` of text."""
    columns: list[str] = []
    for number, value in enumerate(_read_lines(archive, member, max_bytes)):
        if not isinstance(value, list):
            raise _unreadable(member, number)
        if not number:
            columns = [str(name) for name in value]
        elif len(value) != len(columns):
            raise _unreadable(member, number)
        else:
            yield dict(zip(columns, value, strict=True))


def _read_lines(archive: ArchiveReader, member: ArchiveMember, max_bytes: int) -> Iterator[Any]:
    left, number = max_bytes, 0
    try:
        with gzip.GzipFile(fileobj=archive.open(member)) as lines:
            while line := lines.readline(left):
                left -= len(line)
                if left <= 0:
                    raise BadArchive(f"The file is refused: {member.name} holds more than it may.")
                yield json.loads(line)
                number += 1
    except (OSError, EOFError, ValueError, RecursionError) as problem:
        raise _unreadable(member, number) from problem


def _unreadable(member: ArchiveMember, number: int) -> BadArchive:
    return BadArchive(f"The file is damaged: line {number + 1} of {member.name} cannot be read.")


def to_python(model: type[models.Model], row: Row) -> Row:
    """The values of a stored row as Python's. Raises BadArchive for an unknown column or a wrong value."""
    fields = {field.attname: field for field in columns_of(model)}
    values = {}
    for name, value in row.items():
        if name not in fields:
            raise BadArchive(f"The file is damaged: {model._meta.label} has no column {name[:64]!r}.")
        try:
            values[name] = fields[name].to_python(value)
        except (ValidationError, ValueError, TypeError) as problem:
            raise BadArchive(
                f"The file is damaged: {name} of a row of {model._meta.label} cannot be read."
            ) from problem
    return values


def insert(connection: BaseDatabaseWrapper, model: type[models.Model], rows: Iterable[Row]) -> int:
    """Insert rows of Python's values exactly as they are, keys and times included; return how many."""
    count, batch = 0, []
    for row in rows:
        batch.append(row)
        if len(batch) == INSERTED_AT_ONCE:
            count += _insert_batch(connection, model, batch)
            batch = []
    return count + (_insert_batch(connection, model, batch) if batch else 0)


def _insert_batch(connection: BaseDatabaseWrapper, model: type[models.Model], batch: Sequence[Row]) -> int:
    """`bulk_create` would set the times of creation anew."""
    fields = [field for field in columns_of(model) if field.attname in batch[0]]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in fields)
    sql = f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES ({', '.join(['%s'] * len(fields))})"
    values = [[field.get_db_prep_save(row[field.attname], connection) for field in fields] for row in batch]
    with connection.cursor() as cursor:
        cursor.executemany(sql, values)
    return len(batch)


def as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _dump(values: Sequence[Any]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), default=_as_text)


def _as_text(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID | datetime.timedelta):
        return str(value)
    return str(value)  # addresses, lazy texts
