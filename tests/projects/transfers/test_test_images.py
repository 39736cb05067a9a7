"""Images that an import calls test images are test images, whatever says so: a column, a file, a folder."""

from __future__ import annotations

import json

import pytest

from projects.models import Project
from tests.factories import make_project, picture_bytes
from tests.projects.transfers.import_factories import imported, labels_by_name, sample, zipped

pytestmark = pytest.mark.django_db

PICTURES = {f"{name}.png": picture_bytes(number) for number, name in enumerate("abcd")}


def splits(project: Project) -> dict[str, str]:
    return dict(project.images.values_list("name", "split"))


def coco(*files: str) -> str:
    return json.dumps(
        {
            "images": [{"id": n, "file_name": name} for n, name in enumerate(files)],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [{"id": n, "image_id": n, "category_id": 1} for n in range(len(files))],
        }
    )


@pytest.mark.parametrize("word", ["test", "Testing", "holdout", "hold-out", "tst", "test set", "測試"])
def test_a_column_of_splits_names_them(word: str) -> None:
    project = make_project(labels=0)
    table = f"image,label,split\na.png,cat,train\nb.png,dog,{word}\nc.png,cat,valid\n"
    imported(project, {"a.zip": zipped({**PICTURES, "labels.csv": table})})
    assert splits(project) == {"a.png": "TRAIN", "b.png": "TEST", "c.png": "EVAL", "d.png": ""}
    assert labels_by_name(project)["b.png"] == ["dog"]


def test_a_column_of_splits_that_holds_another_word_still_names_them() -> None:
    project = make_project(labels=0)
    table = "image,label,split\na.png,cat,train\nb.png,dog,test\nc.png,cat,extra\n"
    imported(project, {"a.zip": zipped({**PICTURES, "labels.csv": table})})
    assert splits(project) == {"a.png": "TRAIN", "b.png": "TEST", "c.png": "", "d.png": ""}


def test_a_column_of_other_sets_is_metadata() -> None:
    project = make_project(labels=0)
    table = "image,label,set\na.png,cat,first\nb.png,dog,second\nc.png,cat,first\n"
    imported(project, {"a.zip": zipped({**PICTURES, "labels.csv": table})})
    assert set(splits(project).values()) == {""}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("annotations/instances_test2017.json", coco("b.png")),
        ("annotations/test/labels.json", coco("b.png")),
        ("my-test.csv", "image,label\nb.png,cat\n"),
        ("holdout.manifest", sample("b.png", "cat")),
        ("测试.csv", "image,label\nb.png,cat\n"),
    ],
)
def test_a_label_file_that_is_called_test_describes_test_images(name: str, content: str) -> None:
    project = make_project(labels=0)
    files = {**PICTURES, "annotations/instances_train2017.json": coco("a.png", "c.png"), name: content}
    imported(project, {"a.zip": zipped(files)})
    assert splits(project) == {"a.png": "", "b.png": "TEST", "c.png": "", "d.png": ""}
    assert labels_by_name(project)["b.png"] == ["cat"]


@pytest.mark.parametrize("name", ["contest.csv", "latest labels.csv", "attestation/labels.csv"])
def test_a_name_that_only_contains_the_letters_is_none(name: str) -> None:
    project = make_project(labels=0)
    imported(project, {"a.zip": zipped({**PICTURES, name: "image,label\na.png,cat\nb.png,dog\n"})})
    assert set(splits(project).values()) == {""}


def test_what_a_row_says_counts_more_than_the_name_of_its_file() -> None:
    project = make_project(labels=0)
    table = "image,label,split\na.png,cat,train\nb.png,dog,valid\nc.png,cat,\n"
    imported(project, {"a.zip": zipped({**PICTURES, "test.csv": table})})
    assert splits(project) == {"a.png": "TRAIN", "b.png": "EVAL", "c.png": "TEST", "d.png": ""}


def test_of_two_label_files_the_one_that_says_test_is_believed() -> None:
    project = make_project(labels=0)
    files = {
        "1.csv": "image,label,split\na.png,cat,train\nb.png,dog,train\n",
        "2.csv": "image,label,split\na.png,cat,test\nb.png,dog,valid\n",
    }
    imported(project, {"a.zip": zipped({**PICTURES, **files})})
    assert {name: split for name, split in splits(project).items() if split} == {
        "a.png": "TEST",
        "b.png": "TRAIN",
    }


@pytest.mark.parametrize("folders", [("train", "test"), ("test", "train")])
def test_equal_files_in_training_and_test_are_one_test_image(folders: tuple[str, str]) -> None:
    project = make_project(labels=0)
    files = {f"{folder}/cat/{n}.png": picture_bytes(7) for n, folder in enumerate(folders)}
    imported(project, {"a.zip": zipped(files | {"train/dog/x.png": picture_bytes(8)})})
    assert sorted(project.images.values_list("split", flat=True)) == ["TEST", "TRAIN"]


def test_an_image_that_was_there_before_keeps_its_split() -> None:
    project = make_project(labels=0)
    imported(project, {"a.zip": zipped({"train/cat/1.png": picture_bytes(7)})})
    imported(
        project, {"a.zip": zipped({"test/cat/1.png": picture_bytes(7), "test/cat/2.png": picture_bytes(8)})}
    )
    assert splits(project) == {"1.png": "TRAIN", "2.png": "TEST"}
