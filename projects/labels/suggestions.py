"""Actions on suggestions: confirm, which labels the image, and reject, after which others are suggested."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from exeml_site.lib import jobs
from exeml_site.lib.bulk import chunks
from projects.labels.annotations import (
    ImageLabels,
    LabelChange,
    labels_by_id,
    load_image_labels,
    lock_project,
    record_label_changes,
    write_annotations,
)
from projects.models import Annotation, AnnotationSource, Image, LabelEvent, Project, RejectedSuggestion


@dataclass(frozen=True)
class Proposal:
    """The label suggested for an image. `replaces_label`: in place of a label that is probably wrong."""

    label_id: int
    confidence: float | None
    replaces_label: bool

    def target(self, current: ImageLabels) -> frozenset[int]:
        """Ids of the image's labels once the suggestion is confirmed."""
        return frozenset({self.label_id}) if self.replaces_label else current.labels | {self.label_id}


@transaction.atomic
def confirm_suggestions(project: Project, image_ids: Iterable[int], by: User | None) -> LabelEvent | None:
    """Label each image as suggested at this moment, in one action; None where no image has a suggestion.

    A suggestion is added to an unlabeled image, and replaces a probable wrong label of a labeled one.
    """
    lock_project(project)
    labels = labels_by_id(project)
    proposals = _proposed(project, image_ids)
    label_changes = [
        LabelChange(image, proposals[image.image_id].target(image))
        for image in load_image_labels(project, proposals)
        if proposals[image.image_id].label_id in labels
    ]
    if not label_changes:
        return None
    write_annotations(label_changes, by, AnnotationSource.SUGGESTION)
    _clear_suspicion([change.current.image_id for change in label_changes])
    _record_confidence(label_changes, {pk: proposal.confidence for pk, proposal in proposals.items()})
    return record_label_changes(project, LabelEvent.Kind.CONFIRM, by, label_changes, labels)


@transaction.atomic
def reject_suggestions(project: Project, image_ids: Iterable[int], by: User | None) -> int:
    """Reject the suggestions of images: they are not suggested again. Returns the number of rejected ones."""
    lock_project(project)
    proposals = _proposed(project, image_ids)
    now = timezone.now()
    RejectedSuggestion.objects.bulk_create(
        [
            RejectedSuggestion(image_id=pk, label_id=proposal.label_id, by=by, at=now)
            for pk, proposal in proposals.items()
        ],
        ignore_conflicts=True,
    )
    for chunk in chunks(sorted(proposals)):
        Image.objects.filter(pk__in=chunk).update(suggestion=None, confidence=None)
    _clear_suspicion(sorted(proposals))
    if proposals:
        jobs.after("labels_changed", project.pk)
    return len(proposals)


def _proposed(project: Project, image_ids: Iterable[int]) -> dict[int, Proposal]:
    """Image id → suggestion, for the images that have one."""
    proposals: dict[int, Proposal] = {}
    images = Image.objects.filter(project=project)
    suggested = images.unlabeled().exclude(suggestion=None).values_list("pk", "suggestion_id", "confidence")
    suspected = (
        images.labeled()
        .exclude(suspected_label=None)
        .values_list("pk", "suspected_label_id", "suspected_confidence")
    )
    for chunk in chunks(sorted(set(image_ids))):
        for replaces_label, rows in ((False, suggested), (True, suspected)):
            for pk, label_id, confidence in rows.filter(pk__in=chunk):
                if label_id is not None:
                    proposals[pk] = Proposal(label_id, confidence, replaces_label)
    return proposals


def _clear_suspicion(image_ids: list[int]) -> None:
    """Clear the suspicion of a wrong label, after a person checked the images."""
    for chunk in chunks(image_ids):
        Image.objects.filter(pk__in=chunk).update(suspected_label=None, suspected_confidence=None)


def _record_confidence(label_changes: list[LabelChange], confidence: dict[int, float | None]) -> None:
    """Store the confidence of confirmed suggestions, rounded to 0.01, which takes at most 101 updates."""
    images_by_confidence: dict[float, list[int]] = defaultdict(list)
    for change in label_changes:
        value = confidence[change.current.image_id]
        if value is not None:
            images_by_confidence[round(value, 2)].append(change.current.image_id)
    for value, image_ids in images_by_confidence.items():
        for chunk in chunks(image_ids):
            Annotation.objects.filter(image_id__in=chunk, source=AnnotationSource.SUGGESTION).update(
                confidence=value
            )
