"""Whether a project can be published, and a preview of its split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from django.db.models import Count, Q

from projects.datasets import leakage
from projects.datasets import split as dataset_split
from projects.labels.counts import images_per_label
from projects.models import Annotation, Image, Label, Project, Split, Transfer

MIN_LABELS = 2
MIN_IMAGES = 5  # of each label that is used
IMPORT_RUNNING = "Images are being imported. Wait until the import ends, or cancel it (4712)."
MAX_LABELS_NAMED = 5  # labels named in a sentence before “and n more”


@dataclass(frozen=True)
class Readiness:
    """May Train be pressed? `missing` says in sentences what is not there yet."""

    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    label_counts: list[tuple[Label, int]] = field(default_factory=list)

    @property
    def is_ready(self) -> bool:
        return not self.missing


class LabelSplit(NamedTuple):
    """How many images of a label go to each side."""

    label: str
    train: int
    eval: int


def readiness(project: Project, counts: list[tuple[Label, int]] | None = None) -> Readiness:
    """Ready from two labels in use with five images each.

    A label on no image is left out of the training and named in a note. `counts`: the labels with how many
    images carry each, of a caller who has read them already.
    """
    if counts is None:
        carriers = images_per_label(project)
        counts = [(label, carriers[label.pk]) for label in project.labels.all()]
    is_importing = project.transfers.filter(status__in=Transfer.ACTIVE).exists()
    used = [(label, images) for label, images in counts if images]
    unused = [f"‘{label}’" for label, images in counts if not images]
    notes = [f"On no image and left out: {_listed(unused)}."] if unused else []
    return Readiness([*_missing(used), *([IMPORT_RUNNING] if is_importing else [])], notes, counts)


def _missing(used: list[tuple[Label, int]]) -> list[str]:
    missing = []
    if len(used) < MIN_LABELS:
        there = "there is none yet" if not used else f"so far there is only ‘{used[0][0]}’"
        missing.append(f"Label images with at least two labels: {there} (4711).")
    short = [(label, images) for label, images in used if images < MIN_IMAGES]
    if short:
        each = [f"‘{label}’ has {images} ({MIN_IMAGES - images} more)" for label, images in short]
        missing.append(f"Every label needs at least five images: {_listed(each)} (4711).")
    return missing


def _listed(words: list[str]) -> str:
    more = len(words) - MAX_LABELS_NAMED
    return ", ".join(words[:MAX_LABELS_NAMED]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class SplitPreview:
    """What publishing will do. `moved` images leave the side that earlier versions gave them.

    `groups` of copies are kept on one side each, but for those that are `torn`.
    """

    labels: list[LabelSplit]
    train: int
    eval: int
    moved: int
    groups: int = 0
    torn: int = 0
    ratio_note: str = ""  # how the kept sides and the wished ratio disagree


def preview(project: Project, ratio: Decimal) -> list[LabelSplit]:
    """The counts that publishing at this moment will give, in the order of the labels."""
    return preview_split(project, ratio).labels


def preview_split(project: Project, ratio: Decimal) -> SplitPreview:
    """The counts of labels and of images; where an image has one label and no copy, images stay in the
    database."""
    if project.is_multi_label or _has_copies(project):
        return _preview_of_images(project, ratio)
    return _preview_of_counts(project, ratio)


def _has_copies(project: Project) -> bool:
    return Image.objects.labeled().filter(project=project, duplicate_group__isnull=False).exists()


def _preview_of_images(project: Project, ratio: Decimal) -> SplitPreview:
    images = list(_labeled(project))
    split = dataset_split.split(images, ratio, str(project.pk))
    tally = Counter((label, split.sides[one.id]) for one in images for label in one.labels)
    names = project.labels.values_list("name", flat=True)
    rows = [LabelSplit(name, tally[name, Split.TRAIN], tally[name, Split.EVAL]) for name in names]
    sides = Counter(split.sides.values())
    used = [row for row in rows if row.train or row.eval]
    return SplitPreview(
        used,
        sides[Split.TRAIN],
        sides[Split.EVAL],
        len(split.moved),
        split.kept_together,
        len(split.torn),
        leakage.ratio_note(leakage.split_report(images, split, ratio), ratio),
    )


def _preview_of_counts(project: Project, ratio: Decimal) -> SplitPreview:
    rows, moved, earlier = [], 0, Counter[str]()
    for name, train, kept_back, free in _split_counts_of_labels(project):
        row = LabelSplit(name, *dataset_split.split_counts(train, kept_back, free, ratio))
        moved += max(train - row.train, 0) + max(kept_back - row.eval, 0)
        earlier.update({Split.TRAIN: train, Split.EVAL: kept_back})
        rows.append(row)
    train, kept_back = sum(row.train for row in rows), sum(row.eval for row in rows)
    before = {"earlier_train": earlier[Split.TRAIN], "earlier_eval": earlier[Split.EVAL]}
    new = {
        "new_train": max(train - earlier[Split.TRAIN], 0),
        "new_eval": max(kept_back - earlier[Split.EVAL], 0),
    }
    return SplitPreview(rows, train, kept_back, moved, ratio_note=leakage.ratio_note(before | new, ratio))


def _split_counts_of_labels(project: Project) -> Iterable[tuple[str, int, int, int]]:
    """(label, images in training, in validation, without a side) of each label in use: one query."""
    living = Q(annotations__image__deleted_at=None)

    def images(side: str) -> Count:
        return Count("annotations", filter=living & Q(annotations__image__split=side))

    counted = project.labels.annotate(
        taught=images(Split.TRAIN), kept_back=images(Split.EVAL), free=images("")
    )
    rows = counted.order_by("position", "pk").values_list("name", "taught", "kept_back", "free")
    return (row for row in rows if any(row[1:]))


def _labeled(project: Project) -> Iterator[dataset_split.LabeledImage]:
    """The living labeled images, each once, with its labels as `publish` takes them."""
    rows = (
        Annotation.objects.filter(image__project=project, image__deleted_at=None)
        .order_by("image", "label__position", "label")
        .values_list("image", "image__sha256", "image__split", "image__duplicate_group", "label__name")
    )
    for (image, sha256, side, group), marks in groupby(
        rows.iterator(chunk_size=5000), key=lambda row: row[:4]
    ):
        yield dataset_split.LabeledImage(image, sha256, tuple(mark[4] for mark in marks), side, group)
