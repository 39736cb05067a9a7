"""Read model of the history pages: actions, newest first, in a constant number of queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext

from exeml_site.lib.params import parse_int
from projects.labels.event_text import describe_event
from projects.labels.parts import count_images, read_image_counts
from projects.models import Image, LabelEvent, Project

PAGE_SIZE = 30
THUMBNAILS = 6
MAX_IMAGE_EVENTS = 200
Kind = LabelEvent.Kind


@dataclass(frozen=True)
class HistoryRow:
    """One action; `undone_by` is the event that undid it."""

    event: LabelEvent
    text: str
    thumbnails: list[Image]
    more: int
    undone_by: LabelEvent | None

    @property
    def button(self) -> str:
        return gettext("Redo") if self.event.kind == Kind.UNDO else gettext("Undo")


def actions_of(project: Project, by: int | None = None, kind: str = "") -> QuerySet[LabelEvent]:
    """The actions of a project, newest first, each as one event: of a large one in parts the first part."""
    is_shown = Q(details__part__isnull=True) | Q(details__part=0)
    events = LabelEvent.objects.filter(is_shown, project=project)
    if by:
        events = events.filter(by=by)
    if kind:
        events = events.filter(kind=kind)
    return events.select_related("by", "undoes__undoes__undoes", "undone_by__by")


class History:
    """One page of a project's actions: events with an id below `before`."""

    def __init__(self, project: Project, params: Mapping[str, str]) -> None:
        self.project = project
        self.by = parse_int(params.get("by"))
        kind = params.get("kind", "")
        self.kind = kind if kind in Kind.values else ""
        self.before = parse_int(params.get("before"))

    kinds = property(lambda self: Kind.choices)

    @cached_property
    def people(self) -> list[User]:
        acted = LabelEvent.objects.filter(project=self.project, by=OuterRef("pk"))
        return list(User.objects.filter(Exists(acted)).order_by("username"))

    @cached_property
    def _events(self) -> list[LabelEvent]:
        """The events of the page and one more, which tells whether there is an older page."""
        events = actions_of(self.project, self.by, self.kind)
        if self.before:
            events = events.filter(pk__lt=self.before)
        return list(events[: PAGE_SIZE + 1])

    @cached_property
    def lines(self) -> list[HistoryRow]:
        events = self._events[:PAGE_SIZE]
        read_image_counts(self.project, events)
        first = {event.pk: [change["image"] for change in event.changes[:THUMBNAILS]] for event in events}
        images = Image.objects.in_bulk({pk for ids in first.values() for pk in ids})
        return [
            HistoryRow(
                event,
                describe_event(event),
                [images[pk] for pk in first[event.pk] if pk in images],
                max(0, count_images(event) - THUMBNAILS),
                getattr(event, "undone_by", None),
            )
            for event in events
        ]

    @property
    def is_filtered(self) -> bool:
        return bool(self.by or self.kind)

    @property
    def older_address(self) -> str:
        if len(self._events) <= PAGE_SIZE:
            return ""
        return self._address(before=self._events[PAGE_SIZE - 1].pk)

    @property
    def address(self) -> str:
        return self._address(before=self.before)

    def _address(self, **more: Any) -> str:
        parts = {"by": self.by, "kind": self.kind, **more}
        return urlencode({name: value for name, value in parts.items() if value})


@dataclass(frozen=True)
class ImageHistoryRow:
    """One action on one image: its labels before and after."""

    event: LabelEvent
    before: list[str]
    after: list[str]

    @property
    def text(self) -> str:
        return str(Kind(self.event.kind).label)

    @property
    def is_change(self) -> bool:
        return self.before != self.after


class ImageHistory:
    """Actions on one image, newest first."""

    def __init__(self, image: Image) -> None:
        self.image = image

    @cached_property
    def lines(self) -> list[ImageHistoryRow]:
        touching = LabelEvent.objects.filter(event_images__image=self.image).select_related("by")
        lines = []
        for event in touching.order_by("-pk")[:MAX_IMAGE_EVENTS]:
            change = next(entry for entry in event.changes if entry["image"] == self.image.pk)
            lines.append(ImageHistoryRow(event, change["from"], change["to"]))
        return lines
