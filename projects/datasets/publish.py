"""Publishes dataset versions: split, manifest, counts. Reads published manifests back."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from io import BufferedReader
from itertools import groupby
from typing import Any, BinaryIO

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext

from exeml_site.lib import storage
from exeml_site.lib.bulk import CHUNK_SIZE
from exeml_site.lib.errors import Refused
from projects import audit, webhooks
from projects.datasets import leakage
from projects.datasets import split as dataset_split
from projects.datasets.groups import bound_images, never_split_report
from projects.formats import manifest
from projects.models import Annotation, DatasetVersion, Image, MetadataValue, Project, Split

SPLITS_AT_ONCE = 1000


class ManifestDamaged(Exception):
    """A stored manifest is missing or was changed after publication; the message says which."""


class DatasetNameTaken(Refused):
    """Somebody else has just reserved the name of the dataset version."""

    def __init__(self, name: str) -> None:
        super().__init__(name_taken_message(name))


def name_taken_message(name: str) -> str:
    sentence = gettext("This project already has a dataset version “%(name)s”. Choose another name (4371).")
    return sentence % {"name": name}


def publish_as(project: Project, name: str, ratio: Decimal, *, by: User) -> DatasetVersion:
    """Publish the current labels under a new name, without a training. Raises DatasetNameTaken."""
    try:
        with transaction.atomic():
            version = DatasetVersion.objects.create(
                project=project, name=name, training_ratio=ratio, created_by=by
            )
    except IntegrityError:
        raise DatasetNameTaken(name) from None
    try:
        publish(version, by=by)
    except BaseException:
        version.delete()
        raise
    return version


def publish(dataset_version: DatasetVersion, *, by: User | None = None) -> None:
    """Publish the reserved version: split every image, write the manifest, count. A second call does nothing.

    The audit log has a publication that a person asked for (`by`); that of a training belongs to its start.

    Images of the test split stay in it; images that are never split from them, and new duplicates of them,
    join it.

    Labels are read in one query and split before the project is locked, so that people can go on labeling. If
    another publication has split images in the meantime, the draft is made again.
    """
    dataset_version.refresh_from_db()
    while not dataset_version.is_published:
        with _draft(dataset_version) as draft:
            _publish(dataset_version, draft, by)


def _publish(version: DatasetVersion, draft: Draft, by: User | None = None) -> None:
    """Publish `draft`, unless the stored splits changed since it was made.

    The splits are stored in short transactions before the last one, which sees that nobody changed them.
    """
    if _splits(version.project) != draft.earlier_splits:
        return
    _save_new_splits(draft)
    with transaction.atomic():
        project = Project.objects.select_for_update().get(pk=version.project_id)  # one publication at a time
        version.refresh_from_db()
        if version.is_published or _splits(version.project) != draft.earlier_splits | draft.splits:
            return
        version.manifest = f"datasets/{version.project_id}/{version.name}.manifest"
        storage.save_whole(version.manifest, draft.file)
        version.sha256, version.counts, version.split = draft.sha256, draft.counts, draft.report
        version.image_count = sum(draft.usages.values())
        version.train_count, version.eval_count = draft.usages[Split.TRAIN], draft.usages[Split.EVAL]
        version.published_at = timezone.now()
        version.save()
        _raise_published(project, version)
        if by is not None:
            audit.record(
                audit.Kind.DATASET_PUBLISHED,
                project=project,
                target=version,
                by=by,
                images=version.image_count,
            )


def _raise_published(project: Project, version: DatasetVersion) -> None:
    webhooks.raise_event(
        webhooks.Event.DATASET_PUBLISHED,
        project,
        dataset_version={
            "name": version.name,
            "image_count": version.image_count,
            "training_count": version.train_count,
            "validation_count": version.eval_count,
            "test_count": version.test_count,
            "sha256": version.sha256,
            "url": webhooks.page_address("dataset_version", version.project_id, version.name),
            "api_url": webhooks.api_address(f"projects/{version.project_id}/dataset-versions/{version.name}"),
        },
    )


@dataclass(frozen=True)
class Draft:
    """A manifest in a temporary file, with its counts and the splits it was made from."""

    file: BinaryIO
    sha256: str
    counts: dict[str, dict[str, int]]
    usages: Counter[str]
    splits: dict[int, str]
    earlier_splits: dict[int, str]
    report: dict[str, Any]


@contextmanager
def _draft(version: DatasetVersion) -> Iterator[Draft]:
    earlier_splits = _splits(version.project)
    entries = list(_entries(version.project))  # one query, so the labels of one moment
    duplicates = Image.objects.filter(project=version.project, duplicate_group__isnull=False)
    groups = {pk: group for pk, group in duplicates.values_list("pk", "duplicate_group") if group is not None}
    bound = bound_images(version.project)
    images = [_to_split(entry, earlier_splits, groups, bound) for entry in entries]
    result = dataset_split.split(images, version.training_ratio, str(version.project_id))
    report = leakage.split_report(images, result, version.training_ratio)
    report["never_split"] = never_split_report(version.project, bound, result.splits)
    searched_projects = Project.objects.filter(pk=version.project_id).exclude(duplicates_searched="")
    report["are_copies_known"] = searched_projects.exists()
    del images
    with tempfile.TemporaryFile() as file:
        digest, tally, usages = hashlib.sha256(), Counter[tuple[str, str]](), Counter[str]()
        for entry in entries:
            usage = result.splits[_image_id(entry)]
            (line,) = manifest.write([_published(entry, usage, bound)])
            digest.update(line)
            file.write(line)
            usages[usage] += 1
            tally.update((label, usage) for label in entry.labels)
        del entries
        file.seek(0)
        kept = [split for split in Split.values if split != Split.TEST or usages[Split.TEST]]
        counts = {label: {split: tally[label, split] for split in kept} for label, _ in tally}
        yield Draft(file, digest.hexdigest(), counts, usages, result.splits, earlier_splits, report)


def _splits(project: Project) -> dict[int, str]:
    return dict(project.images.exclude(split="").values_list("pk", "split"))


def _save_new_splits(draft: Draft) -> None:
    """Write the splits that are new or changed."""
    for split in Split.values:
        changed = [
            image_id
            for image_id, new in draft.splits.items()
            if new == split and draft.earlier_splits.get(image_id) != split
        ]
        for start in range(0, len(changed), SPLITS_AT_ONCE):
            Image.objects.filter(pk__in=changed[start : start + SPLITS_AT_ONCE]).update(split=split)


def _image_id(entry: manifest.Entry) -> int:
    return int(entry.properties[manifest.IMAGE_ID])


def _published(entry: manifest.Entry, usage: str, bound: dict[int, int]) -> manifest.Entry:
    """The entry with its split, and the group of an image that is never split from others."""
    group = bound.get(_image_id(entry))
    grouped = {manifest.GROUP: str(group)} if group is not None else {}
    return replace(entry, usage=usage, properties=entry.properties | grouped)


def _to_split(
    entry: manifest.Entry, earlier_splits: dict[int, str], groups: dict[int, int], bound: dict[int, int]
) -> dataset_split.LabeledImage:
    image_id = _image_id(entry)
    return dataset_split.LabeledImage(
        image_id,
        entry.properties[manifest.SHA256],
        entry.labels,
        earlier_splits.get(image_id, ""),
        groups.get(image_id),
        bound.get(image_id),
    )


def _entries(project: Project) -> Iterator[manifest.Entry]:
    """Yield the labeled images in order, with labels, without usage: one query, no model objects."""
    rows = (
        Annotation.objects.filter(image__project=project, image__deleted_at=None)
        .order_by("image", "label__position", "label")
        .values_list(
            "image", "image__sha256", "image__format", "image__name",
            "label__name", "source", "by__username", "at", "confidence",
        )
    )  # fmt: skip
    values = _values(project)
    for (image, sha256, format, name), group in groupby(rows.iterator(CHUNK_SIZE), lambda row: row[:4]):
        labels = tuple(entry_label(*row[4:]) for row in group)
        entry = _entry(project, image, sha256, format, name, labels)
        yield replace(entry, values=values[image]) if image in values else entry


def _values(project: Project) -> dict[int, dict[str, str]]:
    """Image id → column → value, of the images that have metadata."""
    values: dict[int, dict[str, str]] = {}
    rows = MetadataValue.objects.filter(column__project=project).order_by("column")
    for image, column, value in rows.values_list("image", "column__name", "value").iterator(CHUNK_SIZE):
        values.setdefault(image, {})[column] = value
    return values


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
    label: str, source: str, by: str | None, time: datetime, confidence: float | None
) -> manifest.EntryLabel:
    return manifest.EntryLabel(
        name=label,
        annotated_by=f"{source}/{by}" if by else source,
        creation_time=time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        confidence=confidence,
    )


def read_entries(dataset_version: DatasetVersion) -> list[manifest.Entry]:
    """The entries of a published version. Raises ManifestDamaged if the file is missing or was changed."""
    named = {"version": dataset_version}
    if not dataset_version.is_published:
        raise ManifestDamaged(gettext("The dataset version %(version)s has not been published yet.") % named)
    try:
        path = storage.local_path(dataset_version.manifest)
    except FileNotFoundError as error:
        sentence = gettext("The manifest of the dataset version %(version)s is missing.")
        raise ManifestDamaged(sentence % named) from error
    with path.open("rb") as file:
        if _sha256(file) != dataset_version.sha256:
            sentence = gettext(
                "The manifest of the dataset version %(version)s was changed after it was published."
            )
            raise ManifestDamaged(sentence % named)
        file.seek(0)
        return list(manifest.read(file))


def _sha256(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()
