"""Images of a dataset version, the differences of two versions, and restoring the labels of a version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext_lazy

from projects import audit
from projects.datasets import publish
from projects.formats.manifest import EntryLabel
from projects.labels import actions, bulk_import
from projects.labels.annotations import lock_project
from projects.labels.parts import count_images
from projects.models import Annotation, DatasetVersion, Image, Label, LabelEvent, Project

DIFFERENCE_KINDS = {
    "added": gettext_lazy("Added"),
    "removed": gettext_lazy("Removed"),
    "relabeled": gettext_lazy("Relabeled"),
    "moved": gettext_lazy("Changed split"),
}


@dataclass(frozen=True)
class VersionImage:
    """An image of a dataset version: its split (`usage`) and its labels."""

    usage: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """One image that differs between two versions; None where a version does not contain it."""

    image_id: int
    before: VersionImage | None
    after: VersionImage | None


@dataclass(frozen=True)
class Differences:
    """Differences from `old` to `new` by kind; each list is sorted by image id."""

    added: list[Difference] = field(default_factory=list)
    removed: list[Difference] = field(default_factory=list)
    relabeled: list[Difference] = field(default_factory=list)
    moved: list[Difference] = field(default_factory=list)

    def of(self, kind: str) -> list[Difference]:
        differences: list[Difference] = getattr(self, kind)
        return differences

    @cached_property
    def counts(self) -> list[tuple[str, str, int]]:
        return [(kind, str(title), len(self.of(kind))) for kind, title in DIFFERENCE_KINDS.items()]

    @property
    def is_empty(self) -> bool:
        return not any(count for *_, count in self.counts)


def version_images(version: DatasetVersion) -> dict[int, VersionImage]:
    """Image id → image of the version. Cached for the last six versions, since manifests never change.

    Raises ManifestDamaged.
    """
    return _version_images(version.pk, version.sha256)


@lru_cache(maxsize=6)
def _version_images(pk: int, sha256: str) -> dict[int, VersionImage]:
    entries = publish.read_entries(DatasetVersion.objects.get(pk=pk))
    return {
        entry.image_id: VersionImage(entry.usage, entry.labels)
        for entry in entries
        if entry.image_id is not None
    }


def differences(old: DatasetVersion, new: DatasetVersion) -> Differences:
    """Images that differ between two versions. Raises ManifestDamaged."""
    before, after, result = version_images(old), version_images(new), Differences()
    for image_id in sorted(before.keys() | after.keys()):
        difference = Difference(image_id, before.get(image_id), after.get(image_id))
        if difference.before is None:
            result.added.append(difference)
        elif difference.after is None:
            result.removed.append(difference)
        else:
            if set(difference.before.labels) != set(difference.after.labels):
                result.relabeled.append(difference)
            if difference.before.usage != difference.after.usage:
                result.moved.append(difference)
    return result


# --- restore ---


@dataclass(frozen=True)
class RestorePreview:
    """Effect of restoring the labels, in numbers of images."""

    relabeled: int
    unlabeled: int
    gone: int  # in the bin or deleted permanently
    missing_labels: list[str]

    @property
    def is_empty(self) -> bool:
        return not self.relabeled and not self.unlabeled


def preview_restore(version: DatasetVersion) -> RestorePreview:
    """What `restore_labels` would do now. Raises ManifestDamaged."""
    then, now = version_images(version), _labels_now(version.project)
    existing = {pk for pk in now if pk in then}
    names = {label.lower() for label in version.project.labels.values_list("name", flat=True)}
    missing = sorted(
        {label for image in then.values() for label in image.labels if label.lower() not in names}
    )
    return RestorePreview(
        sum(_differs(now[pk], then[pk].labels) for pk in existing),
        sum(bool(labels) for pk, labels in now.items() if pk not in then),
        len(then) - len(existing),
        missing,
    )


@transaction.atomic
def restore_labels(version: DatasetVersion, by: User, *, unlabel_others: bool = False) -> list[LabelEvent]:
    """Set the labels of the version's images outside the bin back; missing labels are created again.

    `unlabel_others`: remove the labels of all other images. Returns one event for each of the two actions.
    Raises ManifestDamaged.
    """
    project = version.project
    lock_project(project)
    now = _labels_now(project)
    entry_labels: dict[int, Sequence[EntryLabel]] = {
        entry.image_id: entry.entry_labels
        for entry in publish.read_entries(version)
        if entry.image_id in now and _differs(now[entry.image_id], entry.labels)
    }
    details = {"dataset_version": version.name}
    labeled = bulk_import.import_labels(
        project, entry_labels, by, replaces=True, details=details, is_own=True
    ).event
    unlabeled = None
    if unlabel_others:
        images = version_images(version)
        others = [pk for pk, labels in now.items() if labels and pk not in images]
        unlabeled = actions.apply(project, others, remove=Label.objects.filter(project=project), by=by)
    events = [event for event in (labeled, unlabeled) if event]
    audit.record(
        audit.Kind.LABELS_RESTORED,
        project=project,
        target=version,
        by=by,
        images=sum(map(count_images, events)),
    )
    return events


def _differs(now: set[str], then: Sequence[str]) -> bool:
    return now != {label.lower() for label in then}


def _labels_now(project: Project) -> dict[int, set[str]]:
    """Image id → lower-case label names, for all images outside the bin."""
    labels: dict[int, set[str]] = {
        pk: set() for pk in Image.objects.alive().filter(project=project).values_list("pk", flat=True)
    }
    annotations = Annotation.objects.filter(image__project=project, image__deleted_at=None).order_by()
    for image_id, name in annotations.values_list("image_id", "label__name"):
        labels[image_id].add(name.lower())
    return labels
