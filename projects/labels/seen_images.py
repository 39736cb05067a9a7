"""What a person saw of images before an action, so that it changes only images that are still the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext, ngettext

from exeml_site.lib.display import count
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
        """For example “3 of 40 were skipped: their suggestion changed.”; empty where none was left out."""
        number = self.changed + self.relabeled
        if not number:
            return ""
        if not self.relabeled:
            sentence = ngettext(
                "%(count)s of %(seen)s was skipped: its suggestion changed.",
                "%(count)s of %(seen)s were skipped: their suggestion changed.",
                number,
            )
        elif not self.changed:
            sentence = ngettext(
                "%(count)s of %(seen)s was skipped: it was labeled or deleted meanwhile.",
                "%(count)s of %(seen)s were skipped: they were labeled or deleted meanwhile.",
                number,
            )
        else:
            sentence = gettext(
                "%(count)s of %(seen)s were skipped. Suggestion changed: %(changed)s; labeled or deleted "
                "meanwhile: %(relabeled)s."
            )
        return sentence % {
            "count": count(number),
            "seen": count(self.seen),
            "changed": count(self.changed),
            "relabeled": count(self.relabeled),
        }


def relabeled_ids(project: Project, seen: Mapping[int, SeenImage]) -> set[int]:
    """Ids of the images whose labels are not those that were seen, and of deleted images."""
    labels = {image.image_id: image.labels for image in load_image_labels(project, seen)}
    return {pk for pk, image in seen.items() if labels.get(pk) != image.labels}
