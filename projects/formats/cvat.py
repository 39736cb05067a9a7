"""CVAT's XML for images: `<image name="…"><tag label="…"/></image>`. Boxes and Pascal VOC are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO
from xml.etree import ElementTree

from django.utils.translation import gettext_noop

from projects.formats.boxes import BoxesError
from projects.formats.columns import usage_of
from projects.formats.errors import LabelFileError
from projects.formats.manifest import Entry, EntryLabel

FORMAT = "CVAT XML"
PASCAL_VOC = "Pascal VOC"  # not translated: the name of a format
SHAPES = {"box", "polygon", "polyline", "points", "mask", "ellipse", "cuboid", "skeleton", "track"}
MAX_TAGS = 10_000  # of one image


def check(file: BinaryIO) -> None:
    """Read to the first label. Raises LabelFileError if there are boxes alone, or it is another XML file."""
    has_shapes, has_images = False, False
    for element in _elements(file):
        if element.tag == "tag":
            return
        if element.tag in ("bndbox", "object"):
            raise BoxesError(PASCAL_VOC)
        has_shapes = has_shapes or element.tag in SHAPES
        has_images = has_images or element.tag == "image"
    if has_shapes:
        raise BoxesError(FORMAT)
    if not has_images:
        raise LabelFileError(gettext_noop("The XML file says nothing about images."))


def read(file: BinaryIO) -> Iterator[Entry]:
    """Yield the images with their tags. Raises LabelFileError."""
    tags: dict[str, None] = {}
    for element in _elements(file):
        if element.tag == "tag" and len(tags) < MAX_TAGS:
            tags[(element.get("label") or "").strip()] = None
        elif element.tag == "image":
            name = (element.get("name") or element.get("id") or "").strip()
            labels = tuple(EntryLabel(label, annotated_by="") for label in tags if label)
            tags = {}
            if name:
                yield Entry(name, usage_of(element.get("subset") or "") or "", labels)


def _elements(file: BinaryIO) -> Iterator[ElementTree.Element]:
    """Yield the elements as they end; none stays in memory. Expat bounds what entities expand to."""
    try:
        parents: list[ElementTree.Element] = []
        for event, element in ElementTree.iterparse(file, events=("start", "end")):
            if event == "start":
                parents.append(element)
                continue
            parents.pop()
            yield element
            element.clear()
            if parents:
                parents[-1].remove(element)
    except LabelFileError:
        raise
    except (ElementTree.ParseError, LookupError, ValueError) as problem:  # also an encoding unknown to expat
        raise LabelFileError(
            f"The XML file cannot be read: {problem}."  # not translated: with values
        ) from problem
