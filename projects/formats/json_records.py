"""JSON objects one after another: JSON Lines, an array, or objects written over several lines.

They are read one by one. Objects with plain values are the rows of a table: Hugging Face's metadata.jsonl,
Vertex AI, Label Studio's JSON_MIN, Custom Vision, Azure ML and what scripts write.
"""

from __future__ import annotations

import codecs
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from django.utils.translation import gettext_noop

from projects.formats.csv_labels import label_names
from projects.formats.encodings import codec_of, find_encoding
from projects.formats.errors import LabelFileError

MAX_ITEM_CHARACTERS = 1 << 20
MAX_KEYS = 1000
READ_BYTES = 1 << 16
_IMAGE_OF_RECORD = ("image", "path")
_BETWEEN = re.compile(r"[\s,\x1e\0]*")
_IMAGE_KEYS = ("path", "file_name", "filename", "url", "uri", "src")
_JSON_DECODER = json.JSONDecoder()


def read_items(file: BinaryIO, encoding: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the place and the value of each object: “Line 3”, in an array “Item 3”. Raises LabelFileError.

    `encoding`: that of the text; empty: it is found by the beginning.
    """
    text = _Window(file, encoding)
    is_array = text.skip_sign("[")
    for number in itertools.count(1):
        text.skip_between()
        if text.is_at_end or (is_array and text.skip_sign("]")):
            return
        place = f"Item {number}" if is_array else f"Line {text.line}"
        yield place, text.read_value(place)


class _Window:
    """The part of a text that is in memory, at most MAX_ITEM_CHARACTERS and a little more."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        beginning = file.read(READ_BYTES)
        found = encoding or find_encoding(beginning).name
        self._decoder = codecs.getincrementaldecoder(codec_of(found))()
        self._file, self._encoding, self.line = file, found, 1
        self._text, self._at, self._is_complete = self._decode(beginning), 0, not beginning

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._text) and self._is_complete

    def skip_sign(self, sign: str) -> bool:
        """Move behind `sign`, if it is the next one."""
        self.skip_between()
        is_next = self._text.startswith(sign, self._at)
        self._at += is_next
        return is_next

    def skip_between(self) -> None:
        """Move to the next value."""
        while True:
            self._move_to(_BETWEEN.match(self._text, self._at).end())  # type: ignore[union-attr]
            if self._at < len(self._text) or not self._read_more():
                return

    def read_value(self, place: str) -> Any:
        while True:
            try:
                value, end = _JSON_DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as problem:
                if len(self._text) - self._at > MAX_ITEM_CHARACTERS or not self._read_more():
                    raise LabelFileError(
                        f"{place} is not valid JSON."  # not translated: with values
                    ) from problem
                continue
            if isinstance(value, dict | list) or end < len(self._text) or not self._read_more():
                self._move_to(end)
                return value

    def _move_to(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _read_more(self) -> bool:
        content = self._file.read(READ_BYTES)
        self._is_complete = not content
        self._text = self._text[self._at :] + self._decode(content)
        self._at = 0
        return not self._is_complete

    def _decode(self, content: bytes) -> str:
        try:
            return self._decoder.decode(content, final=not content)
        except UnicodeDecodeError as problem:
            encoding = self._encoding.upper()
            raise LabelFileError(
                f"The text after line {self.line} is not {encoding}. "  # not translated: with values
                "Choose its encoding."
            ) from problem


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; empty for any other value."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


# --- records as rows of a table ---


def format_name(name: str, head: Iterable[str]) -> str:
    """The product that writes records with these keys, for the person."""
    keys = set(head)
    if keys & {"imageGcsUri", "image_gcs_uri"}:
        return "Vertex AI JSON Lines"  # not translated: the name of a format
    if keys & {"originalImageUri", "resizedImageUri"}:
        return "Custom Vision JSON"  # not translated: the name of a format
    if {"annotator", "lead_time"} <= keys:
        return "Label Studio JSON_MIN"  # not translated: the name of a format
    if "file_name" in keys and "metadata" in name.lower():
        return "Hugging Face metadata"  # not translated: the name of a format
    return gettext_noop("JSON records")


def find_head(items: Iterable[Any]) -> tuple[str, ...]:
    """The keys of the objects, in the order in which they first occur."""
    keys = dict.fromkeys(key for item in items if isinstance(item, dict) for key in item)
    return tuple(itertools.islice(keys, MAX_KEYS))


def row_of(item: Any, head: Iterable[str], place: str) -> list[str]:
    """The values of a record as the cells of a row. Raises LabelFileError if it is no object."""
    if not isinstance(item, dict):
        raise LabelFileError(
            f"{place} must be one JSON object in braces."  # not translated: with values
        )
    if item.get("answer") in ("reject", "ignore"):  # Prodigy: the label that it proposed is wrong
        return [_cell(item.get(key)) if key in _IMAGE_OF_RECORD else "" for key in head]
    return [_cell(item.get(key)) for key in head]


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return _cell_of_object(value)
    if isinstance(value, list):
        return json.dumps(label_names(value), ensure_ascii=False) if value else ""
    return "" if value is None else str(value)


def _cell_of_object(value: Mapping[str, Any]) -> str:
    """The address in an object that stands for an image, else the split, else the label's names."""
    for key in _IMAGE_KEYS:
        if isinstance(value.get(key), str):
            return str(value[key])
    for key, item in value.items():
        if key.rpartition("/")[2] in ("ml_use", "mlUse") and isinstance(item, str):
            return item
    names = label_names(dict(value))
    return names[0] if len(names) == 1 else json.dumps(names, ensure_ascii=False) if names else ""
