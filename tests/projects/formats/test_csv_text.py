"""CSV as we write it: no text is a formula, and every text can be restored."""

from __future__ import annotations

import csv
import io
import re

import pytest

from projects.formats.csv_labels import split_cell
from projects.formats.csv_text import escape_formula, join_labels, unescape_formula, write_csv
from tests.architecture.test_imports import MODULES

TEXTS = [
    "=1",
    "+1",
    "-1",
    "@x",
    "\tx",
    "\rx",
    "\nx",
    "＝1",
    "'=1",
    "''=1",
    "'",
    "'a",
    "a=1",
    "",
    "cat",
    "[x",
    "{y",
]


@pytest.mark.parametrize("text", TEXTS)
def test_an_escaped_text_is_no_formula_and_can_be_restored(text: str) -> None:
    escaped = escape_formula(text)
    assert escaped[:1] not in set("=+-@\t\r\n＝＋－＠")
    assert unescape_formula(escaped) == text


def test_cells_are_escaped_and_numbers_stay() -> None:
    written = write_csv([["=x", -5, None, 1.5, ["=a", "b"]]]).decode()
    assert next(csv.reader(io.StringIO(written))) == ["'=x", "-5", "", "1.5", "'=a;b"]


@pytest.mark.parametrize(
    "labels", [["=a", "@b"], ["a;b", "c"], ["[x]", "y"], ["a"], ["'=a", "b"], ["{", "a|b"]]
)
def test_labels_in_one_cell_can_be_restored(labels: list[str]) -> None:
    assert split_cell(join_labels(labels), ";") == labels


def test_nothing_else_in_the_program_writes_csv() -> None:
    """Whoever writes a table writes it by `write_csv`, which escapes formulas."""
    writers = [
        module
        for module, path in MODULES.items()
        if re.search(r"\bcsv\.(writer|DictWriter)", path.read_text())
    ]
    assert writers == ["projects.formats.csv_text"]
