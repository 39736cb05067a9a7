"""Parses the query string of a page of images, and turns it into a query set of images and back into a URL.

Filters combine with “and”.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Least
from django.utils import timezone
from django.utils.translation import gettext_lazy

from exeml_site.lib.params import parse_date, parse_float, parse_int
from projects.images import similarity
from projects.images.sort import ORDERS, SORT_OF_ISSUE, SORT_OF_TAB, Order
from projects.labels.metadata import clean_text
from projects.models import Annotation, Image, MetadataColumn, MetadataValue, OpinionState, Project, Split
from projects.models.image import ImageQuerySet
from projects.models.metadata import MAX_COLUMN_NAME, MAX_VALUE
from projects.quality import issues

TABS = {
    "unlabeled": gettext_lazy("Unlabeled"),
    "suggested": gettext_lazy("To Be Confirmed"),
    "labeled": gettext_lazy("Labeled"),
    "all": gettext_lazy("All"),
    "bin": gettext_lazy("Bin"),
}
PAGE_SIZES = (100, 200, 500)
MAX_SEARCH_LENGTH = 100
MAX_SIMILAR = 500
MAX_METADATA = MAX_COLUMN_NAME + MAX_VALUE + 1
HIGH_CONFIDENCE = 0.95
SIZES = {"tiny": (0, 63), "small": (64, 223), "large": (1000, 10**9)}  # pixels of the shorter side
SIZE_TEXT: dict[str, Any] = {
    "tiny": gettext_lazy("below 64 px"),
    "small": gettext_lazy("64 to 223 px"),
    "large": gettext_lazy("1,000 px and more"),
}


@dataclass(frozen=True)
class Query:
    """The parameters of a query string. Invalid values are ignored."""

    tab: str = "all"
    label: int | None = None
    notlabel: int | None = None
    split: str = ""
    by: int | None = None
    since: date | None = None
    until: date | None = None
    q: str = ""
    size: str = ""
    suggestion: int | None = None
    above: float | None = None
    below: float | None = None
    hard: bool = False
    group: int | None = None
    check: str = ""
    opinion: str = ""
    mine: bool = False
    imported: int | None = None
    metadata: str = ""  # column:value, or column: for the images without a value
    sort: str = ""
    like: int | None = None
    before: str = ""  # cursor: show the images after it (older ones)
    after: str = ""  # cursor: show the images before it
    show: int = PAGE_SIZES[0]

    @classmethod
    def from_address(cls, params: Mapping[str, str], first_tab: str = "all") -> Query:
        tab = params.get("tab", first_tab)
        sort, like, check = params.get("sort", ""), parse_int(params.get("like")), params.get("check", "")
        show = parse_int(params.get("show"))
        return cls(
            tab=tab if tab in TABS else first_tab,
            label=parse_int(params.get("label")),
            notlabel=parse_int(params.get("notlabel")),
            split=_one_of(params.get("split") or params.get("side"), (*Split.values, "none")),
            by=parse_int(params.get("by")),
            since=parse_date(params.get("since")),
            until=parse_date(params.get("until")),
            q=params.get("q", "").replace("\0", "").strip()[:MAX_SEARCH_LENGTH],
            size=_one_of(params.get("size"), SIZES),
            suggestion=parse_int(params.get("suggestion")),
            above=_parse_fraction(params.get("above")),
            below=_parse_fraction(params.get("below")),
            hard=params.get("hard") == "1",
            group=parse_int(params.get("group")),
            check=_one_of(check, issues.ISSUE_BY_NAME),
            opinion=_one_of(params.get("opinion"), OpinionState.values),
            mine=params.get("mine") == "1",
            imported=parse_int(params.get("imported")),
            metadata=_parse_metadata(params.get("metadata", "")),
            sort=sort if sort in ORDERS and (sort != "similar" or like) else "",
            like=like,
            before=params.get("before", ""),
            after=params.get("after", ""),
            show=show if show in PAGE_SIZES else PAGE_SIZES[0],
        )

    @property
    def sort_name(self) -> str:
        return self.sort or SORT_OF_ISSUE.get(self.check) or SORT_OF_TAB.get(self.tab, "newest")

    @property
    def order(self) -> Order:
        return ORDERS[self.sort_name]

    @property
    def is_filtered(self) -> bool:
        return bool(self.filters) or self.sort == "similar"

    @property
    def filters(self) -> list[str]:
        """Names of the active filters."""
        return [name for name in FILTERS if is_set(getattr(self, name))]

    def without(self, name: str) -> str:
        """The query string without one filter."""
        default = next(field.default for field in fields(self) if field.name == name)
        return self.first_page(**{name: default})

    def address(self, **changes: Any) -> str:
        """The query string of this page, with `changes`."""
        other = replace(self, **changes)
        parts: dict[str, Any] = {"tab": other.tab}
        for name in (*FILTERS, "sort", "like", "before", "after"):
            value = getattr(other, name)
            if is_set(value):
                parts[name] = 1 if value is True else value
        if other.show != PAGE_SIZES[0]:
            parts["show"] = other.show
        return urlencode(parts)

    def first_page(self, **changes: Any) -> str:
        return self.address(before="", after="", **changes)

    # --- query set ---

    def images(self, project: Project, user: User | None) -> ImageQuerySet:
        """All images of the tab that pass the filters, unordered."""
        images = self._of_tab(Image.objects.filter(project=project))
        for name, narrow in _FILTER_BY_NAME.items():
            if is_set(getattr(self, name)):
                images = narrow(images, self, user)
        if self.metadata:
            images = _with_value(images, project, self.metadata)
        if self.sort == "similar" and self.like:
            return images.filter(pk__in=similarity.nearest(project, self.like, MAX_SIMILAR))
        column = self.order.column
        return images if column in ("id", "name") else images.filter(**{f"{column}__isnull": False})

    def most_similar(self, project: Project, user: User | None = None) -> list[Image]:
        """The matching images of the sort “similar”, the most similar first."""
        assert self.like is not None
        ranked = similarity.nearest(project, self.like, MAX_SIMILAR)
        images = {image.pk: image for image in self.images(project, user)}
        return [images[pk] for pk in ranked if pk in images]

    def _of_tab(self, images: ImageQuerySet) -> ImageQuerySet:
        if self.tab == "suggested":
            return images.unlabeled().filter(suggestion__isnull=False)
        images_of_tab = {"unlabeled": images.unlabeled, "labeled": images.labeled, "bin": images.binned}
        return images_of_tab.get(self.tab, images.alive)()


def _with_annotation(images: ImageQuerySet, condition: Q) -> ImageQuerySet:
    return images.filter(Exists(Annotation.objects.filter(condition, image=OuterRef("pk"))))


def _labeled_by(images: ImageQuerySet, query: Query, user: User | None) -> ImageQuerySet:
    """Images that the person labeled within the days: one condition, since both apply to one annotation."""
    condition = Q()
    if query.by:
        condition &= Q(by=query.by)
    if query.since:
        condition &= Q(at__gte=_start(query.since))
    if query.until:
        condition &= Q(at__lt=_start(query.until) + timedelta(days=1))
    return _with_annotation(images, condition)


def _of_size(images: ImageQuerySet, query: Query, user: User | None) -> ImageQuerySet:
    least, most = SIZES[query.size]
    return images.annotate(short=Least("width", "height")).filter(short__gte=least, short__lte=most)


def _with_value(images: ImageQuerySet, project: Project, text: str) -> ImageQuerySet:
    """Images with the value of `column:value`, or without any in the column if the value is empty."""
    name, _, value = text.partition(":")
    column = MetadataColumn.objects.filter(project=project, name__iexact=name).first()
    rows = MetadataValue.objects.filter(column=column)
    if value:  # ids that the index of column and value gives at once
        return images.filter(pk__in=rows.filter(value=value).values("image"))
    return images.exclude(Exists(rows.filter(image=OuterRef("pk"))))


_FILTER_BY_NAME: dict[str, Callable[[ImageQuerySet, Query, User | None], ImageQuerySet]] = {
    "label": lambda images, query, user: _with_annotation(images, Q(label=query.label)),
    "notlabel": lambda images, query, user: images.exclude(
        Exists(Annotation.objects.filter(image=OuterRef("pk"), label=query.notlabel))
    ),
    "split": lambda images, query, user: images.filter(split="" if query.split == "none" else query.split),
    "by": _labeled_by,
    "since": _labeled_by,
    "until": _labeled_by,
    "q": lambda images, query, user: images.filter(name__icontains=query.q),
    "size": _of_size,
    "suggestion": lambda images, query, user: images.filter(suggestion=query.suggestion),
    "above": lambda images, query, user: images.filter(confidence__gte=query.above),
    "below": lambda images, query, user: images.filter(confidence__lte=query.below),
    "hard": lambda images, query, user: images.filter(is_hard=True),
    "group": lambda images, query, user: images.filter(duplicate_group=query.group),
    "check": lambda images, query, user: issues.images_with_issue(images, query.check),
    "opinion": lambda images, query, user: images.filter(opinion=query.opinion),
    "imported": lambda images, query, user: images.filter(transfer=query.imported),
    "mine": lambda images, query, user: images.filter(assignment__user=user),
}
FILTERS = (*_FILTER_BY_NAME, "metadata")


def matching_ids(project: Project, params: Mapping[str, str], user: User | None) -> list[int]:
    """Ids of all images that a query string selects, on all pages."""
    query = Query.from_address(params, first_tab(project))
    return list(query.images(project, user).order_by().values_list("pk", flat=True))


def first_tab(project: Project) -> str:
    """The default tab: Unlabeled if there are unlabeled images or no images at all, or else All."""
    images = Image.objects.filter(project=project)
    return "all" if not images.unlabeled().exists() and images.alive().exists() else "unlabeled"


# --- parsing ---


def is_set(value: Any) -> bool:
    """Whether the value of a parameter narrows the images: a confidence of 0 does."""
    return not (value is None or value is False or value == "")


def _parse_fraction(text: str | None) -> float | None:
    value = parse_float(text)
    return value if value is not None and 0 <= value <= 1 else None


def _parse_metadata(text: str) -> str:
    """`column:value` as stored; empty where there is no column."""
    column, colon, value = text[:MAX_METADATA].partition(":")
    column, value = clean_text(column), clean_text(value)
    return f"{column}:{value}" if colon and column else ""


def _start(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, datetime.min.time()))


def _one_of(text: str | None, choices: Any) -> str:
    return text if text and text in choices else ""
