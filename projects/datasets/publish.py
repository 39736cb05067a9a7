"""Dataset versions: may a project be published, how will it be split, and the deed itself."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BufferedReader
from itertools import groupby
from typing import Any, BinaryIO

from django.db import transaction
from django.utils import timezone

from exeml_site.lib import storage
from projects.datasets import leakage
from projects.datasets import split as dataset_split
from projects.formats import manifest
from projects.models import Annotation, DatasetVersion, Image, Project, Split


class ManifestDamaged(Exception):
    """A stored manifest is missing or is not the one that was published; the message says which."""


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
        if version.is_published or _splits(version.project) != draft.earlier_sides:
            return
        _save_new_splits(draft)
        version.manifest = f"datasets/{version.project_id}/{version.name}.manifest"
        storage.save_whole(version.manifest, draft.file)
        version.sha256, version.counts, version.split = draft.sha256, draft.counts, draft.report
        version.image_count = sum(draft.usages.values())
        version.train_count, version.eval_count = draft.usages[Split.TRAIN], draft.usages[Split.EVAL]
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
    earlier_sides = _splits(version.project)
    entries = list(_entries(version.project))  # one query: one moment
    copies = Image.objects.filter(project=version.project, duplicate_group__isnull=False)
    groups = {pk: group for pk, group in copies.values_list("pk", "duplicate_group") if group is not None}
    images = [_to_split(entry, earlier_sides, groups) for entry in entries]
    split = dataset_split.split(images, version.training_ratio, str(version.project_id))
    report = leakage.split_report(images, split, version.training_ratio)
    searched = Project.objects.filter(pk=version.project_id).exclude(duplicates_searched="")
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
        counts = {label: {side: tally[label, side] for side in Split.values} for label, _ in tally}
        yield Draft(file, digest.hexdigest(), counts, usages, split.sides, earlier_sides, report)


def _splits(project: Project) -> dict[int, str]:
    return dict(project.images.exclude(split="").values_list("pk", "split"))


def _save_new_splits(draft: Draft) -> None:
    """Write the sides that are new; an image that has its side already is not touched."""
    for side in Split.values:
        fresh = [
            image
            for image, given in draft.sides.items()
            if given == side and draft.earlier_sides.get(image) != side
        ]
        for start in range(0, len(fresh), 5000):
            Image.objects.filter(pk__in=fresh[start : start + 5000]).update(split=side)


def _image(entry: manifest.Entry) -> int:
    return int(entry.properties[manifest.IMAGE_ID])


def _to_split(
    entry: manifest.Entry, earlier_sides: dict[int, str], groups: dict[int, int]
) -> dataset_split.LabeledImage:
    image = _image(entry)
    sha256 = entry.properties[manifest.SHA256]
    return dataset_split.LabeledImage(
        image, sha256, entry.labels, earlier_sides.get(image, ""), groups.get(image)
    )


def _entries(project: Project) -> Iterator[manifest.Entry]:
    """The labeled images in order, each with its labels, without usage: one query, no model objects."""
    rows = (
        Annotation.objects.filter(image__project=project, image__deleted_at=None)
        .order_by("image", "label__position", "label")
        .values_list(
            "image", "image__sha256", "image__format", "image__name",
            "label__name", "source", "by__username", "at", "confidence",
        )
    )  # fmt: skip
    for (image, sha256, format, name), entry_labels in groupby(
        rows.iterator(chunk_size=5000), lambda row: row[:4]
    ):
        yield _entry(
            project, image, sha256, format, name, tuple(entry_label(*mark[4:]) for mark in entry_labels)
        )


def _entry(
    project: Project,
    image: int,
    sha256: str,
    format: str,
    name: str,
    entry_labels: tuple[manifest.EntryLabel, ...],
) -> manifest.Entry:
    return manifest.Entry(
        source=Image(project_id=project.pk, sha256=sha256, format=format).file_name,
        id=sha256[:32],
        entry_labels=entry_labels,
        properties={manifest.IMAGE_ID: image, manifest.SHA256: sha256, manifest.FILE_NAME: name},
    )


def entry_label(
    label: str, source: str, by: str | None, at: datetime, confidence: float | None
) -> manifest.EntryLabel:
    return manifest.EntryLabel(
        name=label,
        annotated_by=f"{source}/{by}" if by else source,
        creation_time=at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        confidence=confidence,
    )


def read_entries(dataset_version: DatasetVersion) -> list[manifest.Entry]:
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
