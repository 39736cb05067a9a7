"""What a person saw of images before an action, so that it changes only images that are still the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from projects.labels.annotations import load_image_labels
from projects.models import Project


@dataclass(frozen=True)
class SeenImage:
    """Ids of the labels that an image showed, and of the label suggested for it."""

    labels: frozenset[int] = frozenset()
    suggestion: int | None = None


@dataclass(frozen=True)
class LeftImages:
    """The images that an action left out of `seen` ones, because they were not as they were seen.

    `changed`: another suggestion, or none; `relabeled`: other labels, or deleted.
    """

    seen: int = 0
    changed: int = 0
    relabeled: int = 0

    def __str__(self) -> str:
        """For example “3 of 40 were left: their suggestion changed.”; empty where none was left."""
        number = self.changed + self.relabeled
        if not number:
            return ""
        were = "was" if number == 1 else "were"
        return f"{number:,} of {self.seen:,} {were} left: {self._reason}."

    @property
    def _reason(self) -> str:
        if not self.relabeled:
            return "its suggestion changed" if self.changed == 1 else "their suggestion changed"
        if not self.changed:
            they = "it was" if self.relabeled == 1 else "they were"
            return f"{they} labeled or deleted meanwhile"
        were = "was" if self.relabeled == 1 else "were"
        relabeled = f"{self.relabeled:,} {were} labeled or deleted meanwhile"
        return f"the suggestion of {self.changed:,} changed, {relabeled}"


def relabeled_ids(project: Project, seen: Mapping[int, SeenImage]) -> set[int]:
    """Ids of the images whose labels are not those that were seen, and of deleted images."""
    labels = {image.image_id: image.labels for image in load_image_labels(project, seen)}
    return {pk for pk, image in seen.items() if labels.get(pk) != image.labels}
