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

from projects.formats.manifest import Mark
from projects.labels.annotations import (
    Move,
    alone,
    change_of,
    dress,
    ensure,
    held_by,
    labels_by_id,
    record,
    tidy,
    write,
)
from projects.models import How, Label, LabelEvent, Project
from projects.models.label import HOT_KEYS, LABEL_NAME

ONE_EACH = "It has {number} labels, and this project gives each image one."


@dataclass(frozen=True)
class Given:
    """What `give` did. `event` is None where nothing changed; images `kept` have other labels already."""

    event: LabelEvent | None
    labeled: int
    kept: list[int]


def why_not(project: Project, marks: Sequence[Mark]) -> str:
    """Why these labels cannot be given to one image; empty where they can."""
    if len(marks) > 1 and not project.is_multi_label:
        return ONE_EACH.format(number=len(marks))
    for mark in marks:
        try:
            LABEL_NAME(tidy(mark.name))
        except ValidationError as error:
            return f"The label “{mark.name[:64]}” is not possible. {error.messages[0]}"
    return ""


@transaction.atomic
def give(
    project: Project,
    wanted: Mapping[int, Sequence[Mark]],
    by: User | None,
    *,
    replaces: bool = False,
    details: Mapping[str, Any] | None = None,
) -> Given:
    """Give images (by id) their labels. Those that have labels keep them unless the import `replaces` them.

    The marks must have passed `why_not`.
    """
    alone(project)
    names = dict.fromkeys(mark.name for marks in wanted.values() for mark in marks)
    made = {label.name.lower(): label for label in ensure(project, names)}
    labels = labels_by_id(project)
    people = {user.username: user for user in User.objects.filter(memberships__team=project.team_id)}
    moves, kept, given = [], list[int](), dict[tuple[int, int], dict[str, Any]]()
    for held in held_by(project, [pk for pk, marks in wanted.items() if marks]):
        marks = {made[tidy(mark.name).lower()].pk: mark for mark in wanted[held.image_id]}
        if held.labels and not replaces:
            kept += [held.image_id] if held.labels != set(marks) else []
        elif held.labels != set(marks):
            moves.append(Move(held, frozenset(marks)))
            given |= {(held.image_id, pk): _fields(mark, people, by) for pk, mark in marks.items()}
    if not moves:
        return Given(None, 0, kept)
    write(moves, by, How.IMPORT, given)
    changes = [change_of(move.held, move.wanted, labels) for move in moves]
    touched = sorted({pk for move in moves for pk in move.held.labels | move.wanted})
    told = {"labels": {labels[pk].name: pk for pk in touched}} | dict(details or {})
    return Given(record(project, LabelEvent.Kind.IMPORT, by, changes, told), len(moves), kept)


def _fields(mark: Mark, people: Mapping[str, User], by: User | None) -> dict[str, Any]:
    """Who and how, where a member of the team is named; when and how sure, where the mark says it."""
    fields: dict[str, Any] = {}
    how, _, name = mark.annotated_by.partition("/")
    person = people.get(name.partition("/")[0])
    if person is not None and how in How.values:
        fields |= {"by": person.pk, "how": how}
    elif how == How.SAMPLE:
        fields["how"] = how
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
def dress_labels(project: Project, looks: Sequence[tuple[str, int | None, str]]) -> None:
    """Make the labels that are missing, in this order, each with its colour and key where these are free.

    Labels that the project has already stay as they are. Names that no label may have are left out.
    """
    alone(project)
    before = {label.name.lower() for label in Label.objects.filter(project=project)}
    taken = set(Label.objects.filter(project=project).exclude(hot_key="").values_list("hot_key", flat=True))
    possible = [look for look in looks if not why_not(project, [Mark(look[0])])]
    made = {label.name.lower(): label for label in ensure(project, [look[0] for look in possible])}
    wanted: dict[str, list[Any]] = defaultdict(list)
    for name, colour, key in possible:
        label = made[tidy(name).lower()]
        if label.name.lower() in before:
            continue
        key = key if len(key) == 1 and key in HOT_KEYS and key not in taken else ""
        taken.add(key)
        wanted[str(label.pk)] = [label.colour if colour is None else colour, key]
    dress(project, wanted)
