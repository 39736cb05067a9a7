"""The values that Label Data shows: a label with its count, a tile, a slice of the images."""

from __future__ import annotations

from dataclasses import dataclass, field

from projects.models import Image, Label

MAX_COUNTED = 5_000  # images before or after a page that are counted for its position


@dataclass(frozen=True)
class LabelRow:
    """A label of the project and how many living images carry it."""

    label: Label
    count: int


@dataclass(frozen=True)
class Tile:
    """One image of the grid, with all that its element carries."""

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
        """Of the suggestion; rounded down, so that 100 is never said of what is not certain."""
        return int(100 * (self.image.confidence or 0))

    @property
    def suspected_percent(self) -> int:
        return int(100 * (self.image.suspected_confidence or 0))

    @property
    def alt_text(self) -> str:
        """The image for people who hear the page."""
        words = ", ".join(label.name for label in self.labels) or "no label"
        if self.suggestion and not self.labels:
            words = f"suggested {self.suggestion.name}, {self.percent} %"
        return f"{self.image.name}, {words}"


@dataclass(frozen=True)
class Slice:
    """One page of images and where it lies among those of its tab and filter.

    `kept` have left the tab and are shown beside them. `has_later` says whether another page follows.
    """

    images: list[Image] = field(default_factory=list)
    kept: list[Image] = field(default_factory=list)
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
    def words(self) -> str:
        if self.position is None:
            return f"beyond the first {MAX_COUNTED:,} of {self.total:,}"
        return f"{self.position:,}–{self.last_position:,} of {self.total:,}"
