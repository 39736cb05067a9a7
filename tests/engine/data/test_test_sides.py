"""A side that is called test is never opened by `fit`, and named groups are never divided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from training.engine import EngineError, Sample
from training.engine.data import layouts

ROOT = Path(__file__).resolve().parents[3]


def write(root: Path, *files: str) -> None:
    """Pictures, each of one colour of its own, at these paths."""
    for number, file in enumerate(files):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), ((37 * number) % 256, (91 * number) % 256, 9)).save(path)


def manifest(root: Path, *rows: tuple[str, str, str, str]) -> Path:
    """A manifest of rows (source, usage, label, group); empty usages and groups are left out."""
    lines = []
    for source, usage, label, group in rows:
        entry: dict[str, object] = {"source": source, "annotation": [{"name": label}]}
        entry |= {"usage": usage} if usage else {}
        entry |= {"property": {"exeml:group": group}} if group else {}
        lines.append(json.dumps(entry))
    (root / "a.manifest").write_text("\n".join(lines))
    return root / "a.manifest"


def names(samples: list[Sample]) -> dict[str, tuple[str, str]]:
    """File name → label and split."""
    return {sample.path.stem: (sample.labels[0], sample.split) for sample in samples}


def test_the_projects_name_splits_by_the_same_file() -> None:
    engine, projects = (
        ROOT / folder / "split_folders.py" for folder in ("training/engine/data", "projects/formats/splits")
    )
    assert engine.read_text() == projects.read_text(), "copy one to the other"


@pytest.mark.parametrize(
    "name", ["test", "Test", "TESTING", "tests", "test_images", "holdout", "2-test", "测试集"]
)
@pytest.mark.parametrize(
    "layout", ["{split}/{label}/{file}", "images/{split}/{label}/{file}", "{label}/{split}/{file}"]
)
def test_no_layout_of_folders_gives_test_images_to_a_fit(tmp_path: Path, layout: str, name: str) -> None:
    kinds = {"a": "train", "b": "train", "c": "valid", "d": name}
    files = [
        layout.format(split=split, label=label, file=f"{label}{stem}.png")
        for stem, split in kinds.items()
        for label in ("cat", "dog")
    ]
    write(tmp_path, *files)
    fitted = names(layouts.samples_for_fit(tmp_path, None, 0, 1))
    assert fitted == {
        "cata": ("cat", "TRAIN"),
        "doga": ("dog", "TRAIN"),
        "catb": ("cat", "TRAIN"),
        "dogb": ("dog", "TRAIN"),
        "catc": ("cat", "EVAL"),
        "dogc": ("dog", "EVAL"),
    }
    assert set(names(layouts.samples_for_evaluation(tmp_path))) == {"catd", "dogd"}


def test_a_test_folder_beside_folders_of_labels_is_no_label(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png", "test/cat/5.png", "test/6.png")
    assert set(names(layouts.samples_for_fit(tmp_path, None, 0, 1))) == {"1", "2", "3", "4"}
    assert names(layouts.samples_for_evaluation(tmp_path)) == {"5": ("cat", "TRAIN")}


def test_labels_that_are_called_as_a_split_or_as_images_stay_labels(tmp_path: Path) -> None:
    write(tmp_path, *(f"{label}/{label}{n}.png" for label in ("bus", "train", "data") for n in range(3)))
    found = names(layouts.samples_for_fit(tmp_path, 0.7, 0, 1))
    assert {label for label, _ in found.values()} == {"bus", "train", "data"}


def test_folders_beside_training_and_validation_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "figures/plots/4.png")
    assert set(names(layouts.samples_for_fit(tmp_path, None, 0, 1))) == {"1", "2", "3"}


def test_split_csv_knows_the_same_words_as_folders(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png", "dog/2.png", "cat/3.png", "dog/4.png")
    (tmp_path / "split.csv").write_text(
        "path,set\ncat/1.png,Training\ndog/2.png,trn\ncat/3.png,Validation\ndog/4.png,Holdout\n"
    )
    found = names(layouts.samples_for_fit(tmp_path, None, 0, 1))
    assert found == {"1": ("cat", "TRAIN"), "2": ("dog", "TRAIN"), "3": ("cat", "EVAL")}
    (tmp_path / "split.csv").write_text("path,set\ncat/1.png,train\ndog/2.png,extra\n")
    with pytest.raises(EngineError, match=r"Line 3 of split\.csv has no usable path and set"):
        layouts.samples_for_fit(tmp_path, None, 0, 1)


def test_a_manifest_names_test_images_by_usage_or_by_folder(tmp_path: Path) -> None:
    usages = ("TRAIN", "train", "EVAL", "Validation", "TEST", "testing", "holdout")
    rows = [(f"{n}.png", usage, "cat", "") for n, usage in enumerate(usages)]
    source = manifest(
        tmp_path, *rows, ("sets/test/7.png", "", "dog", ""), ("sets/train/8.png", "", "dog", "")
    )
    assert {name: split for name, (_, split) in names(layouts.samples_for_fit(source, None, 0)).items()} == {
        **{"0": "TRAIN", "1": "TRAIN", "2": "EVAL", "3": "EVAL", "8": "TRAIN"}
    }
    assert set(names(layouts.samples_for_evaluation(source))) == {"4", "5", "6", "7"}


def test_an_unknown_usage_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        EngineError, match=r"The usage “extra” of 1\.png is unknown\. Use TRAIN, EVAL or TEST\."
    ):
        layouts.samples_for_fit(manifest(tmp_path, ("1.png", "extra", "cat", "")), None, 0)


def test_a_manifest_outside_the_folder_of_its_images_is_not_read_by_the_names_above_them(
    tmp_path: Path,
) -> None:
    home = tmp_path / "test"
    (tmp_path / "lists").mkdir()
    source = manifest(
        tmp_path / "lists", (f"file://{home}/1.png", "", "cat", ""), (f"{home}/2.png", "", "dog", "")
    )
    assert {row.split for row in layouts._rows(source)} == {None}


def test_all_images_of_a_group_with_a_test_image_are_test_images(tmp_path: Path) -> None:
    rows = [
        ("1", "TRAIN", "x"),
        ("2", "TEST", "x"),
        ("3", "TRAIN", "y"),
        ("4", "EVAL", "y"),
        ("5", "EVAL", "z"),
    ]
    source = manifest(tmp_path, *((f"{name}.png", usage, "cat", group) for name, usage, group in rows))
    found = {name: split for name, (_, split) in names(layouts.samples_for_fit(source, None, 0)).items()}
    assert found == {"3": "TRAIN", "4": "TRAIN", "5": "EVAL"}
    assert set(names(layouts.samples_for_evaluation(source))) == {"1", "2"}


def test_groups_of_a_folder_that_is_split_already_are_not_divided(tmp_path: Path) -> None:
    write(tmp_path, "train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/dog/4.png", "test/cat/5.png")
    (tmp_path / "groups.csv").write_text(
        "path,person\ntrain/cat/1.png,ann\ntest/cat/5.png,ann\ntrain/dog/2.png,bob\nval/dog/4.png,bob\n"
    )
    found = {name: split for name, (_, split) in names(layouts.samples_for_fit(tmp_path, None, 0, 1)).items()}
    assert found == {"2": "TRAIN", "3": "EVAL", "4": "TRAIN"}
