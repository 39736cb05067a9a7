"""Counts of a project's images, quick also with 100,000: queries read an index and join nothing.

They are remembered, by web process, for as long as nothing that changes them has happened: every deed writes
a LabelEvent, and an upload makes a newer image. Labeling says in its event what it changed, so that its
numbers are added to what was counted. What the workers change by themselves, suggestions and the end of a
bin, shows after QUICK_S.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, NamedTuple

from django.core.cache import caches
from django.db.models import Count, OuterRef, Subquery

from projects.models import Annotation, Image, Label, LabelEvent, Project

REMEMBERED_S = 60  # what only deeds and uploads change
QUICK_S = 2  # what the workers change, too
MOST_DEEDS = 20  # that are added to what was counted; more are counted anew
ON_LIVING_IMAGES = frozenset({LabelEvent.Kind.LABEL, LabelEvent.Kind.CONFIRM})


class Counts(NamedTuple):
    images: dict[str, int]  # per tab of Label Data
    carriers: Counter[int]  # label id → living images that carry it


def counts_of(project: Project, *, is_quick: bool = True) -> Counts:
    """Counts as they are now; unless `is_quick`, what the workers change may be a minute old."""
    here, memory, key = _here(project), caches["counts"], f"counts:{project.pk}"
    stored: _Known | None = memory.get(key)
    known = _gone_on(project, stored, here)
    found = _counted(project, here, known, is_quick)
    # Where counting met a deed it may be in the counts already, and would be added a second time.
    if found is not stored and (found is known or _here(project) == here):
        memory.set(key, found, REMEMBERED_S)
    living, quick = found.living, found.quick
    images = {**living, **quick, "all": living["unlabeled"] + living["labeled"]}
    return Counts(images, Counter(found.carriers))


def images_per_tab(project: Project) -> dict[str, int]:
    """Images per tab of Label Data."""
    return counts_of(project).images


def images_per_label(project: Project) -> Counter[int]:
    """label id → living images that carry it."""
    return counts_of(project, is_quick=False).carriers


class _Here(NamedTuple):
    """The last deed and the newest image: while they are the same, so are the counts."""

    event: int | None
    newest: int | None


class _Known(NamedTuple):
    """What was counted and went on by deeds since."""

    here: _Here
    counted_at: float
    living: Counter[str]
    carriers: Counter[int]
    quick_at: float
    quick: Counter[str]


def _counted(project: Project, here: _Here, known: _Known | None, is_quick: bool) -> _Known:
    """What is known, and counted anew what is not known or too old."""
    now = time.monotonic()
    if known is None or now - known.counted_at >= REMEMBERED_S:
        return _Known(here, now, _count_living(project), _count_carriers(project), now, _count_quick(project))
    if is_quick and now - known.quick_at >= QUICK_S:
        return known._replace(quick_at=now, quick=_count_quick(project))
    return known


def _here(project: Project) -> _Here:
    events = LabelEvent.objects.filter(project=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    images = Image.objects.alive().filter(project=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    row = Project.objects.filter(pk=project.pk).values_list(Subquery(events), Subquery(images)).first()
    return _Here(*(row or (None, None)))


def _gone_on(project: Project, known: _Known | None, here: _Here) -> _Known | None:
    """What was known and the deeds since; None where one of them says too little."""
    if known is None or known.here == here:
        return known
    if known.here.newest != here.newest:
        return None
    later = LabelEvent.objects.filter(project=project, pk__gt=known.here.event or 0, pk__lte=here.event or 0)
    deeds = list(later.order_by("pk").values_list("kind", "changes", "details")[: MOST_DEEDS + 1])
    if len(deeds) > MOST_DEEDS:
        return None
    living, carriers, quick = Counter(known.living), Counter(known.carriers), Counter(known.quick)
    for kind, changes, details in deeds:
        if kind not in ON_LIVING_IMAGES or "suggested" not in details:
            return None
        newly = sum(bool(change["to"]) - bool(change["from"]) for change in changes)
        living.update(labeled=newly, unlabeled=-newly)
        quick["suggested"] -= details["suggested"]
        ids = details["labels"]
        for change in changes:
            before, after = set(change["from"]), set(change["to"])
            carriers.update(ids[name] for name in after - before)
            carriers.subtract(ids[name] for name in before - after)
    return known._replace(here=here, living=living, carriers=carriers, quick=quick)


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
