"""JSON fields of read-only admin pages as tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db import models
from django.utils.html import format_html, format_html_join

NOTHING = "--"
MAX_ROWS = 200  # of a list; the download of a version has all of them


def json_table(value: Any) -> str:
    """An object has a row for each key, a list of lists a row for each item, a plain list one line."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, dict):
        cells = ((key, json_table(item)) for key, item in value.items())
        rows = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td></tr>', cells)
        return format_html('<table class="json">{}</table>', rows)
    if not isinstance(value, list):
        return _plain(value)
    if not any(isinstance(item, list | dict) for item in value):
        return ", ".join(map(_plain, value))
    rows = format_html_join("", "<tr>{}</tr>", ((_cells(item),) for item in value[:MAX_ROWS]))
    more = format_html("<p>and {} more</p>", len(value) - MAX_ROWS) if len(value) > MAX_ROWS else ""
    return format_html('<table class="json">{}</table>{}', rows, more)


def json_column(field: models.Field[Any, Any]) -> Callable[[models.Model], str]:
    """What an admin page shows in place of a JSON field."""

    def column(row: models.Model) -> str:
        return json_table(getattr(row, field.attname))

    column.__name__ = f"{field.name}_table"
    return admin.display(description=field.verbose_name)(column)


def _cells(item: Any) -> str:
    return format_html_join("", "<td>{}</td>", ((json_table(cell),) for cell in _listed(item)))


def _listed(item: Any) -> list[Any]:
    return item if isinstance(item, list) else [item]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
