"""The plan of an import: its images in order, and where their labels come from.

Every file of the source is one item of the plan: an image, a label file, or a file that is left out with its
reason. Rows of label files about images that are not there are items, too. The same source gives the same
plan, so a killed import resumes at its cursor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy, gettext_noop

from projects.formats import label_files
from projects.formats.csv_labels import LabelLook
from projects.formats.encodings import decode, find_encoding
from projects.formats.manifest import EntryLabel
from projects.formats.pictures.picture_formats import SUFFIXES as IMAGE_SUFFIXES
from projects.formats.splits.split_folders import FolderLevel, FolderTree, folder_levels
from projects.images.decode import ImageRefused
from projects.labels import metadata
from projects.models import Project, Split
from projects.transfers import descriptions as label_file_search
from projects.transfers.described_images import DescribedImages, ImportItem, ItemKind
from projects.transfers.descriptions import CannotPlan, Description, Descriptions
from projects.transfers.export import label_of_folder
from projects.transfers.file_sources import SYSTEM_FILE, FileSource, SourceFile, ZipSource
from projects.transfers.path_mapping import ImageFinder, PathMapping
from projects.transfers.texts.reasons import NOT_USED, with_beginning

TABLE_READERS = {"table", "records", "inner_records", "list"}
MAX_SAMPLED_TEXTS = 20
MAX_TEXT_BYTES = 64 * 1024
MAX_LABELS_OF_IMAGE = 1000
NOT_WANTED = gettext_noop("Not read: you chose another source of labels.")
GUESSED_COLUMNS = gettext_noop("Its column names do not say which column holds images and which labels.")
LABEL_FILE = gettext_noop("A label file.")
LABEL_LIST = gettext_noop("A list of labels.")
LABEL_TEXT = gettext_noop("The labels of an image.")
BOXES = gettext_noop("It holds boxes or outlines, which are not labels of the whole image.")
BOX_TEXT = gettext_noop("Its text file holds boxes or outlines, which are not labels of the whole image.")

NO_MANIFEST = gettext_noop(
    "The archive has no manifest (.manifest or .jsonl). Choose another source of labels."
)
NO_TABLE = gettext_noop("The archive has no table (.csv). Choose another source of labels.")


class LabelsFrom(models.TextChoices):
    """Where the labels of imported images come from."""

    AUTOMATIC = "auto", gettext_lazy("Automatic: label files, text files or folders")
    FOLDERS = "folders", gettext_lazy("The folder of each image")
    TEXTS = "texts", gettext_lazy("Text files: 10.txt beside 10.jpg, one label per line")
    MANIFEST = "manifest", gettext_lazy("A manifest in the archive")
    TABLE = "table", gettext_lazy("A table in the archive")
    NOTHING = "nothing", gettext_lazy("None: import the images without labels")


@dataclass(frozen=True)
class ImportPlan:
    """`descriptions` are the label files that were found, those not understood included.

    `unlisted`: images of the source that no label file names, while others are named. `levels`: folders that
    may be a column of metadata. `left_out_columns`: names of columns for which the project has no room.
    """

    items: list[ImportItem]
    labels_from: LabelsFrom
    looks: list[LabelLook] = field(default_factory=list)
    descriptions: list[Description] = field(default_factory=list)
    conflicts: int = 0
    unlisted: int = 0
    levels: list[FolderLevel] = field(default_factory=list)
    left_out_columns: list[str] = field(default_factory=list)

    def with_tests(self, choice: str) -> ImportPlan:
        """The plan with what a person chose about test images: “keep”, “use”, “all” or nothing."""
        if choice == "use":
            items = [replace(item, split="") if item.split == Split.TEST else item for item in self.items]
        elif choice == "all":
            items = [
                replace(item, split=Split.TEST.value) if item.kind == ItemKind.IMAGE else item
                for item in self.items
            ]
        else:
            return self
        return replace(self, items=items)

    @property
    def images(self) -> Iterator[ImportItem]:
        return (item for item in self.items if item.kind == ItemKind.IMAGE)

    @property
    def columns(self) -> list[str]:
        """Names of the columns of metadata, in the order in which they first occur."""
        return list(dict.fromkeys(name for item in self.images for name in item.values))


def make_plan(
    project: Project,
    source: FileSource,
    *,
    labels_from: LabelsFrom = LabelsFrom.AUTOMATIC,
    beside: Sequence[Description] = (),
    mapping: PathMapping | None = None,
    choices: Mapping[str, Mapping[str, Any]] | None = None,
    has_unlisted: bool = True,
    may_guess: bool = False,
    folder_columns: Mapping[str, str] | None = None,
) -> ImportPlan:
    """Plan an import from the names of the source's files and from the label files in and beside it.

    `choices`: what a person chose for label files, by path. `has_unlisted`: images of the source that no
    label file names are imported, too. `may_guess`: a person sees the plan before it is imported, so a table
    whose columns are guessed is used where there are no other labels. `folder_columns`: level of folders →
    name of the column of metadata that they become. Raises CannotPlan, SourceUnreadable.
    """
    files = source.files()
    texts, others = _pair_text_files(files)
    found, rest = _find_descriptions(source, others, labels_from, beside, choices or {})
    finder = ImageFinder(project, rest, mapping or PathMapping())
    described = DescribedImages(project, finder)
    for description in found.found:
        _read(description, described, labels_from, has_pictures=bool(rest))
    if may_guess and not described.has_labels:
        _read_guesses(source, found, described, labels_from, rest, texts)
    if not rest and not described.has_any:
        raise CannotPlan(_why_nothing(found))
    _check_wanted(labels_from, described)
    plan = _plan(source, rest, texts, found, described, labels_from, has_unlisted, folder_columns or {})
    return _without_columns(plan, metadata.names_without_room(project, plan.columns))


def _find_descriptions(
    source: FileSource,
    files: Sequence[SourceFile],
    labels_from: LabelsFrom,
    beside: Sequence[Description],
    choices: Mapping[str, Mapping[str, Any]],
) -> tuple[Descriptions, list[SourceFile]]:
    """The label files, and the files that cannot be any."""
    rest = [file for file in files if not label_file_search.may_describe(file.path)]
    candidates = [file for file in files if label_file_search.may_describe(file.path)]
    return label_file_search.find_descriptions(source, candidates, beside, choices), rest


def _read(
    description: Description, described: DescribedImages, labels_from: LabelsFrom, has_pictures: bool
) -> None:
    """Add the images of one label file. One that a person chose must be readable; a stray one is named."""
    is_chosen = description.is_beside or labels_from in (LabelsFrom.MANIFEST, LabelsFrom.TABLE)
    must_fit = is_chosen and not description.choice.is_given  # else the page shows what does not
    if description.label_file is None:
        if description.is_beside:
            raise CannotPlan(f"{description.path}: {description.problem}")
        described.leave_out(description, description.problem)
    elif not _is_wanted(description, labels_from):
        described.leave_out(description, description.choice.problem or NOT_WANTED)
    elif reason := _why_doubtful(description):
        described.leave_out(description, reason)
    else:
        try:
            is_wanted = is_chosen or description.choice.is_given or not has_pictures
            reason = described.read(description, is_wanted=is_wanted)
        except (label_files.LabelFileError, ImageRefused) as problem:
            if must_fit:
                raise CannotPlan(f"{description.path}: {problem}") from problem
            described.leave_out(description, str(problem))
        else:
            if reason:
                described.leave_out(description, reason)


def _read_guesses(
    source: FileSource,
    found: Descriptions,
    described: DescribedImages,
    labels_from: LabelsFrom,
    rest: Sequence[SourceFile],
    texts: dict[str, str],
) -> None:
    """Use tables with guessed columns, if neither folders nor text files give labels."""
    pictures = [file.path for file in rest if _suffix(file.path) in IMAGE_SUFFIXES]
    is_empty = _detect_label_source(source, pictures, texts, FolderTree(pictures)) == LabelsFrom.NOTHING
    if labels_from == LabelsFrom.AUTOMATIC and is_empty:
        for description in found.found:
            if described.left_out.get(description.path) == GUESSED_COLUMNS:
                del described.left_out[description.path]
                guess = replace(description, choice=replace(description.choice, is_given=True))
                _read(guess, described, labels_from, has_pictures=True)


def _why_doubtful(description: Description) -> str:
    """Why a label file that nobody chose is not used: its labels may be none. Empty where it is."""
    found = description.label_file
    if description.is_beside or found is None or description.choice.is_given:
        return ""
    if description.has_name_of_submission:
        return label_file_search.SUBMISSION
    return GUESSED_COLUMNS if found.is_table and not (found.is_certain and found.columns) else ""


def _is_wanted(description: Description, labels_from: LabelsFrom) -> bool:
    """Whether the label file is of the kind that a person chose; one beside the archive is chosen."""
    if not description.choice.is_used:
        return False
    if description.is_beside or labels_from == LabelsFrom.AUTOMATIC:
        return True
    kind = _kind(description)
    return labels_from == kind


def _kind(description: Description) -> LabelsFrom:
    assert description.label_file is not None
    return LabelsFrom.TABLE if description.label_file.reader in TABLE_READERS else LabelsFrom.MANIFEST


def _why_nothing(found: Descriptions) -> str:
    if len(found.found) == 1 and found.found[0].problem:
        return f"{found.found[0].path}: {found.found[0].problem}"
    return gettext_noop("There is no file to import.")


def _check_wanted(labels_from: LabelsFrom, described: DescribedImages) -> None:
    if labels_from in (LabelsFrom.MANIFEST, LabelsFrom.TABLE) and not described.used:
        raise CannotPlan(NO_MANIFEST if labels_from == LabelsFrom.MANIFEST else NO_TABLE)


def _plan(
    source: FileSource,
    rest: Sequence[SourceFile],
    texts: dict[str, str],
    found: Descriptions,
    described: DescribedImages,
    labels_from: LabelsFrom,
    has_unlisted: bool,
    folder_columns: Mapping[str, str],
) -> ImportPlan:
    pictures = [file.path for file in rest if _suffix(file.path) in IMAGE_SUFFIXES]
    tree = FolderTree(pictures or [file.path for file in rest])
    kind = labels_from
    if described.has_labels:
        kind = _kind(described.used[0])
    elif kind == LabelsFrom.AUTOMATIC or (kind in (LabelsFrom.MANIFEST, LabelsFrom.TABLE)):
        kind = _detect_label_source(source, pictures, texts, tree)
    listed = described.paths
    items = [
        _with_split(described.item(file.path) or _item_of_file(file.path, tree, texts, kind), described, tree)
        for file in rest
        if has_unlisted or not described.used or file.path in listed
    ]
    has_label = kind == LabelsFrom.FOLDERS
    levels = folder_levels((item.path for item in items), tree, folder_columns, has_label=has_label)
    items = [_with_folders(item, tree, has_label, folder_columns) for item in items]
    unused_texts = [path for stem, path in texts.items() if kind != LabelsFrom.TEXTS]
    if kind == LabelsFrom.TEXTS:
        items += [left_out(path, LABEL_TEXT, ItemKind.LABEL_FILE) for path in texts.values()]
    items += described.other_items()
    items += [left_out(path, _why_unused(source, path)) for path in unused_texts]
    items += _items_of_label_files(found, described)
    if isinstance(source, ZipSource):
        items += [
            left_out(path, reason, ItemKind.SYSTEM_FILE if reason == SYSTEM_FILE else ItemKind.LEFT_OUT)
            for path, reason in source.left_out
        ]
    is_partly_listed = bool(described.has_labels and has_unlisted)
    unlisted = sum(file not in listed for file in pictures) if is_partly_listed else 0
    return ImportPlan(items, kind, found.looks, found.found, described.conflicts, unlisted, levels)


def _with_split(item: ImportItem, described: DescribedImages, tree: FolderTree) -> ImportItem:
    """The item with the split that a label file says, else its folder, and with its metadata."""
    usage = described.split(item.path) or tree.place(item.path).usage
    return replace(item, split=usage if usage in Split.values else "", values=described.values(item.path))


def _without_columns(plan: ImportPlan, names: Sequence[str]) -> ImportPlan:
    if not names:
        return plan
    items = [
        replace(item, values={name: value for name, value in item.values.items() if name not in names})
        for item in plan.items
    ]
    return replace(plan, items=items, left_out_columns=list(names))


def _with_folders(
    item: ImportItem, tree: FolderTree, has_label: bool, folder_columns: Mapping[str, str]
) -> ImportItem:
    """The item with the names of its folders in the columns that a person chose for them."""
    if not folder_columns:
        return item
    levels = tree.levels(item.path, has_label=has_label)
    named = {
        folder_columns[str(level)]: name for level, name in levels.items() if str(level) in folder_columns
    }
    return replace(item, values={**named, **item.values})


def left_out(path: str, reason: str, kind: ItemKind = ItemKind.LEFT_OUT) -> ImportItem:
    """The item of a file that is no image of the import."""
    return ImportItem(_file_name(path), path, problem=reason, kind=kind)


def _items_of_label_files(found: Descriptions, described: DescribedImages) -> Iterator[ImportItem]:
    for path in found.label_lists:
        yield left_out(path, LABEL_LIST, ItemKind.LABEL_FILE)
    for description in found.found:
        if not description.is_beside:
            if reason := described.left_out.get(description.path):
                yield left_out(description.path, with_beginning(NOT_USED, reason))
            else:
                yield left_out(description.path, LABEL_FILE, ItemKind.LABEL_FILE)


# --- images without a label file ---


def _pair_text_files(files: Sequence[SourceFile]) -> tuple[dict[str, str], list[SourceFile]]:
    """Text files beside images, by the image's stem; and all other files."""
    texts = {_stem(file.path): file.path for file in files if _suffix(file.path) == ".txt"}
    images = [file.path for file in files if _suffix(file.path) in IMAGE_SUFFIXES]
    stems = {*map(_stem, images), *images}  # `a.jpg.txt`, too
    pairs = {stem: path for stem, path in texts.items() if stem in stems}
    used = set(pairs.values())
    return pairs, [file for file in files if file.path not in used]


def _detect_label_source(
    source: FileSource, pictures: Sequence[str], texts: dict[str, str], tree: FolderTree
) -> LabelsFrom:
    """Text files if at least half of the images have one; else folders, if there are two or more labels."""
    if texts and 2 * len(texts) >= len(pictures) and not _are_boxes(source, texts.values()):
        return LabelsFrom.TEXTS
    labels = Counter(tree.place(path).label for path in pictures)
    return LabelsFrom.FOLDERS if len([label for label in labels if label]) > 1 else LabelsFrom.NOTHING


def _are_boxes(source: FileSource, paths: Iterable[str]) -> bool:
    """Whether all of a few text files that are not empty hold boxes, as YOLO and KITTI write them."""
    sample = sorted(paths)
    step = max(1, len(sample) // MAX_SAMPLED_TEXTS)
    contents = [content for path in sample[::step] if (content := _read_text(source, path)).strip()]
    return bool(contents) and all(map(label_files.is_box_text, contents))


def _read_text(source: FileSource, path: str) -> bytes:
    try:
        return source.read(path, MAX_TEXT_BYTES)
    except ImageRefused:
        return b""


def _why_unused(source: FileSource, path: str) -> str:
    return BOXES if label_files.is_box_text(_read_text(source, path)) else NOT_WANTED


def _item_of_file(path: str, tree: FolderTree, texts: dict[str, str], kind: LabelsFrom) -> ImportItem:
    """The folder, or the text file beside the image, holds its label; a folder of a split its split."""
    placed = tree.place(path)
    is_label = kind == LabelsFrom.FOLDERS and placed.label
    return ImportItem(
        _file_name(path),
        path,
        entry_labels=(EntryLabel(label_of_folder(placed.label), annotated_by=""),) if is_label else (),
        text_path=(texts.get(path) or texts.get(_stem(path), "")) if kind == LabelsFrom.TEXTS else "",
    )


def read_label_text(content: bytes) -> tuple[EntryLabel, ...]:
    """The labels of a text file beside an image, one per line. Raises ImageRefused if it holds boxes."""
    if label_files.is_box_text(content):
        raise ImageRefused(BOX_TEXT)
    text = decode(content, find_encoding(content).name).replace("\0", "")
    names = dict.fromkeys(line.strip() for line in text.splitlines()[:MAX_LABELS_OF_IMAGE])
    return tuple(EntryLabel(name, annotated_by="") for name in names if name)


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _stem(path: str) -> str:
    return path.removesuffix(PurePosixPath(path).suffix)


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]
