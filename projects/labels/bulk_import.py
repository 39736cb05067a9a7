"""Imported labels, with the time where the imported file names it, and imported splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from exeml_site.lib.bulk import chunks
from exeml_site.lib.display import count
from exeml_site.lib.text import natural_key
from projects.formats.manifest import EntryLabel
from projects.labels import metadata
from projects.labels.annotations import (
    LabelChange,
    change_entry,
    find_or_create_labels,
    label_ids_by_name,
    labels_by_id,
    load_image_labels,
    lock_project,
    normalized_name,
    own_hot_key,
    record_event,
    set_look,
    write_annotations,
)
from projects.models import AnnotationSource, Image, Label, LabelEvent, Project, Split
from projects.models.label import HOT_KEYS, LABEL_NAME, MAX_LABELS, too_many_labels

LOOKS_AT_ONCE = 40
MAX_AUTHOR, MAX_AUTHORS = 100, 50  # characters of a name, names that an event keeps


@dataclass(frozen=True)
class LabelImportResult:
    """Result of an import of labels. `event` is None where nothing changed.

    `kept` are the ids of images that had other labels and kept them. `merged`: spelling in the import → name
    of the label that it became, where they differ in upper and lower case.
    """

    event: LabelEvent | None
    labeled: int
    kept: list[int]
    merged: dict[str, str] = field(default_factory=dict)


def labels_problem(project: Project, entry_labels: Sequence[EntryLabel]) -> str:
    """A sentence that says why one image cannot have these labels; empty where it can."""
    number = len({normalized_name(entry_label.name).lower() for entry_label in entry_labels})
    if number > 1 and not project.is_multi_label:
        sentence = ngettext(
            "It has %(count)s label, and this project allows one label per image.",
            "It has %(count)s labels, and this project allows one label per image.",
            number,
        )
        return sentence % {"count": count(number)}
    for entry_label in entry_labels:
        try:
            LABEL_NAME(normalized_name(entry_label.name))
        except ValidationError as error:
            sentence = gettext("The label “%(label)s” is not valid. %(reason)s")
            return sentence % {"label": entry_label.name[:64], "reason": error.messages[0]}
    return ""


def check_label_count(project: Project, names: Iterable[str]) -> None:
    """Raise ValidationError if the project cannot have these labels beside its own."""
    own = {name.lower() for name in Label.objects.filter(project=project).values_list("name", flat=True)}
    new = {normalized_name(name).lower() for name in names} - own
    if new and len(own) + len(new) > MAX_LABELS:
        raise too_many_labels(len(own), len(new))


@transaction.atomic
def create_labels(project: Project, names: Iterable[str]) -> list[int]:
    """Create the missing ones of the labels that images will get; the ids of those created.

    Their positions, colours and hot keys are in the order of the names, since files come in any order.
    Invalid names are skipped; the images that have them are refused later.
    """
    lock_project(project)
    labels = labels_by_id(project)
    before = set(labels)
    valid = [name for name in names if not labels_problem(project, [EntryLabel(name)])]
    find_or_create_labels(project, sorted(valid, key=natural_key), labels)
    return sorted(set(labels) - before)


@transaction.atomic
def delete_unused_labels(project: Project, label_ids: Iterable[int]) -> None:
    """Delete those labels of `create_labels` that no image got after all."""
    lock_project(project)
    Label.objects.filter(project=project, pk__in=list(label_ids), annotations=None).delete()


@transaction.atomic
def import_labels(
    project: Project,
    new_labels: Mapping[int, Sequence[EntryLabel]],
    by: User | None,
    *,
    replaces: bool = False,
    details: Mapping[str, Any] | None = None,
    is_own: bool = False,
    values: Mapping[int, Mapping[str, str]] | None = None,
) -> LabelImportResult:
    """Label images by id, and set their metadata `values` (image id → column → value).

    Images that have labels or values keep them, unless the import `replaces` them.

    `new_labels`: image id → labels, which must have passed `labels_problem`. `details` is added to the event.
    `is_own`: this installation wrote who gave the labels. Otherwise `by` gives them, and whom the file names
    stands in the details of the event. Raises ValidationError for too many labels.
    """
    lock_project(project)
    names = dict.fromkeys(entry.name for entries in new_labels.values() for entry in entries)
    labels = labels_by_id(project)
    found = find_or_create_labels(project, sorted(names, key=natural_key), labels)
    by_name = {label.name.lower(): label for label in found}
    merged = {
        name: label.name
        for name in names
        if (label := by_name[normalized_name(name).lower()]).name != normalized_name(name)
    }
    members = User.objects.filter(memberships__team=project.team_id) if is_own else User.objects.none()
    people = {user.username: user for user in members}
    label_changes, kept, given = [], list[int](), dict[tuple[int, int], dict[str, Any]]()
    for image in load_image_labels(project, [pk for pk, entries in new_labels.items() if entries]):
        new = {by_name[normalized_name(entry.name).lower()].pk: entry for entry in new_labels[image.image_id]}
        if image.labels and not replaces:
            kept += [image.image_id] if image.labels != set(new) else []
        elif image.labels != set(new):
            label_changes.append(LabelChange(image, frozenset(new)))
            given |= {(image.image_id, pk): _fields(entry, people, is_own) for pk, entry in new.items()}
    changed_values = metadata.write_values(project, values or {}, keeps=not replaces)
    if not label_changes and not changed_values:
        return LabelImportResult(None, 0, kept, merged)
    write_annotations(label_changes, by, AnnotationSource.IMPORT, given)
    changes = [change_entry(change.current, change.target, labels) for change in label_changes]
    changes = _with_values(project, changes, changed_values, labels)
    event_details = {"labels": label_ids_by_name(label_changes, labels), **(details or {})}
    authors = _named_authors(new_labels[change.current.image_id] for change in label_changes)
    if authors and not is_own:
        event_details["annotated_by"] = authors
    event = record_event(project, LabelEvent.Kind.IMPORT, by, changes, event_details)
    return LabelImportResult(event, len(label_changes), kept, merged)


def _with_values(
    project: Project,
    changes: list[dict[str, Any]],
    changed_values: Mapping[int, Mapping[str, Sequence[str]]],
    labels: dict[int, Label],
) -> list[dict[str, Any]]:
    """The changes of an event with what changed in the metadata, also of images that keep their labels."""
    labeled = {change["image"] for change in changes}
    others = load_image_labels(project, changed_values.keys() - labeled, with_bin=True)
    changes = changes + [change_entry(image, image.labels, labels) for image in others]
    return [
        change | {"values": changed_values[change["image"]]} if change["image"] in changed_values else change
        for change in changes
    ]


def label_uploads(
    project: Project, requested: Mapping[int, Sequence[EntryLabel]], by: User | None
) -> tuple[LabelImportResult, dict[int, str]]:
    """Label uploaded images, which keep the labels they have.

    Also returns why an image cannot have its labels, by id. Raises ValidationError for too many labels.
    """
    problems = {
        pk: problem for pk, entries in requested.items() if (problem := labels_problem(project, entries))
    }
    possible = {pk: entries for pk, entries in requested.items() if pk not in problems}
    return import_labels(project, possible, by), problems


def import_splits(project: Project, splits: Mapping[int, str]) -> None:
    """Set the split of images by id, where they have none."""
    for split in Split.values:
        ids = [pk for pk, wanted in splits.items() if wanted == split]
        for chunk in chunks(ids):
            Image.objects.filter(project=project, pk__in=chunk, split="").update(split=split)


def _named_authors(labels_of_images: Iterable[Sequence[EntryLabel]]) -> dict[str, int]:
    """Who gave the labels, as the imported file says: text → number of labels. The file proves nothing."""
    texts = (label.annotated_by[:MAX_AUTHOR] for labels in labels_of_images for label in labels)
    return dict(Counter(text for text in texts if "/" in text).most_common(MAX_AUTHORS))


def _fields(entry_label: EntryLabel, people: Mapping[str, User], is_own: bool) -> dict[str, Any]:
    """Annotation fields of an imported label: time, confidence; of our own files author and source, too."""
    fields: dict[str, Any] = {}
    source, _, name = entry_label.annotated_by.partition("/")
    person = people.get(name.partition("/")[0])
    if person is not None and source in AnnotationSource.values:
        fields |= {"by_id": person.pk, "source": source}
    elif is_own and source == AnnotationSource.SAMPLE:
        fields["source"] = source
    if time := _time(entry_label.creation_time):
        fields["at"] = time
    if entry_label.confidence is not None and 0 <= entry_label.confidence <= 1:
        fields["confidence"] = entry_label.confidence
    return fields


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return min(time, timezone.now())


def import_label_looks(project: Project, looks: Sequence[tuple[str, int | None, str]]) -> None:
    """Create the missing labels of `looks` in short transactions; see `_import_looks`."""
    for start in range(0, len(looks), LOOKS_AT_ONCE):
        _import_looks(project, looks[start : start + LOOKS_AT_ONCE])


@transaction.atomic
def _import_looks(project: Project, looks: Sequence[tuple[str, int | None, str]]) -> None:
    """Create the missing labels of `looks`, (name, colour, key) each, in this order.

    A taken key is left out, and a name of one digit or letter then has its own if that is free.
    Existing labels stay as they are. Invalid names are skipped.
    """
    lock_project(project)
    labels = labels_by_id(project)
    before = {label.name.lower() for label in labels.values()}
    taken = {label.hot_key for label in labels.values() if label.hot_key}
    possible = [look for look in looks if not labels_problem(project, [EntryLabel(look[0])])]
    made = {
        label.name.lower(): label
        for label in find_or_create_labels(project, [look[0] for look in possible], labels)
    }
    new_looks: dict[str, list[Any]] = defaultdict(list)
    for name, colour, key in possible:
        label = made[normalized_name(name).lower()]
        if label.name.lower() in before:
            continue
        wanted = [one for one in (key, own_hot_key(label.name)) if len(one) == 1 and one in HOT_KEYS]
        key = next((one for one in wanted if one not in taken), "")
        taken.add(key)
        new_looks[str(label.pk)] = [label.colour if colour is None else colour, key]
    set_look(project, new_looks)
