"""Whether a project can be trained, and a preview of its split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from django.core.cache import caches
from django.db.models import Count, Max, Min, Q
from django.utils.translation import gettext, gettext_noop

from exeml_site.lib.bulk import CHUNK_SIZE
from exeml_site.lib.display import count
from projects.datasets import leakage
from projects.datasets import split as dataset_split
from projects.datasets.groups import bound_images
from projects.labels.counts import images_per_label
from projects.models import Annotation, Image, Label, LabelEvent, MetadataColumn, Project, Split, Transfer

MIN_LABELS = 2
CACHED_S = 60
MIN_IMAGES = 5  # of each label in use
IMPORT_RUNNING = gettext_noop("Images are being imported. Wait until the import ends, or cancel it (4712).")
ONE_VALUE = gettext_noop(
    "“%(column)s” is never split, so every label needs images of at least two of its values. Labels with one "
    "value: %(labels)s. Add images of other values, or allow splitting “%(column)s”."
)
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
    left_out = gettext("Labels without images are left out: %(labels)s.") % {"labels": _listed(unused)}
    missing = [*_missing(used), *_of_one_value(project, used)]
    missing += [gettext(IMPORT_RUNNING)] if is_importing else []
    return Readiness(missing, [left_out] if unused else [], counts)


def test_images_of_labels(project: Project) -> Counter[int]:
    """label id → its images in the test split."""
    tests = Image.objects.alive().filter(project=project, split=Split.TEST)
    # No join here: for it SQLite reads every annotation, 66 ms of 100,000 images' instead of 0 to 5.
    annotations = Annotation.objects.filter(image__in=tests.values("pk")).order_by()
    return Counter(dict(annotations.values_list("label").annotate(Count("pk"))))


def _missing(used: list[tuple[Label, int]]) -> list[str]:
    missing = []
    if len(used) < MIN_LABELS:
        if used:
            sentence = gettext(
                "Label images with at least two labels. So far only ‘%(label)s’ is used (4711)."
            )
            missing.append(sentence % {"label": used[0][0]})
        else:
            missing.append(gettext("Label images with at least two labels. None is used yet (4711)."))
    short = [(label, images) for label, images in used if images < MIN_IMAGES]
    if short:
        sentence = gettext("Every label needs at least five images: %(labels)s (4711).")
        missing.append(sentence % {"labels": _listed([_missing_images(*each) for each in short])})
    return missing


def _missing_images(label: Label, images: int) -> str:
    values = {"label": label, "count": count(images), "missing": count(MIN_IMAGES - images)}
    return gettext("‘%(label)s’ has %(count)s (%(missing)s more)") % values


def has_never_split(project: Project) -> bool:
    return MetadataColumn.objects.filter(project=project, is_never_split=True).exists()


def _of_one_value(project: Project, used: Iterable[tuple[Label, int]]) -> Iterator[str]:
    """A sentence for each column that is never split and has one value on all images of a label."""
    for column in MetadataColumn.objects.filter(project=project, is_never_split=True):
        single = _labels_of_one_value(column)
        named = [
            f"‘{label}’ (“{single[label.pk][1]}”)"
            for label, images in used
            if label.pk in single and single[label.pk][0] == images
        ]
        if named:
            yield gettext(ONE_VALUE) % {"labels": _listed(named), "column": column.name}


def _labels_of_one_value(column: MetadataColumn) -> dict[int, tuple[int, str]]:
    """Label id → (images with a value, the value), of the labels with a single value.

    Counting takes 0.2 s for 100,000 images, so it is kept until the next action of the project.
    """
    events = LabelEvent.objects.filter(project=column.project_id).order_by("-pk")
    key = f"single-values:{column.pk}:{events.values_list('pk', flat=True).first()}"
    cached: dict[int, tuple[int, str]] | None = caches["counts"].get(key)
    if cached is None:
        values = column.values.filter(image__deleted_at=None).exclude(image__split=Split.TEST).order_by()
        labeled = values.filter(image__annotations__isnull=False).values_list("image__annotations__label")
        ranges = labeled.annotate(Count("pk"), Min("value"), Max("value"))
        cached = {label: (number, first) for label, number, first, last in ranges if first == last}
        caches["counts"].set(key, cached, CACHED_S)
    return cached


def _listed(names: list[str]) -> str:
    more = len(names) - MAX_LABELS_NAMED
    first = ", ".join(names[:MAX_LABELS_NAMED])
    return (
        gettext("%(names)s and %(count)s more") % {"names": first, "count": count(more)}
        if more > 0
        else first
    )


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
    never_split: tuple[str, ...] = ()  # columns
    bound: int = 0  # groups of images that these columns keep together
    one_sided: tuple[str | int, ...] = ()  # labels without validation images, as never split columns demand


def preview(project: Project, ratio: Decimal) -> list[LabelSplit]:
    """Split counts of each label if published now, in the order of the labels."""
    return preview_split(project, ratio).labels


def preview_split(project: Project, ratio: Decimal) -> SplitPreview:
    """Split counts if published now. With one label per image and no duplicates, one query counts them."""
    if project.is_multi_label or _has_duplicates(project) or has_never_split(project):
        return _preview_of_images(project, ratio)
    return _preview_of_counts(project, ratio)


def _has_duplicates(project: Project) -> bool:
    return Image.objects.labeled().filter(project=project, duplicate_group__isnull=False).exists()


def _preview_of_images(project: Project, ratio: Decimal) -> SplitPreview:
    columns = project.metadata_columns.filter(is_never_split=True).values_list("name", flat=True)
    images = list(labeled_images(project))
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
        splits[Split.TEST],
        tuple(columns),
        len({image.bound for image in images} - {None}),
        result.one_sided,
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
    bound = bound_images(project)
    rows = (
        Annotation.objects.filter(image__project=project, image__deleted_at=None)
        .order_by("image", "label__position", "label")
        .values_list("image", "image__sha256", "image__split", "image__duplicate_group", "label__name")
    )
    for (image, sha256, split, group), rows_of_image in groupby(
        rows.iterator(chunk_size=CHUNK_SIZE), key=lambda row: row[:4]
    ):
        labels = tuple(row[4] for row in rows_of_image)
        yield dataset_split.LabeledImage(image, sha256, labels, split, group, bound.get(image))
