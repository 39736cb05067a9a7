"""Who is at work in a project at this moment, on which image, and what others changed meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from projects.models import Image, LabelEvent, LabelEventImage, Presence, Project

PRESENT_S = 20  # somebody not heard of for so long has left
WRITE_INTERVAL_S = 8  # as often a sign of life is written where nothing else changed
MAX_EVENTS, MAX_CHANGED_IMAGES = 50, 500


@dataclass(frozen=True)
class Person:
    name: str
    image_id: int | None


@dataclass(frozen=True)
class Changes:
    """What happened in the project since a deed: by whom, and which images they were about."""

    last_event: int
    names: list[str]
    touched: list[int]


def record_presence(project: Project, user: User, image_id: int | None) -> None:
    """Note that `user` is here, with this image of the project in focus."""
    now = timezone.now()
    image = image_id if image_id and Image.objects.filter(project=project, pk=image_id).exists() else None
    known = Presence.objects.filter(project=project, user=user)
    row = known.values_list("image_id", "seen_at").first()
    if row and row[0] == image and now - row[1] < timedelta(seconds=WRITE_INTERVAL_S):
        return
    Presence.objects.update_or_create(
        project=project, user=user, defaults={"image_id": image, "seen_at": now}
    )


def present_people(project: Project) -> list[tuple[int, Person]]:
    """Who is here: user id and person, by name."""
    since = timezone.now() - timedelta(seconds=PRESENT_S)
    here = Presence.objects.filter(project=project, seen_at__gt=since).order_by("user__username")
    return [
        (pk, Person(name, image)) for pk, name, image in here.values_list("user", "user__username", "image")
    ]


def other_people(project: Project, user: User) -> list[Person]:
    return [person for pk, person in present_people(project) if pk != user.pk]


def changes_since(project: Project, user: User, since: int) -> Changes:
    """What others did after the event `since`; of many images the newest."""
    events = LabelEvent.objects.filter(project=project, pk__gt=since)
    told = list(events.exclude(by=user).order_by("-pk").values_list("pk", "by__username")[:MAX_EVENTS])
    last = LabelEvent.objects.filter(project=project).order_by("-pk").values_list("pk", flat=True).first()
    touched = LabelEventImage.objects.filter(event_id__in=[pk for pk, _ in told]).order_by("-pk")
    images = touched.values_list("image_id", flat=True)[:MAX_CHANGED_IMAGES] if told else []
    names = sorted({name or "somebody" for _, name in told})
    return Changes(last or 0, names, sorted(set(images)))
