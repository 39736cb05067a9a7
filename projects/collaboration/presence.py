"""Presence: who has a project open, at which image, and what other people changed meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from projects.models import Image, LabelEvent, LabelEventImage, Presence, Project

PRESENT_S = 20  # seconds without a request after which a person has left
WRITE_INTERVAL_S = 8  # seconds between two writes while the image stays the same
MAX_EVENTS, MAX_CHANGED_IMAGES = 50, 500


@dataclass(frozen=True)
class Person:
    name: str
    image_id: int | None


@dataclass(frozen=True)
class Changes:
    """What changed in a project after an event: the last event, the people and the changed images."""

    last_event: int
    names: list[str]
    image_ids: list[int]


def record_presence(project: Project, user: User, image_id: int | None) -> None:
    """Record that `user` has the project open and this image focused."""
    now = timezone.now()
    image = image_id if image_id and Image.objects.filter(project=project, pk=image_id).exists() else None
    presence = Presence.objects.filter(project=project, user=user)
    row = presence.values_list("image_id", "seen_at").first()
    if row and row[0] == image and now - row[1] < timedelta(seconds=WRITE_INTERVAL_S):
        return
    Presence.objects.update_or_create(
        project=project, user=user, defaults={"image_id": image, "seen_at": now}
    )


def present_people(project: Project) -> list[tuple[int, Person]]:
    """(user id, person) of everybody who has the project open, by username."""
    since = timezone.now() - timedelta(seconds=PRESENT_S)
    present = Presence.objects.filter(project=project, seen_at__gt=since).order_by("user__username")
    return [
        (pk, Person(name, image))
        for pk, name, image in present.values_list("user", "user__username", "image")
    ]


def other_people(project: Project, user: User) -> list[Person]:
    return [person for pk, person in present_people(project) if pk != user.pk]


def changes_since(project: Project, user: User, since: int) -> Changes:
    """What other people changed after the event `since`; the newest MAX_CHANGED_IMAGES images."""
    events = LabelEvent.objects.filter(project=project, pk__gt=since)
    recent = list(events.exclude(by=user).order_by("-pk").values_list("pk", "by__username")[:MAX_EVENTS])
    last = LabelEvent.objects.filter(project=project).order_by("-pk").values_list("pk", flat=True).first()
    changed = LabelEventImage.objects.filter(event_id__in=[pk for pk, _ in recent]).order_by("-pk")
    images = changed.values_list("image_id", flat=True)[:MAX_CHANGED_IMAGES] if recent else []
    names = sorted({name or "somebody" for _, name in recent})
    return Changes(last or 0, names, sorted(set(images)))
