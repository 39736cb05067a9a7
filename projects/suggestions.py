"""Deeds on suggestions: confirm, which labels, and refuse, which makes room for another one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from projects import background
from projects.label_rows import LEARN, Move, alone, change_of, chunks, held_by, labels_by_id, record, write
from projects.models import Annotation, How, Image, LabelEvent, Project, Refusal


@transaction.atomic
def confirm(project: Project, image_ids: Iterable[int], by: User | None) -> LabelEvent | None:
    """Give each image the label that is suggested for it at this moment; None where none has one.

    One deed, which can be taken back like any other. Labeled images have no suggestion and stay as they are.
    """
    alone(project)
    labels = labels_by_id(project)
    found = _suggested(project, image_ids)
    moves = [
        Move(held, held.labels | {found[held.image_id][0]})
        for held in held_by(project, found)
        if found[held.image_id][0] in labels
    ]
    if not moves:
        return None
    write(moves, by, How.SUGGESTION)
    _note_confidence(moves, {pk: sure for pk, (_, sure) in found.items()})
    given = {pk: labels[pk].name for move in moves for pk in move.wanted}
    changes = [change_of(move.held, move.wanted, labels) for move in moves]
    details = {"labels": {name: pk for pk, name in sorted(given.items())}}
    return record(project, LabelEvent.Kind.CONFIRM, by, changes, details)


@transaction.atomic
def refuse(project: Project, image_ids: Iterable[int], by: User | None) -> int:
    """Say that images do not show what is suggested: it is not suggested again. How many there were."""
    alone(project)
    found = _suggested(project, image_ids)
    now = timezone.now()
    Refusal.objects.bulk_create(
        [Refusal(image_id=pk, label_id=label, by=by, at=now) for pk, (label, _) in found.items()],
        ignore_conflicts=True,
    )
    for chunk in chunks(sorted(found)):
        Image.objects.filter(pk__in=chunk).update(suggestion=None, confidence=None)
    if found:
        background.soon(LEARN, project.pk)
    return len(found)


def _suggested(project: Project, image_ids: Iterable[int]) -> dict[int, tuple[int, float | None]]:
    """image id → suggested label's id and its probability, of the images that wait for a label."""
    found: dict[int, tuple[int, float | None]] = {}
    waiting = Image.objects.unlabeled().filter(project=project).exclude(suggestion=None)
    for chunk in chunks(sorted(set(image_ids))):
        rows = waiting.filter(pk__in=chunk).values_list("pk", "suggestion_id", "confidence")
        found |= {pk: (label_id, sure) for pk, label_id, sure in rows if label_id is not None}
    return found


def _note_confidence(moves: list[Move], confidence: dict[int, float | None]) -> None:
    """Two decimals are enough to find the doubtful ones again, and make a hundred updates of thousands."""
    alike: dict[float, list[int]] = defaultdict(list)
    for move in moves:
        sure = confidence[move.held.image_id]
        if sure is not None:
            alike[round(sure, 2)].append(move.held.image_id)
    for sure, image_ids in alike.items():
        for chunk in chunks(image_ids):
            Annotation.objects.filter(image_id__in=chunk, how=How.SUGGESTION).update(confidence=sure)
