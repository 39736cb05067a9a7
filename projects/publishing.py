"""Dataset versions: may a project be published, how will it be split, and the deed itself."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal
from io import BufferedReader
from typing import NamedTuple

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from projects import files, manifest, splitting
from projects.models import Annotation, DatasetVersion, Image, Label, Project, Side

MIN_LABELS = 2
MIN_IMAGES = 5  # of each label that is used
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


def readiness(project: Project) -> Readiness:
    """Ready from two labels in use with five images each; one query.

    A label on no image is left out of the training and named in a note.
    """
    counts = [(label, label.images) for label in _counted_labels(project)]  # type: ignore[attr-defined]
    used = [(label, images) for label, images in counts if images]
    unused = [f"‘{label}’" for label, images in counts if not images]
    notes = [f"On no image and left out: {_listed(unused)}."] if unused else []
    return Readiness(_missing(used), notes, counts)


def _counted_labels(project: Project) -> Iterable[Label]:
    living = Q(annotations__image__deleted_at=None)
    return project.labels.annotate(images=Count("annotations", filter=living))


def _missing(used: list[tuple[Label, int]]) -> list[str]:
    missing = []
    if len(used) < MIN_LABELS:
        there = "there is none yet" if not used else f"so far there is only ‘{used[0][0]}’"
        missing.append(f"Label images with at least two labels: {there}.")
    short = [(label, images) for label, images in used if images < MIN_IMAGES]
    if short:
        each = [f"‘{label}’ has {images} ({MIN_IMAGES - images} more)" for label, images in short]
        missing.append(f"Every label needs at least five images: {_listed(each)}.")
    return missing


def _listed(words: list[str]) -> str:
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class SplitPreview:
    """What publishing will do. `moved` images leave the side that earlier versions gave them."""

    labels: list[LabelSplit]
    train: int
    eval: int
    moved: int


def preview(project: Project, ratio: Decimal) -> list[LabelSplit]:
    """The counts that publishing at this moment will give, in the order of the labels."""
    return preview_split(project, ratio).labels


def preview_split(project: Project, ratio: Decimal) -> SplitPreview:
    """The counts of labels and of images; where an image has one label, images stay in the database."""
    if project.is_multi_label:
        return _preview_of_images(project, ratio)
    return _preview_of_counts(project, ratio)


def _preview_of_images(project: Project, ratio: Decimal) -> SplitPreview:
    split = _split(project, ratio)
    tally = Counter((label, split.sides[one.id]) for one in _labeled(project) for label in one.labels)
    rows = [
        LabelSplit(name, tally[label, Side.TRAIN], tally[label, Side.EVAL])
        for label, name in project.labels.values_list("pk", "name")
    ]
    sides = Counter(split.sides.values())
    used = [row for row in rows if row.train or row.eval]
    return SplitPreview(used, sides[Side.TRAIN], sides[Side.EVAL], len(split.moved))


def _preview_of_counts(project: Project, ratio: Decimal) -> SplitPreview:
    rows, moved = [], 0
    for name, train, kept_back, free in _sides_of_labels(project):
        row = LabelSplit(name, *splitting.share(train, kept_back, free, ratio))
        moved += max(train - row.train, 0) + max(kept_back - row.eval, 0)
        rows.append(row)
    return SplitPreview(rows, sum(row.train for row in rows), sum(row.eval for row in rows), moved)


def _sides_of_labels(project: Project) -> Iterable[tuple[str, int, int, int]]:
    """(label, images in training, in validation, without a side) of each label in use: one query."""
    living = Q(annotations__image__deleted_at=None)

    def images(side: str) -> Count:
        return Count("annotations", filter=living & Q(annotations__image__side=side))

    counted = project.labels.annotate(taught=images(Side.TRAIN), kept_back=images(Side.EVAL), free=images(""))
    rows = counted.values_list("name", "taught", "kept_back", "free")
    return (row for row in rows if any(row[1:]))


def _split(project: Project, ratio: Decimal) -> splitting.Split:
    return splitting.split(_labeled(project), ratio, seed=str(project.pk))


def _labeled(project: Project) -> Iterator[splitting.Labeled]:
    """The living labeled images, each once, with the numbers of its labels."""
    rows = (
        Annotation.objects.filter(image__project=project, image__deleted_at=None)
        .order_by("image", "label__position", "label")
        .values_list("image", "image__sha256", "image__side", "label")
    )
    last: tuple[int, str, str] | None = None
    labels: list[int] = []
    for image, sha256, side, label in rows.iterator(chunk_size=5000):
        if last and last[0] != image:
            yield splitting.Labeled(last[0], last[1], tuple(labels), last[2])
            labels = []
        last = (image, sha256, side)
        labels.append(label)
    if last:
        yield splitting.Labeled(last[0], last[1], tuple(labels), last[2])


def publish(dataset_version: DatasetVersion) -> None:
    """Fill the reserved row: give every image its side, write the manifest, count.

    A second call does nothing.
    """
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=dataset_version.project_id)  # one publishing at a time
        version = DatasetVersion.objects.select_related("project").get(pk=dataset_version.pk)
        if not version.is_published:
            split = _split(version.project, version.training_ratio)
            _keep_sides(split, version.project)
            _write_manifest(version, split.sides)
            version.published_at = timezone.now()
            version.save()
    dataset_version.refresh_from_db()


def _keep_sides(split: splitting.Split, project: Project) -> None:
    """Write the sides that are new; an image that has one already is not touched."""
    had = dict(project.images.exclude(side="").values_list("pk", "side"))
    for side in Side.values:
        fresh = [image for image, given in split.sides.items() if given == side and had.get(image) != side]
        for start in range(0, len(fresh), 5000):
            Image.objects.filter(pk__in=fresh[start : start + 5000]).update(side=side)


def _write_manifest(version: DatasetVersion, sides: dict[int, str]) -> None:
    """Store the manifest and put its name, sha256 and counts on `version` (unsaved)."""
    digest, tally, usages = hashlib.sha256(), Counter[tuple[str, str]](), Counter[str]()
    with tempfile.TemporaryFile() as file:
        for entry in _entries(version.project, sides):
            (line,) = manifest.write([entry])
            digest.update(line)
            file.write(line)
            usages[entry.usage] += 1
            tally.update((label, entry.usage) for label in entry.labels)
        file.seek(0)
        version.manifest = f"datasets/{version.project_id}/{version.name}.manifest"
        files.save_whole(version.manifest, file)
    version.sha256 = digest.hexdigest()
    version.counts = {label: {side: tally[label, side] for side in Side.values} for label, _ in tally}
    version.image_count = usages.total()
    version.train_count, version.eval_count = usages[Side.TRAIN], usages[Side.EVAL]


def _entries(project: Project, sides: dict[int, str]) -> Iterator[manifest.Entry]:
    """The manifest's samples in the order of the images, each with its labels."""
    rows = (
        Annotation.objects.filter(image__project=project, image__deleted_at=None)
        .select_related("image", "label", "by")
        .order_by("image", "label__position", "label")
    )
    image: Image | None = None
    marks: list[manifest.Mark] = []
    for row in rows.iterator(chunk_size=2000):
        if image and image.pk != row.image_id:
            yield _entry(image, marks, sides)
            marks = []
        image = row.image
        marks.append(_mark(row))
    if image:
        yield _entry(image, marks, sides)


def _entry(image: Image, marks: list[manifest.Mark], sides: dict[int, str]) -> manifest.Entry:
    return manifest.Entry(
        source=image.file_name,
        usage=sides[image.pk],
        id=image.sha256[:32],
        marks=tuple(marks),
        properties={
            manifest.IMAGE_ID: image.pk,
            manifest.SHA256: image.sha256,
            manifest.FILE_NAME: image.name,
        },
    )


def _mark(annotation: Annotation) -> manifest.Mark:
    by = annotation.by.get_username() if annotation.by else ""
    return manifest.Mark(
        name=annotation.label.name,
        annotated_by=f"{annotation.how}/{by}" if by else annotation.how,
        creation_time=annotation.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        confidence=annotation.confidence,
    )


def read_samples(dataset_version: DatasetVersion) -> list[manifest.Entry]:
    """The published samples, read back. Raises ManifestDamaged where the file is not what was published."""
    if not dataset_version.is_published:
        raise ManifestDamaged(f"The dataset version {dataset_version} has not been published yet.")
    try:
        path = files.local_path(dataset_version.manifest)
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
