"""Known labels of a batch's images, and the images that its version was trained on.

The labels come from the batch itself (folders, text files, manifest or table), else from the project's images
of the same content.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from projects.datasets.publish import ManifestDamaged, read_entries
from projects.formats.manifest import SHA256
from projects.models import Annotation, Image, Project
from projects.transfers.described_images import ImportItem
from projects.transfers.import_plan import LabelsFrom
from training.models import TrainingVersion

TRAIN = "TRAIN"


def labels_of_items(
    items: list[ImportItem], labels_from: LabelsFrom, labels: Iterable[str]
) -> list[ImportItem]:
    """The items; without their labels if folders gave them and most of these are no labels of the model.

    Folders are often dates, cameras or customers.
    """
    if labels_from != LabelsFrom.FOLDERS:
        return items
    known = {label.casefold() for label in labels}
    given = {label.name.casefold() for item in items for label in item.entry_labels}
    if 2 * len(given & known) >= len(given):
        return items
    return [
        ImportItem(item.name, item.path, item.image_id, problem=item.problem, kind=item.kind)
        for item in items
    ]


def labels_of_project(project: Project, sha256s: Collection[str]) -> dict[str, list[str]]:
    """The labels of the project's labeled images with this content, by sha256."""
    images = Image.objects.alive().labeled().filter(project=project, sha256__in=sha256s)
    rows = Annotation.objects.filter(image__in=images).order_by("image", "label__position")
    labels: dict[str, list[str]] = {}
    for sha256, label in rows.values_list("image__sha256", "label__name"):
        labels.setdefault(sha256, []).append(label)
    return labels


def trained_sha256s(version: TrainingVersion) -> frozenset[str] | None:
    """The images that the version, or one that it continues or was promoted from, was trained on.

    None if a manifest is missing or damaged.
    """
    found, seen = set[str](), set[int]()
    pending: list[TrainingVersion | None] = [version]
    while pending:
        current = pending.pop()
        if current is None or current.pk in seen:
            continue
        seen.add(current.pk)
        try:
            entries = read_entries(current.dataset_version)
        except ManifestDamaged:
            return None
        found.update(str(entry.properties.get(SHA256)) for entry in entries if entry.usage == TRAIN)
        promoted = current.promoted_candidate
        pending += [current.incremental_version, promoted.training_version if promoted else None]
    return frozenset(found)
