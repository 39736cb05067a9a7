"""The plan of an import: its images in order, and where their labels come from.

The same source gives the same plan, so a killed import resumes at its cursor.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from django.db import models

from projects.formats import csv_labels, groundtruth, manifest
from projects.formats.csv_labels import LabelLook
from projects.formats.manifest import Entry, EntryLabel, ManifestError
from projects.formats.picture_formats import SUFFIXES as IMAGE_SUFFIXES
from projects.images.decode import ImageRefused
from projects.models import Project, Split
from projects.transfers.file_sources import FileSource, SourceFile
from projects.transfers.path_mapping import NOT_FOUND, ImageFinder, PathMapping

MANIFEST_SUFFIXES = {".manifest", ".jsonl"}
MAX_TEXT_BYTES = 512 * 1024 * 1024
SPLIT_OF_USAGE = {"TRAIN": Split.TRAIN.value, "EVAL": Split.EVAL.value}


class LabelsFrom(models.TextChoices):
    """Where the labels of imported images come from."""

    AUTOMATIC = "auto", "Detect (a manifest, a table, text files or folders)"
    FOLDERS = "folders", "The folder of each image"
    TEXTS = "texts", "Text files: 10.txt beside 10.jpg, one label per line"
    MANIFEST = "manifest", "A manifest in the archive"
    TABLE = "table", "A CSV table in the archive"
    NOTHING = "nothing", "None: import the images without labels"


class CannotPlan(Exception):
    """The import cannot start; the message names cause and remedy."""


@dataclass(frozen=True, slots=True)
class ImportItem:
    """One image of an import: a file of the source (`path`) or an image of the project (`image_id`).

    `text_path`: the text file with its labels. `problem`: why the image is refused without being read.
    """

    name: str
    path: str = ""
    image_id: int | None = None
    entry_labels: tuple[EntryLabel, ...] = ()
    text_path: str = ""
    split: str = ""
    is_hard: bool | None = None
    problem: str = ""


@dataclass(frozen=True)
class ImportPlan:
    items: list[ImportItem]
    labels_from: LabelsFrom
    looks: list[LabelLook] = field(default_factory=list)


def make_plan(
    project: Project,
    source: FileSource,
    *,
    labels_from: LabelsFrom = LabelsFrom.AUTOMATIC,
    description: tuple[str, bytes] | None = None,
    mapping: PathMapping | None = None,
) -> ImportPlan:
    """Plan an import from the names of the source's files and from what describes them.

    `description`: name and content of a manifest or a table that was uploaded beside the source.
    Raises CannotPlan, SourceUnreadable.
    """
    files = source.files()
    looks, described, rest = _read_descriptions(source, files, labels_from, description)
    finder = ImageFinder(project, rest, mapping or PathMapping())
    kind, entries = described or (LabelsFrom.NOTHING, [])
    if any(entry.entry_labels for entry in entries) or (entries and (description or not rest)):
        return ImportPlan(_items_of_entries(entries, finder), kind, looks)
    if not rest:
        raise CannotPlan("There is no file to import.")
    if labels_from in (LabelsFrom.MANIFEST, LabelsFrom.TABLE):
        word = "manifest (.manifest or .jsonl)" if labels_from == LabelsFrom.MANIFEST else "CSV table"
        raise CannotPlan(f"There is no {word} in the archive. Choose where else the labels come from.")
    texts, pictures = _pair_text_files(rest)
    kind = labels_from if labels_from != LabelsFrom.AUTOMATIC else _detect_label_source(pictures, texts)
    items = _items_of_files(pictures, texts, kind)
    return ImportPlan(_with_splits(items, entries, finder), kind, looks)


def _with_splits(items: list[ImportItem], entries: list[Entry], finder: ImageFinder) -> list[ImportItem]:
    """Add the splits of a table without labels to items whose labels come from folders or text files."""
    splits = {finder.find(entry.source).path: SPLIT_OF_USAGE.get(entry.usage, "") for entry in entries}
    return [replace(item, split=splits.get(item.path) or item.split) for item in items]


# --- manifests and tables ---


def _read_descriptions(
    source: FileSource, files: list[SourceFile], labels_from: LabelsFrom, beside: tuple[str, bytes] | None
) -> tuple[list[LabelLook], tuple[LabelsFrom, list[Entry]] | None, list[SourceFile]]:
    """The list of labels, the entries of a manifest or table, and the other files."""
    looks: list[LabelLook] = []
    described = _parse_description(*beside) if beside else None
    rest: list[SourceFile] = []
    candidates: list[SourceFile] = []
    for file in files:
        (candidates if _suffix(file.path) in {*MANIFEST_SUFFIXES, ".csv", ".tsv"} else rest).append(file)
    for file in sorted(candidates, key=lambda file: (file.path.count("/"), file.path)):
        content = _read_text(source, file.path)
        if _suffix(file.path) == ".csv" and csv_labels.is_label_list(content):
            looks = looks or csv_labels.read_label_list(content)
        elif described is None and _is_wanted(file.path, labels_from):
            described = _parse_candidate(file.path, content, labels_from)
        # Only the first one counts: an export for several tools contains the same labels twice.
    return looks, described, rest


def _parse_candidate(
    path: str, content: bytes, labels_from: LabelsFrom
) -> tuple[LabelsFrom, list[Entry]] | None:
    """Parse a manifest, or a table whose header fits: a table that nobody chose may be about anything."""
    if _suffix(path) in MANIFEST_SUFFIXES or labels_from == LabelsFrom.TABLE:
        return _parse_description(path, content)
    try:
        return LabelsFrom.TABLE, list(csv_labels.read(content, is_discovered=True))
    except csv_labels.TableError:
        return None


def _is_wanted(path: str, labels_from: LabelsFrom) -> bool:
    kind = LabelsFrom.MANIFEST if _suffix(path) in MANIFEST_SUFFIXES else LabelsFrom.TABLE
    return labels_from in (LabelsFrom.AUTOMATIC, kind)


def _read_text(source: FileSource, path: str) -> bytes:
    try:
        return source.read(path, MAX_TEXT_BYTES)
    except ImageRefused as refusal:
        raise CannotPlan(f"{path}: {refusal}") from refusal


def _parse_description(name: str, content: bytes) -> tuple[LabelsFrom, list[Entry]]:
    try:
        if _suffix(name) in (".csv", ".tsv", ".txt"):
            return LabelsFrom.TABLE, list(csv_labels.read(content))
        lines = content.splitlines()
        first = next((line for line in lines if line.strip()), b"")
        if groundtruth.is_groundtruth(first):
            return LabelsFrom.MANIFEST, list(groundtruth.read(lines))
        return LabelsFrom.MANIFEST, list(manifest.read(lines))
    except (ManifestError, csv_labels.TableError) as problem:
        raise CannotPlan(f"{name}: {problem}") from problem


def _items_of_entries(entries: Iterable[Entry], finder: ImageFinder) -> list[ImportItem]:
    """One item per image; several lines about the same image are merged.

    If addresses of different images match the same file, the one with the longest common path end gets it.
    """
    items: list[ImportItem] = []
    holders: dict[object, tuple[int, str, int]] = {}  # path or image id → (index of its item, source, shared)
    for entry in entries:
        item, shared = _item_of_entry(entry, finder)
        key = item.path or item.image_id
        index, source, closest = holders.get(key, (-1, "", 0)) if key else (-1, "", 0)
        if index >= 0 and source == entry.source:
            items[index] = _merge_items(items[index], item)
            continue
        if index >= 0 and shared <= closest:
            item = _without_image(item)
        elif index >= 0:
            items[index] = _without_image(items[index])
        if key and not item.problem:
            holders[key] = (len(items), entry.source, shared)
        items.append(item)
    return items


def _merge_items(first: ImportItem, item: ImportItem) -> ImportItem:
    by_name = {label.name: label for label in (*first.entry_labels, *item.entry_labels)}
    return replace(first, entry_labels=tuple(by_name.values()), split=item.split or first.split)


def _without_image(item: ImportItem) -> ImportItem:
    return replace(item, path="", image_id=None, problem=NOT_FOUND)


def _item_of_entry(entry: Entry, finder: ImageFinder) -> tuple[ImportItem, int]:
    name = str(entry.properties.get(manifest.FILE_NAME) or "") or entry.source.rpartition("/")[2]
    match = finder.find(entry.source, str(entry.properties.get(manifest.SHA256) or ""))
    is_hard = entry.is_hard if entry.is_hard is not None else _read_is_hard(entry)
    split = SPLIT_OF_USAGE.get(entry.usage, "")
    item = ImportItem(name, match.path, match.image_id, entry.entry_labels, "", split, is_hard, match.problem)
    return item, match.shared


def _read_is_hard(entry: Entry) -> bool | None:
    value = entry.properties.get("@modelarts:hard")
    return bool(value) if value in (0, 1, True, False) else None


# --- files without a manifest or table ---


def _pair_text_files(files: Sequence[SourceFile]) -> tuple[dict[str, str], list[SourceFile]]:
    """Text files beside images, by the image's stem; and all other files."""
    texts = {_stem(file.path): file.path for file in files if _suffix(file.path) == ".txt"}
    stems = {_stem(file.path) for file in files if _suffix(file.path) in IMAGE_SUFFIXES}
    pairs = {stem: path for stem, path in texts.items() if stem in stems}
    used = set(pairs.values())
    return pairs, [file for file in files if file.path not in used]


def _detect_label_source(files: Sequence[SourceFile], texts: dict[str, str]) -> LabelsFrom:
    """Text files if at least half of the images have one; else folders, if there are two or more."""
    pictures = [file.path for file in files if _suffix(file.path) in IMAGE_SUFFIXES]
    if texts and 2 * len(texts) >= len(pictures):
        return LabelsFrom.TEXTS
    folders = Counter(_folder(path) for path in pictures)
    folder_names = [folder for folder in folders if folder]
    return LabelsFrom.FOLDERS if len(folder_names) > 1 else LabelsFrom.NOTHING


def _items_of_files(files: Sequence[SourceFile], texts: dict[str, str], kind: LabelsFrom) -> list[ImportItem]:
    builders: dict[LabelsFrom, Callable[[str], ImportItem]] = {
        LabelsFrom.FOLDERS: _item_in_folder,
        LabelsFrom.TEXTS: lambda path: ImportItem(
            _file_name(path), path, text_path=texts.get(_stem(path), "")
        ),
    }
    if kind not in builders:
        return [ImportItem(_file_name(file.path), file.path) for file in files]
    return [builders[kind](file.path) for file in files]


def _item_in_folder(path: str) -> ImportItem:
    """The folder is the label. A parent folder with the name of a split, such as train, is the split."""
    label = _folder(path)
    parents = [part.lower() for part in PurePosixPath(path).parts[-3::-1]]
    usage = next((csv_labels.USAGE_BY_WORD[part] for part in parents if part in csv_labels.USAGE_BY_WORD), "")
    labels = (EntryLabel(label, annotated_by=""),) if label else ()
    return ImportItem(_file_name(path), path, entry_labels=labels, split=SPLIT_OF_USAGE.get(usage, ""))


def read_label_file(content: bytes) -> tuple[EntryLabel, ...]:
    """The labels of a text file, one per line."""
    text = content.decode("utf-8-sig", "replace").replace("\0", "")
    names = dict.fromkeys(line.strip() for line in itertools.islice(text.splitlines(), 1000))
    return tuple(EntryLabel(name, annotated_by="") for name in names if name)


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _stem(path: str) -> str:
    return path.removesuffix(PurePosixPath(path).suffix)


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]


def _folder(path: str) -> str:
    return path.rpartition("/")[0].rpartition("/")[2]
