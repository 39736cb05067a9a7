"""Label events as sentences, for the notice after an action and for the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from django.utils.text import Truncator
from django.utils.translation import gettext, ngettext, ngettext_lazy

from exeml_site.lib.display import count
from exeml_site.lib.text import listed
from projects.labels.parts import count_images
from projects.models import LabelEvent, Split

Kind = LabelEvent.Kind
MAX_LABELS_NAMED = 3

CONFIRMED = ngettext_lazy(
    "%(count)s image confirmed: %(labels)s", "%(count)s images confirmed: %(labels)s", "number"
)
MERGED = ngettext_lazy(
    "“%(label)s” merged into “%(into)s”: %(count)s image",
    "“%(label)s” merged into “%(into)s”: %(count)s images",
    "number",
)
LABEL_DELETED = ngettext_lazy(
    "Label “%(label)s” deleted and removed from %(count)s image",
    "Label “%(label)s” deleted and removed from %(count)s images",
    "number",
)
BINNED = ngettext_lazy("%(count)s image moved to the bin", "%(count)s images moved to the bin", "number")
RESTORED = ngettext_lazy(
    "%(count)s image restored from the bin", "%(count)s images restored from the bin", "number"
)
LABELED = ngettext_lazy("%(count)s image labeled %(labels)s", "%(count)s images labeled %(labels)s", "number")
UNLABELED = ngettext_lazy(
    "%(labels)s removed from %(count)s image", "%(labels)s removed from %(count)s images", "number"
)
METADATA_CHANGED = ngettext_lazy(
    "Metadata of %(count)s image changed", "Metadata of %(count)s images changed", "number"
)
METADATA_SET = ngettext_lazy("%(count)s image: %(changes)s", "%(count)s images: %(changes)s", "number")
METADATA_IMPORTED = ngettext_lazy(
    "Metadata of %(count)s image imported", "Metadata of %(count)s images imported", "number"
)
TO_TEST = ngettext_lazy(
    "%(count)s image kept as a test image", "%(count)s images kept as test images", "number"
)
FROM_TEST = ngettext_lazy(
    "%(count)s image moved from the test images to training and validation",
    "%(count)s images moved from the test images to training and validation",
    "number",
)
LABELS_RESTORED = ngettext_lazy(
    "%(count)s image labeled as in the dataset version %(version)s",
    "%(count)s images labeled as in the dataset version %(version)s",
    "number",
)
IMPORTED = ngettext_lazy(
    "%(count)s image labeled by an import: %(labels)s",
    "%(count)s images labeled by an import: %(labels)s",
    "number",
)
IMPORTED_OF_PEOPLE = ngettext_lazy(
    "%(count)s image labeled by an import: %(labels)s; annotated by %(people)s in the file",
    "%(count)s images labeled by an import: %(labels)s; annotated by %(people)s in the file",
    "number",
)


def describe_event(event: LabelEvent) -> str:
    """The event as a sentence: “12 images labeled “roses””."""
    details, number = event.details, count_images(event)
    if "text" in details:  # of another installation, where its rows are
        return str(details["text"])
    sentences: dict[str, Callable[[], str]] = {
        Kind.LABEL: lambda: describe_labeling(event),
        Kind.IMPORT: lambda: _describe_import(event),
        Kind.CONFIRM: lambda: _counted(CONFIRMED, number, labels=_labels_given(event)),
        Kind.RENAME_LABEL: lambda: _describe_rename(event),
        Kind.EDIT_LABEL: lambda: (
            gettext("Colour or key of “%(label)s” changed") % {"label": details.get("name")}
        ),
        Kind.MERGE_LABELS: lambda: _counted(MERGED, number, label=_name(event), into=details["into"]["name"]),
        Kind.DELETE_LABEL: lambda: _counted(LABEL_DELETED, number, label=_name(event)),
        Kind.DELETE_IMAGES: lambda: _counted(BINNED, number),
        Kind.RESTORE_IMAGES: lambda: _counted(RESTORED, number),
        Kind.METADATA: lambda: _describe_metadata(event),
        Kind.SET_SPLIT: lambda: describe_split_change(event),
        Kind.UNDO: lambda: gettext("Undone: %(action)s") % {"action": describe_event(root_event(event))},
        Kind.REDO: lambda: gettext("Redone: %(action)s") % {"action": describe_event(root_event(event))},
    }
    return sentences[event.kind]()


def _counted(sentence: Any, number: int, **values: str) -> str:
    """A sentence of above with its number of images."""
    return str(sentence % {"number": number, "count": count(number), **values})


def describe_labeling(event: LabelEvent) -> str:
    """“12 images labeled “roses””, or which labels were removed."""
    added = {name for change in event.changes for name in set(change["to"]) - set(change["from"])}
    removed = {name for change in event.changes for name in set(change["from"]) - set(change["to"])}
    sentence = LABELED if added else UNLABELED
    return _counted(sentence, count_images(event), labels=listed(added or removed))


def _describe_rename(event: LabelEvent) -> str:
    names = {"old": event.details.get("from"), "new": event.details.get("to")}
    return gettext("“%(old)s” renamed to “%(new)s”") % names


def _describe_metadata(event: LabelEvent) -> str:
    """“12 images: person set to “anna””, or removed."""
    named = event.details.get("columns", {})
    if not named:
        return _counted(METADATA_CHANGED, count_images(event))
    value_set, value_removed = gettext("%(column)s set to “%(value)s”"), gettext("%(column)s removed")
    parts = [
        (value_set if value else value_removed) % {"column": name, "value": Truncator(value).chars(40)}
        for name, value in named.items()
    ]
    return _counted(METADATA_SET, count_images(event), changes=", ".join(parts))


def describe_split_change(event: LabelEvent) -> str:
    """“12 images kept as test images”, or that they are for training and validation again."""
    sentence = TO_TEST if event.details["split"] == Split.TEST else FROM_TEST
    return _counted(sentence, count_images(event))


def root_event(event: LabelEvent) -> LabelEvent:
    """The original action at the start of a chain of undo and redo."""
    while event.undoes is not None:
        event = event.undoes
    return event


def _describe_import(event: LabelEvent) -> str:
    number, version = len(event.changes), event.details.get("dataset_version")
    if version:
        return _counted(LABELS_RESTORED, number, version=version)
    if all(change["from"] == change["to"] for change in event.changes):
        return _counted(METADATA_IMPORTED, number)
    labels = _labels_given(event)
    if authors := set(event.details.get("annotated_by", {})):
        return _counted(IMPORTED_OF_PEOPLE, number, labels=labels, people=listed(authors))
    return _counted(IMPORTED, number, labels=labels)


def _name(event: LabelEvent) -> str:
    return str(event.details["label"]["name"])


def _labels_given(event: LabelEvent) -> str:
    """“roses (40), tulips (12)”, the most frequent first."""
    tally = Counter(name for change in event.changes for name in set(change["to"]) - set(change["from"]))
    named = ", ".join(
        f"{Truncator(name).chars(40)} ({count(number)})"
        for name, number in tally.most_common(MAX_LABELS_NAMED)
    )
    if (more := len(tally) - MAX_LABELS_NAMED) <= 0:
        return named
    sentence = ngettext("%(labels)s and %(count)s more label", "%(labels)s and %(count)s more labels", more)
    return sentence % {"labels": named, "count": count(more)}
