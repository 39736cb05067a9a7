"""What an import found and what it will do, shown before it begins if anything is in doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from projects.formats.encodings import find_encoding
from projects.formats.splits.split_folders import FolderLevel, usage_of_folder
from projects.images.decode import ImageRefused
from projects.labels import bulk_import
from projects.labels.annotations import normalized_name
from projects.models import Project, Split
from projects.models.metadata import MAX_COLUMNS as MAX_METADATA
from projects.transfers.described_images import ImportItem, ItemKind
from projects.transfers.descriptions import Description
from projects.transfers.file_sources import FileSource, ZipSource
from projects.transfers.import_plan import (
    BOXES,
    MAX_TEXT_BYTES,
    ImportPlan,
    LabelsFrom,
    read_label_text,
)
from projects.transfers.texts.doubts import Doubt, doubt
from projects.transfers.texts.reasons import NOT_USED, without_beginning

MAX_FILES, MAX_LABELS, MAX_TEXTS, MAX_COLUMNS, MAX_ROWS, MAX_CELL = 20, 60, 500, 60, 3, 60
MAX_EXAMPLES, MAX_FOLDERS = 3, 3  # named in a sentence


def preview_of(project: Project, plan: ImportPlan, source: FileSource) -> dict[str, Any]:
    """Counts and label files of a plan as JSON. `doubts`: what a person should look at."""
    kinds = Counter(item.kind for item in plan.items)
    labels = _labels_by_count(project, plan, source)
    can_be = [not bulk_import.labels_problem(project, item.entry_labels) for item in plan.images]
    labeled = sum(
        bool(item.entry_labels or item.text_path) and possible
        for item, possible in zip(plan.images, can_be, strict=True)
    )
    shown: dict[str, Any] = {
        "labels_from": plan.labels_from.value,
        "images": kinds[ItemKind.IMAGE],
        "labeled": labeled,
        "unlabeled": kinds[ItemKind.IMAGE] - labeled,
        "rows": kinds[ItemKind.ROW],
        "left_out": kinds[ItemKind.LEFT_OUT] + kinds[ItemKind.SYSTEM_FILE],
        "label_files": kinds[ItemKind.LABEL_FILE],
        "labels": labels.most_common(MAX_LABELS),
        "label_count": len(labels),
        "splits": _splits_by_count(plan),
        "columns": _columns_by_count(plan),
        "levels": [_level(level) for level in plan.levels],
        "files": [_file(description, plan) for description in plan.descriptions[:MAX_FILES]],
        "names_encoding": "",
    }
    if isinstance(source, ZipSource) and source.is_names_encoding_guessed:
        shown["names_encoding"] = source.names_encoding
    impossible = can_be.count(False)
    return shown | {"doubts": list(_doubts(project, plan, source, shown, impossible))}


def _splits_by_count(plan: ImportPlan) -> list[tuple[str, int]]:
    """(title of a split, images), training first; as pairs, since PostgreSQL reorders the keys of JSON."""
    numbers = Counter(item.split for item in plan.images)
    return [(str(split.label), numbers[split]) for split in Split if numbers[split]]


def _columns_by_count(plan: ImportPlan) -> list[tuple[str, int]]:
    """(column of metadata, images with a value), in the order of the columns."""
    numbers = Counter(name for item in plan.images for name in item.values)
    return [(name, numbers[name]) for name in plan.columns]


def _level(level: FolderLevel) -> dict[str, Any]:
    """A level of folders that may be a column: `names` are its most frequent folders, `count` all."""
    names = [_cut(name) for name, _ in level.names.most_common(MAX_EXAMPLES)]
    return {"level": level.level, "names": names, "count": len(level.names), "is_kept": level.is_kept}


def _labels_by_count(project: Project, plan: ImportPlan, source: FileSource) -> Counter[str]:
    """Label → images, spelled as in the import; of text files beside images, the first MAX_TEXTS are read."""
    labels = Counter(label.name for item in plan.images for label in item.entry_labels)
    texts = [item for item in plan.images if item.text_path]
    for item in texts[:MAX_TEXTS]:
        labels.update(_names_in_text(item, source))
    spellings = {name.lower(): name for name in project.labels.values_list("name", flat=True)}
    merged: Counter[str] = Counter()
    for name, images in labels.items():
        merged[spellings.setdefault(name.lower(), name)] += images
    return merged


def _names_in_text(item: ImportItem, source: FileSource) -> list[str]:
    try:
        return [label.name for label in read_label_text(_text(item.text_path, source))]
    except ImageRefused:
        return []


def _has_guessed_texts(plan: ImportPlan, source: FileSource) -> bool:
    paths = [item.text_path for item in plan.images if item.text_path]
    return any(find_encoding(_text(path, source)).is_guess for path in paths[:MAX_TEXTS])


def _text(path: str, source: FileSource) -> bytes:
    try:
        return source.read(path, MAX_TEXT_BYTES)
    except ImageRefused:
        return b""


def _file(description: Description, plan: ImportPlan) -> dict[str, Any]:
    found, choice = description.label_file, description.choice
    reasons = {item.path: item.problem for item in plan.items if item.kind == ItemKind.LEFT_OUT}
    shown = {"path": description.path, "problem": "", "is_used": choice.is_used}
    if found is None or description.path in reasons:
        shown["problem"] = description.problem or without_beginning(NOT_USED, reasons[description.path])
    if found is None:
        return shown
    columns = description.columns
    return shown | {
        "format": found.format,
        "is_table": found.is_table and not found.is_one_hot and bool(found.head),
        "head": [_cut(name) for name in found.head[:MAX_COLUMNS]],
        "first_rows": [[_cut(cell) for cell in row[:8]] for row in found.first_rows[:MAX_ROWS]],
        "columns": asdict(columns) if columns else None,
        "delimiter": found.delimiter,
        "separator": found.separator,
        "encoding": found.encoding,
    }


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"


# --- doubts ---


def _doubts(
    project: Project, plan: ImportPlan, source: FileSource, shown: dict[str, Any], impossible: int
) -> Iterator[Doubt]:
    if encoding := shown["names_encoding"]:
        yield doubt("names_encoding", encoding=encoding)
    for description in plan.descriptions:
        yield from _doubts_of_file(description, plan)
    if _has_guessed_texts(plan, source):
        yield doubt("texts_encoding")
    if any(item.problem == BOXES for item in plan.items):
        yield doubt("boxes")
    numbers = {"unlisted": plan.unlisted, "rows": shown["rows"], "conflicts": plan.conflicts}
    for name, number in {**numbers, "impossible": impossible}.items():
        if number:
            yield doubt(name, number)
    for level in shown["levels"]:
        if not level["is_kept"]:
            more = level["count"] - len(level["names"])
            yield doubt("more_folders" if more else "folders", more, names=level["names"])
    if plan.left_out_columns:
        yield doubt("columns", MAX_METADATA, names=[_cut(name) for name in plan.left_out_columns[:5]])
    for spellings in _case_variants(project, plan)[:3]:
        yield doubt("spellings", names=spellings)


def test_doubt(plan: ImportPlan) -> Doubt:
    """About the images that folders or label files call test images."""
    tests = [item for item in plan.images if item.split == Split.TEST]
    folders = sorted(
        {part for item in tests for part in item.path.split("/")[:-1] if usage_of_folder(part) == Split.TEST}
    )
    names = [_cut(folder) for folder in folders[:MAX_FOLDERS]]
    return doubt("tests_in_folders" if names else "tests", len(tests), names=names)


def _doubts_of_file(description: Description, plan: ImportPlan) -> Iterator[Doubt]:
    found, path = description.label_file, description.path
    is_left_out = any(item.path == path and item.kind == ItemKind.LEFT_OUT for item in plan.items)
    if is_left_out:
        if not path.lower().endswith(".txt"):
            yield doubt("unused_file", file=path)
        return
    if found is None or description.choice.is_given:
        return
    if found.is_table and not found.is_certain:
        yield doubt("guessed_columns", file=path)
    if found.is_encoding_guessed and not description.choice.encoding:
        yield doubt("file_encoding", file=path, encoding=found.encoding)


def _case_variants(project: Project, plan: ImportPlan) -> list[list[str]]:
    """Spellings of labels, of the import or the project, that differ in upper and lower case alone."""
    names = {normalized_name(label.name) for item in plan.images for label in item.entry_labels}
    names |= {label.name for label in project.labels.all() if label.name.lower() in _lower(names)}
    spellings: dict[str, list[str]] = {}
    for name in sorted(names):
        spellings.setdefault(name.lower(), []).append(name)
    return [several for several in spellings.values() if len(several) > 1]


def _lower(names: set[str]) -> set[str]:
    return {name.lower() for name in names}


def label_source_of(shown: dict[str, Any]) -> LabelsFrom:
    return LabelsFrom(shown["labels_from"])
