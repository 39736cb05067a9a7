"""Cells of CSV: as we write them, so that no spreadsheet runs a text of ours; several labels in one cell."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
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


def find_separator(keys: Sequence[str], cells: Sequence[str]) -> str:
    """What separates the labels in a cell; empty if cells are single labels, or it cannot be told.

    `;` and `|` always separate. A comma or a space does only where its parts occur in other cells, too:
    “Golden retriever” is one label, “haze primary” beside “clear primary” under `tags` are two each.
    """
    cells = [cell for cell in cells if not cell.startswith(("[", "{"))]  # those are lists already
    for separator in ("|", ";"):
        if any(separator in cell for cell in cells):
            return separator
    is_plural = any(re.sub(r"\d+$", "", key).endswith("s") and key != "class" for key in keys)
    if _are_lists(cells, ",", is_plural=is_plural):
        return ","
    return " " if is_plural and _are_lists(cells, " ", is_plural=False) else ""


def _are_lists(cells: Sequence[str], separator: str, *, is_plural: bool) -> bool:
    whole = {tuple(filter(None, map(str.strip, cell.split(separator)))) for cell in cells}
    several = [parts for parts in whole if len(parts) > 1]
    if not several or any(len(set(parts)) < len(parts) for parts in several):
        return False
    if is_plural and all(" " not in part for parts in several for part in parts):
        return True
    found = Counter(part for parts in whole for part in parts)
    parts = {part for combination in several for part in combination}
    recurring = sum(found[part] > 1 for part in parts) / len(parts)
    is_alone = any((part,) in whole for part in parts)
    is_phrase = any(words[0][0].isupper() and words[-1][0].islower() for words in several)
    lengths = {len(combination) for combination in whole}
    needed = 0.5 if is_alone and not is_phrase else 0.61
    return recurring >= needed and len(lengths) > 1 and (is_alone or max(lengths) > 2)
