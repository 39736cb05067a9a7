"""What a Reviewer decides: which of two opinions holds, and whether labels of others stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction

from exeml_site.lib.bulk import chunks
from projects.labels import actions
from projects.labels.annotations import existing_ids, lock_project
from projects.labels.second_opinions import label_by_id
from projects.models import Annotation, Image, Label, LabelEvent, Opinion, OpinionState, Project

State = OpinionState


@dataclass(frozen=True)
class Disagreement:
    """An image about which two people said different things."""

    image: Image
    first: list[Label]
    first_by: list[str]
    second: list[Label]
    second_by: str


def read_disagreements(project: Project, limit: int) -> list[Disagreement]:
    """The oldest images whose opinions differ, in a constant number of queries."""
    images = Image.objects.alive().filter(
        project=project, opinion=State.DIFFERS, second_opinion__isnull=False
    )
    found = list(images.select_related("second_opinion__by").order_by("pk")[:limit])
    labels = label_by_id(project)
    marks: dict[int, list[Annotation]] = {image.pk: [] for image in found}
    for mark in Annotation.objects.filter(image__in=found).select_related("by"):
        marks[mark.image_id].append(mark)
    return [_disagreement(image, marks[image.pk], labels) for image in found]


def _disagreement(image: Image, marks: list[Annotation], labels: dict[int, Label]) -> Disagreement:
    opinion: Opinion = image.second_opinion
    first = [labels[mark.label_id] for mark in marks if mark.label_id in labels]
    by = sorted({mark.by.username if mark.by else "somebody" for mark in marks})
    second = [labels[pk] for pk in opinion.labels if pk in labels]
    return Disagreement(image, first, by, second, opinion.by.username if opinion.by else "somebody")


@transaction.atomic
def resolve(project: Project, image_id: int, *, takes_second: bool, by: User) -> LabelEvent | None:
    """One of two opinions holds: the first stays, or the second takes its place.

    Nothing happens where another reviewer was quicker.
    """
    lock_project(project)
    opinion = Opinion.objects.filter(
        image=image_id, image__project=project, image__opinion=State.DIFFERS
    ).first()
    if opinion is None:
        return None
    event = None
    if takes_second:
        labels = label_by_id(project)
        names = [labels[pk] for pk in opinion.labels if pk in labels]
        carried = list(Label.objects.filter(annotations__image=image_id))
        gone = [label for label in carried if label not in names]
        event = actions.apply(project, [image_id], add=names, remove=gone, by=by)
    Image.objects.filter(project=project, pk=image_id).update(opinion=State.CONFIRMED)
    return event


@transaction.atomic
def confirm(project: Project, image_ids: Iterable[int], by: User) -> int:
    """The labels of these images stand, a reviewer says; how many images."""
    lock_project(project)
    labeled = existing_ids(Image.objects.labeled().filter(project=project), image_ids)
    for chunk in chunks(labeled):
        Image.objects.filter(pk__in=chunk).update(opinion=State.CONFIRMED)
    return len(labeled)


@transaction.atomic
def reject(project: Project, image_ids: Iterable[int], by: User) -> LabelEvent | None:
    """Take the labels away: the images wait to be labeled again. None where none had a label."""
    lock_project(project)
    labeled = existing_ids(Image.objects.labeled().filter(project=project), image_ids)
    event = actions.apply(project, labeled, remove=Label.objects.filter(project=project), by=by)
    for chunk in chunks(labeled):
        Image.objects.filter(pk__in=chunk).update(opinion=State.REJECTED)
    return event
