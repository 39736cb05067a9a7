"""Deeds on suggestions: confirm, which labels, and refuse, which makes room for another one."""

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
    """The label that an image seems to have: of one that waits, or instead of the one that it carries."""

    label_id: int
    confidence: float | None
    replaces_label: bool

    def wanted(self, held: ImageLabels) -> frozenset[int]:
        return frozenset({self.label_id}) if self.replaces_label else held.labels | {self.label_id}


@transaction.atomic
def confirm_suggestions(project: Project, image_ids: Iterable[int], by: User | None) -> LabelEvent | None:
    """Give each image the label that is proposed for it at this moment; None where none has one.

    An image that waits gets its suggestion; one whose label is under suspicion gets the other label instead.
    One deed, which can be taken back like any other.
    """
    lock_project(project)
    labels = labels_by_id(project)
    found = _proposed(project, image_ids)
    moves = [
        LabelChange(held, found[held.image_id].wanted(held))
        for held in load_image_labels(project, found)
        if found[held.image_id].label_id in labels
    ]
    if not moves:
        return None
    write_annotations(moves, by, AnnotationSource.SUGGESTION)
    _clear_suspicion([move.held.image_id for move in moves])
    _record_confidence(moves, {pk: proposal.confidence for pk, proposal in found.items()})
    return record_label_changes(project, LabelEvent.Kind.CONFIRM, by, moves, labels)


@transaction.atomic
def reject_suggestions(project: Project, image_ids: Iterable[int], by: User | None) -> int:
    """Say that images do not show what is proposed: it is not proposed again. How many there were."""
    lock_project(project)
    found = _proposed(project, image_ids)
    now = timezone.now()
    RejectedSuggestion.objects.bulk_create(
        [RejectedSuggestion(image_id=pk, label_id=one.label_id, by=by, at=now) for pk, one in found.items()],
        ignore_conflicts=True,
    )
    for chunk in chunks(sorted(found)):
        Image.objects.filter(pk__in=chunk).update(suggestion=None, confidence=None)
    _clear_suspicion(sorted(found))
    if found:
        jobs.after("labels_changed", project.pk)
    return len(found)


def _proposed(project: Project, image_ids: Iterable[int]) -> dict[int, Proposal]:
    """What is proposed for those of the images that something is proposed for."""
    found: dict[int, Proposal] = {}
    alive = Image.objects.filter(project=project)
    waiting = alive.unlabeled().exclude(suggestion=None).values_list("pk", "suggestion_id", "confidence")
    doubtful = alive.labeled().exclude(suspected_label=None)
    doubted = doubtful.values_list("pk", "suspected_label_id", "suspected_confidence")
    for chunk in chunks(sorted(set(image_ids))):
        for replaces_label, rows in ((False, waiting), (True, doubted)):
            for pk, label_id, sure in rows.filter(pk__in=chunk):
                if label_id is not None:
                    found[pk] = Proposal(label_id, sure, replaces_label)
    return found


def _clear_suspicion(image_ids: list[int]) -> None:
    """Somebody looked: the labels are no longer under suspicion."""
    for chunk in chunks(image_ids):
        Image.objects.filter(pk__in=chunk).update(suspected_label=None, suspected_confidence=None)


def _record_confidence(moves: list[LabelChange], confidence: dict[int, float | None]) -> None:
    """Two decimals are enough to find the doubtful ones again, and make a hundred updates of thousands."""
    alike: dict[float, list[int]] = defaultdict(list)
    for move in moves:
        sure = confidence[move.held.image_id]
        if sure is not None:
            alike[round(sure, 2)].append(move.held.image_id)
    for sure, image_ids in alike.items():
        for chunk in chunks(image_ids):
            Annotation.objects.filter(image_id__in=chunk, source=AnnotationSource.SUGGESTION).update(
                confidence=sure
            )
