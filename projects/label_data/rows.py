"""The values that Label Data shows: a label with its count, a tile, one page of images."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.utils.translation import gettext

from exeml_site.lib.display import count
from projects.models import Image, Label

MAX_COUNTED = 5_000  # at most so many images before or after a page are counted for its position


@dataclass(frozen=True)
class LabelRow:
    """A label of the project and its image count, the bin excluded."""

    label: Label
    count: int


@dataclass(frozen=True)
class Tile:
    """One image of the grid with everything that its HTML element needs."""

    image: Image
    labels: list[Label]
    thumbnail_url: str
    file_url: str
    days_left: int | None = None
    suggestion: Label | None = None
    suspected_label: Label | None = None

    @property
    def label_ids(self) -> str:
        return " ".join(str(label.pk) for label in self.labels)

    @property
    def percent(self) -> int:
        """Confidence of the suggestion, rounded down: only certainty shows as 100."""
        return int(100 * (self.image.confidence or 0))

    @property
    def suspected_percent(self) -> int:
        return int(100 * (self.image.suspected_confidence or 0))

    @property
    def alt_text(self) -> str:
        """What a screen reader says for the image."""
        labels = ", ".join(label.name for label in self.labels) or gettext("no label")
        if self.suggestion and not self.labels:
            values = {"label": self.suggestion.name, "percent": self.percent}
            labels = gettext("suggested %(label)s, %(percent)s %%") % values
        return f"{self.image.name}, {labels}"


@dataclass(frozen=True)
class Slice:
    """One page of images and its position among all that match.

    `retained`: images that left the tab and stay visible.
    """

    images: list[Image] = field(default_factory=list)
    retained: list[Image] = field(default_factory=list)
    position: int | None = 0  # of the first image, counted from 1; None: COUNTED or more from either end
    total: int = 0

    @property
    def last_position(self) -> int:
        return (self.position or 0) + len(self.images) - 1

    @property
    def has_earlier(self) -> bool:
        return self.position is None or self.position > 1

    @property
    def has_later(self) -> bool:
        return bool(self.images) and (self.position is None or self.last_position < self.total)

    @property
    def range_text(self) -> str:
        if self.position is None:
            values = {"limit": count(MAX_COUNTED), "total": count(self.total)}
            return gettext("beyond the first %(limit)s of %(total)s") % values
        ends = {"first": count(self.position), "last": count(self.last_position), "total": count(self.total)}
        return gettext("%(first)s–%(last)s of %(total)s") % ends
