"""The dataset manifest: one JSON object per line, in the format of ModelArts image classification.

Writing is strict and compact. Reading accepts variants of real exported files: any case of `usage`, `hard` as
a string or a boolean, `property` as a string, underscores for hyphens, task names without `modelarts/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from projects.formats.errors import LabelFileError

TASK = "image_classification"
USAGES = ("TRAIN", "EVAL", "TEST", "INFERENCE")
# Keys of this product in the sample's `property`.
IMAGE_ID = "exeml:image-id"
SHA256 = "exeml:sha256"
FILE_NAME = "exeml:file-name"
HARD_REASONS = "@modelarts:hard_reasons"


class ManifestError(LabelFileError):
    """A line is not a valid sample; the message is a sentence for the user and names the line."""


@dataclass(frozen=True, slots=True)
class EntryLabel:
    """One label on one image, with its author and its time (`YYYY-MM-DD HH:MM:SS`, UTC)."""

    name: str
    annotated_by: str = "human"
    creation_time: str = ""
    confidence: float | None = None
    is_hard: bool | None = None
    hard_coefficient: float | None = None
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a manifest. `usage` is TRAIN, EVAL, TEST, INFERENCE or empty."""

    source: str
    usage: str = ""
    entry_labels: tuple[EntryLabel, ...] = ()
    id: str = ""
    is_hard: bool | None = None
    hard_coefficient: float | None = None
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(entry_label.name for entry_label in self.entry_labels)

    @property
    def image_id(self) -> int | None:
        """Id of the image in this installation; None in manifests of other installations."""
        value = self.properties.get(IMAGE_ID)
        return value if isinstance(value, int) else None


def write(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield the lines of the manifest, each with its line break."""
    for entry in entries:
        text = json.dumps(_sample(entry), ensure_ascii=False, separators=(",", ":"))
        yield text.encode() + b"\n"


def read(lines: Iterable[str | bytes]) -> Iterator[Entry]:
    """Yield the samples in order, skipping blank lines. Raises ManifestError at a bad line."""
    for number, line in enumerate(lines, start=1):
        text = _text(line, number)
        if text:
            yield _entry(text, number)


def _sample(entry: Entry) -> dict[str, Any]:
    return _without_empty(
        {
            "source": entry.source,
            "usage": entry.usage,
            "id": entry.id,
            "hard": _hard_text(entry.is_hard),
            "hard-coefficient": entry.hard_coefficient,
            "property": entry.properties,
            "annotation": [_annotation(entry_label) for entry_label in entry.entry_labels],
        }
    )


def _annotation(entry_label: EntryLabel) -> dict[str, Any]:
    return _without_empty(
        {
            "type": f"modelarts/{TASK}",
            "name": entry_label.name,
            "property": entry_label.properties,
            "annotated-by": entry_label.annotated_by,
            "confidence": entry_label.confidence,
            "hard": _hard_text(entry_label.is_hard),
            "hard-coefficient": entry_label.hard_coefficient,
            "creation-time": entry_label.creation_time,
        }
    )


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "", {}, [])}


def _hard_text(is_hard: bool | None) -> str | None:
    return None if is_hard is None else str(is_hard).lower()


def _text(line: str | bytes, number: int) -> str:
    if isinstance(line, str):
        return line.strip().lstrip("\ufeff")
    try:
        return line.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ManifestError(f"Line {number} is not text in UTF-8.") from error


def _entry(text: str, number: int) -> Entry:
    sample = _object(text, number)
    source = sample.get("source")
    if not isinstance(source, str) or not source.strip():
        raise ManifestError(f"Line {number} has no “source”: every line must name its image.")
    return Entry(
        source=source.strip(),
        usage=_usage(sample.get("usage"), number),
        entry_labels=tuple(_entry_labels(sample.get("annotation"), number)),
        id=str(sample.get("id") or ""),
        is_hard=_parse_bool(sample.get("hard")),
        hard_coefficient=_parse_fraction(sample.get("hard-coefficient")),
        properties=_properties(sample.get("property")),
    )


def _object(text: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"Line {number} is not valid JSON.") from error
    if not isinstance(value, dict):
        raise ManifestError(f"Line {number} must be one JSON object in braces.")
    return _with_hyphens(value)


def _with_hyphens(value: dict[str, Any]) -> dict[str, Any]:
    """The object with hyphens in its keys; a key with hyphens wins over its variant with underscores."""
    return {key.replace("_", "-"): item for key, item in value.items() if "_" in key} | {
        key: item for key, item in value.items() if "_" not in key
    }


def _usage(value: Any, number: int) -> str:
    usage = str(value or "").strip().upper()
    if usage and usage not in USAGES:
        raise ManifestError(f"Line {number} has the usage “{value}”: use TRAIN, EVAL, TEST or INFERENCE.")
    return usage


def _entry_labels(value: Any, number: int) -> Iterator[EntryLabel]:
    if value is None:
        return
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ManifestError(f"Line {number} has an “annotation” that is not a list of objects.")
    for annotation in map(_with_hyphens, value):
        task = str(annotation.get("type") or "")
        if task == TASK or task.endswith(f"/{TASK}"):
            yield _entry_label(annotation, number)


def _entry_label(annotation: dict[str, Any], number: int) -> EntryLabel:
    name = annotation.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ManifestError(f"Line {number} has a label without a “name”.")
    return EntryLabel(
        name=name.strip(),
        annotated_by=str(annotation.get("annotated-by") or "human"),
        creation_time=str(annotation.get("creation-time") or ""),
        confidence=_parse_fraction(annotation.get("confidence")),
        is_hard=_parse_bool(annotation.get("hard")),
        hard_coefficient=_parse_fraction(annotation.get("hard-coefficient")),
        properties=_properties(annotation.get("property")),
    )


def _parse_bool(value: Any) -> bool | None:
    """Parse `hard`, which is true, "true", "True", 1 or missing in real files."""
    return {"true": True, "1": True, "false": False, "0": False}.get(str(value).strip().lower())


def _parse_fraction(value: Any) -> float | None:
    """Parse a number from 0 to 1; None for anything else."""
    try:
        share = float(value)
    except (TypeError, ValueError):
        return None
    return share if 0 <= share <= 1 else None


def _properties(value: Any) -> dict[str, Any]:
    """The object `property`; empty for the string that one old export writes."""
    return value if isinstance(value, dict) else {}
