"""Metadata of images: everything that reads or writes columns and values goes through this module.

A value is text; an empty one removes it. Columns are made when a first value is set, and a column without any
value is removed, unless it is never split.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Exists, OuterRef
from django.utils.translation import gettext

from exeml_site.lib.bulk import chunks
from exeml_site.lib.display import count
from exeml_site.lib.errors import Refused
from exeml_site.lib.text import without_hidden
from projects import audit
from projects.labels import parts
from projects.labels.annotations import (
    change_entry,
    labels_by_id,
    load_image_labels,
    lock_project,
    record_event,
)
from projects.models import Image, LabelEvent, MetadataColumn, MetadataValue, Project
from projects.models.metadata import MAX_COLUMN_NAME, MAX_COLUMNS, MAX_VALUE

Values = Mapping[str, str]  # column → value


class ColumnRefused(Refused):
    """The column cannot be removed; the message says why."""


@dataclass(frozen=True)
class ColumnSummary:
    """A column with its numbers: different values, images with a value, and images without one."""

    column: MetadataColumn
    values: int
    images: int
    missing: int


# --- names and values ---


def clean_text(text: str) -> str:
    """The text as stored: Unicode NFC, single spaces, no hidden characters."""
    return " ".join(without_hidden(unicodedata.normalize("NFC", text)).split())


def clean_name(text: str) -> str:
    """The name of a column as stored. Raises ValidationError."""
    name = clean_text(text)
    if not name or len(name) > MAX_COLUMN_NAME or ":" in name:
        sentence = gettext("Use 1 to %(limit)s characters without a colon for the name of a column.")
        raise ValidationError(sentence % {"limit": count(MAX_COLUMN_NAME)})
    return name


def clean_value(text: str) -> str:
    """The value as stored. Raises ValidationError."""
    value = clean_text(text)
    if len(value) > MAX_VALUE:
        sentence = gettext("A value can have %(limit)s characters; “%(start)s…” has %(length)s.")
        numbers = {"limit": count(MAX_VALUE), "length": count(len(value))}
        raise ValidationError(sentence % {**numbers, "start": value[:20]})
    return value


def values_problem(values: Values) -> str:
    """A sentence that says why an image cannot have these values; empty where it can."""
    try:
        for name, value in values.items():
            clean_name(name)
            clean_value(value)
    except ValidationError as error:
        return str(error.messages[0])
    return ""


def names_without_room(project: Project, names: Iterable[str]) -> list[str]:
    """The names that cannot be columns of the project: not valid, or beyond its limit."""
    known = {name.lower() for name in project.metadata_columns.values_list("name", flat=True)}
    left_out = []
    for name in names:
        key = clean_text(name).lower()
        if values_problem({name: ""}) or (key not in known and len(known) >= MAX_COLUMNS):
            left_out.append(name)
        else:
            known.add(key)
    return left_out


def room_problem(project: Project, name: str) -> str:
    """A sentence where the project has no room for a new column of this name."""
    names = [column.lower() for column in project.metadata_columns.values_list("name", flat=True)]
    if clean_text(name).lower() in names or len(names) < MAX_COLUMNS:
        return ""
    return _too_many_columns(len(names), 1)


def _too_many_columns(existing: int, new: int) -> str:
    sentence = gettext(
        "A project can have %(limit)s columns of metadata. It has %(existing)s; %(new)s more cannot be added."
    )
    return sentence % {"limit": count(MAX_COLUMNS), "existing": count(existing), "new": count(new)}


# --- reading ---


def load_values(image_ids: Iterable[int]) -> dict[int, dict[str, str]]:
    """Image id → column name → value, for the images that have values."""
    values: dict[int, dict[str, str]] = defaultdict(dict)
    for chunk in chunks(sorted(set(image_ids))):
        rows = MetadataValue.objects.filter(image_id__in=chunk).order_by("column_id")
        for image_id, name, value in rows.values_list("image_id", "column__name", "value"):
            values[image_id][name] = value
    return dict(values)


def column_summaries(project: Project) -> list[ColumnSummary]:
    """The columns of the project with their numbers, the bin excluded: three queries."""
    total = Image.objects.alive().filter(project=project).count()
    alive = MetadataValue.objects.filter(column__project=project, image__deleted_at=None).order_by()
    counted = alive.values_list("column").annotate(Count("pk"), Count("value", distinct=True))
    numbers = {column: (images, values) for column, images, values in counted}
    return [
        ColumnSummary(column, values, images, total - images)
        for column in project.metadata_columns.all()
        for images, values in [numbers.get(column.pk, (0, 0))]
    ]


def values_by_count(column: MetadataColumn, limit: int) -> list[tuple[str, int]]:
    """The most frequent values of a column with their images, the bin excluded."""
    alive = column.values.filter(image__deleted_at=None).order_by()
    counted = alive.values_list("value").annotate(images=Count("pk")).order_by("-images", "value")
    return list(counted[:limit])


# --- writing ---


def find_or_create_columns(project: Project, names: Iterable[str]) -> dict[str, MetadataColumn]:
    """The columns of these names (any case), by their lower-case name; missing ones are created.

    Raises ValidationError for an invalid name, or for more than MAX_COLUMNS columns.
    """
    columns = {column.name.lower(): column for column in MetadataColumn.objects.filter(project=project)}
    wanted: dict[str, str] = {}
    for name in map(clean_name, names):
        wanted.setdefault(name.lower(), name)
    missing = [name for key, name in wanted.items() if key not in columns]
    if missing and len(columns) + len(missing) > MAX_COLUMNS:
        raise ValidationError(_too_many_columns(len(columns), len(missing)))
    made = MetadataColumn.objects.bulk_create(MetadataColumn(project=project, name=name) for name in missing)
    columns |= {column.name.lower(): column for column in made}
    return {key: columns[key] for key in wanted}


def write_values(
    project: Project, values: Mapping[int, Values], *, keeps: bool = False
) -> dict[int, dict[str, list[str]]]:
    """Set values by image id, in a transaction that holds `lock_project`; an empty value removes it.

    `keeps`: images that have a value keep it. Gives what changed: image id → column → [before, after].
    Raises ValidationError.
    """
    if not values:
        return {}
    columns = find_or_create_columns(project, dict.fromkeys(name for row in values.values() for name in row))
    before = load_values(values)
    changes: dict[int, dict[str, list[str]]] = {}
    rows, removed = list[MetadataValue](), defaultdict[int, list[int]](list)
    for image_id, row in values.items():
        for name, text in row.items():
            column, value = columns[clean_name(name).lower()], clean_value(text)
            old = before.get(image_id, {}).get(column.name, "")
            if old == value or (old and keeps):
                continue
            changes.setdefault(image_id, {})[column.name] = [old, value]
            removed[column.pk] += [image_id] if old else []
            rows += [MetadataValue(image_id=image_id, column=column, value=value)] if value else []
    for column_id, image_ids in removed.items():
        for chunk in chunks(image_ids):
            MetadataValue.objects.filter(column=column_id, image_id__in=chunk).delete()
    MetadataValue.objects.bulk_create(rows)
    if any(not after for row in changes.values() for _, after in row.values()) or not rows:
        remove_empty_columns(project)
    return changes


def remove_column(column: MetadataColumn, by: User | None) -> LabelEvent | None:
    """Remove a column with its values from all images outside the bin; None where none had a value.

    Raises ColumnRefused for a column that is never split.
    """
    if column.is_never_split:
        sentence = gettext("“%(column)s” is never split. Allow splitting it, then remove it.")
        raise ColumnRefused(sentence % {"column": column})
    images = column.values.filter(image__deleted_at=None).values_list("image", flat=True)
    event = set_values(column.project, images, {column.name: ""}, by)
    audit.record(audit.Kind.COLUMN_REMOVED, project=column.project, target=column.name)
    remove_empty_columns(column.project)
    return event


def remove_empty_columns(project: Project | None = None) -> None:
    """Remove the columns that no image has a value in, of all projects or of one; never split ones stay."""
    used = Exists(MetadataValue.objects.filter(column=OuterRef("pk")))
    columns = MetadataColumn.objects.filter(~used, is_never_split=False)
    (columns if project is None else columns.filter(project=project)).delete()


def set_values(
    project: Project, image_ids: Iterable[int], values: Values, by: User | None
) -> LabelEvent | None:
    """Set the same values on images outside the bin, as an action that can be undone; the last event.

    None where nothing changed. Raises ValidationError.
    """
    cleaned = {clean_name(name): clean_value(value) for name, value in values.items()}
    events = [_set_part(project, ids, cleaned, by, details) for ids, details in parts.split_ids(image_ids)]
    return next((event for event in reversed(events) if event is not None), None)


@transaction.atomic
def _set_part(
    project: Project, image_ids: Sequence[int], values: Values, by: User | None, details: dict[str, Any]
) -> LabelEvent | None:
    lock_project(project)
    images = load_image_labels(project, image_ids)
    changed = write_values(project, {image.image_id: values for image in images})
    labels = labels_by_id(project)
    changes = [
        change_entry(image, image.labels, labels) | {"values": changed[image.image_id]}
        for image in images
        if image.image_id in changed
    ]
    if not changes:
        return None
    event_details = {"columns": dict(values), **details}
    return record_event(project, LabelEvent.Kind.METADATA, by, changes, event_details, has_opinion=False)


# --- undo ---


def unchanged_since(changes: Iterable[Mapping[str, Any]]) -> set[int]:
    """Ids of the images that still have the values that an event gave them, or got none from it."""
    changed = {change["image"]: change.get("values", {}) for change in changes}
    now = load_values(pk for pk, values in changed.items() if values)
    return {
        pk
        for pk, values in changed.items()
        if all(now.get(pk, {}).get(name, "") == after for name, (_, after) in values.items())
    }


def restore_values(project: Project, changes: Iterable[Mapping[str, Any]]) -> None:
    """Set the values before an event. Raises ValidationError."""
    before = {
        change["image"]: {name: old for name, (old, _) in change["values"].items()}
        for change in changes
        if change.get("values")
    }
    if before:
        write_values(project, before)
