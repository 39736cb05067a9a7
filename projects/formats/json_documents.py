"""JSON documents of data set tools, which are read whole: COCO, Datumaro, FiftyOne, and plain objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_noop

from projects.formats.boxes import BoxesError, has_box
from projects.formats.columns import IMAGE_FILE, usage_of
from projects.formats.csv_labels import label_names
from projects.formats.errors import LabelFileError
from projects.formats.json_records import objects
from projects.formats.manifest import Entry, EntryLabel, confidence_note, parse_fraction

Document = Mapping[str, Any]


@dataclass(frozen=True)
class DocumentFormat:
    """`fits`: whether a document has this format. `read`: its entries; raises LabelFileError."""

    name: str
    fits: Callable[[Document], bool]
    read: Callable[[Document], Iterator[Entry]]


def find_format(document: Document) -> DocumentFormat:
    """The format of a document. Raises LabelFileError if there is none, or it holds boxes."""
    for format in FORMATS:
        if format.fits(document):
            return format
    raise LabelFileError(gettext_noop("The file says nothing about images and their labels."))


def _entry(source: str, names: list[str], usage: str = "", **more: Any) -> Entry:
    labels = tuple(EntryLabel(name, annotated_by="") for name in dict.fromkeys(names) if name)
    return Entry(source, usage, labels, **more)


# --- COCO: images, categories, annotations without a box ---


def _is_coco(document: Document) -> bool:
    images = document.get("images")
    has_annotations = isinstance(document.get("annotations"), list)
    return isinstance(images, list) and (has_annotations or any(map(_own_categories, objects(images))))


def _own_categories(item: Document) -> list[Any]:
    """The numbers of categories that an image or an annotation states."""
    several, one = item.get("category_ids"), item.get("category_id")
    return several if isinstance(several, list) and several else [one] if one is not None else []


def _read_coco(document: Document) -> Iterator[Entry]:
    images = {str(image.get("id")): image for image in objects(document.get("images"))}
    names = {
        str(category.get("id")): str(category.get("name"))
        for category in objects(document.get("categories"))
        if category.get("name") is not None
    }
    numbers = {key: ids for key, image in images.items() if (ids := [*_own_categories(image)])}
    boxes = 0
    for annotation in objects(document.get("annotations")):
        image = str(annotation.get("image_id"))
        if _is_part(annotation, images.get(image, {})):
            boxes += 1
        elif ids := _own_categories(annotation):
            numbers.setdefault(image, []).extend(ids)
    labels = {key: [names.get(str(number), str(number)) for number in ids] for key, ids in numbers.items()}
    if boxes and not labels:
        raise BoxesError("COCO")
    for key, picture in images.items():
        source = picture.get("file_name") or picture.get("coco_url") or picture.get("flickr_url") or key
        yield _entry(str(source), labels.get(key, []))


def _is_part(annotation: Document, image: Document) -> bool:
    """Whether an annotation is of a part of the image. A box of the image's size is of the whole."""
    box, outline = annotation.get("bbox"), annotation.get("segmentation")
    if isinstance(box, list) and len(box) == 4 and any(box):
        size = [image.get("width"), image.get("height")]
        return not (box[:2] == [0, 0] and (box[2:] == size or box[2:] == [1, 1]))
    return bool(outline) or bool(annotation.get("keypoints"))


# --- Datumaro: items with annotations of the type label ---


def _is_datumaro(document: Document) -> bool:
    return isinstance(document.get("items"), list) and isinstance(document.get("categories"), dict)


def _read_datumaro(document: Document) -> Iterator[Entry]:
    categories = document["categories"].get("label")
    listed = objects(categories.get("labels")) if isinstance(categories, dict) else []
    names = [str(label.get("name")) for label in listed]
    items = objects(document["items"])
    kinds = {str(annotation.get("type")) for item in items for annotation in objects(item.get("annotations"))}
    if kinds and "label" not in kinds:
        raise BoxesError("Datumaro")
    for item in items:
        picture = item.get("image") or item.get("media") or {}
        path = picture.get("path") if isinstance(picture, dict) else ""
        numbers = [
            annotation.get("label_id")
            for annotation in objects(item.get("annotations"))
            if annotation.get("type") == "label"
        ]
        labels = [_name_of(number, names) for number in numbers]
        yield _entry(str(path or item.get("id") or ""), labels, usage_of(str(item.get("subset") or "")) or "")


def _name_of(number: Any, names: list[str]) -> str:
    is_index = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(names)
    return names[number] if is_index else str(number)


# --- FiftyOne: labels.json of classification data sets, samples.json of whole ones ---


def _is_fiftyone_labels(document: Document) -> bool:
    return isinstance(document.get("labels"), dict) and "classes" in document


def _read_fiftyone_labels(document: Document) -> Iterator[Entry]:
    names = document["classes"]
    classes = list(map(str, names)) if isinstance(names, list) else []
    values = document["labels"]
    if any(has_box(item) for value in values.values() for item in objects(value)):
        raise BoxesError("FiftyOne")
    for source, value in values.items():
        targets = value if isinstance(value, list) else [value]
        yield _fiftyone_entry(source, targets, classes)


def _fiftyone_entry(source: str, targets: list[Any], classes: list[str], usage: str = "") -> Entry:
    labels, notes = [], []
    for target in targets:
        is_object = isinstance(target, dict)
        label = target.get("label") if is_object else target
        if label is None:
            continue
        name = _name_of(label, classes)
        share = target.get("confidence") if is_object else None
        labels.append(EntryLabel(name, annotated_by="", confidence=parse_fraction(share)))
        notes += [note] if (note := confidence_note(name, share)) else []
    return Entry(source, usage, tuple(labels), notes=tuple(notes))


def _is_fiftyone_samples(document: Document) -> bool:
    samples = objects(document.get("samples"))
    return bool(samples) and "filepath" in samples[0]


def _read_fiftyone_samples(document: Document) -> Iterator[Entry]:
    samples = objects(document["samples"])
    fields = [value for sample in samples for value in sample.values() if isinstance(value, dict)]
    kinds = {str(value.get("_cls")) for value in fields if "_cls" in value}
    if kinds and not kinds & {"Classification", "Classifications"}:
        raise BoxesError("FiftyOne")
    for sample in samples:
        tags = sample.get("tags")
        words = [usage_of(str(tag)) for tag in tags] if isinstance(tags, list) else []
        targets = [target for key in _label_fields(sample) for target in _classifications(sample.get(key))]
        yield _fiftyone_entry(str(sample.get("filepath") or ""), targets, [], next(filter(None, words), ""))


def _label_fields(sample: Mapping[str, Any]) -> list[str]:
    """The fields of labels: the ground truth if there is one, else all but a model's predictions."""
    keys = [key for key in sample if _classifications(sample[key])]
    true = [key for key in keys if key.lower().replace("_", "") in ("groundtruth", "gt")]
    return true or [key for key in keys if not key.lower().startswith("pred")]


def _classifications(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return []
    if value.get("_cls") == "Classifications":
        return objects(value.get("classifications"))
    return [value] if value.get("_cls") == "Classification" else []


# --- LabelMe: one file for each image; its flags are labels of the whole ---


def _is_labelme(document: Document) -> bool:
    return isinstance(document.get("imagePath"), str) and isinstance(document.get("shapes"), list)


def _read_labelme(document: Document) -> Iterator[Entry]:
    flags = document.get("flags")
    labels = [name for name, is_set in flags.items() if is_set is True] if isinstance(flags, dict) else []
    if document["shapes"] and not labels:
        raise BoxesError("LabelMe")
    yield _entry(document["imagePath"], labels)


# --- plain objects: {"a.jpg": "cat"}, {"labels": [["a.png", 3]]} ---


def _is_pairs(document: Document) -> bool:
    labels = document.get("labels")
    return isinstance(labels, list) and bool(labels) and all(_is_pair(pair) for pair in labels[:100])


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and bool(IMAGE_FILE.search(str(value[0])))


def _read_pairs(document: Document) -> Iterator[Entry]:
    return (_entry(str(pair[0]), label_names(pair[1])) for pair in document["labels"] if _is_pair(pair))


def _is_mapping(document: Document) -> bool:
    keys = list(_of_via(document))[:100]
    return bool(keys) and all(IMAGE_FILE.search(re.sub(r"(\.\w+?)-?\d+$", r"\1", key)) for key in keys)


def _of_via(document: Document) -> Document:
    """The files in a whole project of VGG's annotator; any other document as it is."""
    files = document.get("_via_img_metadata")
    return files if isinstance(files, dict) else document


def _read_mapping(document: Document) -> Iterator[Entry]:
    """Files and their labels. VGG's annotator writes an object each, with `regions` for boxes."""
    document = _of_via(document)
    values = [value for value in document.values() if isinstance(value, dict)]
    if any(has_box(value) or value.get("regions") for value in values):
        raise BoxesError("VGG Image Annotator")  # not translated: the name of a product
    for key, value in document.items():
        if isinstance(value, dict) and isinstance(value.get("file_attributes"), dict):
            attributes = list(value["file_attributes"].values())
            yield _entry(str(value.get("filename") or key), label_names(attributes))
        else:
            yield _entry(key, label_names(value))


# --- plain objects: {"cat": ["a.jpg", "b.jpg"]} ---


def _is_grouped(document: Document) -> bool:
    groups = list(document.items())
    return bool(groups) and all(
        isinstance(group, list) and all(_is_member(item, key) for item in group[:100])
        for key, group in groups[:100]
    )


def _is_member(value: Any, key: str) -> bool:
    return isinstance(value, str) and bool(IMAGE_FILE.search(value) or value.startswith(f"{key}/"))


def _read_grouped(document: Document) -> Iterator[Entry]:
    images: dict[str, list[str]] = {}
    for key, group in document.items():
        for item in group if isinstance(group, list) else []:
            images.setdefault(str(item), []).append(key)
    return (_entry(source, names) for source, names in images.items())


FORMATS = [
    DocumentFormat("COCO", _is_coco, _read_coco),
    DocumentFormat("Datumaro", _is_datumaro, _read_datumaro),
    DocumentFormat("FiftyOne", _is_fiftyone_labels, _read_fiftyone_labels),
    DocumentFormat("FiftyOne", _is_fiftyone_samples, _read_fiftyone_samples),
    DocumentFormat("LabelMe", _is_labelme, _read_labelme),
    DocumentFormat(gettext_noop("JSON object of images and labels"), _is_pairs, _read_pairs),
    DocumentFormat(gettext_noop("JSON object of images and labels"), _is_mapping, _read_mapping),
    DocumentFormat(gettext_noop("JSON object of labels and images"), _is_grouped, _read_grouped),
]
