"""Finds the columns of a table: the image, its labels, its split. By their names, else by their cells.

Only a sample of the rows is looked at. What the cells alone suggest is not certain: a person sees it first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from django.utils.translation import gettext_noop

from projects.formats.boxes import BoxesError, has_box_columns, has_box_numbers
from projects.formats.csv_text import find_separator
from projects.formats.errors import LabelFileError
from projects.formats.pictures.picture_formats import SUFFIXES
from projects.formats.splits.split_folders import usage_of_folder

# Names of columns without capitals, spaces and signs; the earlier one is preferred.
IMAGE_COLUMNS = [
    "image", "filename", "file", "filepath", "path", "imagepath", "imagename", "imagefile",
    "imagefilename", "imageindex", "img", "imgname", "imgpath", "imgfile", "imgfilename", "fname", "fpath",
    "photo", "picture", "imageid", "imgid", "sourceref", "source", "uri", "url", "imageurl", "imageuri",
    "imgurl", "gcsuri", "imagegcsuri", "gcsfilepath", "originalimageuri", "externalid", "imagelocation",
    "location", "relpath", "idcode", "id", "key", "name", "图片", "图像", "文件名", "画像", "ファイル名",
]  # fmt: skip
WEAK_IMAGE_COLUMNS = {"id", "key", "name", "source", "location", "url", "uri"}
LABEL_COLUMNS = {
    "label", "labelname", "class", "classname", "category", "categoryname", "tag", "tagname", "target",
    "choice", "groundtruth", "annotation", "species", "breed", "diagnosis", "labelid", "classid",
    "categoryid", "labelindex", "classindex", "classificationannotation", "标签", "类别", "ラベル", "dx", "y",
}  # fmt: skip
# Columns that describe an image and are never its label, where another column may be.
OTHER_COLUMNS = {
    "text", "caption", "captions", "prompt", "description", "title", "comment", "comments", "note",
    "notes", "url", "uri", "license", "licence", "author", "credit", "credits", "width", "height",
    "size", "bytes", "annotator", "annotatedby", "labeledby", "labeledat", "annotationid", "createdat",
    "updatedat", "date", "leadtime", "confidence", "score", "probability", "md5", "sha256", "hash",
    "phash", "index", "unnamed0", "datarowid", "timestamp", "time", "depth", "channels", "camera",
    "latitude", "longitude", "fold", "completedby", "workerid", "hitid", "assignmentid", "agreement",
    "ishard", "hard",
}  # fmt: skip
# Columns that group images, also as `patient_id` or `Camera name`: metadata, and never a label.
GROUP_COLUMNS = {
    "group", "person", "people", "patient", "subject", "participant", "donor", "signer", "speaker", "camera",
    "device", "scanner", "microscope", "lot", "batch", "site", "hospital", "session", "visit", "specimen",
    "slide", "individual",
}  # fmt: skip
_GROUP_ENDINGS = re.compile(r"(?<=..)(?:ids?|names?|numbers?|no|nr|codes?|s)$")
METADATA_MARK = "metadata:"  # before the name of a column that is metadata, whatever its name
METADATA_COLUMNS = {"date", "fold"}  # of OTHER_COLUMNS
MIN_ROWS_TO_REPEAT = 10  # in shorter tables each row may have a value of its own
MAX_METADATA = 200  # characters of a value
OTHER_USAGES = {"inference": "INFERENCE", "default": ""}  # beside the words for folders
SPLIT_COLUMNS = {
    "set",
    "split",
    "usage",
    "subset",
    "mluse",
    "dataset",
    "phase",
    "partition",
    "mode",
    "dataitemresourcelabels",
    "数据集",
    "划分",
    "isvalid",
    "istrain",
    "istest",
}
SET_COLUMNS = {"set", "split", "usage", "subset", "mluse", "partition", "划分"}  # never hold other things
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_USAGES_OF_FLAG = {"isvalid": ("EVAL", "TRAIN"), "istrain": ("TRAIN", "EVAL"), "istest": ("TEST", "TRAIN")}
LABEL_ENDINGS = ("label", "labels", "class", "classes", "category", "tag", "tags", "kind", "species")
LABEL_STUDIO_COLUMNS = {"annotationid", "leadtime"}
IMAGE_FILE = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(SUFFIXES)))})(?:[?#].*)?$", re.IGNORECASE)
YES = {"1", "1.0", "true", "yes", "x", "✓", "✔"}
YES_NO = YES | {"0", "0.0", "-1", "-1.0", "", "false", "no"}
MAX_ROWS_ABOVE_HEAD = 10
TABLE = "table of boxes"  # not translated: part of a sentence of BoxesError
NO_IMAGES = gettext_noop(
    "No column holds image files. Name the columns in the first row: “image” and “labels”."
)


def usage_of(word: str, column: str = "") -> str | None:
    """TRAIN, EVAL, TEST, INFERENCE or empty for a word; None if it names none.

    `column`: the normalized name of its column; in `isvalid` the word says yes or no.
    """
    word = word.strip().lower()
    if column in _USAGES_OF_FLAG:
        flag = _BOOLEANS.get(word)
        return None if flag is None else _USAGES_OF_FLAG[column][0 if flag else 1]
    if not word or word in OTHER_USAGES:
        return OTHER_USAGES.get(word, "")
    return usage_of_folder(word)


@dataclass(frozen=True)
class Columns:
    """Indices into the head of a table: the image, its labels, its split if there is one, its metadata."""

    image: int
    labels: tuple[int, ...] = ()
    split: int | None = None
    metadata: tuple[int, ...] = ()


@dataclass(frozen=True)
class FoundColumns:
    """`rows`: the sample without the head. `above`: rows above the head, such as a title.

    See LabelFile for the other fields.
    """

    head: tuple[str, ...]
    has_head: bool
    columns: Columns
    is_certain: bool
    rows: list[list[str]] = field(default_factory=list)
    is_one_hot: bool = False
    separator: str = ""
    above: int = 0


def find_columns(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> FoundColumns:
    """Find the columns by a sample of rows. `head`: the names, where the format has them apart.

    Raises LabelFileError if the table is empty, holds boxes, or says nothing about images.
    """
    cells = [[cell.strip() for cell in row] for row in rows]
    if not head and not cells:
        raise LabelFileError(gettext_noop("The table is empty."))
    above = 0 if head else _rows_above_head(cells)
    cells = cells[above:]
    names = list(head) or (cells[0] if _is_head(cells) else [])
    if not head and names:
        cells = cells[1:]
    if has_box_columns(names):
        raise BoxesError(TABLE)
    return replace(_by_names(names, cells), above=above) if names else _by_cells(cells)


def normalized(name: str) -> str:
    """`Input.image_url` and `INPUT:image url` are `imageurl`; `labels` stays."""
    last = re.split(r"[.:](?=[^\d.:])", name.strip().strip("\ufeff\"'#"))[-1]
    return re.sub(r"[\W_]", "", last.lower())


def _rows_above_head(cells: Sequence[Sequence[str]]) -> int:
    """How many rows stand above the one that names an image and a label: titles and comments."""
    for number, row in enumerate(cells[:MAX_ROWS_ABOVE_HEAD]):
        if any(IMAGE_FILE.search(cell) for cell in row):
            break
        names = [normalized(cell) for cell in row]
        images = set(names) & set(IMAGE_COLUMNS) - WEAK_IMAGE_COLUMNS
        if images and any(map(_is_label_name, set(names) - images)):
            return number
    return 0


def _is_head(cells: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns."""
    first = cells[0]
    if any(IMAGE_FILE.search(cell) for cell in first):
        return False
    names = [normalized(cell) for cell in first]
    if any({name, name.removesuffix("s")} & set(IMAGE_COLUMNS) or _is_label_name(name) for name in names):
        return True
    return len(cells) > 1 and any(
        _looks_like_images(_column(cells[1:], index)) for index in range(len(first))
    )


def _by_names(names: Sequence[str], cells: list[list[str]]) -> FoundColumns:
    keys = [normalized(name) for name in names]
    split = _named_split(keys, cells)
    image, is_named = _image_column(keys, cells, split)
    others = [index for index in range(len(names)) if index not in (image, split)]
    marked = {index for index in others if names[index].strip().lower().startswith(METADATA_MARK)}
    rest = [index for index in others if index not in marked and not is_group_name(keys[index])]
    labels = _named_labels(keys, rest, cells)
    is_certain = is_named and (bool(labels) or split is not None or len(rest) < len(others))
    one_hot = [index for index in rest if keys[index] not in OTHER_COLUMNS and _is_yes_no(cells, index)]
    is_one_hot = not labels and len(one_hot) > 1
    if is_one_hot:
        labels, is_certain = one_hot, is_named
    elif not labels and rest:
        labels = _label_by_elimination(keys, rest, cells)
        is_pair = len(rest) == 1 and _is_pair(cells, image, labels, is_named=is_named)
        is_certain = is_pair or bool(labels and set(keys) >= LABEL_STUDIO_COLUMNS)
    separator = "" if is_one_hot else find_separator([keys[index] for index in labels], _cells(cells, labels))
    free = [index for index in others if index not in labels and index not in marked]
    metadata = sorted({*marked, *([] if is_one_hot else _metadata(keys, free, cells))})
    columns = Columns(image, tuple(labels), split, tuple(metadata))
    return FoundColumns(tuple(names), True, columns, is_certain, cells, is_one_hot, separator)


def _by_cells(cells: list[list[str]]) -> FoundColumns:
    """The columns of a table without a head, such as those of Google's AutoML."""
    width = len(cells[0])
    image = next((index for index in range(width) if _looks_like_images(_column(cells[:1], index))), None)
    if image is None:
        raise LabelFileError(NO_IMAGES)
    if has_box_numbers(cells):
        raise BoxesError(TABLE)
    splits = [index for index in range(width) if index != image and _are_usages(_column(cells, index))]
    split = splits[0] if splits else None
    labels = tuple(
        index
        for index in range(width)
        if index not in (image, split) and not (width > 2 and _is_row_number(cells, index))
    )
    head = tuple(f"Column {number}" for number in range(1, width + 1))
    is_certain = split is not None or (max(map(len, cells)) <= 2 and _is_pair(cells, image, labels))
    separator = find_separator(["label"] * len(labels), _cells(cells, labels))
    return FoundColumns(head, False, Columns(image, labels, split), is_certain, cells, separator=separator)


def _are_usages(values: Sequence[str]) -> bool:
    """Whether every cell names a split; where some are empty, Google's tools choose the split."""
    return any(values) and all(usage_of(value) is not None for value in values)


def _image_column(keys: Sequence[str], cells: list[list[str]], split: int | None) -> tuple[int, bool]:
    """The column of the images, and whether its name says so."""
    named = [
        index
        for name in IMAGE_COLUMNS
        for index, key in enumerate(keys)
        if name in (key, key.removesuffix("s")) and index != split
    ]
    files = [
        index for index in range(len(keys)) if index != split and _looks_like_images(_column(cells, index))
    ]
    strong = [index for index in named if keys[index] not in WEAK_IMAGE_COLUMNS]
    for index in (*(index for index in named if index in files), *strong[:1], *files):
        return index, index in named
    if named and any(_is_label_name(key) for key in keys):
        return named[0], True
    if named and keys[named[0]] == "id" and len(keys) > 1 and _is_unique(cells, named[0]):
        return named[0], False
    raise LabelFileError(
        gettext_noop(
            "The first row must name a column “image” and a column “labels”, or be the first image itself."
        )
        if named or any(_is_label_name(key) for key in keys)
        else NO_IMAGES
    )


def _named_labels(keys: Sequence[str], rest: Sequence[int], cells: list[list[str]]) -> list[int]:
    """Columns whose names say that they hold labels. Of a name and its number the name is taken."""
    named = [index for index in rest if _is_label_name(keys[index])]
    true = [index for index in named if not keys[index].startswith("pred")] or named
    return [index for index in true if not _is_numeric(cells, index)] or true[:1]


def _is_label_name(key: str) -> bool:
    """`label`, `labels`, `label2`, `classes` …"""
    base = re.sub(r"(?<=..)\d+$", "", key)  # `y1` is a corner
    return any(
        name in LABEL_COLUMNS
        for name in (
            *(key, base, base.removesuffix("s"), base.removesuffix("es"), _singular(base)),
            base.removesuffix("name"),
        )
    )


def _singular(key: str) -> str:
    return f"{key[:-3]}y" if key.endswith("ies") else key


def _label_by_elimination(keys: Sequence[str], rest: Sequence[int], cells: list[list[str]]) -> list[int]:
    """The one column that can hold labels: the only one left, or the only one whose words repeat."""
    left = [
        index
        for index in rest
        if keys[index] not in OTHER_COLUMNS
        and any(_column(cells, index))
        and not keys[index].startswith("pred")  # what a model said
        and (keys[index] or not _is_row_number(cells, index))
    ]
    if len(left) > 1:
        left = [index for index in left if keys[index] not in ("id", "uuid", "name")]
    speaking = [index for index in left if keys[index].endswith(LABEL_ENDINGS)]
    if len(left) == 1 or speaking:
        return left if len(left) == 1 else speaking
    repeating = [
        index
        for index in left
        if not _is_numeric(cells, index) and len(set(_column(cells, index))) <= len(cells) // 2
    ]
    return repeating if len(repeating) == 1 else []


def is_group_name(key: str) -> bool:
    """Whether a column groups images, such as `person`, `patient_id` or `cameras`."""
    return key in GROUP_COLUMNS or _GROUP_ENDINGS.sub("", key) in GROUP_COLUMNS


def _metadata(keys: Sequence[str], rest: Sequence[int], cells: list[list[str]]) -> list[int]:
    """The columns that say something about the images: those that group them, and words that repeat."""
    return [index for index in rest if is_group_name(keys[index]) or _is_metadata(keys[index], cells, index)]


def _is_metadata(key: str, cells: list[list[str]], index: int) -> bool:
    values = [value for value in _column(cells, index) if value]
    is_other = key in OTHER_COLUMNS - METADATA_COLUMNS or key in IMAGE_COLUMNS or key.startswith("pred")
    if not values or not key or is_other or _is_label_name(key) or _looks_like_images(values):
        return False
    if any(len(value) > MAX_METADATA or not value.isprintable() for value in values):
        return False
    is_measured = any(re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", value) for value in values)
    is_repeated = len(set(values)) < len(values) or len(cells) < MIN_ROWS_TO_REPEAT
    return is_repeated and not is_measured and not any(value[0] in "[{" for value in values)


def _is_pair(cells: list[list[str]], image: int, labels: Sequence[int], *, is_named: bool = False) -> bool:
    """Whether a table of two columns is of images and labels: in many rows, some label repeats."""
    if not labels:
        return False
    kinds = len(set(_column(cells, labels[0])))
    if _looks_like_images(_column(cells, image)):
        return len(cells) <= 10 or kinds < len(cells)
    return is_named and len(cells) > 3 and kinds <= len(cells) // 2 and _is_unique(cells, image)


def _named_split(keys: Sequence[str], cells: list[list[str]]) -> int | None:
    """The column of the splits. One that names other sets as well is none, unless test images are among them.

    Those must not become training images for the sake of an `extra` beside them.
    """
    for index, key in enumerate(keys):
        usages = [usage_of(cell, key) for cell in _column(cells, index) if cell]
        if key in SPLIT_COLUMNS and (None not in usages or (key in SET_COLUMNS and "TEST" in usages)):
            return index
    return None


def _looks_like_images(values: Iterable[str]) -> bool:
    values = [value for value in values if value]
    return bool(values) and 2 * sum(bool(IMAGE_FILE.search(value)) for value in values) > len(values)


def _is_yes_no(cells: list[list[str]], index: int) -> bool:
    values = {value.lower() for value in _column(cells, index)}
    return values <= YES_NO and bool(values - {""})


def _is_numeric(cells: list[list[str]], index: int) -> bool:
    values = [value for value in _column(cells, index) if value]
    return bool(values) and all(re.fullmatch(r"-?\d+(\.\d+)?", value) for value in values)


def _is_row_number(cells: list[list[str]], index: int) -> bool:
    return len(cells) > 1 and _is_numeric(cells, index) and _is_unique(cells, index)


def _is_unique(cells: list[list[str]], index: int) -> bool:
    values = _column(cells, index)
    return len(set(values)) == len(values)


def _column(cells: Sequence[Sequence[str]], index: int) -> list[str]:
    return [row[index] if index < len(row) else "" for row in cells]


def _cells(cells: list[list[str]], indices: Iterable[int]) -> list[str]:
    return [cell for index in indices for cell in _column(cells, index) if cell]
