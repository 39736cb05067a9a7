"""What commands print, and with which code they end."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from exeml.errors import ConnectionFailed, ExemlError, NotCompleted, NotEnded, Problem, SettingsMissing

REFUSED, NOT_ALLOWED, NOT_FOUND, UNREACHABLE, FAILED, INTERRUPTED = 1, 3, 4, 5, 6, 130
EXIT_CODES = f"""Exit codes: 0 done, {REFUSED} the server or a file refused it, 2 wrong options,
{NOT_ALLOWED} no valid token or not allowed, {NOT_FOUND} not found, {UNREACHABLE} the server does not answer,
{FAILED} what was waited for failed or did not end, {INTERRUPTED} interrupted."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
WIDE = 200  # columns where no terminal says how many it has


def console() -> Console:
    is_terminal = sys.stdout is not None and sys.stdout.isatty()  # None: it is closed
    return Console(width=None if is_terminal else WIDE, highlight=False)


def note(text: str) -> None:
    """A line for people, beside the result."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(_printable(text), markup=False)


def plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    print(json.dumps(plain(value), ensure_ascii=False, indent=2))


def print_table(rows: Iterable[Any], columns: Sequence[str]) -> None:
    """A column for each field; headings as their names."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        values = plain(row)
        table.add_row(*[_cell(values.get(column)) for column in columns])
    console().print(table, markup=False)


def show(value: Any, columns: Sequence[str], *, is_json: bool) -> None:
    """JSON, or a table of one or several rows."""
    if is_json:
        print_json(value)
    else:
        print_table(value if isinstance(value, list) else [value], columns)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return _printable(str(value))


def _printable(text: str) -> str:
    """Without signs that a terminal obeys: names come from other people."""
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


@contextmanager
def errors_as_exits(*, is_json: bool = False) -> Iterator[None]:
    """Ends the program with a sentence instead of a traceback; as JSON on the standard error for scripts."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except (ExemlError, OSError, ValueError, TypeError, ImportError) as error:
        if is_json:
            print(json.dumps(_as_json(error), ensure_ascii=False), file=sys.stderr)
        else:
            note(f"Error: {error}")
        raise typer.Exit(exit_code(error)) from error


def exit_code(error: BaseException) -> int:
    if isinstance(error, SettingsMissing):
        return NOT_ALLOWED
    if isinstance(error, ConnectionFailed):
        return UNREACHABLE
    if isinstance(error, (NotCompleted, NotEnded)):
        return FAILED
    if isinstance(error, Problem):
        by_status = {401: NOT_ALLOWED, 403: NOT_ALLOWED, 404: NOT_FOUND}
        return by_status.get(error.status, UNREACHABLE if error.status >= 500 else REFUSED)
    return REFUSED


def _as_json(error: BaseException) -> dict[str, Any]:
    if not isinstance(error, Problem):
        return {"title": type(error).__name__, "detail": str(error)}
    errors = [{"field": each.field, "message": each.message} for each in error.errors]
    return {"status": error.status, "title": error.title, "detail": error.detail, "errors": errors}
