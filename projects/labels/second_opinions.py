"""Second, blind opinions: which images get one, what became of it, and how far people agree.

A share of the labeled images, chosen by their ids alone, waits for another person who does not see the first
labels. Afterwards both agree, or the opinions differ, and a reviewer decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from exeml_site.lib.bulk import chunks
from projects.models import Annotation, Image, Label, LabelEvent, Opinion, OpinionState, Project
from projects.models.image import ImageQuerySet

HASH_MULTIPLIER = 2_654_435_761  # Knuth's multiplicative hash: neighbours in time fall apart
State = OpinionState


class AlreadyGiven(Exception):
    """Somebody else gave the second opinion, or the image is gone; the text says so."""


def is_chosen(image_id: int, share: int) -> bool:
    """Whether an image is among the `share` percent that get a second opinion; a larger share keeps these."""
    return image_id * HASH_MULTIPLIER % 2**32 * 100 < share * 2**32


# --- which images ---


@transaction.atomic
def set_share(project: Project, share: int) -> None:
    """Ask for opinions on `share` percent of the labeled images from now on, and of those labeled before."""
    Project.objects.filter(pk=project.pk).update(opinion_share=share)
    project.opinion_share = share
    labeled = Image.objects.labeled().filter(project=project).order_by()
    states = labeled.filter(opinion__in=["", State.WANTED]).values_list("pk", "opinion")
    wanted: dict[bool, list[int]] = {True: [], False: []}
    for pk, state in states:
        if is_chosen(pk, share) != (state == State.WANTED):
            wanted[is_chosen(pk, share)].append(pk)
    _set(wanted[True], State.WANTED)
    _set(wanted[False], "")


def update_states(project: Project, changes: Iterable[Mapping[str, Any]]) -> None:
    """After a labeling deed: new labels may want an opinion, and change what an old one is worth."""
    # To the bin and back changes no label, and ends no confirmation.
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
            said = {labels[label].name for label in given[pk] if label in labels} if pk in given else None
            new = _state(pk, now[pk], said, project.opinion_share)
            if new != state:
                moved.setdefault(new, []).append(pk)
        for new, images in moved.items():
            _set(images, new)


def recompute_states(project: Project) -> None:
    """After a merge, or the end of one: the same labels may agree with other opinions."""
    judged = Image.objects.filter(project=project, opinion__in=[State.AGREES, State.DIFFERS]).order_by()
    carried: dict[int, list[str]] = {pk: [] for pk in judged.values_list("pk", flat=True)}
    rows = Annotation.objects.filter(image__in=judged).order_by()
    for pk, name in rows.values_list("image_id", "label__name"):
        carried[pk].append(name)
    update_states(project, [{"image": pk, "from": [], "to": names} for pk, names in carried.items()])


def label_by_id(project: Project) -> dict[int, Label]:
    """The labels of a project; under the id of one that was merged into another, that other."""
    found = {label.pk: label for label in Label.objects.filter(project=project)}
    merges = LabelEvent.objects.filter(
        project=project,
        kind__in=[LabelEvent.Kind.MERGE_LABELS, LabelEvent.Kind.REDO],
        details__has_key="into",
        undone_by=None,
    )
    for details in merges.order_by("-pk").values_list("details", flat=True):  # what was merged last is living
        into = found.get(details["into"]["id"])
        if into is not None:
            found.setdefault(details["label"]["id"], into)
    return found


def _state(image_id: int, labels: Sequence[str], said: set[str] | None, share: int) -> str:
    """What an image with these labels is, of which somebody said something, or nobody yet."""
    if not labels:
        return ""
    if said is not None:
        return State.AGREES if said == set(labels) else State.DIFFERS
    return State.WANTED if is_chosen(image_id, share) else ""


def _set(image_ids: Sequence[int], state: str) -> None:
    for ids in chunks(image_ids):
        Image.objects.filter(pk__in=ids).update(opinion=state)


# --- giving one ---


def images_waiting_for(project: Project, user: User) -> ImageQuerySet:
    """Images that want an opinion of somebody other than who labeled them, in an order of no meaning."""
    own = Annotation.objects.filter(image__project=project, by=user).values("image_id")
    images = Image.objects.labeled().filter(project=project, opinion=State.WANTED)
    return images.exclude(pk__in=own).order_by("sha256")


@transaction.atomic
def give_opinion(project: Project, image_id: int, labels: Sequence[Label], by: User) -> Opinion:
    """What `by` thinks of the image, without having seen its labels. Raises AlreadyGiven."""
    Project.objects.select_for_update(no_key=True).only("pk").get(pk=project.pk)
    image = images_waiting_for(project, by).filter(pk=image_id).first()
    if image is None:
        raise AlreadyGiven("Somebody gave this opinion in the meantime, or the image is gone.")
    said = sorted(label.pk for label in labels)
    carried = sorted(Annotation.objects.filter(image=image).values_list("label_id", flat=True))
    opinion = Opinion.objects.create(image=image, by=by, labels=said, first=carried)
    agrees = carried == said
    Image.objects.filter(pk=image.pk).update(opinion=State.AGREES if agrees else State.DIFFERS)
    return opinion


# --- agreement ---


@dataclass(frozen=True)
class LabelAgreement:
    """Of the images to which at least one of two people gave the label, those to which both did."""

    label: Label
    both: int
    either: int

    @property
    def percent(self) -> int:
        return round(100 * self.both / self.either)


@dataclass(frozen=True)
class Agreement:
    """How far first and second opinions agree. `kappa` is Cohen's, for one label per image, or None.

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
    """Over all images that have two opinions, as these were given; None where there are none."""
    given = Opinion.objects.filter(image__project=project, image__deleted_at=None).order_by()
    known = label_by_id(project)

    def meant(ids: Iterable[int]) -> frozenset[int]:
        return frozenset(known[pk].pk if pk in known else pk for pk in ids)

    pairs = [(meant(first), meant(second)) for first, second in given.values_list("first", "labels")]
    if not pairs:
        return None
    both = Counter(label for one, other in pairs for label in one & other)
    either = Counter(label for one, other in pairs for label in one | other)
    rows = [
        LabelAgreement(label, both[label.pk], either[label.pk])
        for label in Label.objects.filter(project=project)
        if either[label.pk]
    ]
    agreeing = sum(one == other for one, other in pairs)
    kappa = None if project.is_multi_label else _kappa(pairs)
    return Agreement(agreeing, len(pairs), kappa, sorted(rows, key=lambda row: row.both / row.either))


def _kappa(pairs: Sequence[tuple[frozenset[int], frozenset[int]]]) -> float | None:
    total = len(pairs)
    first, second = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    chance = sum(first[labels] * second[labels] for labels in first) / total**2
    observed = sum(one == other for one, other in pairs) / total
    return None if chance >= 1 else (observed - chance) / (1 - chance)
