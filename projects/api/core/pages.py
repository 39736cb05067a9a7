"""Lists by pages: a cursor instead of a page number, so that nothing is missed or doubled meanwhile."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from django.db.models import Model, QuerySet
from ninja import Field, Schema

from exeml_site.lib.params import MAX_INTEGER
from projects.api.core.problems import invalid_field

Row = TypeVar("Row", bound=Model)
Item = TypeVar("Item")

MAX_LIMIT = 1000
MAX_OFFSET = 10**9  # rows before a page
Key = Annotated[int, Field(ge=1, le=MAX_INTEGER)]  # of a row, in a query or a body


class PageParams(Schema):
    """Which page of a list, how many items, and which of their fields."""

    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="Items of a page, at most.")
    cursor: str = Field("", max_length=2048, description="`next` of the page before; empty for the first.")
    fields: str = Field(
        "", max_length=512, description="Names of the fields to answer, with commas: no others."
    )


def encode_cursor(value: Any) -> str:
    """Any value of JSON as a text that callers only pass on."""
    text = json.dumps(value, ensure_ascii=False)  # a file name may be in it
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Any:
    """Raises Problem (422) for a text that `encode_cursor` did not make."""
    try:
        return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise invalid_field("cursor", "This is no cursor of this list.") from error


def page_of(
    rows: QuerySet[Row], params: PageParams, *, is_newest_first: bool = True
) -> tuple[list[Row], str | None]:
    """The rows of a page, by their primary keys, and the cursor of the next one; None at the end."""
    comparison = "pk__lt" if is_newest_first else "pk__gt"
    if params.cursor:
        last = decode_cursor(params.cursor)
        if not isinstance(last, int) or abs(last) > MAX_INTEGER:
            raise invalid_field("cursor", "This is no cursor of this list.")
        rows = rows.filter(**{comparison: last})
    chosen = list(rows.order_by("-pk" if is_newest_first else "pk")[: params.limit + 1])
    if len(chosen) <= params.limit:
        return chosen, None
    return chosen[: params.limit], encode_cursor(chosen[params.limit - 1].pk)


def slice_of(rows: Sequence[Item] | QuerySet[Any], params: PageParams) -> tuple[list[Item], str | None]:
    """The rows of a page of a list whose order does not change, and the cursor of the next one."""
    start = decode_cursor(params.cursor) if params.cursor else 0
    if not isinstance(start, int) or not 0 <= start <= MAX_OFFSET:
        raise invalid_field("cursor", "This is no cursor of this list.")
    chosen: list[Any] = list(rows[start : start + params.limit + 1])
    if len(chosen) <= params.limit:
        return chosen, None
    return chosen[: params.limit], encode_cursor(start + params.limit)
