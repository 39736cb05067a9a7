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
from projects.formats.csv_labels import Look
from projects.formats.manifest import Entry, ManifestError, Mark
from projects.images.decode import Refused
from projects.models import Project, Side
from projects.transfers.file_sources import Found, Place
from projects.transfers.path_mapping import NOT_THERE, Finder, Mapping

PICTURES = {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp"}
MANIFESTS = {".manifest", ".jsonl"}
LARGEST_TEXT = 512 * 1024 * 1024
SIDES = {"TRAIN": Side.TRAIN.value, "EVAL": Side.EVAL.value}


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
class Item:
    """One image of an import: a file of the place, or (`image_id`) one that the project has already.

    `text_path` names the file that holds its labels. `problem` says why it is refused unread.
    """

    name: str
    path: str = ""
    image_id: int | None = None
    marks: tuple[Mark, ...] = ()
    text_path: str = ""
    side: str = ""
    is_hard: bool | None = None
    problem: str = ""


@dataclass(frozen=True)
class Plan:
    items: list[Item]
    labels_from: LabelsFrom
    looks: list[Look] = field(default_factory=list)


def plan(
    project: Project,
    place: Place,
    *,
    labels_from: LabelsFrom = LabelsFrom.AUTOMATIC,
    description: tuple[str, bytes] | None = None,
    mapping: Mapping | None = None,
) -> Plan:
    """Look at the names in the place and at what describes them.

    `description`: name and content of a manifest or a table that came beside the place. Raises CannotPlan,
    Unreadable.
    """
    found = place.files()
    looks, described, rest = _read_descriptions(place, found, labels_from, description)
    finder = Finder(project, rest, mapping or Mapping())
    kind, entries = described or (LabelsFrom.NOTHING, [])
    if any(entry.marks for entry in entries) or (entries and (description or not rest)):
        return Plan(_of_entries(entries, finder), kind, looks)
    if not rest:
        raise CannotPlan("There is no file to import.")
    if labels_from in (LabelsFrom.MANIFEST, LabelsFrom.TABLE):
        word = "manifest (.manifest or .jsonl)" if labels_from == LabelsFrom.MANIFEST else "CSV table"
        raise CannotPlan(f"There is no {word} in the archive. Choose what else says the labels.")
    texts, pictures = _split_texts(rest)
    kind = labels_from if labels_from != LabelsFrom.AUTOMATIC else _seen(pictures, texts)
    items = _of_files(pictures, texts, kind)
    return Plan(_with_sides(items, entries, finder), kind, looks)


def _with_sides(items: list[Item], entries: list[Entry], finder: Finder) -> list[Item]:
    """A table with sets and no labels adds the set to what the folders say."""
    sides = {finder.find(entry.source).path: SIDES.get(entry.usage, "") for entry in entries}
    return [replace(item, side=sides.get(item.path) or item.side) for item in items]


# --- manifests and tables ---


def _read_descriptions(
    place: Place, found: list[Found], labels_from: LabelsFrom, beside: tuple[str, bytes] | None
) -> tuple[list[Look], tuple[LabelsFrom, list[Entry]] | None, list[Found]]:
    """The list of labels, the entries of a manifest or table, and the other files."""
    looks: list[Look] = []
    described = _described(*beside) if beside else None
    rest: list[Found] = []
    candidates: list[Found] = []
    for one in found:
        (candidates if _suffix(one.path) in {*MANIFESTS, ".csv", ".tsv"} else rest).append(one)
    for one in sorted(candidates, key=lambda one: (one.path.count("/"), one.path)):
        content = _read_text(place, one.path)
        if _suffix(one.path) == ".csv" and csv_labels.is_label_list(content):
            looks = looks or csv_labels.read_label_list(content)
        elif described is None and _is_wanted(one.path, labels_from):
            described = _described_beside(one.path, content, labels_from)
        # Further ones are left: an export for several tools holds the same labels twice.
    return looks, described, rest


def _described_beside(
    path: str, content: bytes, labels_from: LabelsFrom
) -> tuple[LabelsFrom, list[Entry]] | None:
    """A table that nobody asked for may be about anything; a manifest is about labels."""
    if _suffix(path) in MANIFESTS or labels_from == LabelsFrom.TABLE:
        return _described(path, content)
    try:
        return LabelsFrom.TABLE, list(csv_labels.read(content, is_found=True))
    except csv_labels.TableError:
        return None


def _is_wanted(path: str, labels_from: LabelsFrom) -> bool:
    kind = LabelsFrom.MANIFEST if _suffix(path) in MANIFESTS else LabelsFrom.TABLE
    return labels_from in (LabelsFrom.AUTOMATIC, kind)


def _read_text(place: Place, path: str) -> bytes:
    try:
        return place.read(path, LARGEST_TEXT)
    except Refused as refusal:
        raise CannotPlan(f"{path}: {refusal}") from refusal


def _described(name: str, content: bytes) -> tuple[LabelsFrom, list[Entry]]:
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


def _of_entries(entries: Iterable[Entry], finder: Finder) -> list[Item]:
    """One item an image. What several lines about the same image say is put together.

    Where lines about different images found the same file, the one whose path is closest has it.
    """
    items: list[Item] = []
    holders: dict[object, tuple[int, str, int]] = {}  # file or image → (its item, source, shared)
    for entry in entries:
        item, shared = _of_entry(entry, finder)
        key = item.path or item.image_id
        place, source, closest = holders.get(key, (-1, "", 0)) if key else (-1, "", 0)
        if place >= 0 and source == entry.source:
            items[place] = _together(items[place], item)
            continue
        if place >= 0 and shared <= closest:
            item = _refused(item)
        elif place >= 0:
            items[place] = _refused(items[place])
        if key and not item.problem:
            holders[key] = (len(items), entry.source, shared)
        items.append(item)
    return items


def _together(first: Item, item: Item) -> Item:
    marks = {mark.name: mark for mark in (*first.marks, *item.marks)}
    return replace(first, marks=tuple(marks.values()), side=item.side or first.side)


def _refused(item: Item) -> Item:
    return replace(item, path="", image_id=None, problem=NOT_THERE)


def _of_entry(entry: Entry, finder: Finder) -> tuple[Item, int]:
    name = str(entry.properties.get(manifest.FILE_NAME) or "") or entry.source.rpartition("/")[2]
    where = finder.find(entry.source, str(entry.properties.get(manifest.SHA256) or ""))
    is_hard = entry.is_hard if entry.is_hard is not None else _hard(entry)
    side = SIDES.get(entry.usage, "")
    item = Item(name, where.path, where.image_id, entry.marks, "", side, is_hard, where.problem)
    return item, where.shared


def _hard(entry: Entry) -> bool | None:
    value = entry.properties.get("@modelarts:hard")
    return bool(value) if value in (0, 1, True, False) else None


# --- files alone ---


def _split_texts(found: Sequence[Found]) -> tuple[dict[str, str], list[Found]]:
    """Text files beside pictures, by the picture's path; and the files that are left."""
    texts = {_stem(one.path): one.path for one in found if _suffix(one.path) == ".txt"}
    stems = {_stem(one.path) for one in found if _suffix(one.path) in PICTURES}
    pairs = {stem: path for stem, path in texts.items() if stem in stems}
    used = set(pairs.values())
    return pairs, [one for one in found if one.path not in used]


def _seen(found: Sequence[Found], texts: dict[str, str]) -> LabelsFrom:
    """What most probably says the labels: texts beside half of the pictures, or two folders at least."""
    pictures = [one.path for one in found if _suffix(one.path) in PICTURES]
    if texts and 2 * len(texts) >= len(pictures):
        return LabelsFrom.TEXTS
    folders = Counter(_folder(path) for path in pictures)
    named = [folder for folder in folders if folder]
    return LabelsFrom.FOLDERS if len(named) > 1 else LabelsFrom.NOTHING


def _of_files(found: Sequence[Found], texts: dict[str, str], kind: LabelsFrom) -> list[Item]:
    told: dict[LabelsFrom, Callable[[str], Item]] = {
        LabelsFrom.FOLDERS: lambda path: _in_folder(path),
        LabelsFrom.TEXTS: lambda path: Item(_name(path), path, text_path=texts.get(_stem(path), "")),
    }
    if kind not in told:
        return [Item(_name(one.path), one.path) for one in found]
    return [told[kind](one.path) for one in found]


def _in_folder(path: str) -> Item:
    """The folder is the label; one above it that is called train or val is the set."""
    label = _folder(path)
    above = PurePosixPath(path).parts[:-2]
    usage = next(
        (csv_labels.USAGES[part.lower()] for part in above[::-1] if part.lower() in csv_labels.USAGES), ""
    )
    marks = (Mark(label, annotated_by=""),) if label else ()
    return Item(_name(path), path, marks=marks, side=SIDES.get(usage, ""))


def read_labels(content: bytes) -> tuple[Mark, ...]:
    """The labels of a text file, one in each line."""
    text = content.decode("utf-8-sig", "replace").replace("\0", "")
    names = dict.fromkeys(line.strip() for line in itertools.islice(text.splitlines(), 1000))
    return tuple(Mark(name, annotated_by="") for name in names if name)


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _stem(path: str) -> str:
    return path.removesuffix(PurePosixPath(path).suffix)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _folder(path: str) -> str:
    return path.rpartition("/")[0].rpartition("/")[2]
