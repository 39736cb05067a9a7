"""Labels that an import brings, with who gave them and when where the other side knew it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from projects.formats.manifest import EntryLabel
from projects.labels.annotations import (
    LabelChange,
    change_entry,
    find_or_create_labels,
    labels_by_id,
    load_image_labels,
    lock_project,
    normalized_name,
    record_event,
    set_look,
    write_annotations,
)
from projects.models import AnnotationSource, Label, LabelEvent, Project
from projects.models.label import HOT_KEYS, LABEL_NAME

ONE_LABEL_PER_IMAGE = "It has {number} labels, and this project gives each image one."


@dataclass(frozen=True)
class LabelImportResult:
    """What `give` did. `event` is None where nothing changed; images `kept` have other labels already."""

    event: LabelEvent | None
    labeled: int
    kept: list[int]


def labels_problem(project: Project, marks: Sequence[EntryLabel]) -> str:
    """Why these labels cannot be given to one image; empty where they can."""
    if len(marks) > 1 and not project.is_multi_label:
        return ONE_LABEL_PER_IMAGE.format(number=len(marks))
    for mark in marks:
        try:
            LABEL_NAME(normalized_name(mark.name))
        except ValidationError as error:
            return f"The label “{mark.name[:64]}” is not possible. {error.messages[0]}"
    return ""


@transaction.atomic
def import_labels(
    project: Project,
    wanted: Mapping[int, Sequence[EntryLabel]],
    by: User | None,
    *,
    replaces: bool = False,
    details: Mapping[str, Any] | None = None,
) -> LabelImportResult:
    """Give images (by id) their labels. Those that have labels keep them unless the import `replaces` them.

    The marks must have passed `why_not`.
    """
    lock_project(project)
    names = dict.fromkeys(mark.name for marks in wanted.values() for mark in marks)
    made = {label.name.lower(): label for label in find_or_create_labels(project, names)}
    labels = labels_by_id(project)
    people = {user.username: user for user in User.objects.filter(memberships__team=project.team_id)}
    moves, kept, given = [], list[int](), dict[tuple[int, int], dict[str, Any]]()
    for held in load_image_labels(project, [pk for pk, marks in wanted.items() if marks]):
        marks = {made[normalized_name(mark.name).lower()].pk: mark for mark in wanted[held.image_id]}
        if held.labels and not replaces:
            kept += [held.image_id] if held.labels != set(marks) else []
        elif held.labels != set(marks):
            moves.append(LabelChange(held, frozenset(marks)))
            given |= {(held.image_id, pk): _fields(mark, people, by) for pk, mark in marks.items()}
    if not moves:
        return LabelImportResult(None, 0, kept)
    write_annotations(moves, by, AnnotationSource.IMPORT, given)
    changes = [change_entry(move.held, move.wanted, labels) for move in moves]
    touched = sorted({pk for move in moves for pk in move.held.labels | move.wanted})
    told = {"labels": {labels[pk].name: pk for pk in touched}} | dict(details or {})
    return LabelImportResult(
        record_event(project, LabelEvent.Kind.IMPORT, by, changes, told), len(moves), kept
    )


def _fields(mark: EntryLabel, people: Mapping[str, User], by: User | None) -> dict[str, Any]:
    """Who and how, where a member of the team is named; when and how sure, where the mark says it."""
    fields: dict[str, Any] = {}
    source, _, name = mark.annotated_by.partition("/")
    person = people.get(name.partition("/")[0])
    if person is not None and source in AnnotationSource.values:
        fields |= {"by_id": person.pk, "source": source}
    elif source == AnnotationSource.SAMPLE:
        fields["source"] = source
    if at := _time(mark.creation_time):
        fields["at"] = at
    if mark.confidence is not None:
        fields["confidence"] = mark.confidence
    return fields


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(at, timezone.now())


@transaction.atomic
def import_label_looks(project: Project, looks: Sequence[tuple[str, int | None, str]]) -> None:
    """Make the labels that are missing, in this order, each with its colour and key where these are free.

    Labels that the project has already stay as they are. Names that no label may have are left out.
    """
    lock_project(project)
    before = {label.name.lower() for label in Label.objects.filter(project=project)}
    taken = set(Label.objects.filter(project=project).exclude(hot_key="").values_list("hot_key", flat=True))
    possible = [look for look in looks if not labels_problem(project, [EntryLabel(look[0])])]
    made = {
        label.name.lower(): label for label in find_or_create_labels(project, [look[0] for look in possible])
    }
    wanted: dict[str, list[Any]] = defaultdict(list)
    for name, colour, key in possible:
        label = made[normalized_name(name).lower()]
        if label.name.lower() in before:
            continue
        key = key if len(key) == 1 and key in HOT_KEYS and key not in taken else ""
        taken.add(key)
        wanted[str(label.pk)] = [label.colour if colour is None else colour, key]
    set_look(project, wanted)
