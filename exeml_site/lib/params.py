"""Values that a request carries as text: numbers, dates and JSON within the bounds of the database.

Numbers and dates of a query string are None where they are invalid.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import date
from typing import Any

MAX_INTEGER = 2**63 - 1  # of a column of the database
MIN_DATE, MAX_DATE = date(1900, 1, 1), date(2999, 12, 31)  # a day more, or another time zone, is still a date


def parse_int(text: str | None) -> int | None:
    if not (text and text.isascii() and text.isdigit() and len(text) <= len(str(MAX_INTEGER))):
        return None
    value = int(text)
    return value if value <= MAX_INTEGER else None


def parse_float(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e18 else None  # excludes infinity and NaN


def parse_date(text: str | None) -> date | None:
    try:
        value = date.fromisoformat(text or "")
    except ValueError:
        return None
    return value if MIN_DATE <= value <= MAX_DATE else None


def is_storable(text: str) -> bool:
    """Whether the database and UTF-8 can hold the text: without NUL and without halves of characters."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text that can be stored.

    Raises ValueError also for NaN, infinite and huge numbers, texts that cannot be stored, and thousands of
    levels.
    """
    try:
        value = json.loads(text, parse_int=_json_int, parse_float=_json_float, parse_constant=_json_float)
    except RecursionError:
        raise ValueError("The JSON has too many levels.") from None  # not translated: for programs
    if not all(map(is_storable, _texts(value))):
        raise ValueError("The JSON has characters that cannot be stored.")  # not translated: for programs
    return value


def _json_int(text: str) -> int:
    value = int(text) if len(text) <= len(str(-MAX_INTEGER)) else None
    if value is None or abs(value) > MAX_INTEGER:
        raise ValueError(f"{text[:40]} is too large a number.")  # not translated: for programs
    return value


def _json_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number.")  # not translated: for programs
    return value


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value of JSON: of lists, and keys and values of objects."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            waiting += [*part, *part.values()]
        elif isinstance(part, list):
            waiting += part
