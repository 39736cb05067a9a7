"""Label files of any known format: found by their content, read as entries.

`identify` looks at a label file and says its format, its columns and its encoding; a person may change the
columns, the separator and the encoding (`dataclasses.replace`) before `read` yields the entries.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from django.utils.translation import gettext_noop

from projects.formats import (
    csv_labels,
    cvat,
    groundtruth,
    json_documents,
    json_records,
    label_studio,
    manifest,
    text_lists,
)
from projects.formats.boxes import BoxesError, has_box, is_box_text
from projects.formats.columns import IMAGE_FILE, Columns, FoundColumns, find_columns
from projects.formats.encodings import (
    Encoding,
    check_encoding,
    codec_of,
    decode,
    encoding_of_rest,
    find_encoding,
)
from projects.formats.errors import LabelFileError
from projects.formats.manifest import Entry
from projects.formats.streams import BEGINNING_BYTES, MAX_DOCUMENT_BYTES, limited, rejoin

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "BoxesError",
    "Columns",
    "LabelFile",
    "LabelFileError",
    "identify",
    "is_box_text",
    "read",
    "read_label_names",
]

MAX_NAMES_BYTES, FIRST_ROWS = 1 << 20, 5
NO_IMAGES = gettext_noop("The file says nothing about images and their labels.")
NO_TEXT = {
    b"PK\x03\x04": gettext_noop("This is an Excel workbook or an archive. Save the table as CSV."),
    b"\xd0\xcf\x11\xe0": gettext_noop("This is an old Excel workbook. Save the table as CSV."),
    b"PAR1": gettext_noop("This is a Parquet file. Save the table as CSV."),
    b"\x1f\x8b": gettext_noop("This is a gzip file. Unpack it first."),
}
_UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")  # pasted with a word, and not shown
_UNWANTED = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


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
    # Tables alone; JSON records and Ground Truth's attributes are tables, too.
    is_table: bool = False
    head: tuple[str, ...] = ()  # names of the columns, or “Column 1” …
    first_rows: tuple[tuple[str, ...], ...] = ()  # a few rows below the head, to show
    columns: Columns | None = None  # the guess
    is_certain: bool = True  # False: the columns were guessed from their cells alone; show them first
    has_head: bool = True
    above_head: int = 0  # rows above the head
    delimiter: str = ","
    separator: str = ""  # between several labels in one cell: one of `;|, ` or empty
    is_one_hot: bool = False  # each label column is named as the label and holds 0 or 1
    record_key: str = ""  # of a JSON object whose value at this key holds the records
    # Lists of images and label numbers alone (ImageNet, CVAT): the names come from a second file.
    needs_label_names: bool = False
    label_names: tuple[str, ...] = ()

    @property
    def has_labels(self) -> bool:
        """False for a table that lists images, and perhaps their splits, without labels."""
        return self.columns is None or bool(self.columns.labels)


def identify(name: str, file: BinaryIO, encoding: str = "", delimiter: str = "") -> LabelFile:
    """Find the format by the content; `name` is only a hint.

    `encoding`, `delimiter`: what a person chose for a table.

    Memory is bounded by a constant. Raises LabelFileError if the file holds boxes, says nothing about images,
    or cannot be read.
    """
    beginning = file.read(BEGINNING_BYTES)
    for mark, what in NO_TEXT.items():
        if beginning.startswith(mark):
            raise LabelFileError(what)
    found = Encoding(check_encoding(encoding)) if encoding else find_encoding(beginning)
    text = decode(beginning, found.name)
    if not text.strip("\0 \t\r\n"):
        raise LabelFileError(gettext_noop("The file is empty."))
    whole = rejoin(beginning, file)
    if text.lstrip().startswith(("{", "[")):
        is_array = text.lstrip().startswith("[")
        json_file = _identify_json(name, beginning, whole, found.name, is_array=is_array)
        return replace(json_file, encoding=found.name, is_encoding_guessed=found.is_guess)
    if text.lstrip().startswith("<"):
        cvat.check(limited(whole))
        return LabelFile(name, cvat.FORMAT, "cvat")
    if found == Encoding("utf-8") and not encoding:
        found = encoding_of_rest(beginning, file)
        text = decode(beginning, found.name)
    is_cut = len(beginning) == BEGINNING_BYTES
    return _identify_text(name, _whole_lines(text) if is_cut else text, found, delimiter)


def read(label_file: LabelFile, file: BinaryIO, columns: Columns | None = None) -> Iterator[Entry]:
    """Yield the images with their labels, from the beginning of `file`. Raises LabelFileError.

    `columns` replaces the guess of a table. Memory is bounded by a constant; a JSON document that must be
    read whole, and an XML file, is refused above MAX_DOCUMENT_BYTES.
    """
    chosen = replace(label_file, columns=columns) if columns else label_file
    entries = map(_cleaned, _READERS[label_file.reader](chosen, file))
    return (entry for entry in entries if entry.source)


def read_label_names(name: str, file: BinaryIO) -> tuple[str, ...]:
    """The names in a list of labels such as synsets.txt, classes.txt; empty if `name` is no such file."""
    if not text_lists.is_names_file(name):
        return ()
    content = file.read(MAX_NAMES_BYTES)
    return text_lists.read_names(decode(content, find_encoding(content).name))


def _cleaned(entry: Entry) -> Entry:
    """Names in composed Unicode without control characters; what is no character is replaced."""
    if _is_clean(entry.source) and all(_is_clean(label.name) for label in entry.entry_labels):
        return entry
    named = (replace(label, name=_clean(label.name)) for label in entry.entry_labels)
    labels = tuple(label for label in named if label.name)
    return replace(entry, source=_clean(entry.source), entry_labels=labels)


def _is_clean(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable()


def _clean(text: str) -> str:
    replaced = _UNWANTED.sub(lambda found: " " if found[0] < "\x80" else "\ufffd", _UNSEEN.sub("", text))
    return unicodedata.normalize("NFC", replaced).strip()


# --- text: tables and lists ---


def _whole_lines(text: str) -> str:
    """The text without its last line, which is cut off; one line alone stays."""
    return text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text


def _identify_text(name: str, text: str, encoding: Encoding, delimiter: str = "") -> LabelFile:
    lines = text.splitlines()[: csv_labels.SAMPLE_ROWS]
    file = LabelFile(name, "", "", encoding.name, encoding.is_guess)
    if text_lists.is_names_file(name):
        raise LabelFileError(gettext_noop("This is a list of label names: it names no images."))
    if not name.lower().endswith((".csv", ".tsv")):
        has_numbers = text_lists.find_list(lines)
        if has_numbers is not None:
            needs_names = has_numbers and any(map(_ends_with_number, lines))
            return replace(file, format=text_lists.FORMAT, reader="list", needs_label_names=needs_names)
    if csv_labels.is_label_list(text[:2048].encode("utf-8", "replace")):
        raise LabelFileError(gettext_noop("This is a list of labels: it names no images."))
    delimiter = delimiter or csv_labels.find_delimiter(text)
    rows = itertools.islice(
        csv_labels.parse_rows(io.StringIO(text, newline=""), delimiter), csv_labels.SAMPLE_ROWS
    )
    found = find_columns(list(rows))
    file = replace(file, format=csv_labels.FORMAT, reader="table", delimiter=delimiter)
    file = _with_columns(file, found)
    if re.search(r"(?:\A|/)_classes\.csv\Z", name) and not file.is_one_hot and len(found.head) == 2:
        return replace(file, is_one_hot=True, is_certain=True)  # Roboflow's, of one class
    if not csv_labels.is_own_table(found.head):
        return file
    metadata = tuple(range(len(csv_labels.TABLE_HEAD), len(found.head)))
    return replace(file, separator=";", columns=replace(found.columns, metadata=metadata))


def _ends_with_number(line: str) -> bool:
    return bool(re.search(r"\s\d+\s*$", line))


def _with_columns(file: LabelFile, found: FoundColumns) -> LabelFile:
    return replace(
        file,
        is_table=True,
        head=found.head,
        first_rows=tuple(map(tuple, found.rows[:FIRST_ROWS])),
        columns=found.columns,
        is_certain=found.is_certain,
        has_head=found.has_head,
        above_head=found.above,
        separator=found.separator,
        is_one_hot=found.is_one_hot,
    )


# --- JSON ---


def _identify_json(
    name: str, beginning: bytes, whole: BinaryIO, encoding: str, *, is_array: bool
) -> LabelFile:
    """Objects one after another, or one document."""
    sample = _sample_items(beginning, encoding)
    is_one = len(sample) == 1 and isinstance(sample[0], dict) and len(beginning) < BEGINNING_BYTES
    if not is_array and (not sample or is_one):
        is_document = not sample or not _is_record(sample[0])
        if is_document and not name.lower().endswith((".manifest", ".jsonl", ".ndjson")):
            return _identify_document(name, _load_document(whole, encoding))
    if not sample:  # one item that is longer than the beginning
        sample = [item for _, item in itertools.islice(json_records.read_items(whole, encoding), 1)]
    return _identify_items(name, sample)


def _sample_items(beginning: bytes, encoding: str) -> list[Any]:
    """The items in the beginning of a file; the last one may be cut off."""
    sample: list[Any] = []
    try:
        for _, item in json_records.read_items(io.BytesIO(beginning), encoding):
            sample.append(item)
    except LabelFileError:
        pass
    return sample


def _is_record(item: dict[str, Any]) -> bool:
    """Whether one object is a line of a format, and not a document."""
    if any(format.fits(item) for format in json_documents.FORMATS):
        return False
    lists = [value for value in item.values() if isinstance(value, list) and value]
    return (
        not any(isinstance(value[0], dict) for value in lists)
        or groundtruth.is_groundtruth(item)
        or label_studio.is_task(item)
        or not any(
            isinstance(value, list) and value and isinstance(value[0], dict) for value in item.values()
        )
        or any(isinstance(value, str) and IMAGE_FILE.search(value) for value in item.values())
    )


def _identify_items(name: str, sample: list[Any]) -> LabelFile:
    objects = [item for item in sample if isinstance(item, dict)]
    if any(map(groundtruth.is_groundtruth, objects)):
        attributes = groundtruth.find_attributes(objects)
        columns = Columns(0, tuple(range(1, len(attributes) + 1)))
        head = (groundtruth.SOURCE_KEY, *attributes)
        return LabelFile(name, groundtruth.FORMAT, "groundtruth", is_table=True, head=head, columns=columns)
    if any(map(label_studio.is_task, objects)):
        label_studio.check_tasks(objects)
        return LabelFile(name, label_studio.FORMAT, "label_studio")
    if name.lower().endswith(".manifest") or any(map(manifest.is_sample, objects)):
        tasks = {manifest.has_task(item) for item in objects}
        if False in tasks and True not in tasks:
            raise BoxesError(manifest.FORMAT)
        return LabelFile(name, manifest.FORMAT, "manifest")
    return _identify_records(name, objects, "records")


def _identify_records(name: str, objects: list[dict[str, Any]], reader: str, key: str = "") -> LabelFile:
    values = [value for item in objects for value in item.values()]
    parts = [part for value in values if isinstance(value, list) for part in value]
    if any(has_box(item) for item in (*objects, *values, *parts) if isinstance(item, dict)):
        raise BoxesError("JSON")
    head = json_records.find_head(objects)
    rows = [json_records.row_of(item, head, "") for item in objects[: csv_labels.SAMPLE_ROWS]]
    try:
        found = find_columns(rows, head)
    except BoxesError:
        raise
    except LabelFileError as problem:
        raise LabelFileError(NO_IMAGES) from problem
    file = LabelFile(name, json_records.format_name(name, head), reader, record_key=key)
    return _with_columns(file, found)


def _load_document(file: BinaryIO, encoding: str) -> dict[str, Any]:
    content = limited(file).read()
    try:
        document = json.loads(content.decode(codec_of(encoding)))
    except (ValueError, RecursionError) as problem:
        raise LabelFileError(gettext_noop("The file is not valid JSON, or it is cut off.")) from problem
    if not isinstance(document, dict):
        raise LabelFileError(NO_IMAGES)
    return document


def _identify_document(name: str, document: dict[str, Any]) -> LabelFile:
    fitting = [format for format in json_documents.FORMATS if format.fits(document)]
    records = [
        key
        for key, value in document.items()
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
    ]
    if not fitting and len(records) == 1:
        return _identify_records(name, document[records[0]], "inner_records", records[0])
    format = json_documents.find_format(document)
    for _ in format.read(document):  # boxes are found now, not in the middle of an import
        break
    return LabelFile(name, format.name, "document")


# --- readers ---


def _read_table(file: LabelFile, content: BinaryIO) -> Iterator[Entry]:
    rows = csv_labels.read_rows(content, file.encoding, file.delimiter)
    yield from csv_labels.entries(
        itertools.islice(rows, file.above_head + file.has_head, None), _table_of(file)
    )


def _table_of(file: LabelFile) -> csv_labels.Table:
    columns = file.columns or Columns(0)
    if max(columns.image, *columns.labels, columns.split or 0, *columns.metadata) >= len(file.head):
        raise LabelFileError(gettext_noop("The table has no such column."))
    return csv_labels.Table(columns, file.head, file.separator, file.is_one_hot, file.has_head)


def _read_records(file: LabelFile, content: BinaryIO) -> Iterator[Entry]:
    return _entries_of_records(file, json_records.read_items(content, file.encoding))


def _read_inner_records(file: LabelFile, content: BinaryIO) -> Iterator[Entry]:
    items = _load_document(content, file.encoding).get(file.record_key)
    listed = items if isinstance(items, list) else []
    return _entries_of_records(file, ((f"Item {number}", item) for number, item in enumerate(listed, 1)))


def _entries_of_records(file: LabelFile, items: Iterable[tuple[str, Any]]) -> Iterator[Entry]:
    rows: Iterator[Sequence[str]] = (json_records.row_of(item, file.head, place) for place, item in items)
    return csv_labels.entries(rows, _table_of(file))


def _read_groundtruth(file: LabelFile, content: BinaryIO) -> Iterator[Entry]:
    labels = file.columns.labels if file.columns else ()
    is_all = len(labels) == len(file.head) - 1
    attributes = None if is_all else {file.head[index] for index in labels}
    for place, item in json_records.read_items(content, file.encoding):
        yield groundtruth.read_sample(item, place, attributes)


def _read_list(file: LabelFile, content: BinaryIO) -> Iterator[Entry]:
    text = io.TextIOWrapper(content, codec_of(file.encoding), errors="replace")
    try:
        lines = iter(lambda: text.readline(text_lists.MAX_LINE_CHARACTERS), "")
        yield from text_lists.read(file.name, lines, file.label_names)
    finally:
        text.detach()  # the caller closes its stream


def _read_document(file: LabelFile, content: BinaryIO) -> Iterator[Entry]:
    document = _load_document(content, file.encoding)
    return json_documents.find_format(document).read(document)


_READERS: dict[str, Callable[[LabelFile, BinaryIO], Iterator[Entry]]] = {
    "table": _read_table,
    "records": _read_records,
    "inner_records": _read_inner_records,
    "groundtruth": _read_groundtruth,
    "list": _read_list,
    "document": _read_document,
    "cvat": lambda _, content: cvat.read(limited(content)),
    "manifest": lambda file, content: itertools.starmap(
        manifest.read_sample,
        ((item, place) for place, item in json_records.read_items(content, file.encoding)),
    ),
    "label_studio": lambda file, content: itertools.starmap(
        label_studio.read_task,
        ((item, place) for place, item in json_records.read_items(content, file.encoding)),
    ),
}
