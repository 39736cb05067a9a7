"""Which folders of an archive are splits, and which are labels."""

from __future__ import annotations

import pytest

from projects.formats.splits.split_folders import FolderTree, usage_of_folder


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("train", "TRAIN"),
        ("Training", "TRAIN"),
        ("training_set", "TRAIN"),
        ("train_images", "TRAIN"),
        ("images-train", "TRAIN"),
        ("train2017", "TRAIN"),
        ("Train Data", "TRAIN"),
        ("trainset", "TRAIN"),
        ("valid", "EVAL"),
        ("val", "EVAL"),
        ("Validation", "EVAL"),
        ("val_256", "EVAL"),
        ("dev", "EVAL"),
        ("eval-set", "EVAL"),
        ("test", "TEST"),
        ("test_images", "TEST"),
        ("testing", "TEST"),
        ("test1", "TEST"),
        ("unlabeled2017", ""),
        ("01_train", "TRAIN"),
        ("Train (1)", "TRAIN"),
        ("valid.v2", "EVAL"),
        ("训练集", "TRAIN"),
        ("验证集", "EVAL"),
        ("測試集", "TEST"),
        ("trainer", None),
        ("seg_train", None),
        ("testes", None),
        ("devil", None),
        ("contest", None),
        ("steam train", None),
        ("cat", None),
    ],
)
def test_folders_of_exporters_are_known_as_splits(name: str, usage: str | None) -> None:
    assert usage_of_folder(name) == usage


@pytest.mark.parametrize(
    ("paths", "placed"),
    [
        (["train/1.png", "valid/2.png", "test_images/3.png"], [("", "TRAIN"), ("", "EVAL"), ("", "TEST")]),
        (["train/cat/1.png", "val/dog/2.png"], [("cat", "TRAIN"), ("dog", "EVAL")]),
        (["cat/train/1.png", "dog/test/2.png"], [("cat", "TRAIN"), ("dog", "TEST")]),
        (["images/train/1.png", "images/val/2.png"], [("", "TRAIN"), ("", "EVAL")]),
        (["data/dataset-split/Training/a/1.png", "data/dataset-split/Testing/b/2.png"],
         [("a", "TRAIN"), ("b", "TEST")]),
        (["pets/train/1.png", "pets/test/2.png"], [("", "TRAIN"), ("", "TEST")]),
        (["bus/1.png", "car/2.png", "train/3.png"], [("bus", ""), ("car", ""), ("train", "")]),
        (["train/bus/1.png", "train/train/2.png", "val/train/3.png", "val/bus/4.png"],
         [("bus", "TRAIN"), ("train", "TRAIN"), ("train", "EVAL"), ("bus", "EVAL")]),
        (["labeled/cat/1.png", "labeled/dog/2.png", "unlabeled/3.png"], [("cat", ""), ("dog", ""), ("", "")]),
        (["cat/1.png", "dog/2.png", "test/3.png"], [("cat", ""), ("dog", ""), ("", "TEST")]),
        (["train/1.png", "2.png"], [("", "TRAIN"), ("", "")]),
        (["photos/1.png", "photos/2.png"], [("", ""), ("", "")]),
        (["a/1.png", "b/2.png"], [("a", ""), ("b", "")]),
        (["seg_train/seg_train/sea/1.png", "seg_test/seg_test/sea/2.png", "seg_pred/seg_pred/3.png"],
         [("sea", "TRAIN"), ("sea", "TEST"), ("", "")]),
        (["x_train/1.png", "x_val/2.png"], [("", "TRAIN"), ("", "EVAL")]),
        (["train_resized/a/1.png", "test_resized/a/2.png"], [("a", "TRAIN"), ("a", "TEST")]),
        (["steam train/1.png", "steam boat/2.png"], [("steam train", ""), ("steam boat", "")]),
        (["test_positive/1.png", "test_negative/2.png"], [("test_positive", ""), ("test_negative", "")]),
    ],
)  # fmt: skip
def test_the_nearest_folder_that_is_no_split_is_the_label(
    paths: list[str], placed: list[tuple[str, str]]
) -> None:
    tree = FolderTree(paths)
    assert [(tree.place(path).label, tree.place(path).usage) for path in paths] == placed
