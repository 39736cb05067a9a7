"""CVAT's XML, and text lists of images with numbered labels."""

from __future__ import annotations

import io

import pytest

from projects.formats import label_files
from projects.formats.label_files import BoxesError, LabelFileError
from tests.projects.formats.label_file_factories import entries_of, identified, labels_of, usages_of

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels><label><name>cat</name></label></labels></task></meta>
<image id="0" name="a.jpg" width="9" height="9"><tag label="cat" source="manual"></tag></image>
<image id="1" name="b.jpg" subset="Validation">
<box label="tail" xtl="1"/><tag label="dog"/><tag label="big"/></image>
<image id="2" name="c.jpg"/></annotations>"""


def test_tags_of_cvat_are_labels() -> None:
    assert labels_of("annotations.xml", CVAT) == {"a.jpg": ["cat"], "b.jpg": ["dog", "big"], "c.jpg": []}
    assert usages_of("annotations.xml", CVAT)["b.jpg"] == "EVAL"


@pytest.mark.parametrize(
    "content",
    [
        '<annotations><image id="0" name="a.jpg"><box label="cat" xtl="1"/></image></annotations>',
        '<annotations><track id="0" label="cat"><box frame="0"/></track></annotations>',
        "<annotation><filename>a.jpg</filename><object><name>cat</name><bndbox/></object></annotation>",
    ],
)
def test_boxes_in_xml_are_refused(content: str) -> None:
    with pytest.raises(BoxesError, match="for image classification"):
        identified("a.xml", content)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("<svg><g/></svg>", "says nothing about images"),
        ("<annotations><image", "cannot be read"),
        (
            '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
            + "".join(f'<!ENTITY {"a" * n} "{("&" + "a" * (n - 1) + ";") * 10}">' for n in range(2, 12))
            + ']><annotations><image name="&aaaaaaaaaaa;"/></annotations>',
            "cannot be read",
        ),
    ],
)
def test_other_xml_is_refused_with_a_sentence(content: str, sentence: str) -> None:
    with pytest.raises(LabelFileError, match=sentence):
        entries_of("a.xml", content)


# --- text lists ---


def test_numbers_of_a_list_get_their_names_from_the_second_file() -> None:
    content = 'a.jpg 0\n"b c.jpg" 1\nimages/d e.jpg 0 1\n'
    found = identified("ImageSets/train.txt", content)
    assert (found.needs_label_names, found.format) == (True, "Text list of images")
    names = label_files.read_label_names("x/synsets.txt", io.BytesIO(b"cat\ndog\n"))
    assert labels_of("train.txt", content, label_names=names) == {
        "a.jpg": ["cat"],
        "b c.jpg": ["dog"],
        "images/d e.jpg": ["cat", "dog"],
    }
    assert set(usages_of("train.txt", content).values()) == {"TRAIN"}
    assert labels_of("train.txt", content)["a.jpg"] == ["0"]


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        (
            "synsets.txt",
            "n01440764 tench, Tinca tinca\nn01443537 goldfish\n",
            ("tench, Tinca tinca", "goldfish"),
        ),
        ("classes.txt", "\ufeffcat\r\ndog\r\n\r\n", ("cat", "dog")),
        ("label_map.txt", "0 cat\n1 dog\n", ("cat", "dog")),
        ("labels.txt", "0: cat\n1: dog\n", ("cat", "dog")),
        ("obj.names", "cat\ndog", ("cat", "dog")),
        ("1.txt", "cat\ndog", ()),
    ],
)
def test_names_of_numbered_labels_are_read(name: str, content: str, names: tuple[str, ...]) -> None:
    assert label_files.read_label_names(f"data/{name}", io.BytesIO(content.encode())) == names


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("val.txt", "ILSVRC2012_val_00000001.JPEG 65\n", {"ILSVRC2012_val_00000001.JPEG": ["65"]}),
        (
            "list.txt",
            "a.jpg cat\nb.jpg Golden retriever\n",
            {"a.jpg": ["cat"], "b.jpg": ["Golden retriever"]},
        ),
        ("list.txt", "a.jpg\tcat\nb.jpg\tdog\n", {"a.jpg": ["cat"], "b.jpg": ["dog"]}),
        ("test.txt", "a.jpg\nb c.jpg\n", {"a.jpg": [], "b c.jpg": []}),
        ("list.txt", "n01/a 0\nn02/b 1\n", {"n01/a": ["0"], "n02/b": ["1"]}),
        (
            "list.txt",
            "#Image CLASS-ID SPECIES\nAbyssinian_100 1 2\nbeagle_1 2 2\n",
            {"Abyssinian_100": ["1", "2"], "beagle_1": ["2"]},
        ),
        ("list.txt", "image,label\na.jpg,cat\n", {"a.jpg": ["cat"]}),
    ],
)
def test_lists_of_images_are_read(name: str, content: str, expected: dict[str, list[str]]) -> None:
    assert labels_of(name, content) == expected


BOX_TEXTS = [
    "0 0.5 0.5 0.2 0.2\n",
    "0 0.5 0.5 0.2 0.2 0.98\n1 0.1 0.1 0.2 0.2 0.5\n",
    "0 0.1 0.1 0.2 0.1 0.2 0.2\n",
    "Car 0.00 0 -1.57 614.24 181.78 727.31 284.77 1.57 1.73 4.15 1.00 1.75 13.22 -1.62\n",
    "10 10 20 10 20 20 10 20 plane 0\n",
]


@pytest.mark.parametrize("content", BOX_TEXTS)
def test_a_text_file_of_boxes_is_known(content: str) -> None:
    assert label_files.is_box_text(content.encode())
    with pytest.raises(BoxesError):
        identified("1.txt", content)


@pytest.mark.parametrize(
    "content", ["cat\n", "", "7\n", "3 1\n", "Boeing 747 8\n", "cat\n0 0.5 0.5 0.2 0.2\n"]
)
def test_a_text_file_of_labels_is_none_of_boxes(content: str) -> None:
    assert not label_files.is_box_text(content.encode())


@pytest.mark.parametrize("content", ["1 1\n2 0\n", "step 1\nstep 2\n", "Read me first.\n", "cat\ndog\n"])
def test_other_text_names_no_images(content: str) -> None:
    with pytest.raises(LabelFileError):
        identified("notes.txt", content)


def test_a_list_with_boxes_behind_the_images_is_refused() -> None:
    with pytest.raises(BoxesError):
        identified("train.txt", "a.jpg 1,2,3,4,0 5,6,7,8,1\nb.jpg 1,2,3,4,0\n")


def test_a_box_behind_the_label_of_a_list_is_left_out() -> None:
    content = "val_0.JPEG\tn03444034\t0\t32\t44\t62\nval_1.JPEG\tn04067472\t5\t5\t48\t46\n"
    assert labels_of("val.txt", content) == {"val_0.JPEG": ["n03444034"], "val_1.JPEG": ["n04067472"]}
    with pytest.raises(BoxesError):
        labels_of("boxes.txt", "a.JPEG\t0\t32\t44\t62\nb.JPEG\t5\t5\t48\t46\n")
