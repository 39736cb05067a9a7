"""Presence: who has a project open, at which image, and what was changed elsewhere meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import User
from django.db.models import Count, Max
from django.utils import timezone
from django.utils.translation import gettext

from projects.models import Image, Label, LabelEvent, LabelEventImage, Presence, Project

PRESENT_S = 20  # seconds without a request after which a person has left
WRITE_INTERVAL_S = 8  # seconds between two writes while the image stays the same
MAX_EVENTS, MAX_CHANGED_IMAGES = 50, 500
OWN = "You"  # not translated: label_data.js compares it


@dataclass(frozen=True)
class Person:
    name: str
    image_id: int | None


@dataclass(frozen=True)
class Changes:
    """What changed after an event: the last event, who changed it, the changed images."""

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


def last_event_id(project: Project) -> int:
    """The id of the project's last event, 0 if there is none."""
    last = LabelEvent.objects.filter(project=project).order_by("-pk").values_list("pk", flat=True).first()
    return last or 0


def state_of(project: Project) -> str:
    """What a page shows of a project beside its events: another text once images or labels are added."""
    newest = Image.objects.filter(project=project).order_by("-pk").values_list("pk", flat=True).first()
    labels = Label.objects.filter(project=project).aggregate(Max("pk"), Count("pk"))
    return f"{newest or 0}.{labels['pk__max'] or 0}.{labels['pk__count']}"


def changes_since(project: Project, user: User, since: int) -> Changes:
    """What changed after the event `since`; the newest MAX_CHANGED_IMAGES images.

    The user's own changes count as well, as “You”: they may come from another window.
    """
    last = last_event_id(project)
    events = LabelEvent.objects.filter(project=project, pk__gt=since, pk__lte=last)
    recent = list(events.order_by("-pk").values_list("pk", "by", "by__username")[:MAX_EVENTS])
    changed = LabelEventImage.objects.filter(event_id__in=[pk for pk, *_ in recent]).order_by("-pk")
    images = changed.values_list("image_id", flat=True)[:MAX_CHANGED_IMAGES] if recent else []
    others = sorted({name or gettext("somebody") for _, by, name in recent if by != user.pk})
    is_own = any(by == user.pk for _, by, _ in recent)
    return Changes(last, [OWN] * is_own + others, sorted(set(images)))
