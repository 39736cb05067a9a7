"""The read model of Label Data: one page of a tab's images, the tabs and the labels with their counts."""

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
from projects.images.query import HIGH_CONFIDENCE, PAGE_SIZES, TABS, Query
from projects.images.sort import ORDERS, Cursor
from projects.label_data.rows import MAX_COUNTED, LabelRow, Slice, Tile
from projects.labels.counts import counts_of
from projects.models import Annotation, Image, Label, Project
from projects.models.image import ImageQuerySet

SHOWN_GROUPS = 12
SUGGESTED_FROM = 2  # labels, with so many images each


@dataclass(frozen=True)
class SuggestionGroup:
    """The unlabeled images that have the same suggestion."""

    label: Label
    count: int
    confident_count: int  # images whose confidence is at least SURE
    address: str


class LabelDataPage:
    """What the page shows of one project for one query. Each part is read on first use."""

    def __init__(
        self,
        project: Project,
        params: Mapping[str, str],
        retain: Iterable[int] = (),
        user: User | None = None,
        only: Iterable[int] | None = None,
        can_label: bool = False,
    ) -> None:
        """`retain`: ids of images that stay visible although they left the tab: the user still labels them.

        `only`: ids of the images to show instead of those that match the query.
        """
        self.project, self.user, self.can_label = project, user, can_label
        self._only = None if only is None else sorted(set(only))
        self.counts, self._carriers = counts_of(project)
        # An empty project opens on Unlabeled as well: the next upload appears there.
        first = "all" if self.counts["all"] and not self.counts["unlabeled"] else "unlabeled"
        self.query = Query.from_address(params, first)
        self._retained_ids = frozenset(retain)

    @cached_property
    def tabs(self) -> list[dict[str, object]]:
        """The tabs with their counts. A tab's link keeps page size and name search, no other filter."""
        return [
            {"key": key, "name": name, "count": self.counts[key], "address": self._tab_address(key)}
            for key, name in TABS.items()
        ]

    def _tab_address(self, key: str) -> str:
        return Query(tab=key, q=self.query.q, show=self.query.show).address()

    # --- labels ---

    @cached_property
    def labels(self) -> list[LabelRow]:
        """The project's labels with their image counts, the bin excluded."""
        labels = Label.objects.filter(project=self.project)
        return [LabelRow(label, self._carriers[label.pk]) for label in labels]

    def _label(self, pk: int | None) -> Label | None:
        return next((row.label for row in self.labels if row.label.pk == pk), None) if pk else None

    @cached_property
    def filter_label(self) -> Label | None:
        return self._label(self.query.label)

    @cached_property
    def groups(self) -> list[SuggestionGroup]:
        """Unlabeled images grouped by suggestion, largest group first; empty on all tabs but “suggested”."""
        if self.query.tab != "suggested":
            return []
        waiting = Image.objects.unlabeled().filter(project=self.project, suggestion__isnull=False)
        counted = (
            waiting.order_by()
            .values_list("suggestion")
            .annotate(Count("pk"), sure=Count("pk", filter=Q(confidence__gte=HIGH_CONFIDENCE)))
        )
        groups = [
            SuggestionGroup(
                label, count, sure, Query(tab="suggested", suggestion=pk, show=self.query.show).address()
            )
            for pk, count, sure in counted
            if (label := self._label(pk))
        ]
        return sorted(groups, key=lambda group: (-group.count, group.label.position))

    @cached_property
    def shown_groups(self) -> list[SuggestionGroup]:
        """The largest groups and the chosen one, so that the images begin on the first screen."""
        chosen = self.query.suggestion
        return [group for n, group in enumerate(self.groups) if n < SHOWN_GROUPS or group.label.pk == chosen]

    @property
    def more_groups(self) -> list[SuggestionGroup]:
        return [group for group in self.groups if group not in self.shown_groups]

    @property
    def has_labels_to_suggest(self) -> bool:
        """Whether enough is labeled for suggestions."""
        return sum(row.count >= SUGGESTED_FROM for row in self.labels) >= SUGGESTED_FROM

    @cached_property
    def embedded(self) -> int:
        """Images of the project, the bin excluded, whose features have been computed."""
        return Image.objects.alive().filter(project=self.project, embedding__isnull=False).count()

    # --- images ---

    @cached_property
    def images(self) -> ImageQuerySet:
        """All images of the tab that pass the filter."""
        return self.query.images(self.project, self.user)

    @property
    def _known_total(self) -> int | None:
        """The number of matching images if the page's counts contain it, else None. Saves a COUNT query."""
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
            images = list(Image.objects.filter(project=self.project, pk__in=self._only))
            return Slice(images, position=1, total=len(images))
        if self.query.sort_name == "similar":
            return self._similar()
        images = self._read_images()
        total = self._known_total
        if total is None:
            is_whole = not (self.query.before or self.query.after) and len(images) < self.query.show
            total = len(images) if is_whole else self.images.count()
        retained = self._read_retained(images)
        if not images:
            return Slice(retained=retained, total=total)
        return Slice(images, retained, self._position(images, total), total)

    def _position(self, images: list[Image], total: int) -> int | None:
        """Position of the first image, counted from the nearer end; None beyond MAX_COUNTED from both ends.

        The limit keeps deep pages as fast as the first.
        """
        if not (self.query.before or self.query.after):
            return 1
        if (before := self._count_beyond(images[0], is_later=False)) <= MAX_COUNTED:
            return before + 1
        after = self._count_beyond(images[-1], is_later=True)
        return total - after - len(images) + 1 if after <= MAX_COUNTED else None

    def _count_beyond(self, image: Image, *, is_later: bool) -> int:
        order = self.query.order
        beyond = self.images.filter(order.beyond(Cursor.of(image, order), is_later=is_later))
        return int(beyond.order_by()[: MAX_COUNTED + 1].count())

    def _read_images(self) -> list[Image]:
        query, order = self.query, self.query.order
        rows = self.images.order_by(*order.by)
        if cursor := Cursor.read(query.after, order):
            earlier = self.images.filter(order.beyond(cursor, is_later=False)).order_by(*order.backwards)
            if len(reversed_images := list(earlier[: query.show])) == query.show:
                return reversed_images[::-1]
        elif cursor := Cursor.read(query.before, order):
            later = list(rows.filter(order.beyond(cursor, is_later=True))[: query.show])
            if later:
                return later
        return list(rows[: query.show])  # the first page, also if the requested page is empty by now

    def _similar(self) -> Slice:
        """A page of the most similar images, best first. Its cursor is the number of images before it."""
        ordered = self.query.most_similar(self.project, self.user)
        start = parse_int(self.query.before) or 0
        if self.query.after:
            start = max(0, (parse_int(self.query.after) or 0) - self.query.show)
        part = ordered[start : start + self.query.show]
        return Slice(part, self._read_retained(part), start + 1 if part else 0, len(ordered))

    def _read_retained(self, images: list[Image]) -> list[Image]:
        missing = sorted(self._retained_ids - {image.pk for image in images})[: self.query.show]
        if not missing:
            return []
        return list(Image.objects.alive().filter(project=self.project, pk__in=missing))

    @cached_property
    def _shown(self) -> list[Image]:
        """The images as displayed; retained images are in id order if the page is, else they come first."""
        images, retained = self.slice.images, self.slice.retained
        if not retained or self.query.order.column != "id" or self.query.sort_name == "similar":
            return [*retained, *images]
        return sorted(
            [*images, *retained], key=lambda image: image.pk, reverse=self.query.order.is_descending
        )

    @cached_property
    def tiles(self) -> list[Tile]:
        labels = {row.label.pk: row.label for row in self.labels}
        carried: dict[int, list[Label]] = {image.pk: [] for image in self._shown}
        rows = Annotation.objects.filter(image_id__in=list(carried)).order_by("label__position", "pk")
        for image_id, label_id in rows.values_list("image_id", "label_id"):
            if label_id in labels:  # a label may have been created after the labels were read
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
        """URL prefixes of thumbnails and files: reversing hundreds of URLs takes longer than the queries."""
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

    def _cursor(self, image: Image, position: int) -> str:
        if self.query.sort_name == "similar":
            return str(position)
        return str(Cursor.of(image, self.query.order))

    @property
    def newer_address(self) -> str:
        if not self.slice.has_earlier:
            return ""
        first, position = self.slice.images[0], self.slice.position or 1
        return self.query.address(before="", after=self._cursor(first, position - 1))

    @property
    def older_address(self) -> str:
        if not self.slice.has_later:
            return ""
        last = self.slice.images[-1]
        return self.query.address(before=self._cursor(last, self.slice.last_position), after="")

    bin_days = property(lambda self: settings.EXEML_BIN_DAYS)
    max_image_mb = property(lambda self: settings.EXEML_MAX_IMAGE_MB)

    @property
    def sizes(self) -> list[tuple[int, str]]:
        """Page sizes with their query strings; the first image stays the same."""
        return [(size, self.query.address(show=size)) for size in PAGE_SIZES]

    @property
    def sorts(self) -> list[dict[str, Any]]:
        """The sort orders of this tab with their query strings."""
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
        """Names and values of the query string, for a form that changes one of them."""
        return parse_qsl(self.query.first_page())

    @cached_property
    def query_string(self) -> str:
        """The query string of this page."""
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
