"""Whether a project can be trained, and a preview of its split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from django.db.models import Count, Q

from exeml_site.lib.bulk import CHUNK_SIZE
from projects.datasets import leakage
from projects.datasets import split as dataset_split
from projects.labels.counts import images_per_label
from projects.models import Annotation, Image, Label, Project, Split, Transfer

MIN_LABELS = 2
MIN_IMAGES = 5  # of each label in use
IMPORT_RUNNING = "Images are being imported. Wait until the import ends, or cancel it (4712)."
MAX_LABELS_NAMED = 5  # labels named in a sentence before “and n more”


@dataclass(frozen=True)
class Readiness:
    """Whether Train is enabled. `missing` holds a sentence for each thing that is missing."""

    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    label_counts: list[tuple[Label, int]] = field(default_factory=list)

    @property
    def is_ready(self) -> bool:
        return not self.missing


class LabelSplit(NamedTuple):
    """Numbers of training and validation images of a label."""

    label: str
    train: int
    eval: int


def readiness(project: Project, counts: list[tuple[Label, int]] | None = None) -> Readiness:
    """A project is ready with two labels in use and five images of each, without those of the test split.

    Labels without images are left out of the training, which a note says. `counts`: the number of images of
    each label, if the caller has it already.
    """
    if counts is None:
        images_of_label = images_per_label(project)
        counts = [(label, images_of_label[label.pk]) for label in project.labels.all()]
    tests = test_images_of_labels(project)
    counts = [(label, images - tests[label.pk]) for label, images in counts]
    is_importing = project.transfers.filter(status__in=Transfer.ACTIVE).exists()
    used = [(label, images) for label, images in counts if images]
    unused = [f"‘{label}’" for label, images in counts if not images]
    notes = [f"On no image and left out: {_listed(unused)}."] if unused else []
    return Readiness([*_missing(used), *([IMPORT_RUNNING] if is_importing else [])], notes, counts)


def test_images_of_labels(project: Project) -> Counter[int]:
    """label id → its images in the test split."""
    tests = Image.objects.alive().filter(project=project, split=Split.TEST, annotations__isnull=False)
    return Counter(dict(tests.order_by().values_list("annotations__label").annotate(Count("pk"))))


def _missing(used: list[tuple[Label, int]]) -> list[str]:
    missing = []
    if len(used) < MIN_LABELS:
        so_far = "there is none yet" if not used else f"so far there is only ‘{used[0][0]}’"
        missing.append(f"Label images with at least two labels: {so_far} (4711).")
    short = [(label, images) for label, images in used if images < MIN_IMAGES]
    if short:
        each = [f"‘{label}’ has {images} ({MIN_IMAGES - images} more)" for label, images in short]
        missing.append(f"Every label needs at least five images: {_listed(each)} (4711).")
    return missing


def _listed(names: list[str]) -> str:
    more = len(names) - MAX_LABELS_NAMED
    return ", ".join(names[:MAX_LABELS_NAMED]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class SplitPreview:
    """Effect of publishing: images per split. `moved` images change the split of earlier versions.

    `groups` of duplicates stay within one split; `torn` groups are in both.
    """

    labels: list[LabelSplit]
    train: int
    eval: int
    moved: int
    groups: int = 0
    torn: int = 0
    ratio_note: str = ""  # how the kept splits miss the wanted ratio
    test: int = 0  # labeled images of the test split, which is left out


def preview(project: Project, ratio: Decimal) -> list[LabelSplit]:
    """Split counts of each label if published now, in the order of the labels."""
    return preview_split(project, ratio).labels


def preview_split(project: Project, ratio: Decimal) -> SplitPreview:
    """Split counts if published now. With one label per image and no duplicates, one query counts them."""
    if project.is_multi_label or _has_duplicates(project):
        return _preview_of_images(project, ratio)
    return _preview_of_counts(project, ratio)


def _has_duplicates(project: Project) -> bool:
    return Image.objects.labeled().filter(project=project, duplicate_group__isnull=False).exists()


def _preview_of_images(project: Project, ratio: Decimal) -> SplitPreview:
    labeled = list(labeled_images(project))
    joined = leakage.joined_duplicates(labeled)
    images = [image for image in labeled if image.split != Split.TEST and image.id not in joined]
    result = dataset_split.split(images, ratio, str(project.pk))
    tally = Counter((label, result.splits[image.id]) for image in images for label in image.labels)
    names = project.labels.values_list("name", flat=True)
    rows = [LabelSplit(name, tally[name, Split.TRAIN], tally[name, Split.EVAL]) for name in names]
    splits = Counter(result.splits.values())
    used = [row for row in rows if row.train or row.eval]
    return SplitPreview(
        used,
        splits[Split.TRAIN],
        splits[Split.EVAL],
        len(result.moved),
        result.kept_together,
        len(result.torn),
        leakage.ratio_note(leakage.split_report(images, result, ratio), ratio),
        len(labeled) - len(images),
    )


def _preview_of_counts(project: Project, ratio: Decimal) -> SplitPreview:
    rows, moved, tests, earlier = [], 0, 0, Counter[str]()
    for name, train, evaluation, free, test in _split_counts_of_labels(project):
        tests += test
        if not (train or evaluation or free):
            continue
        row = LabelSplit(name, *dataset_split.split_counts(train, evaluation, free, ratio))
        moved += max(train - row.train, 0) + max(evaluation - row.eval, 0)
        earlier.update({Split.TRAIN: train, Split.EVAL: evaluation})
        rows.append(row)
    train, evaluation = sum(row.train for row in rows), sum(row.eval for row in rows)
    before = {"earlier_train": earlier[Split.TRAIN], "earlier_eval": earlier[Split.EVAL]}
    new = {
        "new_train": max(train - earlier[Split.TRAIN], 0),
        "new_eval": max(evaluation - earlier[Split.EVAL], 0),
    }
    note = leakage.ratio_note(before | new, ratio)
    return SplitPreview(rows, train, evaluation, moved, ratio_note=note, test=tests)


def _split_counts_of_labels(project: Project) -> Iterable[tuple[str, int, int, int, int]]:
    """(label, training images, validation images, images without a split, test images): one query."""
    alive = Q(annotations__image__deleted_at=None)

    def images(split: str) -> Count:
        return Count("annotations", filter=alive & Q(annotations__image__split=split))

    counted = project.labels.annotate(
        train=images(Split.TRAIN), evaluation=images(Split.EVAL), free=images(""), test=images(Split.TEST)
    )
    return counted.order_by("position", "pk").values_list("name", "train", "evaluation", "free", "test")


def labeled_images(project: Project) -> Iterator[dataset_split.LabeledImage]:
    """Yield the labeled images outside the bin, each once, with the same labels as `publish` uses."""
    rows = (
        Annotation.objects.filter(image__project=project, image__deleted_at=None)
        .order_by("image", "label__position", "label")
        .values_list("image", "image__sha256", "image__split", "image__duplicate_group", "label__name")
    )
    for (image, sha256, split, group), rows_of_image in groupby(
        rows.iterator(chunk_size=CHUNK_SIZE), key=lambda row: row[:4]
    ):
        yield dataset_split.LabeledImage(image, sha256, tuple(row[4] for row in rows_of_image), split, group)
