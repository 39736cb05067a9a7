"""Actions on suggestions: confirm, which labels the image, and reject, after which others are suggested."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

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
from projects.labels.seen_images import LeftImages, SeenImage, relabeled_ids
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


@dataclass(frozen=True)
class ConfirmResult:
    """The event of the confirmed images, None where there is none, and the images that were left."""

    event: LabelEvent | None = None
    left: LeftImages = field(default_factory=LeftImages)


@dataclass(frozen=True)
class RejectResult:
    """The number of rejected suggestions, and the images that were left."""

    rejected: int
    left: LeftImages


@transaction.atomic
def confirm_suggestions(
    project: Project,
    image_ids: Iterable[int],
    by: User | None,
    seen: Mapping[int, SeenImage] | None = None,
) -> ConfirmResult:
    """Label each image as suggested, in one action.

    `seen`: what a person saw of the images. An image whose labels or suggestion differ by now is left; images
    without an entry are labeled as suggested at this moment. A suggestion is added to an unlabeled image, and
    replaces a probable wrong label of a labeled one.
    """
    lock_project(project)
    labels = labels_by_id(project)
    proposals, left = _as_seen(project, image_ids, seen or {})
    label_changes = [
        LabelChange(image, proposals[image.image_id].target(image))
        for image in load_image_labels(project, proposals)
        if proposals[image.image_id].label_id in labels
    ]
    if not label_changes:
        return ConfirmResult(None, left)
    write_annotations(label_changes, by, AnnotationSource.SUGGESTION)
    _clear_suspicion([change.current.image_id for change in label_changes])
    _record_confidence(label_changes, {pk: proposal.confidence for pk, proposal in proposals.items()})
    event = record_label_changes(project, LabelEvent.Kind.CONFIRM, by, label_changes, labels)
    return ConfirmResult(event, left)


@transaction.atomic
def reject_suggestions(
    project: Project,
    image_ids: Iterable[int],
    by: User | None,
    seen: Mapping[int, SeenImage] | None = None,
) -> RejectResult:
    """Reject the suggestions of images: they are not suggested again. `seen`: see `confirm_suggestions`."""
    lock_project(project)
    proposals, left = _as_seen(project, image_ids, seen or {})
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
    return RejectResult(len(proposals), left)


def _as_seen(
    project: Project, image_ids: Iterable[int], seen: Mapping[int, SeenImage]
) -> tuple[dict[int, Proposal], LeftImages]:
    """The suggestions of the images, without those that are not as they were seen."""
    proposals = _proposed(project, image_ids)
    relabeled = relabeled_ids(project, seen)
    changed = {
        pk
        for pk, image in seen.items()
        if pk not in relabeled and (pk not in proposals or proposals[pk].label_id != image.suggestion)
    }
    as_seen = {pk: proposal for pk, proposal in proposals.items() if pk not in relabeled | changed}
    return as_seen, LeftImages(len(seen), changed=len(changed), relabeled=len(relabeled))


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
