"""Text files that list images: `train.txt` of ImageNet, CVAT and Caffe, each line with a label or its number.

The names of numbered labels are in a second file: `synsets.txt`, `classes.txt` and the like.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from django.utils.translation import gettext_noop

from projects.formats.boxes import BoxesError, is_box_line
from projects.formats.columns import IMAGE_FILE, usage_of
from projects.formats.manifest import Entry, EntryLabel

FORMAT = gettext_noop("Text list of images")
NAMES_FILES = {
    "synsets.txt", "classes.txt", "labels.txt", "label_names.txt", "labelmap.txt", "label_map.txt",
    "class_names.txt", "classnames.txt", "categories.txt", "synset_words.txt", "_darknet.labels", "wnids.txt",
    "obj.names",
}  # fmt: skip
MAX_NAMES = 100_000
MAX_LINE_CHARACTERS = 4096
# `a b.jpg 0`, `a b.jpg 0 3`, `a.jpg cat`; quotes where a name holds spaces.
_LINE = re.compile(
    r"""\s*(?:"(?P<quoted>[^"]+)"|(?P<name>.+?\.(?:jpe?g|jfif|jpe|png|bmp|webp|gif|tiff?)|(?=\S*[^\W\d])[^\s,;]+(?=\s+\d)))"""
    r"""(?:[ \t]+(?P<rest>\S.*?))?\s*""",
    re.IGNORECASE,
)
_BOX_BEHIND = re.compile(r"(.*?[^\W\d].*?)(?:[ \t]+\d+){4}")  # `n03444034 0 32 44 62` of Tiny ImageNet
_NUMBERS = re.compile(r"\d+(?:[ ,\t]+\d+)*")
_NUMBERED = re.compile(r"(\d+)[:,]?\s+(.+)")
_SYNSET = re.compile(r"n\d{8}\s+(.+)")


def find_list(lines: Sequence[str]) -> bool | None:
    """Whether the lines list images: True with numbers of labels, False otherwise; None if they list none.

    Raises BoxesError if a box follows each image, or the lines are boxes alone.
    """
    wanted = [line for line in lines if line.strip() and not line.startswith("#")]
    if any(len(line) > MAX_LINE_CHARACTERS for line in wanted):
        return None
    if wanted and all(map(is_box_line, wanted)):
        raise BoxesError("YOLO")
    matches = [_LINE.fullmatch(line) for line in wanted]
    found = [match for match in matches if match]
    if not found or len(found) < len(wanted):
        return None
    rests = [match["rest"] or "" for match in found]
    # keras-yolo lists: x1,y1,x2,y2,class behind each image
    if all(re.fullmatch(r"(\d+,){4}\d+(\s+(\d+,){4}\d+)*", rest) for rest in rests):
        raise BoxesError("YOLO")
    if all(map(_is_box, rests)):
        raise BoxesError("text list")
    are_numbers = all(_NUMBERS.fullmatch(rest) for rest in rests)
    are_images = all(IMAGE_FILE.search(match["quoted"] or match["name"] or "") for match in found)
    if not are_images and not (are_numbers and len({match["name"] for match in found}) == len(found)):
        return None
    return are_numbers


def _is_box(rest: str) -> bool:
    """Whether four numbers are the corners of a box: the second corner is right of and below the first."""
    if not re.fullmatch(r"\d{1,5}(?:[ \t]+\d{1,5}){3}", rest):
        return False
    left, top, right, bottom = map(int, rest.split())
    return left < right and top < bottom


def read(name: str, lines: Iterable[str], label_names: Sequence[str] = ()) -> Iterator[Entry]:
    """Yield the images. The name of the list gives the split; a number without a name is its own label."""
    words = re.split(r"[^a-z]+", PurePosixPath(name.replace("\\", "/")).stem.lower())
    usage = next((found for word in words if (found := usage_of(word) if word else None)), "")
    for line in lines:
        match = _LINE.fullmatch(line.strip("\ufeff\r\n")[:MAX_LINE_CHARACTERS])
        if match and not line.startswith("#"):
            labels = _labels(match["rest"] or "", label_names)
            source = match["quoted"] or match["name"]
            yield Entry(source, usage, tuple(EntryLabel(label, annotated_by="") for label in labels))


def _labels(rest: str, label_names: Sequence[str]) -> list[str]:
    if not _NUMBERS.fullmatch(rest):
        behind = _BOX_BEHIND.fullmatch(rest)
        return [behind[1] if behind else rest] if rest else []
    numbers = [int(number) for number in re.findall(r"\d{1,9}", rest)]
    names = [label_names[number] if number < len(label_names) else str(number) for number in numbers]
    return list(dict.fromkeys(names))


def is_names_file(name: str) -> bool:
    base = PurePosixPath(name.replace("\\", "/")).name.lower()
    return base in NAMES_FILES or base.endswith(".names")


def read_names(text: str) -> tuple[str, ...]:
    """The names of numbered labels, one in each line; a number or a WordNet id before a name is left out."""
    lines = [line.strip() for line in text.splitlines()[:MAX_NAMES]]
    lines = [line for line in lines if line and not line.startswith("#")]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if lines and all(match and int(match[1]) == number for number, match in enumerate(numbered)):
        return tuple(match[2].strip() for match in numbered if match)
    return tuple(match[1] if (match := _SYNSET.fullmatch(line)) else line for line in lines)
