"""Manifests of SageMaker Ground Truth and Rekognition Custom Labels (image-level labels).

One JSON object per line: `source-ref` names the image; each label attribute `x` has its `x-metadata` with
`class-name`, or for several labels a list in `x` and `class-map` in the metadata.
Source of the format: the Rekognition Custom Labels developer guide, “Image-level labels in manifest files”.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from projects.formats.manifest import Entry, EntryLabel, ManifestError

SOURCE_KEY = "source-ref"
METADATA_SUFFIX = "-metadata"


def is_groundtruth(line: bytes) -> bool:
    try:
        sample = json.loads(line)
    except ValueError:
        return False
    return isinstance(sample, dict) and SOURCE_KEY in sample


def read(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the samples in order. Raises ManifestError at a bad line."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            sample = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise ManifestError(f"Line {number} is not valid JSON.") from problem
        if not isinstance(sample, dict) or not isinstance(sample.get(SOURCE_KEY), str):
            raise ManifestError(f"Line {number} has no “{SOURCE_KEY}”: every line must name its image.")
        yield Entry(sample[SOURCE_KEY], str(sample.get("usage") or "").upper(), tuple(_entry_labels(sample)))


def _entry_labels(sample: Mapping[str, Any]) -> Iterator[EntryLabel]:
    for key, metadata in sample.items():
        if not key.endswith(METADATA_SUFFIX) or not isinstance(metadata, dict):
            continue
        value = sample.get(key.removesuffix(METADATA_SUFFIX))
        for name, confidence in _names(value, metadata):
            yield EntryLabel(
                name=name,
                annotated_by="human" if metadata.get("human-annotated") == "yes" else "",
                creation_time=_time(metadata.get("creation-date")),
                confidence=confidence if metadata.get("human-annotated") == "no" else None,
            )


def _names(value: Any, metadata: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Yield (label name, confidence) of one label attribute."""
    confidence = metadata.get("confidence")
    if isinstance(metadata.get("class-name"), str):
        yield metadata["class-name"], confidence if isinstance(confidence, int | float) else None
        return
    names = metadata.get("class-map")
    if isinstance(names, dict) and isinstance(value, list):
        shares = metadata.get("confidence-map") or {}
        for class_id in value:
            if isinstance(name := names.get(str(class_id)), str):
                confidence_value = shares.get(str(class_id)) if isinstance(shares, dict) else None
                yield name, confidence_value if isinstance(confidence_value, int | float) else None


def _time(text: Any) -> str:
    """`2018-10-18T22:18:13.527256` in the manifest's form, `2018-10-18 22:18:13`."""
    return text[:19].replace("T", " ") if isinstance(text, str) else ""
