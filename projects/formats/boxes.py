"""Recognizes files of object detection and segmentation: boxes and outlines, not labels of images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from projects.formats.errors import LabelFileError

# Keys of a JSON object, names of columns, tags of XML that only files of boxes have; lower case.
BOX_KEYS = {
    "bbox", "bboxes", "bndbox", "bounding_box", "boundingbox", "bounding_boxes", "boundingboxes", "boxes",
    "boundingboxannotations", "bounding_box_annotations", "coordinates", "segmentation", "polygon",
    "encodedpixels", "region_shape_attributes", "rle",
}  # fmt: skip
CORNERS = (
    {"xmin", "ymin", "xmax", "ymax"},
    {"x1", "y1", "x2", "y2"},
    {"x", "y", "width", "height"},
    {"x", "y", "w", "h"},
    {"xcenter", "ycenter", "width", "height"},
    {"left", "top", "width", "height"},
    {"xtopleft", "ytopleft", "xbottomright", "ybottomright"},
)  # fmt: skip
_NUMBER = r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?"
# YOLO: a class and a box, with or without a confidence; or a class and an outline of three or more points.
YOLO_LINE = re.compile(rf"\s*\d+(?:\s+{_NUMBER}){{4,}}\s*")
# KITTI: a name and 14 or 15 numbers. DOTA: eight numbers, a name, a difficulty.
KITTI_LINE = re.compile(rf"\s*[^\s\d]\S*(?:\s+{_NUMBER}){{14,15}}\s*")
DOTA_LINE = re.compile(rf"\s*(?:{_NUMBER}\s+){{8}}\S+(?:\s+\d)?\s*")


class BoxesError(LabelFileError):
    """The file holds boxes or outlines within images."""

    def __init__(self, format: str) -> None:
        super().__init__(
            f"These are boxes or outlines within images ({format}), "  # not translated: with values
            "not labels of whole images. Export the labels for image classification, or cut the objects out "
            "into a folder for each label."
        )


def is_box_text(content: bytes) -> bool:
    """Whether each line of a text file beside an image holds a box or an outline."""
    lines = [line for line in content.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    return bool(lines) and all(map(is_box_line, lines))


def is_box_line(line: str) -> bool:
    return any(pattern.fullmatch(line) for pattern in (YOLO_LINE, KITTI_LINE, DOTA_LINE))


def has_box_columns(head: Iterable[str]) -> bool:
    """Whether columns of a table hold boxes. The region of interest of one sign (`Roi.X1`) is no box."""
    names = {re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("bbox")) for name in head}
    whole = {name.strip().lower().replace(" ", "_") for name in head}
    return bool(whole & BOX_KEYS) or any(corners <= names for corners in CORNERS)


def has_box_numbers(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a table without a head has four or more columns of numbers, as corners of boxes."""
    sample = [row for row in rows[:50] if row]
    width = min(map(len, sample), default=0)
    numeric = [
        index for index in range(width) if all(re.fullmatch(_NUMBER, row[index].strip()) for row in sample)
    ]
    return len(numeric) >= 4 and not all(
        row[index].strip() in ("0", "1") for row in sample for index in numeric
    )


def has_box(value: Mapping[str, Any]) -> bool:
    """Whether a JSON object describes a box or an outline. Empty values do not count."""
    return any(key.lower() in BOX_KEYS and item for key, item in value.items())
