"""Second, blind opinions: which images need one, their states, and the agreement of people.

A share of the labeled images, chosen by a hash of the id, waits for a second person, who does not see the
first labels. Then both opinions agree, or they differ and a reviewer decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext

from exeml_site.lib.bulk import chunks
from projects.models import Annotation, Image, Label, LabelEvent, Opinion, OpinionState, Project
from projects.models.image import ImageQuerySet

HASH_MULTIPLIER = 2_654_435_761  # Knuth's multiplicative hash: consecutive ids get distant values
State = OpinionState


class AlreadyGiven(Exception):
    """Another person gave the second opinion, or the image is gone; the text is a sentence for the user."""


def is_chosen(image_id: int, share: int) -> bool:
    """Whether the image is among the `share` percent with an opinion; larger shares include smaller ones."""
    return image_id * HASH_MULTIPLIER % 2**32 * 100 < share * 2**32


# --- which images ---


@transaction.atomic
def set_share(project: Project, share: int) -> None:
    """Set the percentage of labeled images that get a second opinion, also for images labeled earlier."""
    Project.objects.filter(pk=project.pk).update(opinion_share=share)
    project.opinion_share = share
    labeled = Image.objects.labeled().filter(project=project).order_by()
    states = labeled.filter(opinion__in=["", State.WANTED]).values_list("pk", "opinion")
    to_change: dict[bool, list[int]] = {True: [], False: []}
    for pk, state in states:
        if is_chosen(pk, share) != (state == State.WANTED):
            to_change[is_chosen(pk, share)].append(pk)
    _set(to_change[True], State.WANTED)
    _set(to_change[False], "")


def update_states(project: Project, changes: Iterable[Mapping[str, Any]]) -> None:
    """Update the opinion states of images whose labels an event changed: `changes` of a LabelEvent."""
    # Moving to the bin and back changes no label, so a confirmation stays.
    now = {change["image"]: change["to"] for change in changes if change["from"] != change["to"]}
    for ids in chunks(list(now)):
        changed = Image.objects.filter(pk__in=ids).order_by()
        if not project.opinion_share and not changed.exclude(opinion="").exists():
            continue
        states = dict(changed.values_list("pk", "opinion"))
        labels = label_by_id(project)
        given = dict(Opinion.objects.filter(image_id__in=ids).values_list("image_id", "labels"))
        moved: dict[str, list[int]] = {}
        for pk, state in states.items():
            second_labels = (
                {labels[label].name for label in given[pk] if label in labels} if pk in given else None
            )
            new = _state(pk, now[pk], second_labels, project.opinion_share)
            if new != state:
                moved.setdefault(new, []).append(pk)
        for new, images in moved.items():
            _set(images, new)


def recompute_states(project: Project) -> None:
    """Compare all opinions again after a merge or its undo, which change what the labels of opinions mean."""
    judged = Image.objects.filter(project=project, opinion__in=[State.AGREES, State.DIFFERS]).order_by()
    names_by_image: dict[int, list[str]] = {pk: [] for pk in judged.values_list("pk", flat=True)}
    rows = Annotation.objects.filter(image__in=judged).order_by()
    for pk, name in rows.values_list("image_id", "label__name"):
        names_by_image[pk].append(name)
    update_states(project, [{"image": pk, "from": [], "to": names} for pk, names in names_by_image.items()])


def label_by_id(project: Project) -> dict[int, Label]:
    """Labels of a project by id. Ids of merged labels map to the label that they were merged into."""
    labels = {label.pk: label for label in Label.objects.filter(project=project)}
    merges = LabelEvent.objects.filter(
        project=project,
        kind__in=[LabelEvent.Kind.MERGE_LABELS, LabelEvent.Kind.REDO],
        details__has_key="into",
        undone_by=None,
    )
    for details in merges.order_by("-pk").values_list("details", flat=True):  # newest first
        into = labels.get(details["into"]["id"])
        if into is not None:
            labels.setdefault(details["label"]["id"], into)
    return labels


def _state(image_id: int, labels: Sequence[str], second_labels: set[str] | None, share: int) -> str:
    """Opinion state of an image. `labels` and `second_labels`: label names of first and second opinion."""
    if not labels:
        return ""
    if second_labels is not None:
        return State.AGREES if second_labels == set(labels) else State.DIFFERS
    return State.WANTED if is_chosen(image_id, share) else ""


def _set(image_ids: Sequence[int], state: str) -> None:
    for ids in chunks(image_ids):
        Image.objects.filter(pk__in=ids).update(opinion=state)


# --- giving one ---


def images_waiting_for(project: Project, user: User) -> ImageQuerySet:
    """Images that wait for an opinion and that `user` did not label.

    The order, by sha256, is pseudo-random but stable, so that similar images and labels do not cluster.
    """
    own = Annotation.objects.filter(image__project=project, by=user).values("image_id")
    images = Image.objects.labeled().filter(project=project, opinion=State.WANTED)
    return images.exclude(pk__in=own).order_by("sha256")


@transaction.atomic
def give_opinion(project: Project, image_id: int, labels: Sequence[Label], by: User) -> Opinion:
    """Store the second opinion of `by` on an image. Raises AlreadyGiven."""
    Project.objects.select_for_update(no_key=True).only("pk").get(pk=project.pk)
    image = images_waiting_for(project, by).filter(pk=image_id).first()
    if image is None:
        raise AlreadyGiven(gettext("Another person gave this opinion in the meantime, or the image is gone."))
    label_ids = sorted(label.pk for label in labels)
    first = sorted(Annotation.objects.filter(image=image).values_list("label_id", flat=True))
    opinion = Opinion.objects.create(image=image, by=by, labels=label_ids, first=first)
    agrees = first == label_ids
    Image.objects.filter(pk=image.pk).update(opinion=State.AGREES if agrees else State.DIFFERS)
    return opinion


# --- agreement ---


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement on one label: images that `both` people gave it, of those that `either` gave it."""

    label: Label
    both: int
    either: int

    @property
    def percent(self) -> int:
        return round(100 * self.both / self.either)


@dataclass(frozen=True)
class Agreement:
    """Agreement of first and second opinions. `kappa` is Cohen's kappa; None with several labels per image.

    Cohen, A coefficient of agreement for nominal scales (1960): agreement beyond what chance would give.
    """

    agreeing: int
    judged: int
    kappa: float | None
    labels: list[LabelAgreement]

    @property
    def percent(self) -> int:
        return round(100 * self.agreeing / self.judged)


def agreement(project: Project) -> Agreement | None:
    """Agreement over all images that have two opinions, as given at the time; None where there are none."""
    given = Opinion.objects.filter(image__project=project, image__deleted_at=None).order_by()
    labels = label_by_id(project)

    def meant(ids: Iterable[int]) -> frozenset[int]:
        return frozenset(labels[label_id].pk if label_id in labels else label_id for label_id in ids)

    pairs = [(meant(first), meant(second)) for first, second in given.values_list("first", "labels")]
    if not pairs:
        return None
    both = Counter(label for first, second in pairs for label in first & second)
    either = Counter(label for first, second in pairs for label in first | second)
    rows = [
        LabelAgreement(label, both[label.pk], either[label.pk])
        for label in Label.objects.filter(project=project)
        if either[label.pk]
    ]
    agreeing = sum(first == second for first, second in pairs)
    kappa = None if project.is_multi_label else _kappa(pairs)
    return Agreement(agreeing, len(pairs), kappa, sorted(rows, key=lambda row: row.both / row.either))


def _kappa(pairs: Sequence[tuple[frozenset[int], frozenset[int]]]) -> float | None:
    total = len(pairs)
    firsts, seconds = Counter(first for first, _ in pairs), Counter(second for _, second in pairs)
    chance = sum(firsts[labels] * seconds[labels] for labels in firsts) / total**2
    observed = sum(first == second for first, second in pairs) / total
    return None if chance >= 1 else (observed - chance) / (1 - chance)
