"""The images that label files name, with their labels; several label files of one import are merged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from django.utils.translation import gettext_noop

from projects.formats.manifest import FILE_NAME, SHA256, Entry, EntryLabel
from projects.models import Project, Split
from projects.models.label import MAX_LABELS
from projects.transfers.descriptions import MAX_ROWS, TOO_MANY_ROWS, CannotPlan, Description, SharedLabels
from projects.transfers.path_mapping import NOT_FOUND, ImageFinder, Match, readable_name

OTHER_IMAGES = gettext_noop("It names no image of this import or of the project.")
NO_LABELS = gettext_noop("It names images, but no labels, splits or metadata.")
CONFLICT = (
    "Two label files disagree: “{first}” says {labels}, “{second}” says {others}. "  # not translated: values
    "It gets no label."
)
Key = str | int  # the path of a file of the source, or the id of an image of the project


class ItemKind(Enum):
    """What an item of a plan is. ROW: a row of a label file about an image that is not there.

    SYSTEM_FILE: a file that an operating system or a server adds, such as Thumbs.db.
    """

    IMAGE = "image"
    ROW = "row"
    LABEL_FILE = "label file"
    SYSTEM_FILE = "system file"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class ImportItem:
    """One image of an import: a file of the source (`path`) or an image of the project (`image_id`).

    `values`: its metadata. `text_path`: the text file with its labels. `problem`: why the file is refused
    without being read. `remark`: why the image gets no label. A file that is no image has another `kind`.
    """

    name: str
    path: str = ""
    image_id: int | None = None
    entry_labels: tuple[EntryLabel, ...] = ()
    text_path: str = ""
    split: str = ""
    is_hard: bool | None = None
    problem: str = ""
    remark: str = ""
    kind: ItemKind = ItemKind.IMAGE
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_file(self) -> bool:
        """Whether the item is a file of the source, so that the report accounts for it."""
        return bool(self.path)


@dataclass(slots=True)
class _Row:
    """What one label file says about an image. `shared`: path parts in common, as in Match."""

    item: ImportItem
    source: str
    shared: int = 0
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.names = {label.name for label in self.item.entry_labels}

    def add(self, item: ImportItem) -> None:
        """Add what another row says. Labels beyond those that a project can have are not kept."""
        new = [label for label in item.entry_labels if label.name not in self.names]
        if new and len(self.names) <= MAX_LABELS:  # one more than allowed, so that the import is refused
            self.names |= {label.name for label in new}
            self.item = replace(self.item, entry_labels=(*self.item.entry_labels, *new))
        if item.split and item.split != self.item.split:
            self.item = replace(self.item, split=stricter_split(item.split, self.item.split))
        if item.values:
            self.item = replace(self.item, values={**item.values, **self.item.values})


class DescribedImages:
    def __init__(self, project: Project, finder: ImageFinder) -> None:
        self._is_multi_label, self._finder = project.is_multi_label, finder
        self._items: dict[Key, ImportItem] = {}
        self._named_by: dict[Key, str] = {}  # the label file that gave an image its labels
        self._unmatched: list[ImportItem] = []
        self._shared, self._count = SharedLabels(), 0
        self.used: list[Description] = []
        self.left_out: dict[str, str] = {}  # path of a label file → why it is not used
        self.conflicts = 0

    @property
    def has_labels(self) -> bool:
        return any(item.entry_labels or item.remark for item in self._items.values()) or any(
            item.entry_labels for item in self._unmatched
        )

    @property
    def has_any(self) -> bool:
        return bool(self._items or self._unmatched)

    @property
    def paths(self) -> set[str]:
        """Files of the source that a label file names."""
        return {key for key in self._items if isinstance(key, str)}

    def item(self, path: str) -> ImportItem | None:
        """The item of a file, if a label file gives labels to the images of this import and names it."""
        return self._items.get(path) if self.has_labels else None

    def split(self, path: str) -> str:
        """The split that a label file gives a file."""
        item = self._items.get(path)
        return item.split if item else ""

    def values(self, path: str) -> Mapping[str, str]:
        """The metadata that label files give a file."""
        item = self._items.get(path)
        return item.values if item else {}

    def other_items(self) -> Iterator[ImportItem]:
        """Images of the project, and rows about images that are not there."""
        yield from (item for key, item in self._items.items() if isinstance(key, int))
        yield from self._unmatched

    def leave_out(self, description: Description, reason: str) -> None:
        self.left_out[description.path] = reason

    def read(self, description: Description, *, is_wanted: bool) -> str:
        """Add the images of a label file. Nothing is added if it says nothing about them: the reason then.

        `is_wanted`: it is used even then, so that its rows are reported. Raises LabelFileError, ImageRefused,
        CannotPlan.
        """
        rows: dict[Key, _Row] = {}
        unmatched: list[ImportItem] = []
        for entry in description.entries():
            self._count += 1
            if self._count > MAX_ROWS:
                raise CannotPlan(TOO_MANY_ROWS.format(name=description.path, limit=MAX_ROWS))
            self._add_row(self._row(entry, description), rows, unmatched)
        if not is_wanted and not rows:
            return OTHER_IMAGES
        items = [row.item for row in rows.values()]
        if not is_wanted and not any(item.entry_labels or item.split or item.values for item in items):
            return NO_LABELS
        self.used.append(description)
        self._unmatched += unmatched
        for key, row in rows.items():
            self._merge(key, row.item, description.path)
        return ""

    def _row(self, entry: Entry, description: Description) -> _Row:
        match = self._find(entry, description)
        name = str(entry.properties.get(FILE_NAME) or "")
        name = name or match.path.rpartition("/")[2] or readable_name(entry.source)
        item = ImportItem(
            name,
            match.path,
            match.image_id,
            self._shared.of(entry.entry_labels),
            split=entry.usage if entry.usage in Split.values else "",
            is_hard=entry.is_hard if entry.is_hard is not None else _read_is_hard(entry),
            problem=match.problem,
            kind=ItemKind.ROW if match.problem else ItemKind.IMAGE,
            values=entry.values,
        )
        return _Row(item, entry.source, match.shared)

    def _find(self, entry: Entry, description: Description) -> Match:
        """The image of a row. Of files of the same name, the one beside the label file is meant."""
        sha256 = str(entry.properties.get(SHA256) or "")
        folder = "" if description.is_beside else description.path.rpartition("/")[0]
        if folder and "://" not in entry.source:
            match = self._finder.find(f"{folder}/{entry.source}", sha256)
            if not match.problem:
                return match
        return self._finder.find(entry.source, sha256)

    @staticmethod
    def _add_row(row: _Row, rows: dict[Key, _Row], unmatched: list[ImportItem]) -> None:
        """Rows about the same image are merged.

        If addresses of different images match one file, that with the longest common path end gets it.
        """
        key = row.item.path or row.item.image_id
        if not key:
            unmatched.append(row.item)
            return
        before = rows.get(key)
        if before is None:
            rows[key] = row
        elif before.source == row.source:
            before.add(row.item)
        elif row.shared > before.shared:
            unmatched.append(_without_image(before.item))
            rows[key] = row
        else:
            unmatched.append(_without_image(row.item))

    def _merge(self, key: Key, item: ImportItem, path: str) -> None:
        """Add what a label file says about an image to what others said."""
        before = self._items.get(key)
        if before is not None:
            item = replace(item, values={**item.values, **before.values})
        if before is None or not (before.entry_labels or before.remark):
            split = stricter_split(item.split, before.split if before else "")
            self._items[key], self._named_by[key] = replace(item, split=split), path
            return
        split = stricter_split(before.split, item.split)
        merged = replace(before, split=split, values=item.values)
        if item.entry_labels and not before.remark and _names(item) != _names(before):
            merged = self._settle(key, merged, item, path)
        self._items[key] = merged

    def _settle(self, key: Key, before: ImportItem, item: ImportItem, path: str) -> ImportItem:
        """Labels of both files in a project with several labels per image; else none, and a remark."""
        if self._is_multi_label:
            return _with_labels_of(before, item)
        self.conflicts += 1
        remark = CONFLICT.format(
            first=self._named_by[key], labels=_quoted(before), second=path, others=_quoted(item)
        )
        return replace(before, entry_labels=(), remark=remark)


def stricter_split(first: str, second: str) -> str:
    """The split of an image of which two are said: test whoever says so, else the first."""
    return Split.TEST if Split.TEST in (first, second) else first or second


def _names(item: ImportItem) -> set[str]:
    return {label.name.lower() for label in item.entry_labels}


def _quoted(item: ImportItem) -> str:
    return ", ".join(f"“{label.name[:64]}”" for label in item.entry_labels[:5])


def _with_labels_of(first: ImportItem, item: ImportItem) -> ImportItem:
    by_name = {label.name: label for label in (*first.entry_labels, *item.entry_labels)}
    return replace(first, entry_labels=tuple(by_name.values()))


def _without_image(item: ImportItem) -> ImportItem:
    return replace(item, path="", image_id=None, problem=NOT_FOUND, kind=ItemKind.ROW)


def _read_is_hard(entry: Entry) -> bool | None:
    value = entry.properties.get("@modelarts:hard")
    return bool(value) if value in (0, 1, True, False) else None
