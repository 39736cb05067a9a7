"""Manifests of SageMaker Ground Truth and Rekognition Custom Labels (image-level labels).

One JSON object per line: `source-ref` names the image; each label attribute `x` has its `x-metadata` with
`class-name`, or for several labels a list in `x` and `class-map` in the metadata. Manifests for training have
a class number in `x` and no metadata.
Source of the format: the Rekognition Custom Labels developer guide, “Image-level labels in manifest files”.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from projects.formats.boxes import BoxesError
from projects.formats.columns import usage_of
from projects.formats.manifest import Entry, EntryLabel, ManifestError, confidence_note, parse_fraction

SOURCE_KEY = "source-ref"
METADATA_SUFFIX = "-metadata"
NO_ATTRIBUTES = {SOURCE_KEY, "usage", "id", "content-type"}
FORMAT = "Ground Truth manifest"  # not translated: the name of a format


def is_groundtruth(sample: Any) -> bool:
    return isinstance(sample, dict) and SOURCE_KEY in sample


def find_attributes(samples: Collection[Any]) -> tuple[str, ...]:
    """The label attributes of the samples. Raises BoxesError if all of them hold boxes or outlines."""
    keys = {
        key: _is_of_boxes(sample, key)
        for sample in samples
        if isinstance(sample, dict)
        for key in sample
        if _is_attribute(sample, key)
    }
    if keys and all(keys.values()):
        raise BoxesError(FORMAT)
    return tuple(key for key, is_of_boxes in keys.items() if not is_of_boxes)


def read_sample(sample: Any, place: str, attributes: Collection[str] | None = None) -> Entry:
    """The entry of one sample, with the labels of `attributes`, or of all. Raises ManifestError."""
    if not isinstance(sample, dict) or not isinstance(sample.get(SOURCE_KEY), str):
        raise ManifestError(
            f"{place} has no “{SOURCE_KEY}”: every line must name its image."  # not translated: with values
        )
    keys = [key for key in sample if _is_attribute(sample, key) and not _is_of_boxes(sample, key)]
    chosen = [key for key in keys if attributes is None or key in attributes]
    found = [(key, name, share) for key in chosen for name, share in _names(sample, key)]
    return Entry(
        source=sample[SOURCE_KEY],
        usage=usage_of(str(sample.get("usage") or "")) or "",
        entry_labels=tuple(_entry_label(sample, key, name, share) for key, name, share in found),
        notes=tuple(note for _, name, share in found if (note := confidence_note(name, share))),
    )


def _is_attribute(sample: Mapping[str, Any], key: str) -> bool:
    if key in NO_ATTRIBUTES or key.endswith((METADATA_SUFFIX, "-ref")):
        return False
    return key + METADATA_SUFFIX in sample or isinstance(sample[key], str | int)


def _is_of_boxes(sample: Mapping[str, Any], key: str) -> bool:
    value, kind = sample[key], str(_metadata(sample, key).get("type") or "")
    return kind.endswith(("object-detection", "segmentation")) or (
        isinstance(value, dict) and "annotations" in value
    )


def _metadata(sample: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    metadata = sample.get(key + METADATA_SUFFIX)
    return metadata if isinstance(metadata, dict) else {}


def _entry_label(sample: Mapping[str, Any], key: str, name: str, share: Any) -> EntryLabel:
    metadata = _metadata(sample, key)
    return EntryLabel(
        name=name,
        annotated_by="human" if metadata.get("human-annotated") == "yes" else "",
        creation_time=_time(metadata.get("creation-date")),
        confidence=parse_fraction(share) if metadata.get("human-annotated") == "no" else None,
    )


def _names(sample: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """Yield (label name, stated confidence) of one label attribute."""
    value, metadata = sample[key], _metadata(sample, key)
    names, shares = metadata.get("class-map"), metadata.get("confidence-map")
    if isinstance(metadata.get("class-name"), str):
        yield metadata["class-name"], metadata.get("confidence")
    elif isinstance(names, dict) and isinstance(value, list):
        for class_id in value:
            if isinstance(name := names.get(str(class_id)), str):
                yield name, shares.get(str(class_id)) if isinstance(shares, dict) else None
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield str(value), None


def _time(text: Any) -> str:
    """`2018-10-18T22:18:13.527256` in the manifest's form, `2018-10-18 22:18:13`."""
    return text[:19].replace("T", " ") if isinstance(text, str) else ""
