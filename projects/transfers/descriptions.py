"""The label files of an import: found by their content, and read with what a person chose for them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from django.utils.translation import gettext_noop

from projects.formats import csv_labels, label_files
from projects.formats.csv_labels import LabelLook
from projects.formats.label_files import Columns, LabelFile, LabelFileError
from projects.formats.manifest import Entry, EntryLabel
from projects.formats.splits.split_folders import usage_of_folder
from projects.images.decode import ImageRefused
from projects.models import Split
from projects.transfers.file_sources import FileSource, SourceFile

SUFFIXES = {".manifest", ".jsonl", ".ndjson", ".json", ".xml", ".csv", ".tsv", ".txt"}
MAX_BYTES = 512 * 1024 * 1024
MAX_ROWS = 300_000  # of all label files of an import together
MAX_COLUMNS = 5_000
MAX_LABEL_LIST_BYTES = 4 * 1024 * 1024
TOO_MANY_ROWS = (
    "{name}: the label files of an import can have {limit:,} rows. "  # not translated: stored with values
    "Import them in parts."
)
TOO_MANY_COLUMNS = "It has {number:,} columns; a table can have {limit:,}."  # not translated: with values
SUBMISSION = gettext_noop("It looks like a sample submission, whose labels are made up.")


class CannotPlan(Exception):
    """The import cannot start; the message names cause and remedy."""


@dataclass(frozen=True)
class Choice:
    """What a person chose for one label file; None and empty leave what was found."""

    is_used: bool = True
    image: int | None = None
    labels: tuple[int, ...] | None = None
    split: int | None = None
    metadata: tuple[int, ...] | None = None
    delimiter: str = ""
    separator: str | None = None
    encoding: str = ""
    problem: str = ""  # why a file that is not used could not be
    is_given: bool = False  # a person chose, be it what was found

    @classmethod
    def from_json(cls, choice: Mapping[str, Any]) -> Choice:
        if not choice:
            return cls()
        lists = {name: tuple(choice[name]) for name in ("labels", "metadata") if choice.get(name) is not None}
        return cls(**{**choice, **lists, "is_given": True})

    def columns(self, found: Columns | None) -> Columns | None:
        """The chosen columns, or those that were found."""
        if self.image is None:
            return found
        taken = {self.image, self.split, *(self.labels or ())}
        metadata = self.metadata if self.metadata is not None else found.metadata if found else ()
        kept = tuple(index for index in metadata if index not in taken)
        return Columns(self.image, self.labels or (), self.split, kept)


@dataclass(frozen=True)
class Description:
    """One label file. `label_file` is None where it was not understood; `problem` says why.

    `is_beside`: a person uploaded it beside the archive, or alone.
    """

    path: str
    open: Callable[[], AbstractContextManager[BinaryIO]]
    is_beside: bool = False
    label_file: LabelFile | None = None
    problem: str = ""
    choice: Choice = field(default_factory=Choice)

    @property
    def columns(self) -> Columns | None:
        return self.choice.columns(self.label_file.columns if self.label_file else None)

    @property
    def has_name_of_submission(self) -> bool:
        return "submission" in PurePosixPath(self.path).stem.lower()

    @property
    def is_of_tests(self) -> bool:
        """Whether its name, or that of a folder that holds it, says that it describes test images."""
        *folders, name = PurePosixPath(self.path.replace("\\", "/")).parts or ("",)
        stem = PurePosixPath(name).stem
        words = (stem, *re.split(r"[\W\d_]+", stem))
        return Split.TEST in map(usage_of_folder, (*folders, *words))

    def entries(self) -> Iterator[Entry]:
        """The images with their labels, in order. Raises LabelFileError, ImageRefused."""
        assert self.label_file is not None
        is_of_tests = self.is_of_tests
        with self.open() as file:
            for entry in label_files.read(self.label_file, file, self.columns):
                yield replace(entry, usage=Split.TEST) if is_of_tests and not entry.usage else entry


@dataclass
class Descriptions:
    """All label files of an import, those that a person uploaded first, and the list of labels if any."""

    found: list[Description] = field(default_factory=list)
    looks: list[LabelLook] = field(default_factory=list)
    label_lists: list[str] = field(default_factory=list)  # paths of the lists of labels that were read


def may_describe(path: str) -> bool:
    """Whether the name of a file fits a label file."""
    return PurePosixPath(path).suffix.lower() in SUFFIXES


def find_descriptions(
    source: FileSource,
    files: Sequence[SourceFile],
    beside: Sequence[Description],
    choices: Mapping[str, Mapping[str, Any]],
) -> Descriptions:
    """Look at every file that may be a label file, those at the top first. A stray one is only named."""
    ordered = sorted(files, key=lambda file: (file.path.count("/"), file.path))
    inside = [Description(file.path, _opener(source, file.path)) for file in ordered]
    result = Descriptions()
    for description in [*beside, *inside]:
        choice = Choice.from_json(choices.get(description.path, {}))
        identified = _identify(replace(description, choice=choice))
        if looks := _read_looks(identified):
            result.looks = result.looks or looks
            result.label_lists.append(identified.path)
            continue
        result.found.append(identified)
    _add_label_names(result)
    return result


def _opener(source: FileSource, path: str) -> Callable[[], AbstractContextManager[BinaryIO]]:
    return lambda: source.open(path, MAX_BYTES)


def _identify(description: Description) -> Description:
    choice = description.choice
    try:
        with description.open() as file:
            found = label_files.identify(description.path, file, choice.encoding)
    except (LabelFileError, ImageRefused) as problem:
        return replace(description, problem=str(problem))
    if len(found.head) > MAX_COLUMNS:
        problem_text = TOO_MANY_COLUMNS.format(number=len(found.head), limit=MAX_COLUMNS)
        return replace(description, problem=problem_text)
    found = replace(
        found,
        delimiter=choice.delimiter or found.delimiter,
        separator=found.separator if choice.separator is None else choice.separator,
    )
    return replace(description, label_file=found)


def _read_looks(description: Description) -> list[LabelLook]:
    """The labels of a list of labels, as an export writes it; empty if the file is none."""
    if PurePosixPath(description.path).suffix.lower() != ".csv":
        return []
    try:
        with description.open() as file:
            content = file.read(MAX_LABEL_LIST_BYTES)
        return csv_labels.read_label_list(content) if csv_labels.is_label_list(content) else []
    except (LabelFileError, ImageRefused):
        return []


def _add_label_names(result: Descriptions) -> None:
    """Give lists of label numbers the names that another file of the import lists."""
    wanting = [
        place
        for place, description in enumerate(result.found)
        if description.label_file and description.label_file.needs_label_names
    ]
    if not wanting:
        return
    for description in list(result.found):
        names = () if description.label_file else _read_label_names(description)
        if not names:
            continue
        result.found.remove(description)
        result.label_lists.append(description.path)
        result.found = [_with_label_names(other, names) for other in result.found]
        return


def _with_label_names(description: Description, names: tuple[str, ...]) -> Description:
    found = description.label_file
    if found is None or not found.needs_label_names:
        return description
    return replace(description, label_file=replace(found, label_names=names))


def _read_label_names(description: Description) -> tuple[str, ...]:
    try:
        with description.open() as file:
            content = file.read(MAX_LABEL_LIST_BYTES)
        return label_files.read_label_names(description.path, io.BytesIO(content))
    except (LabelFileError, ImageRefused):
        return ()


class SharedLabels:
    """One object for equal labels: a table of 100,000 rows has a few labels."""

    def __init__(self) -> None:
        self._labels: dict[tuple[object, ...], EntryLabel] = {}

    def of(self, labels: Sequence[EntryLabel]) -> tuple[EntryLabel, ...]:
        return tuple(self._shared(label) for label in labels)

    def _shared(self, label: EntryLabel) -> EntryLabel:
        key = (label.name, label.annotated_by, label.creation_time, label.confidence)
        return self._labels.setdefault(key, label)
