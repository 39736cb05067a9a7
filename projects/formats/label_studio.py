"""Label Studio's JSON export: an array of tasks with their annotations.

JSON_MIN and CSV are tables (`json_records`, `csv_labels`). Addresses such as `/data/upload/1/3f2a1b4c-a.jpg`
are matched to images by `transfers.path_mapping`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from projects.formats.boxes import BoxesError
from projects.formats.columns import IMAGE_FILE
from projects.formats.csv_labels import label_names
from projects.formats.errors import LabelFileError
from projects.formats.json_records import objects
from projects.formats.manifest import Entry, EntryLabel

FORMAT = "Label Studio JSON"  # not translated: the name of a format
ANNOTATION_KEYS = ("annotations", "completions")
LABEL_TYPES = ("choices", "taxonomy")


def is_task(sample: Any) -> bool:
    return (
        isinstance(sample, dict)
        and isinstance(sample.get("data"), dict)
        and any(isinstance(sample.get(key), list) for key in (*ANNOTATION_KEYS, "predictions"))
    )


def check_tasks(samples: Iterable[Any]) -> None:
    """Raise BoxesError if the tasks have boxes or outlines and no labels of whole images."""
    kinds = {str(result.get("type")) for task in samples if is_task(task) for result in _results(task)}
    if kinds and not kinds & set(LABEL_TYPES) and any(kind.endswith("labels") for kind in kinds):
        raise BoxesError(FORMAT)


def read_task(task: Any, place: str) -> Entry:
    """The entry of one task. Raises LabelFileError if it names no image."""
    if not is_task(task):
        raise LabelFileError(f"{place} is not a task of Label Studio.")  # not translated: stored with values
    results = list(_results(task))
    source = _source(task["data"], results)
    if not source:
        raise LabelFileError(f"{place} has no image in “data”.")  # not translated: stored with values
    labels = {name: None for result in results for name in _names(result)}
    return Entry(source, entry_labels=tuple(EntryLabel(name, annotated_by="") for name in labels))


def _source(data: Mapping[str, Any], results: Iterable[Mapping[str, Any]]) -> str:
    """The image: the value that the labels refer to, else `image`, else the first one like a file."""
    keys = [str(result.get("to_name")) for result in results] + ["image", "img", "url"]
    texts = [data[key] for key in keys if isinstance(data.get(key), str)]
    texts += [value for value in data.values() if isinstance(value, str) and IMAGE_FILE.search(value)]
    return str(texts[0]).strip() if texts else ""


def _results(task: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The results of the annotations that count: of the one marked as ground truth, else of all."""
    annotations = [
        annotation
        for key in ANNOTATION_KEYS
        for annotation in objects(task.get(key))
        if not annotation.get("was_cancelled")
    ]
    true = [annotation for annotation in annotations if annotation.get("ground_truth")]
    for annotation in true[:1] or annotations:
        yield from objects(annotation.get("result"))


def _names(result: Mapping[str, Any]) -> list[str]:
    value = result.get("value")
    if result.get("type") not in LABEL_TYPES or not isinstance(value, dict):
        return []
    paths = value.get("taxonomy")
    if isinstance(paths, list):  # the last part of each path is the label
        return [str(path[-1]).strip() for path in paths if isinstance(path, list) and path]
    return label_names(value.get("choices"))
