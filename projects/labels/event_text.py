"""Label events as English sentences, for the notice after an action and for the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from django.utils.text import Truncator

from exeml_site.lib.text import counted, listed
from projects.labels.parts import count_images
from projects.models import LabelEvent, Split

Kind = LabelEvent.Kind
MAX_LABELS_NAMED = 3


def describe_event(event: LabelEvent) -> str:
    """The event as a sentence: “12 images labeled “roses””."""
    details, images = event.details, counted(count_images(event))
    sentences: dict[str, Callable[[], str]] = {
        Kind.LABEL: lambda: describe_labeling(event),
        Kind.IMPORT: lambda: _describe_import(event),
        Kind.CONFIRM: lambda: f"{images} confirmed: {_labels_given(event)}",
        Kind.RENAME_LABEL: lambda: f"“{details.get('from')}” renamed to “{details.get('to')}”",
        Kind.EDIT_LABEL: lambda: f"Colour or key of “{details.get('name')}” changed",
        Kind.MERGE_LABELS: lambda: f"“{_name(event)}” merged into “{details['into']['name']}”: {images}",
        Kind.DELETE_LABEL: lambda: f"Label “{_name(event)}” deleted; {images} lost it",
        Kind.DELETE_IMAGES: lambda: f"{images} moved to the bin",
        Kind.RESTORE_IMAGES: lambda: f"{images} restored from the bin",
        Kind.METADATA: lambda: _describe_metadata(event),
        Kind.SET_SPLIT: lambda: describe_split_change(event),
        Kind.UNDO: lambda: f"Undone: {_describe_root(event)}",
        Kind.REDO: lambda: f"Redone: {_describe_root(event)}",
    }
    return sentences[event.kind]()


def describe_labeling(event: LabelEvent) -> str:
    """“12 images labeled “roses””, or which labels were removed."""
    images = counted(count_images(event))
    added = {name for change in event.changes for name in set(change["to"]) - set(change["from"])}
    removed = {name for change in event.changes for name in set(change["from"]) - set(change["to"])}
    if added:
        return f"{images} labeled {listed(added)}"
    return f"{listed(removed)} removed from {images}"


def _describe_metadata(event: LabelEvent) -> str:
    """“person of 12 images set to “anna””, or removed."""
    images = counted(count_images(event))
    named = event.details.get("columns", {})
    if not named:
        return f"Metadata of {images} changed"
    parts = [
        f"{name} set to “{Truncator(value).chars(40)}”" if value else f"{name} removed"
        for name, value in named.items()
    ]
    return f"{images}: {', '.join(parts)}"


def describe_split_change(event: LabelEvent) -> str:
    """“12 images kept as test images”, or that they are for training and validation again."""
    images = counted(count_images(event))
    if event.details["split"] == Split.TEST:
        return f"{images} kept as test images"
    return f"{images} moved from the test images to training and validation"


def root_event(event: LabelEvent) -> LabelEvent:
    """The original action at the start of a chain of undo and redo."""
    while event.undoes is not None:
        event = event.undoes
    return event


def _describe_import(event: LabelEvent) -> str:
    images, version = counted(len(event.changes)), event.details.get("dataset_version")
    if version:
        return f"{images} labeled as in the dataset version {version}"
    if all(change["from"] == change["to"] for change in event.changes):
        return f"{images} got metadata by an import"
    sentence = f"{images} labeled by an import: {_labels_given(event)}"
    authors = set(event.details.get("annotated_by", {}))
    return f"{sentence}; the file names {listed(authors)}" if authors else sentence


def _name(event: LabelEvent) -> str:
    return str(event.details["label"]["name"])


def _labels_given(event: LabelEvent) -> str:
    """“roses (40), tulips (12)”, the most frequent first."""
    tally = Counter(name for change in event.changes for name in set(change["to"]) - set(change["from"]))
    parts = [
        f"{Truncator(name).chars(40)} ({number:,})" for name, number in tally.most_common(MAX_LABELS_NAMED)
    ]
    return ", ".join(parts) + (
        f" and {len(tally) - MAX_LABELS_NAMED} more labels" if len(tally) > MAX_LABELS_NAMED else ""
    )


def _describe_root(event: LabelEvent) -> str:
    sentence = describe_event(root_event(event))
    return sentence[0].lower() + sentence[1:] if sentence[:1].isalpha() else sentence
