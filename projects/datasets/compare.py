"""What a dataset version holds, how two of them differ, and putting the labels back as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from django.contrib.auth.models import User
from django.db import transaction

from projects.datasets import publish
from projects.formats.manifest import EntryLabel
from projects.labels import actions, bulk_import
from projects.labels.annotations import lock_project
from projects.models import Annotation, DatasetVersion, Image, Label, LabelEvent, Project

DIFFERENCE_KINDS = {
    "added": "Added",
    "removed": "Removed",
    "relabeled": "Relabeled",
    "moved": "Changed side",
}


@dataclass(frozen=True)
class VersionImage:
    """An image of a dataset version: its side, and its labels as they were."""

    usage: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """One image that two versions do not have alike."""

    image_id: int
    before: VersionImage | None
    after: VersionImage | None


@dataclass(frozen=True)
class Differences:
    """What became of `old` on the way to `new`; each list in the order of images."""

    added: list[Difference] = field(default_factory=list)
    removed: list[Difference] = field(default_factory=list)
    relabeled: list[Difference] = field(default_factory=list)
    moved: list[Difference] = field(default_factory=list)

    def of(self, kind: str) -> list[Difference]:
        found: list[Difference] = getattr(self, kind)
        return found

    @cached_property
    def counts(self) -> list[tuple[str, str, int]]:
        return [(kind, words, len(self.of(kind))) for kind, words in DIFFERENCE_KINDS.items()]

    @property
    def is_empty(self) -> bool:
        return not any(count for *_, count in self.counts)


def version_images(version: DatasetVersion) -> dict[int, VersionImage]:
    """image id → what the version says of it. A manifest never changes, so the last few stay in memory.

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
    """Raises ManifestDamaged."""
    before, after, found = version_images(old), version_images(new), Differences()
    for image_id in sorted(before.keys() | after.keys()):
        one = Difference(image_id, before.get(image_id), after.get(image_id))
        if one.before is None:
            found.added.append(one)
        elif one.after is None:
            found.removed.append(one)
        else:
            if set(one.before.labels) != set(one.after.labels):
                found.relabeled.append(one)
            if one.before.usage != one.after.usage:
                found.moved.append(one)
    return found


# --- as they were ---


@dataclass(frozen=True)
class RestorePreview:
    """What putting the labels back will do, or did: counts of images."""

    relabeled: int
    unlabeled: int
    gone: int  # in the bin, or deleted for good
    missing_labels: list[str]

    @property
    def is_empty(self) -> bool:
        return not self.relabeled and not self.unlabeled


def preview_restore(version: DatasetVersion) -> RestorePreview:
    """What `restore` would do now. Raises ManifestDamaged."""
    then, now = version_images(version), _labels_now(version.project)
    living = {pk for pk in now if pk in then}
    names = {label.lower() for label in version.project.labels.values_list("name", flat=True)}
    missing = sorted({label for one in then.values() for label in one.labels if label.lower() not in names})
    return RestorePreview(
        sum(_differs(now[pk], then[pk].labels) for pk in living),
        sum(bool(labels) for pk, labels in now.items() if pk not in then),
        len(then) - len(living),
        missing,
    )


@transaction.atomic
def restore_labels(version: DatasetVersion, by: User, *, unlabel_others: bool = False) -> list[LabelEvent]:
    """Give every living image of the version the labels that it had; labels that are gone are made again.

    `unlabel_others`: images that the version does not hold lose theirs. Each of both is one deed that can be
    taken back. Raises ManifestDamaged.
    """
    project = version.project
    lock_project(project)
    now = _labels_now(project)
    marks: dict[int, Sequence[EntryLabel]] = {
        entry.image_id: entry.entry_labels
        for entry in publish.read_entries(version)
        if entry.image_id in now and _differs(now[entry.image_id], entry.labels)
    }
    details = {"dataset_version": version.name}
    given = bulk_import.import_labels(project, marks, by, replaces=True, details=details).event
    taken = None
    if unlabel_others:
        known = version_images(version)
        others = [pk for pk, labels in now.items() if labels and pk not in known]
        taken = actions.apply(project, others, remove=Label.objects.filter(project=project), by=by)
    return [event for event in (given, taken) if event]


def _differs(now: set[str], then: Sequence[str]) -> bool:
    return now != {label.lower() for label in then}


def _labels_now(project: Project) -> dict[int, set[str]]:
    """Every living image with its labels, in small letters."""
    found: dict[int, set[str]] = {
        pk: set() for pk in Image.objects.alive().filter(project=project).values_list("pk", flat=True)
    }
    carried = Annotation.objects.filter(image__project=project, image__deleted_at=None).order_by()
    for image_id, name in carried.values_list("image_id", "label__name"):
        found[image_id].add(name.lower())
    return found
