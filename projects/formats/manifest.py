"""The dataset manifest: one JSON object per line, in the format of ModelArts image classification.

Writing is strict and compact. Reading accepts variants of real exported files: any case of `usage`, `hard` as
a string or a boolean, `property` as a string, underscores for hyphens, task names without `modelarts/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from projects.formats.columns import usage_of
from projects.formats.errors import LabelFileError

TASK = "image_classification"
FORMAT = "ModelArts manifest"  # not translated: the name of a format
SAMPLE_KEYS = {
    *("source", "usage", "id", "annotation", "hard", "hard-coefficient", "property", "source-type"),
    *("sample-type", "inference-loc", "result", "error-message"),
}
USAGES = ("TRAIN", "EVAL", "TEST", "INFERENCE")
# Keys of this product in the sample's `property`.
IMAGE_ID = "exeml:image-id"
SHA256 = "exeml:sha256"
FILE_NAME = "exeml:file-name"
VALUES = "exeml:metadata"  # column → value
GROUP = "exeml:group"  # images of one group are never split into training and validation
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
    """One image of a manifest. `usage` is TRAIN, EVAL, TEST, INFERENCE or empty.

    `values` is its metadata, column → value; manifests hold it in `property`.
    """

    source: str
    usage: str = ""
    entry_labels: tuple[EntryLabel, ...] = ()
    id: str = ""
    is_hard: bool | None = None
    hard_coefficient: float | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what reading left out, as sentences for the report
    values: dict[str, str] = field(default_factory=dict)

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
        place = f"Line {number}"
        text = _text(line, place)
        if text:
            yield read_sample(_parse_json(text, place), place)


def read_sample(sample: Any, place: str) -> Entry:
    """The entry of one sample. `place` names it in the error, such as “Line 3”. Raises ManifestError."""
    if not isinstance(sample, dict):
        raise ManifestError(
            f"{place} must be one JSON object in braces."  # not translated: with values
        )
    sample = _with_hyphens(sample)
    source = sample.get("source")
    if not isinstance(source, str) or not source.strip():
        raise ManifestError(
            f"{place} has no “source”: every line must name its image."  # not translated: with values
        )
    annotations = _annotations(sample.get("annotation"), place)
    properties = _properties(sample.get("property"))
    return Entry(
        source=source.strip(),
        usage=_usage(sample.get("usage"), place),
        entry_labels=tuple(_entry_label(annotation, place) for annotation in annotations),
        id=str(sample.get("id") or ""),
        is_hard=_parse_bool(sample.get("hard")),
        hard_coefficient=parse_fraction(sample.get("hard-coefficient")),
        properties={name: value for name, value in properties.items() if name != VALUES},
        notes=tuple(_confidence_notes(annotations)),
        values=_values(properties.get(VALUES)),
    )


def is_sample(sample: Any) -> bool:
    """Whether an object is a sample of a manifest: it has annotations, or an image and no foreign key."""
    keys = {key.replace("_", "-") for key in sample} if isinstance(sample, dict) else set()
    return "annotation" in keys or ("source" in keys and keys <= SAMPLE_KEYS)


def has_task(sample: Any) -> bool | None:
    """Whether a sample has labels of the image; None if it has no annotation at all, False for boxes."""
    annotations = sample.get("annotation") if isinstance(sample, dict) else None
    if not annotations:
        return None
    try:
        return bool(_annotations(annotations, ""))
    except ManifestError:
        return True  # reading it says what is wrong


def _sample(entry: Entry) -> dict[str, Any]:
    return _without_empty(
        {
            "source": entry.source,
            "usage": entry.usage,
            "id": entry.id,
            "hard": _hard_text(entry.is_hard),
            "hard-coefficient": parse_fraction(entry.hard_coefficient),
            "property": entry.properties | ({VALUES: entry.values} if entry.values else {}),
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
            "confidence": parse_fraction(entry_label.confidence),
            "hard": _hard_text(entry_label.is_hard),
            "hard-coefficient": parse_fraction(entry_label.hard_coefficient),
            "creation-time": entry_label.creation_time,
        }
    )


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "", {}, [])}


def _hard_text(is_hard: bool | None) -> str | None:
    return None if is_hard is None else str(is_hard).lower()


def _text(line: str | bytes, place: str) -> str:
    if isinstance(line, str):
        return line.strip().lstrip("\ufeff")
    try:
        return line.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ManifestError(f"{place} is not text in UTF-8.") from error  # not translated: stored with values


def _parse_json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{place} is not valid JSON.") from error  # not translated: stored with values


def _with_hyphens(value: dict[str, Any]) -> dict[str, Any]:
    """The object with hyphens in its keys; a key with hyphens wins over its variant with underscores."""
    return {key.replace("_", "-"): item for key, item in value.items() if "_" in key} | {
        key: item for key, item in value.items() if "_" not in key
    }


def _usage(value: Any, place: str) -> str:
    usage = str(value or "").strip()
    word = usage.upper() if usage.upper() in USAGES else usage_of(usage)
    if word is None:
        raise ManifestError(
            f"{place} has the usage “{value}”: use TRAIN, EVAL, TEST or INFERENCE."  # not translated: values
        )
    return word


def _annotations(value: Any, place: str) -> list[dict[str, Any]]:
    """The annotations of the image as a whole. One object stands for a list of one."""
    values = [value] if value and isinstance(value, dict) else [] if value is None else value
    if not isinstance(values, list) or not all(isinstance(item, dict) for item in values):
        raise ManifestError(
            f"{place} has an “annotation” that is not a list of objects."  # not translated: with values
        )
    tasks = [(str(item.get("type") or ""), item) for item in map(_with_hyphens, values)]
    return [item for task, item in tasks if task == TASK or task.endswith(f"/{TASK}")]


def _entry_label(annotation: dict[str, Any], place: str) -> EntryLabel:
    name = annotation.get("name")
    if isinstance(name, int | float) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not name.strip():
        raise ManifestError(f"{place} has a label without a “name”.")  # not translated: stored with values
    return EntryLabel(
        name=name.strip(),
        annotated_by=str(annotation.get("annotated-by") or "human"),
        creation_time=str(annotation.get("creation-time") or ""),
        confidence=parse_fraction(annotation.get("confidence")),
        is_hard=_parse_bool(annotation.get("hard")),
        hard_coefficient=parse_fraction(annotation.get("hard-coefficient")),
        properties=_properties(annotation.get("property")),
    )


def _confidence_notes(annotations: Iterable[dict[str, Any]]) -> Iterator[str]:
    for annotation in annotations:
        if note := confidence_note(annotation.get("name"), annotation.get("confidence")):
            yield note


def confidence_note(name: Any, value: Any) -> str:
    """A sentence if a confidence is left out since it is no number from 0 to 1; else empty."""
    if value in (None, "") or parse_fraction(value) is not None:
        return ""
    return (
        f"The confidence {value} of “{name}” is not between 0 and 1: "  # not translated: with values
        "the label was read without it."
    )


def _parse_bool(value: Any) -> bool | None:
    """Parse `hard`, which is true, "true", "True", 1 or missing in real files."""
    return {"true": True, "1": True, "false": False, "0": False}.get(str(value).strip().lower())


def parse_fraction(value: Any) -> float | None:
    """Parse a number from 0 to 1; None for anything else."""
    try:
        share = float(value)
    except (TypeError, ValueError):
        return None
    return share if 0 <= share <= 1 else None


def _properties(value: Any) -> dict[str, Any]:
    """The object `property`; empty for the string that one old export writes."""
    return value if isinstance(value, dict) else {}


def _values(value: Any) -> dict[str, str]:
    """The metadata of a sample: texts and numbers by the name of their column."""
    items = value.items() if isinstance(value, dict) else ()
    return {
        str(name): str(item)
        for name, item in items
        if isinstance(item, str | int | float) and not isinstance(item, bool)
    }
