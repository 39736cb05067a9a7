"""Label files in memory: what a reader makes of them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from projects.formats import label_files
from projects.formats.label_files import LabelFile
from projects.formats.manifest import Entry

CASES = Path(__file__).resolve().parents[3].parent / "shared" / "cases"


def case(folder: str, name: str) -> bytes:
    """A file of the cases from the field."""
    path = CASES / folder / name
    if not path.is_file():
        pytest.skip("../shared/cases is missing")
    return path.read_bytes()


def identified(name: str, content: bytes | str) -> LabelFile:
    return label_files.identify(name, io.BytesIO(_encoded(content)))


def entries_of(name: str, content: bytes | str, **changes: Any) -> list[Entry]:
    """The entries of a file; `changes` are what a person chose on the mapping page."""
    label_file = replace(identified(name, content), **changes)
    return list(label_files.read(label_file, io.BytesIO(_encoded(content))))


def labels_of(name: str, content: bytes | str, **changes: Any) -> dict[str, list[str]]:
    return {entry.source: list(entry.labels) for entry in entries_of(name, content, **changes)}


def usages_of(name: str, content: bytes | str) -> dict[str, str]:
    return {entry.source: entry.usage for entry in entries_of(name, content)}


def json_lines(*items: Any) -> str:
    return "".join(f"{json.dumps(item, ensure_ascii=False)}\n" for item in items)


def table(*rows: Iterable[str], delimiter: str = ",", end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in rows)


def _encoded(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content
