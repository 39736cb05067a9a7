"""Parsing of numbers in a query string; None for anything else."""

from __future__ import annotations


def parse_int(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def parse_float(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e18 else None  # excludes infinity and NaN
