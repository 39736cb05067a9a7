"""Samples from a folder or a manifest, in one of four layouts:

a folder per label; folders of those that name a split, such as `train/`, `valid/` or `Testing/`, at any
depth; a folder with `split.csv` (path,set); a manifest of JSON lines in the ModelArts format with `usage`
TRAIN, EVAL or TEST, else the split that the folders of its images name.

`groups.csv` in the folder (path,person) names groups of images that are never split; a manifest names them in
the property `exeml:group`. All images of a group with a test image are test images, and all of one that is in
training and validation are training images.
"""

from __future__ import annotations

import csv
import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlparse

from training.engine.config import EngineError, Sample, Split
from training.engine.data import duplicates
from training.engine.data.groups import join_groups
from training.engine.data.picture_formats import SUFFIXES
from training.engine.data.split_folders import FolderTree, usage_of_folder

FolderSplit = Literal["train", "val", "test"]
DEFAULT_TRAIN_RATIO = 0.8
NO_SPLIT = ("INFERENCE", "UNASSIGNED")
GROUPS_FILE = "groups.csv"
SPLIT_OF_USAGE: dict[str, FolderSplit] = {"TRAIN": "train", "EVAL": "val", "TEST": "test"}


@dataclass(frozen=True, slots=True)
class LayoutRow:
    """An image of a layout; `split` is None where the layout does not say."""

    sample: Sample
    split: FolderSplit | None


def samples_for_fit(
    source: Path, train_ratio: float | None, seed: int, threads: int | None = None
) -> list[Sample]:
    """TRAIN and EVAL samples; test images are left out. Raises EngineError.

    Validation images become EVAL. Without any, `train_ratio` splits the images, duplicates together; without
    a ratio they are split 0.8 to 0.2, or all train where test images will evaluate the model. `threads`
    search for duplicates, one per core by default.
    """
    all_rows = _rows(source)
    rows = [row for row in all_rows if row.split != "test"]
    if not rows:
        raise EngineError(f"There are no images to train with in {source}.", "Name another folder.")
    if any(row.split == "val" for row in rows):
        return [replace(row.sample, split="EVAL" if row.split == "val" else "TRAIN") for row in rows]
    if train_ratio is None and len(rows) < len(all_rows):
        return [row.sample for row in rows]
    samples = [row.sample for row in rows]
    copies = duplicates.group_files([sample.path for sample in samples], threads or os.cpu_count() or 1)
    groups = join_groups(copies, [sample.group for sample in samples])
    return split_samples(samples, train_ratio or DEFAULT_TRAIN_RATIO, seed, groups.tolist())


def samples_for_evaluation(source: Path) -> list[Sample]:
    """The test images, else the validation images, else all. Raises EngineError where there is none."""
    rows = _rows(source)
    for split in ("test", "val"):
        chosen = [row.sample for row in rows if row.split == split]
        if chosen:
            return chosen
    if not rows:
        raise EngineError(f"There is nothing to evaluate in {source}.", "Name a folder of labeled images.")
    return [row.sample for row in rows]


def split_samples(
    samples: Sequence[Sample], train_ratio: float, seed: int, groups: Sequence[int] | None = None
) -> list[Sample]:
    """Assign TRAIN or EVAL to each sample, every label as near to the ratio as whole groups allow; by id.

    `groups` holds a number for each sample, equal for duplicates and for samples that are never split;
    without it every sample is a group. A label
    in two groups or more is in both splits, unless other labels of its groups forbid it.
    """
    members: dict[int, list[Sample]] = defaultdict(list)
    numbers = range(len(samples)) if groups is None else groups
    for sample, number in sorted(zip(samples, numbers, strict=True), key=lambda pair: pair[0].id):
        members[number].append(sample)
    units = list(members.values())
    random.Random(seed).shuffle(units)
    units.sort(key=len, reverse=True)  # small groups even out what large ones leave
    splits = _assign_splits([Counter(_labels(unit)) for unit in units], train_ratio)
    assigned = [
        replace(sample, split=split) for unit, split in zip(units, splits, strict=True) for sample in unit
    ]
    return sorted(assigned, key=lambda sample: sample.id)


def _labels(unit: Sequence[Sample]) -> Iterator[str]:
    return (label for sample in unit for label in sample.labels or ("",))


def _assign_splits(units: Sequence[Counter[str]], train_ratio: float) -> list[Split]:
    """The split of each unit, which is given by its number of images of each label.

    Labels of few units come first, and each unit goes to the split that lacks more images of the label:
    iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011).
    """
    holders: dict[str, list[int]] = defaultdict(list)
    for number, unit in enumerate(units):
        for label in unit:
            holders[label].append(number)
    lacking = {
        label: _target_counts([units[number][label] for number in numbers], train_ratio)
        for label, numbers in holders.items()
    }
    splits: dict[int, Split] = {}
    order = sorted(holders, key=lambda label: (len(holders[label]), label))
    for label in order:
        for number in holders[label]:
            if number not in splits:
                splits[number] = max(lacking[label], key=lambda split: lacking[label][split])
                for name, count in units[number].items():
                    lacking[name][splits[number]] -= count
    for label in order:
        _show_in_both_splits(holders[label], holders, units, splits)
    return [splits[number] for number in range(len(units))]


def _target_counts(counts: Sequence[int], train_ratio: float) -> dict[Split, int]:
    """How many images of a label each split should have, from the number in each of its units."""
    total = sum(counts)
    train = min(max(round(train_ratio * total), 1), total - 1) if len(counts) > 1 else total
    return {"TRAIN": train, "EVAL": total - train}


def _show_in_both_splits(
    label_units: Sequence[int],
    holders: dict[str, list[int]],
    units: Sequence[Counter[str]],
    splits: dict[int, Split],
) -> None:
    """Move the smallest unit of a label that is in one split only, unless another label would leave that
    split."""
    if len(label_units) < 2 or len({splits[number] for number in label_units}) > 1:
        return
    split = splits[label_units[0]]
    for number in reversed(label_units):  # the smallest is last
        others = ([splits[other] for other in holders[label] if other != number] for label in units[number])
        if all(split in left or not left for left in others):
            splits[number] = "EVAL" if split == "TRAIN" else "TRAIN"
            return


def _rows(source: Path) -> list[LayoutRow]:
    if source.is_file():
        return _with_whole_groups(_manifest_rows(source))
    if not source.is_dir():
        raise EngineError(f"There is no folder or manifest {source}.", "Check the path.")
    group_of = _read_groups(source)
    rows = _split_rows(source) if (source / "split.csv").is_file() else _folder_rows(source)
    return _with_whole_groups(
        [replace(row, sample=replace(row.sample, group=group_of.get(row.sample.path))) for row in rows]
    )


def _with_whole_groups(rows: list[LayoutRow]) -> list[LayoutRow]:
    """The rows with one split for each named group: test, if any of it is; training, if it is in both."""
    splits: dict[str, set[FolderSplit | None]] = defaultdict(set)
    for row in rows:
        if row.sample.group is not None:
            splits[row.sample.group].add(row.split)
    changed: dict[str | None, FolderSplit] = {
        group: "test" if "test" in several else "train"
        for group, several in splits.items()
        if len(several) > 1
    }
    return [replace(row, split=changed.get(row.sample.group, row.split)) for row in rows]


def _read_groups(root: Path) -> dict[Path, str]:
    """File → its group, from `groups.csv` with the column `path` and one other; empty without the file."""
    if not (root / GROUPS_FILE).is_file():
        return {}
    with (root / GROUPS_FILE).open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        columns = [name for name in table.fieldnames or [] if name != "path"]
        if "path" not in (table.fieldnames or []) or len(columns) != 1:
            raise EngineError(
                f"{GROUPS_FILE} must have the column “path” and one other, such as “person”.",
                "Correct its first line.",
            )
        return {root / row["path"]: row[columns[0]] for row in table if row["path"] and row[columns[0]]}


def _folder_rows(root: Path) -> list[LayoutRow]:
    """The images of a folder per label: the outermost folder that names no split, nor holds images at large.

    Beside training and validation folders, other folders are left out.
    """
    files = [
        file.relative_to(root) for file in sorted(root.glob("*/**/*")) if file.suffix.lower() in SUFFIXES
    ]
    tree = FolderTree(file.as_posix() for file in files)
    places = [tree.place(file.as_posix()) for file in files]
    usages = {place.usage for place in places}
    has_split = "TRAIN" in usages or "EVAL" in usages
    rows = []
    for file, place in zip(files, places, strict=True):
        label = place.top or ("" if usage_of_folder(file.parts[0]) is not None else file.parts[0])
        if label and (place.usage or not has_split):
            name = file if usages - {""} else Path(root.name) / file
            sample = Sample(str(name), root / file, (label,), "TRAIN")
            rows.append(LayoutRow(sample, SPLIT_OF_USAGE.get(place.usage)))
    return rows


def files_of(folder: Path) -> list[Path]:
    """The images in a folder and below it. Raises EngineError where there is none."""
    files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise EngineError(f"There are no images in {folder}.", "Name another folder.")
    return files


def _split_rows(root: Path) -> list[LayoutRow]:
    with (root / "split.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    rows = []
    for number, entry in enumerate(table, 2):
        path, split = entry.get("path") or "", _split_of_word(entry.get("set") or "")
        if split is None or "/" not in path:
            raise EngineError(f"Line {number} of split.csv has no usable path and set.", "Correct the line.")
        sample = Sample(f"{root.name}/{Path(path)}", root / path, (Path(path).parts[0],), "TRAIN")
        rows.append(LayoutRow(sample, split))
    return rows


def _split_of_word(word: str) -> FolderSplit | None:
    return SPLIT_OF_USAGE.get(usage_of_folder(word) or "")


def _manifest_rows(manifest: Path) -> list[LayoutRow]:
    rows = []
    for number, line in enumerate(manifest.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            rows.append(_manifest_row(manifest.parent, json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise EngineError(
                f"Line {number} of {manifest.name} is not an image with its labels.", "Correct the line."
            ) from problem
    places = {row.sample.path: _inside(row.sample.path, manifest.parent) for row in rows}
    tree = FolderTree(place for place in places.values() if place)
    return [
        row
        if row.split
        else replace(row, split=SPLIT_OF_USAGE.get(tree.place(places[row.sample.path]).usage))
        for row in rows
    ]


def _inside(path: Path, folder: Path) -> str:
    """The path within a folder; empty for one outside, whose folders may be named for anything."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else ""


def _manifest_row(folder: Path, entry: dict[str, Any]) -> LayoutRow:
    source = str(entry["source"])
    address = urlparse(source)
    path = Path(unquote(address.path)) if address.scheme == "file" else folder / source
    labels = tuple(dict.fromkeys(str(annotation["name"]) for annotation in entry["annotation"]))
    usage = str(entry.get("usage") or "")
    if usage and usage.upper() not in NO_SPLIT and _split_of_word(usage) is None:
        raise EngineError(f"The usage “{usage}” of {source} is unknown.", "Use TRAIN, EVAL or TEST.")
    properties = entry.get("property")
    group = properties.get("exeml:group") if isinstance(properties, dict) else None
    named = None if group is None else str(group)
    return LayoutRow(
        Sample(str(entry.get("id", source)), path, labels, "TRAIN", named), _split_of_word(usage)
    )
