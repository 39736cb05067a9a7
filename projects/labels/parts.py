"""Large actions in parts: each is a transaction and a LabelEvent of its own, so that others wait briefly.

The events of one action have the same `group` in their details, and their number as `part`. The history shows
the first one, and undo takes them back together, the last part first.
"""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Count

from exeml_site.lib.bulk import chunks
from projects.models import LabelEvent, LabelEventImage, Project

PART_IMAGES = 200  # writing them takes about 0.1 s


def split_ids(image_ids: Iterable[int]) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """The ids in parts, sorted, each with what the details of its event say."""
    ids = sorted(set(image_ids))
    group = uuid.uuid4().hex
    for part, start in enumerate(range(0, max(len(ids), 1), PART_IMAGES)):
        is_large = len(ids) > PART_IMAGES
        yield ids[start : start + PART_IMAGES], {"group": group, "part": part} if is_large else {}


def details_of(image_count: int) -> Iterator[dict[str, Any]]:
    """What the details of each event say of an action on about so many images, without an end if in parts."""
    if image_count <= PART_IMAGES:
        yield {}
        return
    group = uuid.uuid4().hex
    for part in itertools.count():
        yield {"group": group, "part": part}


def events_of_action(event: LabelEvent) -> list[LabelEvent]:
    """The events of the action that `event` is a part of, the last first."""
    group = event.details.get("group")
    if not group:
        return [event]
    same = LabelEvent.objects.filter(project=event.project_id, kind=event.kind, details__group=group)
    return list(same.select_related("project").order_by("-pk"))


def count_images(event: LabelEvent | None) -> int:
    """How many images the whole action changed; 0 where it wrote no event."""
    if event is None:
        return 0
    group = event.details.get("group")
    if event.image_count is not None:
        return event.image_count
    if not group:
        return len(event.changes)
    same = LabelEvent.objects.filter(project=event.project_id, kind=event.kind, details__group=group)
    return LabelEventImage.objects.filter(event__in=same).count()


def read_image_counts(project: Project, events: Iterable[LabelEvent]) -> None:
    """Set `image_count` of the events and of what they undo, for many of them in a few queries."""
    wanted = list(events)
    for event in wanted:  # grows while it is read
        if event.undoes is not None:
            wanted.append(event.undoes)
    groups = {group for event in wanted if (group := event.details.get("group"))}
    parts_of_actions = LabelEvent.objects.filter(project=project, details__group__in=sorted(groups))
    keys = (
        {
            pk: (kind, group)
            for pk, kind, group in parts_of_actions.order_by().values_list("pk", "kind", "details__group")
        }
        if groups
        else {}
    )
    counts: Counter[tuple[str, str]] = Counter()
    for chunk in chunks(list(keys)):
        images = LabelEventImage.objects.filter(event__in=chunk).order_by().values_list("event")
        for pk, number in images.annotate(Count("pk")):
            counts[keys[pk]] += number
    for event in wanted:
        group = event.details.get("group")
        event.image_count = counts[event.kind, group] if group else len(event.changes)


def binned_ids(event: LabelEvent) -> list[int]:
    """Ids of the images that the whole action moved to the bin together with their only label."""
    return [pk for part in events_of_action(event) for pk in part.details.get("binned", ())]
