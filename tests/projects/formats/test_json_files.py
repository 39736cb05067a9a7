"""JSON label files of other products."""

from __future__ import annotations

import json
from typing import Any

import pytest

from projects.formats.columns import Columns
from projects.formats.label_files import BoxesError, LabelFileError
from tests.projects.formats.label_file_factories import (
    entries_of,
    identified,
    json_lines,
    labels_of,
    usages_of,
)

CAT_AND_DOG = {"a.jpg": ["cat"], "b.jpg": ["dog"]}
CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}]
COCO_IMAGES = [
    {"id": 1, "file_name": "a.jpg", "width": 9, "height": 8},
    {"id": 2, "file_name": "b.jpg", "width": 9, "height": 8},
]


def task(image: str, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A task of Label Studio."""
    return {"id": 1, "data": {"image": image}, "annotations": [{"result": list(results), **more}]}


def choice(*names: str) -> dict[str, Any]:
    return {"type": "choices", "from_name": "c", "to_name": "image", "value": {"choices": list(names)}}


def modelarts(source: str, name: object, **more: Any) -> dict[str, Any]:
    annotation = {"type": "modelarts/image_classification", "name": name, **more}
    return {"source": source, "annotation": [annotation]}


DOCUMENTS = {
    "label studio": [task("a.jpg", choice("cat")), task("b.jpg", choice("dog"))],
    "label studio taxonomy": [
        task("a.jpg", {"type": "taxonomy", "value": {"taxonomy": [["animal", "cat"]]}}),
        task("b.jpg", {"type": "taxonomy", "value": {"taxonomy": [["animal", "dog"]]}}),
    ],
    "label studio min": [
        {"image": "a.jpg", "id": 1, "choice": "cat", "annotator": 1, "lead_time": 2.5, "created_at": "x"},
        {"image": "b.jpg", "id": 2, "choice": {"choices": ["dog"]}, "annotator": 1, "lead_time": 2.5},
    ],
    "coco without boxes": {
        "images": COCO_IMAGES,
        "annotations": [{"image_id": 1, "category_id": 7}, {"image_id": 2, "category_id": 9, "bbox": []}],
        "categories": CATEGORIES,
    },
    "coco with boxes of the whole image": {
        "images": COCO_IMAGES,
        "annotations": [
            {"image_id": 1, "category_id": 7, "bbox": [0, 0, 9, 8]},
            {"image_id": 2, "category_id": 9, "bbox": [0, 0, 0, 0]},
        ],
        "categories": CATEGORIES,
    },
    "datumaro": {
        "info": {},
        "categories": {"label": {"labels": [{"name": "cat"}, {"name": "dog"}]}},
        "items": [
            {"id": "a", "annotations": [{"type": "label", "label_id": 0}], "image": {"path": "a.jpg"}},
            {"id": "b.jpg", "annotations": [{"type": "label", "label_id": 1}]},
        ],
    },
    "fiftyone labels": {"classes": ["cat", "dog"], "labels": {"a.jpg": 0, "b.jpg": "dog"}},
    "fiftyone samples": {
        "samples": [
            {"filepath": "a.jpg", "ground_truth": {"_cls": "Classification", "label": "cat"}},
            {
                "filepath": "b.jpg",
                "kinds": {"_cls": "Classifications", "classifications": [{"label": "dog"}]},
            },
        ]
    },
    "fiftyone samples with predictions": {
        "samples": [
            {
                "filepath": "a.jpg",
                "predictions": {"_cls": "Classification", "label": "dog", "confidence": 0.6},
                "ground_truth": {"_cls": "Classification", "label": "cat"},
            },
            {"filepath": "b.jpg", "ground_truth": {"_cls": "Classification", "label": "dog"}},
        ]
    },
    "coco with categories of images": {
        "images": [
            {"id": 1, "file_name": "a.jpg", "category_id": 7},
            {"id": 2, "file_name": "b.jpg", "category_ids": [9]},
        ],
        "categories": CATEGORIES,
    },
    "custom vision": [
        {"id": "1", "originalImageUri": "a.jpg", "tags": [{"tagId": "x", "tagName": "cat"}], "regions": []},
        {"id": "2", "originalImageUri": "b.jpg", "tags": [{"tagId": "y", "tagName": "dog"}]},
    ],
    "objects": [{"image": "a.jpg", "label": "cat"}, {"image": "b.jpg", "label": "dog"}],
    "one key for each image": {"a.jpg": "cat", "b.jpg": ["dog"]},
    "one key for each label": {"cat": ["a.jpg"], "dog": ["b.jpg"]},
    "objects below a key": {
        "version": 2,
        "data": [{"file": "a.jpg", "class": "cat"}, {"file": "b.jpg", "class": "dog"}],
    },
    "pairs": {"labels": [["a.jpg", "cat"], ["b.jpg", "dog"]]},
    "modelarts": [modelarts("a.jpg", "cat"), modelarts("b.jpg", "dog")],
}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_image_level_labels_of_other_products_are_read(name: str, indent: int | None) -> None:
    assert labels_of("export.json", json.dumps(DOCUMENTS[name], indent=indent)) == CAT_AND_DOG


@pytest.mark.parametrize(
    ("lines", "format"),
    [
        (
            [{"file_name": "a.jpg", "label": "cat"}, {"file_name": "b.jpg", "label": "dog"}],
            "Hugging Face metadata",
        ),
        (
            [
                {"imageGcsUri": "a.jpg", "classificationAnnotation": {"displayName": "cat"}},
                {"imageGcsUri": "b.jpg", "classificationAnnotations": [{"displayName": "dog"}]},
            ],
            "Vertex AI JSON Lines",
        ),
        ([{"image_url": "a.jpg", "label": "cat"}, {"image_url": "b.jpg", "label": ["dog"]}], "JSON records"),
        ([modelarts("a.jpg", "cat"), modelarts("b.jpg", "dog")], "ModelArts manifest"),
    ],
)
def test_json_lines_are_read(lines: list[dict[str, Any]], format: str) -> None:
    content = json_lines(*lines)
    assert identified("metadata.jsonl", content).format == format
    assert labels_of("metadata.jsonl", content) == CAT_AND_DOG
    assert labels_of("metadata.jsonl", f"\ufeff\n{content}\n\n".replace("\n", "\r\n")) == CAT_AND_DOG
    assert labels_of("metadata.jsonl", content.encode("utf-16")) == CAT_AND_DOG


def test_numbers_are_names_of_labels() -> None:
    content = json_lines(modelarts("a.jpg", 0), modelarts("b.jpg", 1))
    assert labels_of("a.manifest", content) == {"a.jpg": ["0"], "b.jpg": ["1"]}
    content = json_lines({"file_name": "a.jpg", "label": 0}, {"file_name": "b.jpg", "label": 1})
    assert labels_of("metadata.jsonl", content) == {"a.jpg": ["0"], "b.jpg": ["1"]}


def test_splits_are_read() -> None:
    use = "aiplatform.googleapis.com/ml_use"
    lines = [
        {
            "imageGcsUri": f"{word}.jpg",
            "classificationAnnotation": {"displayName": "cat"},
            "dataItemResourceLabels": {use: word},
        }
        for word in ("training", "validation", "test")
    ]
    assert list(usages_of("a.jsonl", json_lines(*lines)).values()) == ["TRAIN", "EVAL", "TEST"]
    samples = [
        {"filepath": "a.jpg", "tags": ["mine", "validation"], "x": {"_cls": "Classification", "label": "cat"}}
    ]
    assert usages_of("samples.json", json.dumps({"samples": samples})) == {"a.jpg": "EVAL"}


# --- Label Studio ---


def test_only_annotations_that_count_give_labels() -> None:
    skipped = task("a.jpg", choice("dog"), was_cancelled=True)
    skipped["annotations"].append({"result": [choice("cat")]})
    checked = task("b.jpg", choice("cat"))
    checked["annotations"].append({"result": [choice("dog")], "ground_truth": True})
    assert labels_of("a.json", json.dumps([skipped, checked])) == CAT_AND_DOG


def test_a_task_without_annotation_is_an_image_without_label() -> None:
    tasks = [task("a.jpg", choice("cat", "dog")), {"id": 2, "data": {"photo": "b.jpg"}, "annotations": []}]
    assert labels_of("a.json", json.dumps(tasks)) == {"a.jpg": ["cat", "dog"], "b.jpg": []}


# --- Ground Truth ---


def groundtruth(source: str, **classes: str) -> dict[str, Any]:
    sample: dict[str, Any] = {"source-ref": source}
    for attribute, name in classes.items():
        sample |= {attribute: 1, f"{attribute}-metadata": {"class-name": name, "human-annotated": "yes"}}
    return sample


def test_each_attribute_of_ground_truth_is_a_column_that_can_be_chosen() -> None:
    content = json_lines(groundtruth("a.jpg", kind="cat", colour="red"), groundtruth("b.jpg", kind="dog"))
    found = identified("output.manifest", content)
    assert (found.head, found.columns) == (("source-ref", "kind", "colour"), Columns(0, (1, 2)))
    assert labels_of("output.manifest", content) == {"a.jpg": ["cat", "red"], "b.jpg": ["dog"]}
    assert labels_of("output.manifest", content, columns=Columns(0, (1,))) == CAT_AND_DOG


def test_attributes_of_boxes_are_passed_over_beside_others() -> None:
    boxes = {
        "boxes": {"annotations": [{"class_id": 0}]},
        "boxes-metadata": {"class-map": {"0": "tail"}, "type": "groundtruth/object-detection"},
    }
    assert labels_of("a.manifest", json_lines(groundtruth("a.jpg", kind="cat") | boxes)) == {"a.jpg": ["cat"]}
    with pytest.raises(BoxesError):
        identified("a.manifest", json_lines({"source-ref": "a.jpg"} | boxes))


def test_a_class_without_metadata_is_its_number() -> None:
    assert labels_of("a.manifest", json_lines({"source-ref": "a.jpg", "class": 3})) == {"a.jpg": ["3"]}


# --- confidences ---


@pytest.mark.parametrize("confidence", [float("inf"), float("nan"), -5, 7, "much"])
def test_a_confidence_that_is_none_is_left_out_and_reported(confidence: object) -> None:
    metadata = {"class-name": "cat", "confidence": confidence, "human-annotated": "no"}
    files = {
        "m.manifest": json_lines(modelarts("a.jpg", "cat", confidence=confidence)),
        "g.manifest": json_lines({"source-ref": "a.jpg", "k": 0, "k-metadata": metadata}),
        "f.json": json.dumps(
            {"classes": ["cat"], "labels": {"a.jpg": {"label": 0, "confidence": confidence}}}
        ),
    }
    for name, content in files.items():
        [entry] = entries_of(name, content)
        assert (entry.labels, entry.entry_labels[0].confidence) == (("cat",), None)
        assert "of “cat” is not between 0 and 1" in entry.notes[0]


def test_a_confidence_from_0_to_1_is_kept() -> None:
    [entry] = entries_of("a.manifest", json_lines(modelarts("a.jpg", "cat", confidence=0.5)))
    assert (entry.entry_labels[0].confidence, entry.notes) == (0.5, ())


# --- refused ---

BOXES = {
    "COCO": {
        "images": COCO_IMAGES,
        "annotations": [{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}],
        "categories": CATEGORIES,
    },
    "COCO outlines": {
        "images": COCO_IMAGES,
        "annotations": [{"image_id": 1, "category_id": 7, "segmentation": [[1, 2, 3, 4, 5, 6]]}],
        "categories": CATEGORIES,
    },
    "Datumaro": {
        "categories": {"label": {"labels": [{"name": "cat"}]}},
        "items": [{"id": "a", "annotations": [{"type": "bbox", "label_id": 0, "bbox": [1, 2, 3, 4]}]}],
    },
    "FiftyOne": {"classes": ["cat"], "labels": {"a": [{"label": 0, "bounding_box": [0, 0, 1, 1]}]}},
    "FiftyOne samples": {"samples": [{"filepath": "a.jpg", "x": {"_cls": "Detections", "detections": []}}]},
    "LabelMe": {"imagePath": "a.jpg", "flags": {}, "shapes": [{"label": "cat", "points": [[1, 2]]}]},
    "CreateML": [{"image": "a.jpg", "annotations": [{"label": "cat", "coordinates": {"x": 1, "y": 2}}]}],
    "VIA": {"a.jpg99": {"filename": "a.jpg", "regions": [{"shape_attributes": {}}], "file_attributes": {}}},
    "Label Studio": [task("a.jpg", {"type": "rectanglelabels", "value": {"rectanglelabels": ["cat"]}})],
    "Vertex": [{"imageGcsUri": "a.jpg", "boundingBoxAnnotations": [{"displayName": "cat", "xMin": 0.1}]}],
    "Hugging Face": [{"file_name": "a.jpg", "objects": {"bbox": [[1, 2, 3, 4]], "categories": [0]}}],
    "ModelArts": [
        {"source": "a.jpg", "annotation": [{"type": "modelarts/object_detection", "annotation-loc": "a.xml"}]}
    ],
}


@pytest.mark.parametrize("name", BOXES)
def test_boxes_are_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(BoxesError, match="Export the labels for image classification"):
        identified("labels.json", json.dumps(BOXES[name]))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("package.json", {"name": "x", "dependencies": [{"name": "y"}]}, "says nothing about images"),
        ("config.json", {"lr": 0.1}, "says nothing about images"),
        ("numbers.json", [1, 2, 3], "says nothing about images"),
        ("geo.json", {"type": "FeatureCollection", "features": [{"type": "Feature"}]}, "says nothing about"),
        ("a.json", '{"images": [', "not valid JSON, or it is cut off"),
        ("a.json", "[" * 100_000, "is not valid JSON"),
        ("a.manifest", '{"source": "a.png"}\n{"annotation": []}\n', "Line 2 has no “source”"),
        ("a.manifest", '{"source": "a.png"}\n{oops}\n', "Line 2 is not valid JSON"),
        ("a.jsonl", '{"image": "a.jpg", "label": "cat"}\n[3]\n', "Line 2 must be one JSON object"),
        ("a.jsonl", '{"image": "a.jpg", "label": "' + "x" * 2_000_000, "is not valid JSON"),
        ("a.json", '{"images": ["' + "x" * (33 << 20) + '"]}', "larger than 32 MB and must be read whole"),
    ],
)
def test_what_is_no_label_file_is_refused_with_a_sentence(name: str, content: Any, sentence: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(LabelFileError, match=sentence):
        entries_of(name, text)


def test_captions_name_images_without_labels() -> None:
    assert not identified("captions.jsonl", json_lines({"file_name": "cat/a.jpg", "text": "x"})).has_labels


def test_what_is_no_character_is_replaced() -> None:
    [entry] = entries_of(
        "a.manifest",
        '{"source": "a\\u0000.jpg", "annotation": ['
        + json.dumps({"type": "image_classification", "name": "ca\ud800t\n"})
        + "]}",
    )
    assert entry.labels == ("ca\ufffdt",)
    entry.source.encode()


@pytest.mark.parametrize("is_array", [False, True])
def test_a_manifest_in_an_encoding_that_is_not_stated_is_guessed(is_array: bool) -> None:
    samples = [
        modelarts(f"{number}.jpg", label) for number, label in enumerate(["猫", "狗", "玫瑰花", "郁金香"])
    ]
    text = json.dumps(samples, ensure_ascii=False) if is_array else json_lines(*samples)
    content = text.encode("gb18030")
    found = identified("a.manifest", content)
    assert (found.encoding, found.is_encoding_guessed) == ("gb18030", True)
    assert list(labels_of("a.manifest", content).values()) == [["猫"], ["狗"], ["玫瑰花"], ["郁金香"]]
    document = json.dumps({"0.jpg": "猫", "1.jpg": "玫瑰花"}, ensure_ascii=False).encode("gb18030")
    assert labels_of("a.json", document) == {"0.jpg": ["猫"], "1.jpg": ["玫瑰花"]}


def test_bytes_of_another_encoding_that_come_late_are_refused_and_it_can_be_chosen() -> None:
    lines = [modelarts(f"{number}.jpg", "cat") for number in range(5000)] + [modelarts("b.jpg", "郁金香")]
    content = json_lines(*lines).encode("gb18030")
    with pytest.raises(LabelFileError, match=r"The text after line \d+ is not UTF-8\. Choose its encoding"):
        entries_of("a.manifest", content)
    assert labels_of("a.manifest", content, encoding="gb18030")["b.jpg"] == ["郁金香"]


def test_labels_that_a_person_rejected_in_prodigy_are_none() -> None:
    content = json_lines(
        {"image": "a.jpg", "label": "cat", "answer": "accept"},
        {"image": "b.jpg", "label": "cat", "answer": "reject"},
        {"image": "c.jpg", "label": "dog", "answer": "ignore"},
    )
    assert labels_of("out.jsonl", content) == {"a.jpg": ["cat"], "b.jpg": [], "c.jpg": []}


def test_a_whole_project_of_the_vgg_annotator_is_read() -> None:
    files = {
        f"{name}99": {"filename": name, "size": 99, "regions": [], "file_attributes": {"kind": label}}
        for name, label in (("a.jpg", "cat"), ("b.jpg", "dog"))
    }
    document = {"_via_settings": {}, "_via_img_metadata": files, "_via_attributes": {}}
    assert labels_of("via.json", json.dumps(document)) == {"a.jpg": ["cat"], "b.jpg": ["dog"]}
