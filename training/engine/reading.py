"""From a folder or a manifest to samples. Four layouts are understood:

a folder per label; `train/`, `val/` and `test/` folders of those; a folder with `split.csv` (path,set);
a manifest of JSON lines in the ModelArts format with `usage` TRAIN or EVAL.
"""

from __future__ import annotations

import csv
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlparse

from training.engine.config import EngineError, Sample, Usage

Side = Literal["train", "val", "test"]
DEFAULT_TRAIN_RATIO = 0.8
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
SIDES: dict[str, Side] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a layout; `side` is None where the layout does not say."""

    sample: Sample
    side: Side | None


def for_fit(source: Path, train_ratio: float | None, seed: int) -> list[Sample]:
    """TRAIN and EVAL samples; rows of the test side are left out. Raises EngineError.

    Where there is a validation side it is EVAL. Else `train_ratio` splits the rows; without one they
    are split 0.8 to 0.2, or, where a test side will judge the model, all of them train.
    """
    every = _rows(source)
    rows = [row for row in every if row.side != "test"]
    if not rows:
        raise EngineError(f"There are no images to train with in {source}.", "Name another folder.")
    if any(row.side == "val" for row in rows):
        return [replace(row.sample, usage="EVAL" if row.side == "val" else "TRAIN") for row in rows]
    if train_ratio is None and len(rows) < len(every):
        return [row.sample for row in rows]
    return split([row.sample for row in rows], train_ratio or DEFAULT_TRAIN_RATIO, seed)


def for_evaluation(source: Path) -> list[Sample]:
    """The test side where there is one, else the validation side, else everything. Raises EngineError."""
    rows = _rows(source)
    for side in ("test", "val"):
        chosen = [row.sample for row in rows if row.side == side]
        if chosen:
            return chosen
    if not rows:
        raise EngineError(f"There is nothing to evaluate in {source}.", "Name a folder of labeled images.")
    return [row.sample for row in rows]


def split(samples: Sequence[Sample], train_ratio: float, seed: int) -> list[Sample]:
    """Both sides of every label at the ratio, at least one image of it on each side where it has two."""
    kinds: dict[tuple[str, ...], list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda one: one.id):
        kinds[sample.labels].append(sample)
    chosen: list[Sample] = []
    for kind in sorted(kinds):
        members = kinds[kind]
        random.Random(seed).shuffle(members)
        train = min(max(round(train_ratio * len(members)), 1), max(len(members) - 1, 1))
        chosen += [replace(one, usage=_usage(i < train)) for i, one in enumerate(members)]
    return chosen


def _usage(is_train: bool) -> Usage:
    return "TRAIN" if is_train else "EVAL"


def _rows(source: Path) -> list[Row]:
    if source.is_file():
        return _manifest_rows(source)
    if not source.is_dir():
        raise EngineError(f"There is no folder or manifest {source}.", "Check the path.")
    if (source / "split.csv").is_file():
        return _split_rows(source)
    sides = [child for child in sorted(source.iterdir()) if child.is_dir() and child.name.lower() in SIDES]
    if sides:
        return [row for child in sides for row in _folder_rows(child, SIDES[child.name.lower()])]
    return _folder_rows(source, None)


def _folder_rows(root: Path, side: Side | None) -> list[Row]:
    """A folder per label."""
    files = [file for file in sorted(root.glob("*/**/*")) if file.suffix.lower() in SUFFIXES]
    return [Row(_sample(root, file), side) for file in files]


def _sample(root: Path, file: Path) -> Sample:
    inside = file.relative_to(root)
    return Sample(f"{root.name}/{inside}", file, (inside.parts[0],), "TRAIN")


def _split_rows(root: Path) -> list[Row]:
    with (root / "split.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    rows = []
    for number, entry in enumerate(table, 2):
        path, side = entry.get("path") or "", SIDES.get((entry.get("set") or "").lower())
        if side is None or "/" not in path:
            raise EngineError(f"Line {number} of split.csv has no usable path and set.", "Correct the line.")
        rows.append(Row(_sample(root, root / path), side))
    return rows


def _manifest_rows(manifest: Path) -> list[Row]:
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
    return rows


def _manifest_row(folder: Path, entry: dict[str, Any]) -> Row:
    source = str(entry["source"])
    address = urlparse(source)
    path = Path(unquote(address.path)) if address.scheme == "file" else folder / source
    labels = tuple(dict.fromkeys(str(one["name"]) for one in entry["annotation"]))
    usage = str(entry.get("usage", "")).upper()
    side: Side | None = {"TRAIN": "train", "EVAL": "val", "TEST": "test"}.get(usage)  # type: ignore[assignment]
    return Row(Sample(str(entry.get("id", source)), path, labels, "TRAIN"), side)
