"""Labeling deeds in words: for the sentence after a deed, and for the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from django.utils.text import Truncator

from exeml_site.lib.text import counted, listed
from projects.models import LabelEvent

Kind = LabelEvent.Kind
LISTED = 3


def told(event: LabelEvent) -> str:
    """What the deed did: “12 images labeled “roses””."""
    details, images = event.details, counted(len(event.changes))
    words: dict[str, Callable[[], str]] = {
        Kind.LABEL: lambda: labeled_words(event),
        Kind.IMPORT: lambda: _imported_words(event),
        Kind.CONFIRM: lambda: f"{images} confirmed: {_given(event)}",
        Kind.RENAME_LABEL: lambda: f"“{details.get('from')}” renamed to “{details.get('to')}”",
        Kind.EDIT_LABEL: lambda: f"Colour or key of “{details.get('name')}” changed",
        Kind.MERGE_LABELS: lambda: f"“{_name(event)}” merged into “{details['into']['name']}”: {images}",
        Kind.DELETE_LABEL: lambda: f"Label “{_name(event)}” deleted; {images} lost it",
        Kind.DELETE_IMAGES: lambda: f"{images} moved to the bin",
        Kind.RESTORE_IMAGES: lambda: f"{images} restored from the bin",
        Kind.UNDO: lambda: f"Taken back: {_root_words(event)}",
        Kind.REDO: lambda: f"Done again: {_root_words(event)}",
    }
    return words[event.kind]()


def labeled_words(event: LabelEvent) -> str:
    """“12 images labeled “roses””, or what was taken away."""
    images = counted(len(event.changes))
    added = {name for change in event.changes for name in set(change["to"]) - set(change["from"])}
    gone = {name for change in event.changes for name in set(change["from"]) - set(change["to"])}
    if added:
        return f"{images} labeled {listed(added)}"
    return f"{listed(gone)} taken from {images}"


def root_of(event: LabelEvent) -> LabelEvent:
    """The deed at the beginning of a chain of undo and redo."""
    while event.undoes is not None:
        event = event.undoes
    return event


def _imported_words(event: LabelEvent) -> str:
    images, version = counted(len(event.changes)), event.details.get("dataset_version")
    if version:
        return f"{images} labeled as in the dataset version {version}"
    return f"{images} labeled by an import: {_given(event)}"


def _name(event: LabelEvent) -> str:
    return str(event.details["label"]["name"])


def _given(event: LabelEvent) -> str:
    """“roses (40), tulips (12)”, the most frequent first."""
    tally = Counter(name for change in event.changes for name in set(change["to"]) - set(change["from"]))
    words = [f"{Truncator(name).chars(40)} ({number:,})" for name, number in tally.most_common(LISTED)]
    return ", ".join(words) + (f" and {len(tally) - LISTED} more labels" if len(tally) > LISTED else "")


def _root_words(event: LabelEvent) -> str:
    words = told(root_of(event))
    return words[0].lower() + words[1:] if words[:1].isalpha() else words
