"""Images for the browser tests: real flower photos if the shared data set is present, else generated ones."""

from __future__ import annotations

import csv
from pathlib import Path

from PIL import Image as Picture
from PIL import ImageDraw, ImageFilter

from tests.supervisor_process import ROOT

FLOWERS = ROOT.parent / "shared" / "data" / "flower-photos-mini"
COLOURS = {
    "daisy": "white",
    "dandelion": "gold",
    "roses": "crimson",
    "sunflowers": "orange",
    "tulips": "hotpink",
}


def flower_files(folder: Path, per_label: int, side: str = "train") -> list[Path]:
    """`per_label` files of each of five flowers in `folder`, named after their flower."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (FLOWERS / "split.csv").exists():
        return [_drawn(folder, label, number) for label in COLOURS for number in range(per_label)]
    with open(FLOWERS / "split.csv", newline="") as file:
        rows = [row["path"] for row in csv.DictReader(file) if row["set"] == side]
    taken = [path for label in COLOURS for path in _of(rows, label)[:per_label]]
    return [_copied(folder, path) for path in taken]


def _of(rows: list[str], label: str) -> list[str]:
    return [path for path in rows if path.startswith(f"{label}/")]


def _copied(folder: Path, path: str) -> Path:
    label, _, name = path.partition("/")
    target = folder / f"{label}-{name}"
    target.write_bytes((FLOWERS / path).read_bytes())
    return target


def _drawn(folder: Path, label: str, number: int) -> Path:
    """A blurred blossom in the flower's colour on a green background that depends on the number."""
    picture = Picture.new("RGB", (240, 180), (30 + number % 7 * 8, 90 + number % 11 * 6, 40))
    pen = ImageDraw.Draw(picture)
    left, top, size = 20 + number * 13 % 90, 10 + number * 7 % 50, 70 + number % 5 * 10
    pen.ellipse((left, top, left + size, top + size), fill=COLOURS[label])
    target = folder / f"{label}-{number}.jpg"
    picture.filter(ImageFilter.GaussianBlur(1 + number % 3)).save(target)
    return target
