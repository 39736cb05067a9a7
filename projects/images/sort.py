"""Sort orders of a project's images, and cursors for paging by key.

Paging by key instead of offset makes page 1,000 as fast as page 1: an order is a column and the id, and a
cursor holds the value of both.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q
from django.utils.translation import gettext_lazy

from exeml_site.lib.params import parse_float, parse_int
from exeml_site.lib.text import AnyText
from projects.models import Image


@dataclass(frozen=True)
class Order:
    """A sort order. Images with null in `column` are left out."""

    title: AnyText
    column: str
    is_descending: bool = True

    @property
    def by(self) -> tuple[str, ...]:
        sign = "-" if self.is_descending else ""
        return (f"{sign}id",) if self.column == "id" else (f"{sign}{self.column}", f"{sign}id")

    @property
    def backwards(self) -> tuple[str, ...]:
        return tuple(name[1:] if name.startswith("-") else f"-{name}" for name in self.by)

    def beyond(self, cursor: Cursor, *, is_later: bool) -> Q:
        """Condition for the images after the cursor (`is_later`), or before it."""
        than = "lt" if self.is_descending == is_later else "gt"
        beyond_id = Q(**{f"id__{than}": cursor.id})
        if self.column == "id":
            return beyond_id
        beyond_value = Q(**{f"{self.column}__{than}": cursor.value})
        return Q(**{f"{self.column}__{than}e": cursor.value}) & (beyond_value | beyond_id)


ORDERS = {
    "newest": Order(gettext_lazy("Newest first"), "id"),
    "oldest": Order(gettext_lazy("Oldest first"), "id", False),
    "name": Order(gettext_lazy("File name"), "name", False),
    "confidence": Order(gettext_lazy("Highest confidence first"), "confidence"),
    "uncertain": Order(gettext_lazy("Lowest confidence first"), "confidence", False),
    "useful": Order(gettext_lazy("Most useful first"), "acquisition_score"),
    "suspicion": Order(gettext_lazy("Suspicious first"), "suspected_confidence"),
    "copies": Order(gettext_lazy("Duplicates together"), "duplicate_group"),
    "similar": Order(gettext_lazy("Most similar first"), "id"),
}
SORT_OF_TAB = {"suggested": "confidence"}
SORT_OF_ISSUE = {"suspects": "suspicion", "duplicates": "copies", "conflicts": "copies"}


@dataclass(frozen=True)
class Cursor:
    """A position in an order: the value of its column, and the id."""

    value: float | str
    id: int

    def __str__(self) -> str:
        return f"{self.value}~{self.id}" if self.value != "" else str(self.id)

    @classmethod
    def of(cls, image: Image, order: Order) -> Cursor:
        return cls("" if order.column == "id" else getattr(image, order.column), image.pk)

    @classmethod
    def read(cls, text: str, order: Order) -> Cursor | None:
        value, _, number = text.replace("\0", "").rpartition("~")
        pk = parse_int(number)
        if pk is None:
            return None
        if order.column == "id":
            return cls("", pk)
        if order.column == "name":
            return cls(value, pk)
        share = parse_float(value)
        return None if share is None else cls(share, pk)
