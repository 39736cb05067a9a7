"""Which images a version was trained on: figures measured on them say nothing about new images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from exeml_site.lib.bulk import chunks
from projects.datasets import publish
from projects.formats import manifest
from projects.models import Image, Split
from training.models import TrainingVersion


@dataclass
class TrainedImages:
    """Content (sha256) and groups of duplicates of the images in the training split of a version and of those
    that it continues. The groups are those of the version's project."""

    project_id: int
    hashes: set[str] = field(default_factory=set)
    groups: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, version: TrainingVersion) -> Self:
        """Raises ManifestDamaged."""
        trained, image_ids, seen = cls(version.project_id), set[int](), set[int]()
        ancestor: TrainingVersion | None = version
        while ancestor is not None and ancestor.pk not in seen:
            seen.add(ancestor.pk)
            for entry in publish.read_entries(ancestor.dataset_version):
                if entry.usage == Split.TRAIN:
                    trained.hashes.add(str(entry.properties.get(manifest.SHA256, "")))
                    image_ids |= {entry.image_id} if entry.image_id is not None else set()
            ancestor = ancestor.incremental_version
        for chunk in chunks(sorted(image_ids)):
            rows = Image.objects.filter(pk__in=chunk, duplicate_group__isnull=False).order_by()
            trained.groups |= {group for group in rows.values_list("duplicate_group", flat=True) if group}
        return trained

    def among(self, images: Sequence[Image]) -> set[int]:
        """Ids of the images that the version was trained on, or on a duplicate of them."""
        return {
            image.pk
            for image in images
            if image.sha256 in self.hashes
            or (image.project_id == self.project_id and image.duplicate_group in self.groups)
        }
