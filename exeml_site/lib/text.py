"""Counts and lists as English text."""

from __future__ import annotations

from django.utils.text import Truncator


def counted(number: int, noun: str = "image") -> str:
    several = {"person": "people"}.get(noun, f"{noun}s")
    return f"{number:,} {noun if number == 1 else several}"


def listed(names: set[str]) -> str:
    return ", ".join(f"“{Truncator(name).chars(40)}”" for name in sorted(names))
