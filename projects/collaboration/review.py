"""Decisions of a Reviewer: which of two opinions holds, and whether labels are right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext

from exeml_site.lib.bulk import chunks
from projects.labels import actions
from projects.labels.annotations import existing_ids, lock_project
from projects.labels.second_opinions import label_by_id
from projects.labels.seen_images import LeftImages, SeenImage, relabeled_ids
from projects.models import Annotation, Image, Label, LabelEvent, Opinion, OpinionState, Project

State = OpinionState


@dataclass(frozen=True)
class Disagreement:
    """An image whose two opinions differ."""

    image: Image
    first: list[Label]
    first_by: list[str]
    second: list[Label]
    second_by: str

    @property
    def first_ids(self) -> str:
        return ",".join(str(label.pk) for label in self.first)

    @property
    def second_ids(self) -> str:
        return ",".join(str(label.pk) for label in self.second)


def read_disagreements(project: Project, limit: int) -> list[Disagreement]:
    """The oldest images whose opinions differ, in a constant number of queries."""
    images = Image.objects.alive().filter(
        project=project, opinion=State.DIFFERS, second_opinion__isnull=False
    )
    disputed = list(images.select_related("second_opinion__by").order_by("pk")[:limit])
    labels = label_by_id(project)
    annotations: dict[int, list[Annotation]] = {image.pk: [] for image in disputed}
    for annotation in Annotation.objects.filter(image__in=disputed).select_related("by"):
        annotations[annotation.image_id].append(annotation)
    return [_disagreement(image, annotations[image.pk], labels) for image in disputed]


def _disagreement(image: Image, annotations: list[Annotation], labels: dict[int, Label]) -> Disagreement:
    opinion: Opinion = image.second_opinion
    first = [labels[annotation.label_id] for annotation in annotations if annotation.label_id in labels]
    nobody = gettext("somebody")
    by = sorted({annotation.by.username if annotation.by else nobody for annotation in annotations})
    second = [labels[pk] for pk in opinion.labels if pk in labels]
    return Disagreement(image, first, by, second, opinion.by.username if opinion.by else nobody)


class OpinionsChanged(Exception):
    """The two opinions of an image are not those that the reviewer saw."""


@transaction.atomic
def resolve(
    project: Project,
    image_id: int,
    *,
    takes_second: bool,
    by: User,
    seen: tuple[set[int], set[int]] | None = None,
) -> LabelEvent | None:
    """Decide between two opinions: keep the first, or replace it by the second.

    `seen`: label ids of the two opinions as the reviewer saw them; raises OpinionsChanged if they differ by
    now. Returns the event of the replacement. Does nothing if another Reviewer has decided already.
    """
    lock_project(project)
    opinion = Opinion.objects.filter(
        image=image_id, image__project=project, image__opinion=State.DIFFERS
    ).first()
    if opinion is None:
        return None
    labels = label_by_id(project)
    second = [labels[pk] for pk in opinion.labels if pk in labels]
    carried = list(Label.objects.filter(annotations__image=image_id))
    if seen is not None and seen != ({label.pk for label in carried}, {label.pk for label in second}):
        raise OpinionsChanged
    event = None
    if takes_second:
        removed = [label for label in carried if label not in second]
        event = actions.apply(project, [image_id], add=second, remove=removed, by=by)
    Image.objects.filter(project=project, pk=image_id).update(opinion=State.CONFIRMED)
    return event


@transaction.atomic
def settle(
    project: Project, image_id: int, verdict: str, *, by: User, seen: tuple[set[int], set[int]]
) -> None:
    """`resolve` for the verdicts “first” and “second”; “reject” removes the image's labels."""
    lock_project(project)
    if not Image.objects.filter(project=project, pk=image_id, opinion=State.DIFFERS).exists():
        return
    resolve(project, image_id, takes_second=verdict == "second", by=by, seen=seen)
    if verdict == "reject":
        reject(project, [image_id], by)


@transaction.atomic
def confirm(
    project: Project, image_ids: Iterable[int], by: User, seen: Mapping[int, SeenImage] | None = None
) -> tuple[int, LeftImages]:
    """Confirm the labels of these images. Returns how many were confirmed, and which were left.

    `seen`: the labels that the reviewer saw; an image that has others by now is left.
    """
    lock_project(project)
    labeled, left = _labeled_as_seen(project, image_ids, seen or {})
    for chunk in chunks(labeled):
        Image.objects.filter(pk__in=chunk).update(opinion=State.CONFIRMED)
    return len(labeled), left


@transaction.atomic
def reject(
    project: Project, image_ids: Iterable[int], by: User, seen: Mapping[int, SeenImage] | None = None
) -> tuple[LabelEvent | None, LeftImages]:
    """Remove all labels of these images. Returns the event, None if no image had a label.

    `seen`: see `confirm`.
    """
    lock_project(project)
    labeled, left = _labeled_as_seen(project, image_ids, seen or {})
    event = actions.apply(project, labeled, remove=Label.objects.filter(project=project), by=by)
    for chunk in chunks(labeled):
        Image.objects.filter(pk__in=chunk).update(opinion=State.REJECTED)
    return event, left


def _labeled_as_seen(
    project: Project, image_ids: Iterable[int], seen: Mapping[int, SeenImage]
) -> tuple[list[int], LeftImages]:
    relabeled = relabeled_ids(project, seen)
    labeled = existing_ids(Image.objects.labeled().filter(project=project), image_ids)
    return [pk for pk in labeled if pk not in relabeled], LeftImages(len(seen), relabeled=len(relabeled))
