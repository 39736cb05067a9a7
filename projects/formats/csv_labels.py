"""CSV tables of images and labels, as spreadsheets, scripts and other products write them.

The columns are found by `columns`. Several labels of an image are in several columns, in several rows, in one
cell, or in columns of 0 and 1 that are named as the labels. Rows are read one by one.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from django.utils.translation import gettext_noop

from projects.formats.columns import (
    METADATA_MARK,
    YES,
    Columns,
    FoundColumns,
    find_columns,
    normalized,
    usage_of,
)
from projects.formats.csv_text import unescape_formula
from projects.formats.encodings import codec_of, decode, find_encoding
from projects.formats.errors import LabelFileError
from projects.formats.manifest import Entry, EntryLabel

FORMAT = gettext_noop("CSV table")
MAX_LINE_CHARACTERS = 1 << 20
SAMPLE_ROWS = 2000
NO_VALUE = ("nan", "NaN")  # an empty cell as numpy and pandas write it
DELIMITERS = ",;\t|"
LABEL_LIST_HEAD = ("label", "colour", "key")
# The head of our own tables, in which `;` alone separates labels; columns of metadata follow.
TABLE_HEAD = ("image", "labels", "set", "width", "height", "labeled_by", "labeled_at")
_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""")
_COMMENT_LINES = re.compile(r"\A(?:#[^\r\n]*(?:[\r\n]+|\Z)|[\r\n]+)+")
_NAME_KEYS = (
    "displayName",
    "display_name",
    "tagName",
    "tag_name",
    "name",
    "label",
    "class",
    "value",
    "title",
)


class TableError(LabelFileError):
    """The table cannot be parsed; the text is a sentence for the person."""


@dataclass(frozen=True)
class LabelLook:
    """A label in the label list of an export: `colour` from 0 to 9 or None, `key` is its hot key or empty."""

    name: str
    colour: int | None
    key: str


@dataclass(frozen=True)
class Table:
    """How the rows of a table are read: see LabelFile for the fields."""

    columns: Columns
    head: tuple[str, ...]
    separator: str = ""
    is_one_hot: bool = False
    has_head: bool = True


# --- rows ---


def find_delimiter(text: str) -> str:
    """The delimiter of a table by its beginning: the one that cuts its rows into equally many cells."""
    sample = text[:65536]
    if match := re.match(r"sep=(.)\r?\n", sample):  # Excel's own mark
        return match[1]
    sample = _COMMENT_LINES.sub("", sample) or sample
    first = re.split(r"[\r\n]", sample, maxsplit=1)[0]

    def fitness(delimiter: str) -> tuple[bool, float, int]:
        rows = list(itertools.islice(parse_rows(io.StringIO(sample, newline=""), delimiter), 50))
        widths = [len(row) for row in rows[:-1] or rows] or [0]
        return widths[0] > 1, widths.count(widths[0]) / len(widths), first.count(delimiter)

    with_cells = [delimiter for delimiter in DELIMITERS if delimiter in first]
    return max(with_cells, key=fitness, default=",")


def find_table(rows: Iterable[list[str]]) -> FoundColumns:
    """The columns of a table by its first rows."""
    return find_columns(list(itertools.islice(rows, SAMPLE_ROWS)))


def read_rows(file: BinaryIO, encoding: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the rows that are not blank, one by one. Raises TableError at one that cannot be read."""
    text = io.TextIOWrapper(file, codec_of(encoding), errors="replace", newline="")
    try:
        yield from parse_rows(text, delimiter)
    finally:
        text.detach()


def parse_rows(text: io.TextIOBase, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(_lines(text), delimiter=delimiter, skipinitialspace=True)
    try:
        for row in reader:
            is_mark = reader.line_num == 1 and len(row) <= 2 and row and row[0].lower().startswith("sep=")
            is_comment = len(row) == 1 and row[0].startswith("# ")
            if any(map(str.strip, row)) and not is_mark and not is_comment:
                yield row
    except csv.Error as problem:
        raise TableError(
            f"Line {reader.line_num} of the table cannot be read: {problem}."  # not translated: with values
        ) from problem


def _lines(text: io.TextIOBase) -> Iterator[str]:
    for number in itertools.count(1):
        line = text.readline(MAX_LINE_CHARACTERS)
        if not line:
            return
        if len(line) == MAX_LINE_CHARACTERS:
            raise TableError(
                f"Line {number} of the table is longer than a million characters."  # not translated: values
            )
        yield line.replace("\0", "")


# --- entries ---


def entries(rows: Iterable[Sequence[str]], table: Table) -> Iterator[Entry]:
    """Yield the images of the rows below the head with their labels. Rows without an image are skipped."""
    columns = table.columns
    missing = () if is_own_table(table.head) else NO_VALUE
    split_key = normalized(table.head[columns.split]) if columns.split is not None else ""
    for row in rows:
        source = unescape_formula(_cell(row, columns.image))
        if source:
            usage = "" if columns.split is None else usage_of(_cell(row, columns.split), split_key) or ""
            names = dict.fromkeys(_one_hot_names(row, table) if table.is_one_hot else _names(row, table))
            labels = [name for name in names if name and name not in missing]
            entry_labels = tuple(EntryLabel(name, annotated_by="") for name in labels)
            yield Entry(source, usage, entry_labels, values=_values(row, table))


def _values(row: Sequence[str], table: Table) -> dict[str, str]:
    """The metadata of a row, column → value, without empty cells."""
    cells = ((table.head[index], unescape_formula(_cell(row, index))) for index in table.columns.metadata)
    return {_column_name(name): value for name, value in cells if value and value not in NO_VALUE}


def _column_name(name: str) -> str:
    """The name of a column of metadata without the mark that says that it is one."""
    name = name.strip()
    is_marked = name.lower().startswith(METADATA_MARK)
    return name[len(METADATA_MARK) :].strip() if is_marked else name


def _one_hot_names(row: Sequence[str], table: Table) -> list[str]:
    return [table.head[index].strip() for index in table.columns.labels if _cell(row, index).lower() in YES]


def _names(row: Sequence[str], table: Table) -> list[str]:
    cells = [_cell(row, index) for index in table.columns.labels]
    if not table.has_head:  # cells beyond the first row's length are labels
        cells += [cell.strip() for cell in row[len(table.head) :]]
    return [name for cell in cells if cell for name in split_cell(cell, table.separator)]


def split_cell(cell: str, separator: str) -> list[str]:
    """The labels in a cell: of a JSON or Python list, or between separators."""
    if cell[0] in "[{" and cell[-1] in "]}" and (names := _listed_names(cell)) is not None:
        return names
    parts = cell.split(separator) if separator else [cell]
    return [unescape_formula(part.strip()) for part in parts]


def _listed_names(cell: str) -> list[str] | None:
    try:
        return label_names(json.loads(cell))
    except (ValueError, RecursionError):
        quoted = _QUOTED.findall(cell) if cell[0] == "[" else []
        plain = cell[1:-1].split(",") if cell[0] == "[" else []  # `[cat]` of makesense.ai
        return [single or double for single, double in quoted] or [part.strip() for part in plain] or None


def label_names(value: object) -> list[str]:
    """The label names in a JSON value: a text, a number, an object with a name, or a list of these."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, str | int | float):
        return [str(value).strip()]
    if isinstance(value, dict):
        if isinstance(value.get("choices"), list):  # Label Studio
            return label_names(value["choices"])
        return next((label_names(value[key]) for key in _NAME_KEYS if value.get(key)), [])
    items = value if isinstance(value, list) else []
    return [name for item in items if not isinstance(item, list) for name in label_names(item)]


def _cell(row: Sequence[str], index: int) -> str:
    return row[index].strip() if index < len(row) else ""


def is_own_table(head: Sequence[str]) -> bool:
    return tuple(cell.strip().lower() for cell in head[: len(TABLE_HEAD)]) == TABLE_HEAD


# --- the list of labels ---


def is_label_list(content: bytes) -> bool:
    rows = _first_rows(content[:2048])
    return bool(rows) and {cell.strip().lower() for cell in rows[0]} >= set(LABEL_LIST_HEAD)


def read_label_list(content: bytes) -> list[LabelLook]:
    """The labels of an exported label list, in order, with colour (0–9) and key."""
    rows = _first_rows(content)
    head = [cell.strip().lower() for cell in rows[0]]
    name, colour, key = (head.index(word) for word in LABEL_LIST_HEAD)
    return [
        LabelLook(
            unescape_formula(_cell(row, name)),
            _parse_colour(_cell(row, colour)),
            unescape_formula(_cell(row, key)).lower(),
        )
        for row in rows[1:]
        if _cell(row, name)
    ]


def _first_rows(content: bytes) -> list[list[str]]:
    text = decode(content, find_encoding(content).name)
    try:
        return list(parse_rows(io.StringIO(text, newline=""), find_delimiter(text)))
    except TableError:
        return []


def _parse_colour(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) < 10 else None
