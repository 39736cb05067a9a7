"""What the Label Data page shows: one page of images of a tab, the counts, and the labels with theirs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Count, Q
from django.urls import reverse
from django.utils import timezone

from exeml_site.lib.params import parse_int
from projects.images import similarity
from projects.images.query import HIGH_CONFIDENCE, MAX_SIMILAR, PAGE_SIZES, TABS, Query
from projects.images.sort import ORDERS, Cursor
from projects.label_data.rows import MAX_COUNTED, LabelRow, Slice, Tile
from projects.labels.counts import counts_of
from projects.models import Annotation, Image, Label, Project
from projects.models.image import ImageQuerySet


@dataclass(frozen=True)
class SuggestionGroup:
    """The images that wait with the same suggestion."""

    label: Label
    count: int
    confident_count: int  # of them at SURE or above
    address: str


class LabelDataPage:
    """Everything the page shows of one project for one query, read when it is first asked for."""

    def __init__(
        self,
        project: Project,
        params: Mapping[str, str],
        keep: Iterable[int] = (),
        user: User | None = None,
        only: Iterable[int] | None = None,
        can_label: bool = False,
    ) -> None:
        """`keep`: images shown although they left the tab, because somebody is still at work on them.

        `only`: nothing but these images, whatever the query says.
        """
        self.project, self.user, self.can_label = project, user, can_label
        self._only = None if only is None else sorted(set(only))
        self.counts, self._carriers = counts_of(project)
        # Also in an empty project: what is uploaded next waits there to be labeled.
        first = "all" if self.counts["all"] and not self.counts["unlabeled"] else "unlabeled"
        self.query = Query.from_address(params, first)
        self._keep = frozenset(keep)

    @cached_property
    def tabs(self) -> list[dict[str, object]]:
        """A tab keeps the way of looking, and the file name that is searched; other filters belong to one."""
        return [
            {"key": key, "name": name, "count": self.counts[key], "address": self._tab_address(key)}
            for key, name in TABS.items()
        ]

    def _tab_address(self, key: str) -> str:
        return Query(tab=key, q=self.query.q, show=self.query.show).address()

    # --- labels ---

    @cached_property
    def labels(self) -> list[LabelRow]:
        """The labels with how many living images carry each."""
        labels = Label.objects.filter(project=self.project)
        return [LabelRow(label, self._carriers[label.pk]) for label in labels]

    def _label(self, pk: int | None) -> Label | None:
        return next((row.label for row in self.labels if row.label.pk == pk), None) if pk else None

    @cached_property
    def filter_label(self) -> Label | None:
        return self._label(self.query.label)

    @cached_property
    def groups(self) -> list[SuggestionGroup]:
        """Waiting images by their suggestion, the largest group first; only on the tab that shows them."""
        if self.query.tab != "suggested":
            return []
        waiting = Image.objects.unlabeled().filter(project=self.project, suggestion__isnull=False)
        counted = (
            waiting.order_by()
            .values_list("suggestion")
            .annotate(Count("pk"), sure=Count("pk", filter=Q(confidence__gte=HIGH_CONFIDENCE)))
        )
        found = [
            SuggestionGroup(
                label, count, sure, Query(tab="suggested", suggestion=pk, show=self.query.show).address()
            )
            for pk, count, sure in counted
            if (label := self._label(pk))
        ]
        return sorted(found, key=lambda group: (-group.count, group.label.position))

    # --- images ---

    @cached_property
    def images(self) -> ImageQuerySet:
        """All images of the tab that pass the filter."""
        return self.query.images(self.project, self.user)

    @property
    def _known_total(self) -> int | None:
        """How many images are shown, where the counts beside them tell it; counting again takes longer."""
        query = self.query
        if query.order.column not in ("id", "name", *(["confidence"] if query.tab == "suggested" else [])):
            return None
        if not query.is_filtered:
            return self.counts[query.tab]
        if query.tab in ("labeled", "all") and query.filters == ["label"]:
            return next((row.count for row in self.labels if row.label.pk == query.label), None)
        if query.tab == "suggested" and query.filters == ["suggestion"]:
            return next((group.count for group in self.groups if group.label.pk == query.suggestion), None)
        return None

    @cached_property
    def slice(self) -> Slice:
        if self._only is not None:
            found = list(Image.objects.filter(project=self.project, pk__in=self._only))
            return Slice(found, position=1, total=len(found))
        if self.query.sort_name == "similar":
            return self._similar()
        images = self._read_images()
        total = self._known_total
        if total is None:
            is_whole = not (self.query.before or self.query.after) and len(images) < self.query.show
            total = len(images) if is_whole else self.images.count()
        kept = self._read_kept(images)
        if not images:
            return Slice(kept=kept, total=total)
        return Slice(images, kept, self._position(images, total), total)

    def _position(self, images: list[Image], total: int) -> int | None:
        """Counted from the nearer end and no further than COUNTED, so that no depth takes longer."""
        if not (self.query.before or self.query.after):
            return 1
        if (before := self._count_beyond(images[0], is_later=False)) <= MAX_COUNTED:
            return before + 1
        after = self._count_beyond(images[-1], is_later=True)
        return total - after - len(images) + 1 if after <= MAX_COUNTED else None

    def _count_beyond(self, image: Image, *, is_later: bool) -> int:
        order = self.query.order
        there = self.images.filter(order.beyond(Cursor.of(image, order), is_later=is_later))
        return int(there.order_by()[: MAX_COUNTED + 1].count())

    def _read_images(self) -> list[Image]:
        query, order = self.query, self.query.order
        rows = self.images.order_by(*order.by)
        if cursor := Cursor.read(query.after, order):
            earlier = self.images.filter(order.beyond(cursor, is_later=False)).order_by(*order.backwards)
            if len(found := list(earlier[: query.show])) == query.show:
                return found[::-1]
        elif cursor := Cursor.read(query.before, order):
            later = list(rows.filter(order.beyond(cursor, is_later=True))[: query.show])
            if later:
                return later
        return list(rows[: query.show])  # the first page, also where the wanted one has become empty

    def _similar(self) -> Slice:
        """The most similar ones first; the cursor of a page is the number of images before it."""
        assert self.query.like is not None
        ranked = similarity.nearest(self.project, self.query.like, MAX_SIMILAR)
        found = {image.pk: image for image in self.images}
        ordered = [found[pk] for pk in ranked if pk in found]
        start = parse_int(self.query.before) or 0
        if self.query.after:
            start = max(0, (parse_int(self.query.after) or 0) - self.query.show)
        part = ordered[start : start + self.query.show]
        return Slice(part, self._read_kept(part), start + 1 if part else 0, len(ordered))

    def _read_kept(self, images: list[Image]) -> list[Image]:
        missing = sorted(self._keep - {image.pk for image in images})[: self.query.show]
        if not missing:
            return []
        return list(Image.objects.alive().filter(project=self.project, pk__in=missing))

    @cached_property
    def _shown(self) -> list[Image]:
        """What is kept stands where it was: by id where that is the order, else before the others."""
        images, kept = self.slice.images, self.slice.kept
        if not kept or self.query.order.column != "id" or self.query.sort_name == "similar":
            return [*kept, *images]
        return sorted([*images, *kept], key=lambda image: image.pk, reverse=self.query.order.is_descending)

    @cached_property
    def tiles(self) -> list[Tile]:
        labels = {row.label.pk: row.label for row in self.labels}
        carried: dict[int, list[Label]] = {image.pk: [] for image in self._shown}
        rows = Annotation.objects.filter(image_id__in=list(carried)).order_by("label__position", "pk")
        for image_id, label_id in rows.values_list("image_id", "label_id"):
            if label_id in labels:  # made by somebody since the labels were read
                carried[image_id].append(labels[label_id])
        return [self._tile(image, carried[image.pk], labels) for image in self._shown]

    def _tile(self, image: Image, carried: list[Label], labels: Mapping[int, Label]) -> Tile:
        thumbnails, files = self._addresses
        return Tile(
            image,
            carried,
            f"{thumbnails}{image.sha256}.webp",
            f"{files}{image.pk}/file/",
            _days_left(image) if image.deleted_at else None,
            labels.get(image.suggestion_id or 0),
            labels.get(image.suspected_label_id or 0),
        )

    @cached_property
    def _addresses(self) -> tuple[str, str]:
        """The beginnings of the addresses: resolving hundreds of them takes longer than the queries."""
        thumbnail = reverse("image_thumbnail", args=[self.project.pk, "0"])
        file = reverse("image_file", args=[self.project.pk, 0])
        return thumbnail.removesuffix("0.webp"), file.removesuffix("0/file/")

    # --- addresses ---

    @cached_property
    def grid_address(self) -> str:
        return reverse("label_data", args=[self.project.pk])

    @cached_property
    def label_list_address(self) -> str:
        """The addresses of a label begin with it."""
        return reverse("label_list", args=[self.project.pk])

    def _cursor(self, image: Image, place: int) -> str:
        if self.query.sort_name == "similar":
            return str(place)
        return str(Cursor.of(image, self.query.order))

    @property
    def newer_address(self) -> str:
        here = self.slice
        if not here.has_earlier:
            return ""
        return self.query.address(before="", after=self._cursor(here.images[0], (here.position or 1) - 1))

    @property
    def older_address(self) -> str:
        here = self.slice
        if not here.has_later:
            return ""
        return self.query.address(before=self._cursor(here.images[-1], here.last_position), after="")

    bin_days = property(lambda self: settings.EXEML_BIN_DAYS)
    max_image_mb = property(lambda self: settings.EXEML_MAX_IMAGE_MB)

    @property
    def sizes(self) -> list[tuple[int, str]]:
        """Page sizes with their addresses; the first image stays where it is."""
        return [(size, self.query.address(show=size)) for size in PAGE_SIZES]

    @property
    def sorts(self) -> list[dict[str, Any]]:
        """The orders that make sense on this tab, with their addresses."""
        names = ["newest", "oldest", "name"]
        if self.query.tab in ("unlabeled", "suggested"):
            names = ["useful", "confidence", "uncertain", *names]
        names += [name for name in ("suspicion", "copies", "similar") if name == self.query.sort_name]
        return [
            {"name": name, "title": ORDERS[name].title, "address": self.query.first_page(sort=name)}
            for name in names
        ]

    @property
    def carried(self) -> list[tuple[str, str]]:
        """Names and values of the address, for a form that changes one of them."""
        return parse_qsl(self.query.first_page())

    @cached_property
    def here(self) -> str:
        """The query string of what is shown."""
        return self.query.address()

    @property
    def without_filter(self) -> str:
        return Query(tab=self.query.tab, sort=_plain_sort(self.query.sort), show=self.query.show).address()


def _plain_sort(sort: str) -> str:
    return "" if sort in ("similar", "suspicion", "copies") else sort


def _days_left(image: Image) -> int:
    assert image.deleted_at is not None
    end = image.deleted_at + timedelta(days=settings.EXEML_BIN_DAYS)
    return max(0, math.ceil((end - timezone.now()) / timedelta(days=1)))
