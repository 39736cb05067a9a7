"""CSV tables of images and labels, as spreadsheets, scripts and other products write them.

The first row may name the columns. Without names, the first column of image file names is the image, a column
of words such as TRAIN is the split, and all others are labels (as in the tables of Google's AutoML). Several
labels of an image are in several columns, in several rows, or in one cell separated by `;`, `,` or `|`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from projects.formats.manifest import Entry, EntryLabel
from projects.formats.picture_formats import SUFFIXES

IMAGE_COLUMNS = {
    "image",
    "images",
    "file",
    "filename",
    "file_name",
    "file name",
    "path",
    "filepath",
    "source",
    "uri",
}
LABEL_COLUMNS = {"label", "labels", "class", "classes", "category", "tag", "tags", "label_name", "class_name"}
SPLIT_COLUMNS = {"set", "split", "usage", "subset", "ml_use"}
USAGE_BY_WORD = {
    "train": "TRAIN",
    "training": "TRAIN",
    "eval": "EVAL",
    "val": "EVAL",
    "valid": "EVAL",
    "validation": "EVAL",
    "validate": "EVAL",
    "test": "TEST",
    "unassigned": "",
}
IMAGE_FILE = re.compile(rf"({'|'.join(map(re.escape, SUFFIXES))})$", re.IGNORECASE)
LABEL_SEPARATOR = re.compile(r"[;,|]")
LABEL_LIST_COLUMNS = {"label", "colour", "key"}


class TableError(ValueError):
    """The table cannot be parsed; the text is a sentence for the user."""


@dataclass(frozen=True)
class LabelLook:
    """A label in the label list of an export: `colour` from 0 to 9 or None, `key` is its hot key or empty."""

    name: str
    colour: int | None
    key: str


def read(content: bytes, *, is_discovered: bool = False) -> Iterator[Entry]:
    """Yield the images of a table with their labels, in the order of the rows. Raises TableError.

    `is_discovered`: the table was found beside the images, not chosen by a person. A table without column
    names then needs a split column, or at most two columns.
    """
    rows = _rows(content)
    if not rows:
        raise TableError("The table is empty.")
    images, labels, splits = _named_columns(rows[0])
    has_header = bool(images)
    if not has_header:
        images, splits = _guess_columns(rows)
        if is_discovered and not splits and max(map(len, rows)) > 2:
            raise TableError("Its columns have no names.")
        labels = [index for index in range(len(rows[0])) if index not in (*images, *splits)]
    for row in rows[1:] if has_header else rows:
        source = _cell(row, images[0])
        if source:
            names = [name.strip() for index in labels for name in LABEL_SEPARATOR.split(_cell(row, index))]
            if not has_header:  # cells beyond the first row's length are labels
                names += [name.strip() for name in row[len(rows[0]) :]]
            usage = USAGE_BY_WORD.get(_cell(row, splits[0]).lower(), "") if splits else ""
            yield Entry(source, usage, tuple(EntryLabel(name, annotated_by="") for name in names if name))


def is_label_list(content: bytes) -> bool:
    rows = _rows(content[:2048])
    return bool(rows) and {cell.strip().lower() for cell in rows[0]} >= LABEL_LIST_COLUMNS


def read_label_list(content: bytes) -> list[LabelLook]:
    """The labels of an exported label list, in order, with colour (0–9) and key."""
    rows = _rows(content)
    head = [cell.strip().lower() for cell in rows[0]]
    name, colour, key = (head.index(word) for word in ("label", "colour", "key"))
    return [
        LabelLook(_cell(row, name), _parse_colour(_cell(row, colour)), _cell(row, key).lower())
        for row in rows[1:]
        if _cell(row, name)
    ]


def write_csv(rows: Sequence[Sequence[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def _parse_colour(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) < 10 else None


def _rows(content: bytes) -> list[list[str]]:
    text = _text(content)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        return [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(map(str.strip, row))]
    except csv.Error as problem:
        raise TableError(f"The table cannot be read: {problem}.") from problem


def _text(content: bytes) -> str:
    """Decode UTF-16 with a byte order mark, UTF-8, or else Windows-1252 of older spreadsheets."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace").replace("\0", "")
    try:
        return content.decode("utf-8-sig").replace("\0", "")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace").replace("\0", "")


def _named_columns(head: Sequence[str]) -> tuple[list[int], list[int], list[int]]:
    """Indices of the image, label and split columns that the first row names; empty where it names none."""
    names = [cell.strip().lower() for cell in head]
    images, labels, splits = (
        [index for index, name in enumerate(names) if name in column_names]
        for column_names in (IMAGE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS)
    )
    has_purpose = labels or splits
    if bool(images) != bool(has_purpose) and not any(IMAGE_FILE.search(cell) for cell in head):
        raise TableError(
            "The first row must name a column “image” and a column “labels”, or be the first image itself."
        )
    return (images[:1], labels, splits[:1]) if images and has_purpose else ([], [], [])


def _guess_columns(rows: Sequence[Sequence[str]]) -> tuple[list[int], list[int]]:
    """Indices of the image and split columns, by the cells of a table without column names."""
    first = rows[0]
    images = [index for index, cell in enumerate(first) if IMAGE_FILE.search(cell.strip())]
    if not images:
        raise TableError(
            "No column holds image files. Name the columns in the first row: “image” and “labels”."
        )
    splits = [
        index
        for index, cell in enumerate(first)
        if cell.strip().lower() in USAGE_BY_WORD and index != images[0]
    ]
    is_split = bool(splits) and all(_cell(row, splits[0]).lower() in USAGE_BY_WORD for row in rows)
    return images[:1], splits[:1] if is_split else []


def _cell(row: Sequence[str], index: int) -> str:
    return row[index].strip() if index < len(row) else ""
