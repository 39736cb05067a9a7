"""What the Label Data page shows: one page of images of a tab, the counts, and the labels with theirs.

Pages are found by key, not by offset, so that the tenth thousand is as fast as the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import Count, Q
from django.urls import reverse
from django.utils import timezone

from projects.models import Annotation, Image, Label, Project
from projects.models.image import ImageQuerySet

TABS = {"unlabeled": "Unlabeled", "labeled": "Labeled", "all": "All", "bin": "Bin"}
PAGE_SIZES = (100, 200, 500)
SEARCH_LENGTH = 100


@dataclass(frozen=True)
class Query:
    """Which images of a project: the page's address in the domain's types.

    `before` and `after` are image ids: the newest image comes first, so a page begins below `before` or ends
    above `after`.
    """

    tab: str = "all"
    label_id: int | None = None
    text: str = ""
    before: int | None = None
    after: int | None = None
    show: int = PAGE_SIZES[0]

    @classmethod
    def from_address(cls, params: Mapping[str, str], counts: Mapping[str, int]) -> Query:
        """Nonsense in an address counts as not said. The first tab is the one with work to do."""
        # Also in an empty project: what is uploaded next waits there to be labeled.
        first = "all" if counts["all"] and not counts["unlabeled"] else "unlabeled"
        tab = params.get("tab", first)
        show = _number(params.get("show"))
        return cls(
            tab=tab if tab in TABS else first,
            label_id=_number(params.get("label")),
            text=params.get("q", "").replace("\0", "").strip()[:SEARCH_LENGTH],
            before=_number(params.get("before")),
            after=_number(params.get("after")),
            show=show if show in PAGE_SIZES else PAGE_SIZES[0],
        )

    @property
    def is_filtered(self) -> bool:
        return bool(self.label_id or self.text)

    def address(self, **changes: str | int | None) -> str:
        """The query string of this page, or of one that differs in `changes`."""
        other = replace(self, **changes)  # type: ignore[arg-type]
        parts = {"tab": other.tab, "label": other.label_id, "q": other.text}
        parts |= {"before": other.before, "after": other.after}
        if other.show != PAGE_SIZES[0]:
            parts["show"] = other.show
        return urlencode({name: value for name, value in parts.items() if value})

    def first_page(self, **changes: str | int | None) -> str:
        return self.address(before=None, after=None, **changes)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


@dataclass(frozen=True)
class LabelRow:
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

    @property
    def label_ids(self) -> str:
        return " ".join(str(label.pk) for label in self.labels)

    @property
    def spoken(self) -> str:
        """The image for people who hear the page."""
        return f"{self.image.name}, {', '.join(label.name for label in self.labels) or 'no label'}"


@dataclass(frozen=True)
class Slice:
    """One page of images and where it lies among those of its tab and filter.

    `kept` have left the tab and are shown beside them.
    """

    images: list[Image] = field(default_factory=list)
    kept: list[Image] = field(default_factory=list)
    position: int = 0  # of the first image, counted from 1
    total: int = 0

    @property
    def last_position(self) -> int:
        return self.position + len(self.images) - 1

    @property
    def shown(self) -> list[Image]:
        return sorted([*self.images, *self.kept], key=lambda image: -image.pk)


class Bench:
    """Everything the page shows of one project for one query, read when it is first asked for."""

    def __init__(self, project: Project, params: Mapping[str, str], keep: Iterable[int] = ()) -> None:
        """`keep`: images shown although they left the tab, because somebody is still at work on them."""
        self.project = project
        self.counts = count_images(project)
        self.query = Query.from_address(params, self.counts)
        self._keep = frozenset(keep)

    @cached_property
    def tabs(self) -> list[dict[str, object]]:
        address = self.query.first_page
        return [
            {"key": key, "name": name, "count": self.counts[key], "address": address(tab=key, label_id=None)}
            for key, name in TABS.items()
        ]

    @cached_property
    def labels(self) -> list[LabelRow]:
        living = Annotation.objects.filter(image__project=self.project, image__deleted_at=None).order_by()
        counts = dict(living.values_list("label").annotate(Count("pk")))
        labels = Label.objects.filter(project=self.project)
        return [LabelRow(label, counts.get(label.pk, 0)) for label in labels]

    @cached_property
    def filter_label(self) -> Label | None:
        return next((row.label for row in self.labels if row.label.pk == self.query.label_id), None)

    @cached_property
    def images(self) -> ImageQuerySet:
        """All images of the tab that pass the filter."""
        images = Image.objects.filter(project=self.project)
        images = {
            "unlabeled": images.unlabeled,
            "labeled": images.labeled,
            "all": images.alive,
            "bin": images.binned,
        }[self.query.tab]()
        if self.filter_label:
            images = images.filter(annotations__label=self.filter_label)
        if self.query.text:
            images = images.filter(name__icontains=self.query.text)
        return images

    @cached_property
    def slice(self) -> Slice:
        images = self._read_images()
        is_plain = not self.filter_label and not self.query.text
        total = self.counts[self.query.tab] if is_plain else self.images.count()
        kept = self._read_kept(images)
        if not images:
            return Slice(kept=kept, total=total)
        newer = 0
        if self.query.before or self.query.after:
            newer = self.images.filter(pk__gt=images[0].pk).count()
        return Slice(images, kept, newer + 1, total)

    def _read_images(self) -> list[Image]:
        query, rows = self.query, self.images.order_by("-pk")
        if query.after:
            newer = list(self.images.filter(pk__gt=query.after).order_by("pk")[: query.show])
            if len(newer) == query.show:
                return newer[::-1]
        elif query.before and (older := list(rows.filter(pk__lt=query.before)[: query.show])):
            return older
        return list(rows[: query.show])  # the first page, also where the wanted one has become empty

    def _read_kept(self, images: list[Image]) -> list[Image]:
        missing = sorted(self._keep - {image.pk for image in images})[: self.query.show]
        if not missing:
            return []
        return list(Image.objects.alive().filter(project=self.project, pk__in=missing))

    @cached_property
    def tiles(self) -> list[Tile]:
        images = self.slice.shown
        labels = {row.label.pk: row.label for row in self.labels}
        carried: dict[int, list[Label]] = {image.pk: [] for image in images}
        rows = Annotation.objects.filter(image_id__in=list(carried)).order_by("label__position", "pk")
        for image_id, label_id in rows.values_list("image_id", "label_id"):
            if label_id in labels:  # made by somebody since the labels were read
                carried[image_id].append(labels[label_id])
        return [self._tile(image, carried[image.pk]) for image in images]

    def _tile(self, image: Image, labels: list[Label]) -> Tile:
        thumbnails, files = self._addresses
        days = _days_left(image) if image.deleted_at else None
        return Tile(image, labels, f"{thumbnails}{image.sha256}.webp", f"{files}{image.pk}/file/", days)

    @cached_property
    def _addresses(self) -> tuple[str, str]:
        """The beginnings of the addresses: resolving hundreds of them takes longer than the queries."""
        thumbnail = reverse("image_thumbnail", args=[self.project.pk, "0"])
        file = reverse("image_file", args=[self.project.pk, 0])
        return thumbnail.removesuffix("0.webp"), file.removesuffix("0/file/")

    @property
    def newer_address(self) -> str:
        here = self.slice
        if here.position <= 1:
            return ""
        return self.query.address(before=None, after=here.images[0].pk)

    @property
    def older_address(self) -> str:
        here = self.slice
        if not here.images or here.last_position >= here.total:
            return ""
        return self.query.address(before=here.images[-1].pk, after=None)

    bin_days = property(lambda self: settings.EXEML_BIN_DAYS)
    max_image_mb = property(lambda self: settings.EXEML_MAX_IMAGE_MB)

    @property
    def sizes(self) -> list[tuple[int, str]]:
        """Page sizes with their addresses; the first image stays where it is."""
        return [(size, self.query.address(show=size)) for size in PAGE_SIZES]

    @property
    def here(self) -> str:
        """The query string of what is shown."""
        return self.query.address()

    @property
    def without_filter(self) -> str:
        return self.query.first_page(label_id=None, text="")


def count_images(project: Project) -> dict[str, int]:
    """Images per tab, in one query."""
    alive = Q(deleted_at=None)
    return Image.objects.filter(project=project).aggregate(
        unlabeled=Count("pk", filter=alive & Q(is_labeled=False)),
        labeled=Count("pk", filter=alive & Q(is_labeled=True)),
        all=Count("pk", filter=alive),
        bin=Count("pk", filter=~alive),
    )


def _days_left(image: Image) -> int:
    assert image.deleted_at is not None
    end = image.deleted_at + timedelta(days=settings.EXEML_BIN_DAYS)
    return max(0, math.ceil((end - timezone.now()) / timedelta(days=1)))
