"""CSV as we write it: a spreadsheet must not run a text of ours as a formula."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence

# Apostrophes before it count, so that what was escaped once is escaped again and can be restored.
FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
LABEL_SEPARATOR = ";"


def write_csv(rows: Iterable[Sequence[object]]) -> bytes:
    """Rows as UTF-8 with `\\n`. Texts are escaped, numbers stay, a list is the labels of an image."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(map(_cell, row) for row in rows)
    return out.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> object:
    if isinstance(value, str):
        return escape_formula(value)
    return join_labels(value) if isinstance(value, list) else value


def escape_formula(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would run it as a formula."""
    return f"'{text}" if FORMULA.match(text) else text


def unescape_formula(text: str) -> str:
    """The text before `escape_formula`; any other text as it is."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def join_labels(labels: Sequence[str]) -> str:
    """Several labels in one cell, separated by `;`; a JSON list where a label contains that itself.

    Each label is escaped: spreadsheets of some countries cut a cell at the semicolon.
    """
    if any(LABEL_SEPARATOR in label or label.startswith(("[", "{")) for label in labels):
        return json.dumps(list(labels), ensure_ascii=False)
    return LABEL_SEPARATOR.join(map(escape_formula, labels))
