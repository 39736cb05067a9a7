"""Counts of a project's images, quick also with 100,000: queries read an index and join nothing.

They are remembered, by web process, for as long as nothing that changes them has happened: every deed writes
a LabelEvent, and an upload makes a newer image. What the workers change by themselves, suggestions and the
end of a bin, shows after REMEMBERED_S.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from django.core.cache import caches
from django.db.models import Count

from projects.models import Annotation, Image, LabelEvent, Project

REMEMBERED_S = 2
T = TypeVar("T")


def count_images(project: Project) -> dict[str, int]:
    """Images per tab of Label Data."""
    return _remembered("images", project, lambda: _count_images(project))


def count_carriers(project: Project) -> Counter[int]:
    """label id → living images that carry it."""
    return _remembered("carriers", project, lambda: _count_carriers(project))


def _remembered(name: str, project: Project, count: Callable[[], T]) -> T:
    """Asked for before counting: whatever happens meanwhile makes another key."""
    event = LabelEvent.objects.filter(project=project).order_by("-pk").values_list("pk", flat=True).first()
    newest = (
        Image.objects.alive().filter(project=project).order_by("-pk").values_list("pk", flat=True).first()
    )
    key = f"counts:{name}:{project.pk}:{event}:{newest}"
    memory = caches["counts"]
    found: T | None = memory.get(key)
    if found is None:
        found = count()
        memory.set(key, found, REMEMBERED_S)
    return found


def _count_images(project: Project) -> dict[str, int]:
    images = Image.objects.filter(project=project).order_by()
    alive = dict(images.alive().values_list("is_labeled").annotate(Count("pk")))
    unlabeled, labeled = alive.get(False, 0), alive.get(True, 0)
    return {
        "unlabeled": unlabeled,
        "suggested": images.unlabeled().filter(suggestion__isnull=False).count(),
        "labeled": labeled,
        "all": unlabeled + labeled,
        "bin": images.binned().count(),
    }


def _count_carriers(project: Project) -> Counter[int]:
    """All carriers less those in the bin: no join for the many."""
    carried = Annotation.objects.filter(label__project=project).order_by().values_list("label")
    counts = Counter(dict(carried.annotate(Count("pk"))))
    binned = carried.filter(image__in=Image.objects.filter(project=project).binned().values("pk"))
    counts.subtract(dict(binned.annotate(Count("pk"))))
    return counts
