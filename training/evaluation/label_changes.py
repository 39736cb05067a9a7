"""Validation labels that were changed after a version was evaluated with them.

An evaluation keeps the labels of its dataset version, and a comparison takes today's. A label that was
changed to what a version predicted makes that version look better, so it is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from django.utils.translation import ngettext

from exeml_site.lib.bulk import chunks
from exeml_site.lib.display import count
from projects.models import Annotation, LabelEvent
from training.models import TrainingVersion


@dataclass(frozen=True)
class LabelChanges:
    """Of `images` evaluated images that still exist, `changed` have other labels now, `to_predicted` of them
    those that the version predicted."""

    version: TrainingVersion
    images: int
    changed: int
    to_predicted: int

    @property
    def summary(self) -> str:
        """The counts as a sentence; empty if nothing was changed."""
        if not self.changed:
            return ""
        if self.to_predicted:
            text = ngettext(
                "%(changed)s of %(count)s validation label was changed after %(version)s was evaluated, "
                "%(same)s of them to what %(version)s predicts.",
                "%(changed)s of %(count)s validation labels were changed after %(version)s was evaluated, "
                "%(same)s of them to what %(version)s predicts.",
                self.images,
            )
        else:
            text = ngettext(
                "%(changed)s of %(count)s validation label was changed after %(version)s was evaluated.",
                "%(changed)s of %(count)s validation labels were changed after %(version)s was evaluated.",
                self.images,
            )
        return text % {
            "changed": count(self.changed),
            "count": count(self.images),
            "version": str(self.version),
            "same": count(self.to_predicted),
        }


def label_changes(version: TrainingVersion) -> LabelChanges:
    """Count the changes. Renaming a label changes none."""
    rows = list(
        version.evaluated_images.filter(image__deleted_at=None)
        .exclude(image=None)
        .order_by()
        .values_list("image_id", "truth", "predicted")
    )
    today = labels_of([image_id for image_id, _, _ in rows])
    other = [row for row in rows if set(row[1]) != today.get(row[0], set())]
    names = renamed_since(version) if other else {}
    changed = [
        (today.get(image_id, set()), renamed(predicted, names))
        for image_id, truth, predicted in other
        if renamed(truth, names) != today.get(image_id, set())
    ]
    return LabelChanges(version, len(rows), len(changed), sum(now == said for now, said in changed))


def relabeled_as_predicted(
    version: TrainingVersion, today: Mapping[int, Set[str]], image_ids: Sequence[int]
) -> int:
    """How many of the images carry other labels `today` than in the evaluation: those that it predicted."""
    names, wanted = renamed_since(version), set(image_ids)
    rows = version.evaluated_images.filter(is_correct=False).exclude(image=None).order_by()
    return sum(
        renamed(predicted, names) == today[image_id] and renamed(truth, names) != today[image_id]
        for image_id, truth, predicted in rows.values_list("image_id", "truth", "predicted")
        if image_id in wanted
    )


def renamed_since(version: TrainingVersion) -> dict[str, str]:
    """Name of a label in the version's dataset → its name today, of the labels that were renamed since."""
    began = version.dataset_version.published_at or version.submitted_at
    events = LabelEvent.objects.filter(
        project=version.project_id, at__gt=began, details__from__isnull=False, details__to__isnull=False
    )
    names = dict[str, str]()  # undoing a rename is an event with both names, too
    for old, new in events.order_by("pk").values_list("details__from", "details__to"):
        first = next((before for before, after in names.items() if after == old), old)
        names[first] = new
    return names


def renamed(labels: Iterable[str], names: dict[str, str]) -> set[str]:
    return {names.get(name, name) for name in labels}


def labels_of(image_ids: list[int]) -> dict[int, set[str]]:
    """Image id → names of the labels that it carries today."""
    found: dict[int, set[str]] = {}
    for ids in chunks(image_ids):
        rows = Annotation.objects.filter(image__in=ids).order_by().values_list("image_id", "label__name")
        for image_id, name in rows:
            found.setdefault(image_id, set()).add(name)
    return found
