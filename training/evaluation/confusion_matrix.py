"""The confusion matrix as the page draws it: a table of cells, or an SVG for many labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import ngettext

from exeml_site.lib.display import count

MAX_TABLE_LABELS = 20  # a larger matrix is an SVG instead of a table


class Cell(NamedTuple):
    """A cell of the confusion matrix; `strength` is its share of the row, 0 to 1."""

    true: str
    predicted: str
    images: int
    strength: float
    is_right: bool
    x: int
    y: int

    @property
    def query(self) -> str:
        return urlencode({"true": self.true, "predicted": self.predicted})

    @property
    def text(self) -> str:
        """The cell in words."""
        if self.is_right:
            text = ngettext(
                "%(label)s predicted correctly: %(count)s image",
                "%(label)s predicted correctly: %(count)s images",
                self.images,
            )
        else:
            text = ngettext(
                "%(label)s predicted as %(predicted)s: %(count)s image",
                "%(label)s predicted as %(predicted)s: %(count)s images",
                self.images,
            )
        return text % {"label": self.true, "predicted": self.predicted, "count": count(self.images)}

    @property
    def level(self) -> int:
        """Colour level 1 to 5; 0 for an empty cell."""
        return 0 if not self.images else 1 + min(int(self.strength * 5), 4)


@dataclass(frozen=True)
class Matrix:
    """Confusion matrix; rows are true labels. `rows` holds every cell, `filled` those that are not zero."""

    labels: list[str]
    rows: list[tuple[str, list[Cell]]]
    filled: list[Cell]

    @property
    def is_table(self) -> bool:
        return len(self.labels) <= MAX_TABLE_LABELS

    def svg_cells(self, url: str) -> SafeString:
        """The filled cells as SVG elements; a template takes 0.2 s for thousands of them."""
        return mark_safe(
            "".join(
                f'<a href="{url}?{escape(cell.query)}" tabindex="-1"><title>{escape(cell.text)}</title>'
                f'<rect class="{"is-right" if cell.is_right else "is-wrong"} level-{cell.level}"'
                f' x="{cell.x}" y="{cell.y}" width="0.94" height="0.94"/></a>'
                for cell in self.filled
            )
        )

    @property
    def confusions(self) -> list[Cell]:
        return sorted((cell for cell in self.filled if not cell.is_right), key=lambda cell: -cell.images)


def build_matrix(confusion: dict[str, Any]) -> Matrix | None:
    """The confusion matrix; None for multi-label versions, which have none."""
    labels, table = confusion.get("labels", []), confusion.get("matrix", [])
    if not table:
        return None
    filled = [
        _cell(labels, true, predicted, images, sum(row))
        for true, row in enumerate(table)
        for predicted, images in enumerate(row)
        if images
    ]
    rows = [
        (
            labels[true],
            [_cell(labels, true, predicted, images, sum(row)) for predicted, images in enumerate(row)],
        )
        for true, row in enumerate(table if len(labels) <= MAX_TABLE_LABELS else [])
    ]
    return Matrix(labels, rows, filled)


def _cell(labels: Sequence[str], true: int, predicted: int, images: int, of_row: int) -> Cell:
    strength = images / of_row if of_row else 0.0
    return Cell(labels[true], labels[predicted], images, strength, true == predicted, predicted, true)
