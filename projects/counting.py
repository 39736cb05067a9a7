"""Counts of a project's images, quick also with 100,000: queries read an index and join nothing.

They are remembered, by web process, for as long as nothing that changes them has happened: every deed writes
a LabelEvent, and an upload makes a newer image. Labeling says in its event what it changed, so that its
numbers are added to what was counted. What the workers change by themselves, suggestions and the end of a
bin, shows after QUICK_S.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from django.core.cache import caches
from django.db.models import Count, OuterRef, Subquery

from projects.models import Annotation, Image, Label, LabelEvent, Project

REMEMBERED_S = 60  # what only deeds and uploads change
QUICK_S = 2  # what the workers change, too
MOST_DEEDS = 20  # that are added to what was counted; more are counted anew
ON_LIVING_IMAGES = frozenset({LabelEvent.Kind.LABEL, LabelEvent.Kind.CONFIRM})


def count_images(project: Project) -> dict[str, int]:
    """Images per tab of Label Data."""
    here = _here(project)
    living = _remembered("living", project, here, REMEMBERED_S, _count_living, _add_to_living)
    quick = _remembered("quick", project, here, QUICK_S, _count_quick, _add_to_quick)
    return {**living, **quick, "all": living["unlabeled"] + living["labeled"]}


def count_carriers(project: Project) -> Counter[int]:
    """label id → living images that carry it."""
    here = _here(project)
    return Counter(_remembered("carriers", project, here, REMEMBERED_S, _count_carriers, _add_to_carriers))


class _Here(NamedTuple):
    """The last deed and the newest image: while they are the same, so are the counts."""

    event: int | None
    newest: int | None


class _Known(NamedTuple):
    """What was counted and went on by deeds since."""

    here: _Here
    counted_at: float
    counts: Counter[Any]


Add = Callable[[Counter[Any], list[dict[str, Any]], dict[str, Any]], None]


def _remembered(
    name: str,
    project: Project,
    here: _Here,
    seconds: float,
    count: Callable[[Project], Counter[Any]],
    add: Add,
) -> Counter[Any]:
    memory, key = caches["counts"], f"counts:{name}:{project.pk}"
    known: _Known | None = memory.get(key)
    if known is not None and time.monotonic() - known.counted_at < seconds:
        if known.here == here:
            return known.counts
        if known.here.newest == here.newest and (counts := _gone_on(project, known, here, add)) is not None:
            memory.set(key, known._replace(here=here, counts=counts), seconds)
            return counts
    counts, counted_at = count(project), time.monotonic()
    if _here(project) == here:  # else a deed may be in it already, and would be added a second time
        memory.set(key, _Known(here, counted_at, counts), seconds)
    return counts


def _here(project: Project) -> _Here:
    events = LabelEvent.objects.filter(project=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    images = Image.objects.alive().filter(project=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    row = Project.objects.filter(pk=project.pk).values_list(Subquery(events), Subquery(images)).first()
    return _Here(*(row or (None, None)))


def _gone_on(project: Project, known: _Known, here: _Here, add: Add) -> Counter[Any] | None:
    """What was known and the deeds since; None where one of them says too little."""
    later = LabelEvent.objects.filter(project=project, pk__gt=known.here.event or 0, pk__lte=here.event or 0)
    deeds = list(later.order_by("pk").values_list("kind", "changes", "details")[: MOST_DEEDS + 1])
    if len(deeds) > MOST_DEEDS:
        return None
    counts = Counter(known.counts)
    for kind, changes, details in deeds:
        if kind not in ON_LIVING_IMAGES or "suggested" not in details:
            return None
        add(counts, changes, details)
    return counts


def _add_to_living(counts: Counter[Any], changes: list[dict[str, Any]], details: dict[str, Any]) -> None:
    newly = sum(bool(change["to"]) - bool(change["from"]) for change in changes)
    counts["labeled"] += newly
    counts["unlabeled"] -= newly


def _add_to_quick(counts: Counter[Any], changes: list[dict[str, Any]], details: dict[str, Any]) -> None:
    counts["suggested"] -= details["suggested"]


def _add_to_carriers(counts: Counter[Any], changes: list[dict[str, Any]], details: dict[str, Any]) -> None:
    ids = details["labels"]
    for change in changes:
        before, after = set(change["from"]), set(change["to"])
        counts.update(ids[name] for name in after - before)
        counts.subtract(ids[name] for name in before - after)


def _count_living(project: Project) -> Counter[Any]:
    images = Image.objects.alive().filter(project=project).order_by()
    alive = dict(images.values_list("is_labeled").annotate(Count("pk")))
    return Counter({"unlabeled": alive.get(False, 0), "labeled": alive.get(True, 0)})


def _count_quick(project: Project) -> Counter[Any]:
    images = Image.objects.filter(project=project).order_by()
    suggested = images.unlabeled().filter(suggestion__isnull=False)
    return Counter({"suggested": suggested.count(), "bin": images.binned().count()})


def _count_carriers(project: Project) -> Counter[Any]:
    """All carriers less those in the bin: no join for the many."""
    labels = Label.objects.filter(project=project).order_by().values("pk")
    carried = Annotation.objects.filter(label__in=labels).order_by().values_list("label")
    counts = Counter(dict(carried.annotate(Count("pk"))))
    binned = carried.filter(image__in=Image.objects.filter(project=project).binned().values("pk"))
    counts.subtract(dict(binned.annotate(Count("pk"))))
    return counts
