"""Sentences that an import stores in English, shown in the language of the reader.

A stored reason is one marked sentence, a beginning and a marked sentence, or a file name and a marked
sentence. One with values inside stays English.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext, gettext_noop

from projects.transfers.texts.doubts import sentence_of

NOT_USED = gettext_noop("Not used as a label file.")
LABEL_REJECTED = gettext_noop("Its label was rejected.")
METADATA_LEFT_OUT = gettext_noop("Its metadata was left out.")
_BEGINNINGS = (NOT_USED, LABEL_REJECTED, METADATA_LEFT_OUT)


def with_beginning(beginning: str, reason: str) -> str:
    return f"{beginning} {reason}"


def without_beginning(beginning: str, reason: str) -> str:
    return reason.removeprefix(beginning).lstrip()


def translated(reason: str) -> str:
    for beginning in _BEGINNINGS:
        if reason.startswith(f"{beginning} "):
            return with_beginning(gettext(beginning), translated(without_beginning(beginning, reason)))
    if (whole := gettext(reason)) != reason:
        return whole
    name, mark, sentence = reason.partition(": ")
    return f"{name}{mark}{gettext(sentence)}" if sentence else reason


def translated_preview(preview: Mapping[str, Any]) -> dict[str, Any]:
    """What an import found (`preview.preview_of`), with its sentences and format names translated."""
    files = [
        {**file, **{key: translated(file[key]) for key in ("problem", "format") if key in file}}
        for file in preview.get("files", [])
    ]
    doubts = [
        translated(found) if isinstance(found, str) else sentence_of(found)  # text: of an earlier release
        for found in preview.get("doubts", [])
    ]
    splits = [(gettext(title), images) for title, images in preview.get("splits", [])]
    return {**preview, "doubts": doubts, "files": files, "splits": splits}
