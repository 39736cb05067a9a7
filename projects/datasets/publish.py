"""Dataset versions: may a project be published, how will it be split, and the deed itself."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from io import BufferedReader
from itertools import groupby
from typing import Any, BinaryIO, NamedTuple

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from exeml_site.lib import storage
from projects.datasets import leakage
from projects.datasets import split as dataset_split
from projects.formats import manifest
from projects.labels.counts import count_carriers
from projects.models import Annotation, DatasetVersion, Image, Label, Project, Side, Transfer

MIN_LABELS = 2
MIN_IMAGES = 5  # of each label that is used
IMPORTING = "Images are being imported. Wait until the import ends, or cancel it (4712)."
NAMED = 5  # labels named in a sentence before “and n more”


class ManifestDamaged(Exception):
    """A stored manifest is missing or is not the one that was published; the message says which."""


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
        carriers = count_carriers(project)
        counts = [(label, carriers[label.pk]) for label in project.labels.all()]
    is_importing = project.transfers.filter(state__in=Transfer.ACTIVE).exists()
    used = [(label, images) for label, images in counts if images]
    unused = [f"‘{label}’" for label, images in counts if not images]
    notes = [f"On no image and left out: {_listed(unused)}."] if unused else []
    return Readiness([*_missing(used), *([IMPORTING] if is_importing else [])], notes, counts)


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
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")


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
    ratio_words: str = ""  # how the kept sides and the wished ratio disagree


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
    rows = [LabelSplit(name, tally[name, Side.TRAIN], tally[name, Side.EVAL]) for name in names]
    sides = Counter(split.sides.values())
    used = [row for row in rows if row.train or row.eval]
    return SplitPreview(
        used,
        sides[Side.TRAIN],
        sides[Side.EVAL],
        len(split.moved),
        split.kept_together,
        len(split.torn),
        leakage.ratio_words(leakage.report(images, split, ratio), ratio),
    )


def _preview_of_counts(project: Project, ratio: Decimal) -> SplitPreview:
    rows, moved, earlier = [], 0, Counter[str]()
    for name, train, kept_back, free in _sides_of_labels(project):
        row = LabelSplit(name, *dataset_split.share(train, kept_back, free, ratio))
        moved += max(train - row.train, 0) + max(kept_back - row.eval, 0)
        earlier.update({Side.TRAIN: train, Side.EVAL: kept_back})
        rows.append(row)
    train, kept_back = sum(row.train for row in rows), sum(row.eval for row in rows)
    before = {"earlier_train": earlier[Side.TRAIN], "earlier_eval": earlier[Side.EVAL]}
    new = {
        "new_train": max(train - earlier[Side.TRAIN], 0),
        "new_eval": max(kept_back - earlier[Side.EVAL], 0),
    }
    return SplitPreview(rows, train, kept_back, moved, ratio_words=leakage.ratio_words(before | new, ratio))


def _sides_of_labels(project: Project) -> Iterable[tuple[str, int, int, int]]:
    """(label, images in training, in validation, without a side) of each label in use: one query."""
    living = Q(annotations__image__deleted_at=None)

    def images(side: str) -> Count:
        return Count("annotations", filter=living & Q(annotations__image__side=side))

    counted = project.labels.annotate(taught=images(Side.TRAIN), kept_back=images(Side.EVAL), free=images(""))
    rows = counted.order_by("position", "pk").values_list("name", "taught", "kept_back", "free")
    return (row for row in rows if any(row[1:]))


def _labeled(project: Project) -> Iterator[dataset_split.Labeled]:
    """The living labeled images, each once, with its labels as `publish` takes them."""
    rows = (
        Annotation.objects.filter(image__project=project, image__deleted_at=None)
        .order_by("image", "label__position", "label")
        .values_list("image", "image__sha256", "image__side", "image__duplicate_group", "label__name")
    )
    for (image, sha256, side, group), marks in groupby(
        rows.iterator(chunk_size=5000), key=lambda row: row[:4]
    ):
        yield dataset_split.Labeled(image, sha256, tuple(mark[4] for mark in marks), side, group)


def publish(dataset_version: DatasetVersion) -> None:
    """Fill the reserved row: give every image its side, write the manifest, count.

    A second call does nothing. The labels of one moment are read and split before anything is locked, so
    that people go on labeling; only if another publishing gave sides meanwhile is it done again.
    """
    dataset_version.refresh_from_db()
    while not dataset_version.is_published:
        with _draft(dataset_version) as draft:
            _publish(dataset_version, draft)


def _publish(version: DatasetVersion, draft: Draft) -> None:
    """Publish `draft` if the sides that it was made from still hold."""
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=version.project_id)  # one publishing at a time
        version.refresh_from_db()
        if version.is_published or _sides(version.project) != draft.earlier_sides:
            return
        _keep_sides(draft)
        version.manifest = f"datasets/{version.project_id}/{version.name}.manifest"
        storage.save_whole(version.manifest, draft.file)
        version.sha256, version.counts, version.split = draft.sha256, draft.counts, draft.report
        version.image_count = sum(draft.usages.values())
        version.train_count, version.eval_count = draft.usages[Side.TRAIN], draft.usages[Side.EVAL]
        version.published_at = timezone.now()
        version.save()


@dataclass(frozen=True)
class Draft:
    """A manifest in a temporary file, and what it was made from."""

    file: BinaryIO
    sha256: str
    counts: dict[str, dict[str, int]]
    usages: Counter[str]
    sides: dict[int, str]
    earlier_sides: dict[int, str]
    report: dict[str, Any]


@contextmanager
def _draft(version: DatasetVersion) -> Iterator[Draft]:
    earlier_sides = _sides(version.project)
    entries = list(_entries(version.project))  # one query: one moment
    copies = Image.objects.filter(project=version.project, duplicate_group__isnull=False)
    groups = {pk: group for pk, group in copies.values_list("pk", "duplicate_group") if group is not None}
    images = [_to_split(entry, earlier_sides, groups) for entry in entries]
    split = dataset_split.split(images, version.training_ratio, str(version.project_id))
    report = leakage.report(images, split, version.training_ratio)
    searched = Project.objects.filter(pk=version.project_id).exclude(copies_searched="")
    report["are_copies_known"] = searched.exists()
    del images
    with tempfile.TemporaryFile() as file:
        digest, tally, usages = hashlib.sha256(), Counter[tuple[str, str]](), Counter[str]()
        for entry in entries:
            usage = split.sides[_image(entry)]
            (line,) = manifest.write([replace(entry, usage=usage)])
            digest.update(line)
            file.write(line)
            usages[usage] += 1
            tally.update((label, usage) for label in entry.labels)
        del entries
        file.seek(0)
        counts = {label: {side: tally[label, side] for side in Side.values} for label, _ in tally}
        yield Draft(file, digest.hexdigest(), counts, usages, split.sides, earlier_sides, report)


def _sides(project: Project) -> dict[int, str]:
    return dict(project.images.exclude(side="").values_list("pk", "side"))


def _keep_sides(draft: Draft) -> None:
    """Write the sides that are new; an image that has its side already is not touched."""
    for side in Side.values:
        fresh = [
            image
            for image, given in draft.sides.items()
            if given == side and draft.earlier_sides.get(image) != side
        ]
        for start in range(0, len(fresh), 5000):
            Image.objects.filter(pk__in=fresh[start : start + 5000]).update(side=side)


def _image(entry: manifest.Entry) -> int:
    return int(entry.properties[manifest.IMAGE_ID])


def _to_split(
    entry: manifest.Entry, earlier_sides: dict[int, str], groups: dict[int, int]
) -> dataset_split.Labeled:
    image = _image(entry)
    sha256 = entry.properties[manifest.SHA256]
    return dataset_split.Labeled(image, sha256, entry.labels, earlier_sides.get(image, ""), groups.get(image))


def _entries(project: Project) -> Iterator[manifest.Entry]:
    """The labeled images in order, each with its labels, without usage: one query, no model objects."""
    rows = (
        Annotation.objects.filter(image__project=project, image__deleted_at=None)
        .order_by("image", "label__position", "label")
        .values_list(
            "image", "image__sha256", "image__format", "image__name",
            "label__name", "how", "by__username", "at", "confidence",
        )
    )  # fmt: skip
    for (image, sha256, format, name), marks in groupby(rows.iterator(chunk_size=5000), lambda row: row[:4]):
        yield _entry(project, image, sha256, format, name, tuple(mark_of(*mark[4:]) for mark in marks))


def _entry(
    project: Project, image: int, sha256: str, format: str, name: str, marks: tuple[manifest.Mark, ...]
) -> manifest.Entry:
    return manifest.Entry(
        source=Image(project_id=project.pk, sha256=sha256, format=format).file_name,
        id=sha256[:32],
        marks=marks,
        properties={manifest.IMAGE_ID: image, manifest.SHA256: sha256, manifest.FILE_NAME: name},
    )


def mark_of(label: str, how: str, by: str | None, at: datetime, confidence: float | None) -> manifest.Mark:
    return manifest.Mark(
        name=label,
        annotated_by=f"{how}/{by}" if by else how,
        creation_time=at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        confidence=confidence,
    )


def read_samples(dataset_version: DatasetVersion) -> list[manifest.Entry]:
    """The published samples, read back. Raises ManifestDamaged where the file is not what was published."""
    if not dataset_version.is_published:
        raise ManifestDamaged(f"The dataset version {dataset_version} has not been published yet.")
    try:
        path = storage.local_path(dataset_version.manifest)
    except OSError as error:
        raise ManifestDamaged(f"The manifest of the dataset version {dataset_version} is missing.") from error
    with path.open("rb") as file:
        if _sha256(file) != dataset_version.sha256:
            raise ManifestDamaged(
                f"The manifest of the dataset version {dataset_version} was changed after it was published."
            )
        file.seek(0)
        return list(manifest.read(file))


def _sha256(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()
