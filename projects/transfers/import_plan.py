"""What an import will do, file by file: which images, and what says their labels.

The same place gives the same plan, so that a killed import goes on at its place in it.
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
from projects.images.decode import ImageRefused
from projects.models import Project, Split
from projects.transfers.file_sources import FileSource, SourceFile
from projects.transfers.path_mapping import NOT_FOUND, ImageFinder, PathMapping

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp"}
MANIFEST_SUFFIXES = {".manifest", ".jsonl"}
MAX_TEXT_BYTES = 512 * 1024 * 1024
SPLIT_OF_USAGE = {"TRAIN": Split.TRAIN.value, "EVAL": Split.EVAL.value}


class LabelsFrom(models.TextChoices):
    """What says the labels of imported images."""

    AUTOMATIC = "auto", "Whatever is there (a manifest, a table, text files or folders)"
    FOLDERS = "folders", "The folder that each image lies in"
    TEXTS = "texts", "Text files: 10.txt beside 10.jpg, one label in each line"
    MANIFEST = "manifest", "A manifest in the archive"
    TABLE = "table", "A CSV table in the archive"
    NOTHING = "nothing", "Nothing: import the images without labels"


class CannotPlan(Exception):
    """The import cannot begin; the text is a sentence with cause and remedy."""


@dataclass(frozen=True, slots=True)
class ImportItem:
    """One image of an import: a file of the place, or (`image_id`) one that the project has already.

    `text_path` names the file that holds its labels. `problem` says why it is refused unread.
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
    place: FileSource,
    *,
    labels_from: LabelsFrom = LabelsFrom.AUTOMATIC,
    description: tuple[str, bytes] | None = None,
    mapping: PathMapping | None = None,
) -> ImportPlan:
    """Look at the names in the place and at what describes them.

    `description`: name and content of a manifest or a table that came beside the place. Raises CannotPlan,
    Unreadable.
    """
    found = place.files()
    looks, described, rest = _read_descriptions(place, found, labels_from, description)
    finder = ImageFinder(project, rest, mapping or PathMapping())
    kind, entries = described or (LabelsFrom.NOTHING, [])
    if any(entry.entry_labels for entry in entries) or (entries and (description or not rest)):
        return ImportPlan(_items_of_entries(entries, finder), kind, looks)
    if not rest:
        raise CannotPlan("There is no file to import.")
    if labels_from in (LabelsFrom.MANIFEST, LabelsFrom.TABLE):
        word = "manifest (.manifest or .jsonl)" if labels_from == LabelsFrom.MANIFEST else "CSV table"
        raise CannotPlan(f"There is no {word} in the archive. Choose what else says the labels.")
    texts, pictures = _pair_text_files(rest)
    kind = labels_from if labels_from != LabelsFrom.AUTOMATIC else _detect_label_source(pictures, texts)
    items = _items_of_files(pictures, texts, kind)
    return ImportPlan(_with_splits(items, entries, finder), kind, looks)


def _with_splits(items: list[ImportItem], entries: list[Entry], finder: ImageFinder) -> list[ImportItem]:
    """A table with sets and no labels adds the set to what the folders say."""
    sides = {finder.find(entry.source).path: SPLIT_OF_USAGE.get(entry.usage, "") for entry in entries}
    return [replace(item, split=sides.get(item.path) or item.split) for item in items]


# --- manifests and tables ---


def _read_descriptions(
    place: FileSource, found: list[SourceFile], labels_from: LabelsFrom, beside: tuple[str, bytes] | None
) -> tuple[list[LabelLook], tuple[LabelsFrom, list[Entry]] | None, list[SourceFile]]:
    """The list of labels, the entries of a manifest or table, and the other files."""
    looks: list[LabelLook] = []
    described = _parse_description(*beside) if beside else None
    rest: list[SourceFile] = []
    candidates: list[SourceFile] = []
    for one in found:
        (candidates if _suffix(one.path) in {*MANIFEST_SUFFIXES, ".csv", ".tsv"} else rest).append(one)
    for one in sorted(candidates, key=lambda one: (one.path.count("/"), one.path)):
        content = _read_text(place, one.path)
        if _suffix(one.path) == ".csv" and csv_labels.is_label_list(content):
            looks = looks or csv_labels.read_label_list(content)
        elif described is None and _is_wanted(one.path, labels_from):
            described = _parse_candidate(one.path, content, labels_from)
        # Further ones are left: an export for several tools holds the same labels twice.
    return looks, described, rest


def _parse_candidate(
    path: str, content: bytes, labels_from: LabelsFrom
) -> tuple[LabelsFrom, list[Entry]] | None:
    """A table that nobody asked for may be about anything; a manifest is about labels."""
    if _suffix(path) in MANIFEST_SUFFIXES or labels_from == LabelsFrom.TABLE:
        return _parse_description(path, content)
    try:
        return LabelsFrom.TABLE, list(csv_labels.read(content, is_discovered=True))
    except csv_labels.TableError:
        return None


def _is_wanted(path: str, labels_from: LabelsFrom) -> bool:
    kind = LabelsFrom.MANIFEST if _suffix(path) in MANIFEST_SUFFIXES else LabelsFrom.TABLE
    return labels_from in (LabelsFrom.AUTOMATIC, kind)


def _read_text(place: FileSource, path: str) -> bytes:
    try:
        return place.read(path, MAX_TEXT_BYTES)
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
    """One item an image. What several lines about the same image say is put together.

    Where lines about different images found the same file, the one whose path is closest has it.
    """
    items: list[ImportItem] = []
    holders: dict[object, tuple[int, str, int]] = {}  # file or image → (its item, source, shared)
    for entry in entries:
        item, shared = _item_of_entry(entry, finder)
        key = item.path or item.image_id
        place, source, closest = holders.get(key, (-1, "", 0)) if key else (-1, "", 0)
        if place >= 0 and source == entry.source:
            items[place] = _merge_items(items[place], item)
            continue
        if place >= 0 and shared <= closest:
            item = _without_image(item)
        elif place >= 0:
            items[place] = _without_image(items[place])
        if key and not item.problem:
            holders[key] = (len(items), entry.source, shared)
        items.append(item)
    return items


def _merge_items(first: ImportItem, item: ImportItem) -> ImportItem:
    marks = {mark.name: mark for mark in (*first.entry_labels, *item.entry_labels)}
    return replace(first, entry_labels=tuple(marks.values()), split=item.split or first.split)


def _without_image(item: ImportItem) -> ImportItem:
    return replace(item, path="", image_id=None, problem=NOT_FOUND)


def _item_of_entry(entry: Entry, finder: ImageFinder) -> tuple[ImportItem, int]:
    name = str(entry.properties.get(manifest.FILE_NAME) or "") or entry.source.rpartition("/")[2]
    where = finder.find(entry.source, str(entry.properties.get(manifest.SHA256) or ""))
    is_hard = entry.is_hard if entry.is_hard is not None else _read_is_hard(entry)
    side = SPLIT_OF_USAGE.get(entry.usage, "")
    item = ImportItem(name, where.path, where.image_id, entry.entry_labels, "", side, is_hard, where.problem)
    return item, where.shared


def _read_is_hard(entry: Entry) -> bool | None:
    value = entry.properties.get("@modelarts:hard")
    return bool(value) if value in (0, 1, True, False) else None


# --- files alone ---


def _pair_text_files(found: Sequence[SourceFile]) -> tuple[dict[str, str], list[SourceFile]]:
    """Text files beside pictures, by the picture's path; and the files that are left."""
    texts = {_stem(one.path): one.path for one in found if _suffix(one.path) == ".txt"}
    stems = {_stem(one.path) for one in found if _suffix(one.path) in IMAGE_SUFFIXES}
    pairs = {stem: path for stem, path in texts.items() if stem in stems}
    used = set(pairs.values())
    return pairs, [one for one in found if one.path not in used]


def _detect_label_source(found: Sequence[SourceFile], texts: dict[str, str]) -> LabelsFrom:
    """What most probably says the labels: texts beside half of the pictures, or two folders at least."""
    pictures = [one.path for one in found if _suffix(one.path) in IMAGE_SUFFIXES]
    if texts and 2 * len(texts) >= len(pictures):
        return LabelsFrom.TEXTS
    folders = Counter(_folder(path) for path in pictures)
    named = [folder for folder in folders if folder]
    return LabelsFrom.FOLDERS if len(named) > 1 else LabelsFrom.NOTHING


def _items_of_files(found: Sequence[SourceFile], texts: dict[str, str], kind: LabelsFrom) -> list[ImportItem]:
    told: dict[LabelsFrom, Callable[[str], ImportItem]] = {
        LabelsFrom.FOLDERS: lambda path: _item_in_folder(path),
        LabelsFrom.TEXTS: lambda path: ImportItem(
            _file_name(path), path, text_path=texts.get(_stem(path), "")
        ),
    }
    if kind not in told:
        return [ImportItem(_file_name(one.path), one.path) for one in found]
    return [told[kind](one.path) for one in found]


def _item_in_folder(path: str) -> ImportItem:
    """The folder is the label; one above it that is called train or val is the set."""
    label = _folder(path)
    above = PurePosixPath(path).parts[:-2]
    usage = next(
        (
            csv_labels.USAGE_BY_WORD[part.lower()]
            for part in above[::-1]
            if part.lower() in csv_labels.USAGE_BY_WORD
        ),
        "",
    )
    marks = (EntryLabel(label, annotated_by=""),) if label else ()
    return ImportItem(_file_name(path), path, entry_labels=marks, split=SPLIT_OF_USAGE.get(usage, ""))


def read_label_file(content: bytes) -> tuple[EntryLabel, ...]:
    """The labels of a text file, one in each line."""
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
