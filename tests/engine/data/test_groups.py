"""Named groups: read from `groups.csv` and manifests, joined with duplicates, whole in splits and folds."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.engine.generated_images import Diary, make_samples, quick_config
from training.engine import EngineError, Sample
from training.engine.data import layouts
from training.engine.data.groups import join_groups
from training.engine.search import budget, prepare
from training.engine.search.linear_head import make_folds
from training.engine.search.prepare import load_training_data
from training.engine.search.state import Run
from training.engine.search.time_limit import RunClock


def test_numbers_and_names_connect_rows() -> None:
    numbers = np.array([0, 1, 1, 3, 4, 5, 6])
    names = ["anna", None, "anna", "ben", None, "carl", "ben"]
    assert join_groups(numbers, names).tolist() == [0, 0, 0, 3, 4, 5, 3]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_no_group_straddles_a_fold_and_every_fold_has_every_label(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    people = random.integers(0, 40, 400)
    groups = np.where(random.random(400) < 0.2, 1000 + np.arange(400), people)
    targets = np.eye(4, dtype=np.float32)[random.integers(0, 4, 400)]
    folds = make_folds(targets, count, seed, groups)
    for group in np.unique(groups):
        assert len(set(folds[groups == group])) == 1
    sizes = np.bincount(folds, minlength=count)
    assert sizes.min() > 0.7 * 400 / count and sizes.max() < 1.3 * 400 / count
    assert all(targets[folds == fold].any(axis=0).all() for fold in range(count))


def test_two_groups_are_in_two_folds() -> None:
    targets = np.eye(2, dtype=np.float32)[np.arange(20) % 2]
    folds = make_folds(targets, 5, 0, np.arange(20) // 10)
    assert set(folds) == {0, 1}
    assert len(set(folds[:10])) == len(set(folds[10:])) == 1


def grouped(samples: list[Sample], people: int) -> list[Sample]:
    return [
        Sample(one.id, one.path, one.labels, one.split, f"person {number % people}")
        for number, one in enumerate(samples)
    ]


def load(samples: list[Sample], folder: Path) -> tuple[prepare.TrainingData, Diary]:
    diary = Diary()
    config = quick_config()
    prepare.prepare_workdir(folder, samples, config)
    clock = RunClock.open(folder, config.max_seconds, diary, lambda: False)
    data, _ = load_training_data(samples, ("blue", "red"), Run(config, clock, folder, 1, "cpu"))
    return data, diary


def test_a_group_is_whole_in_every_fold_of_a_fit(tmp_path: Path) -> None:
    """The folds of heads and of fine-tuning trials come from these groups."""
    samples = grouped(make_samples(tmp_path / "images", train=20, evaluation=0), 7)
    data, diary = load(samples, tmp_path / "work")
    names = np.array([sample.group for sample in samples])
    for name in set(names):
        assert len(set(data.groups[names == name])) == len(set(data.folds[names == name])) == 1
        for parts in (2, 3, 5, 10):
            folds = make_folds(data.targets, parts, 0, data.groups)
            assert len(set(folds[names == name])) == 1
    assert len(set(data.groups)) == 7 and len(set(data.folds)) == budget.fold_count(40)
    assert "Images of 7 groups: each group is held out as a whole." in [one.message for one in diary.events]


def test_images_of_one_group_are_held_out_one_by_one_with_a_note(tmp_path: Path) -> None:
    samples = grouped(make_samples(tmp_path / "images", train=8, evaluation=0), 1)
    data, diary = load(samples, tmp_path / "work")
    assert len(set(data.folds)) > 1
    assert any(one.message.startswith("All images are of one group") for one in diary.events)


def test_duplicates_too_many_to_be_held_out_as_a_whole_are_told(tmp_path: Path) -> None:
    samples = make_samples(tmp_path / "images", train=15, evaluation=0)
    for sample in samples[1:23]:
        shutil.copy(samples[0].path, sample.path)
    data, diary = load(samples, tmp_path / "work")
    assert len(set(data.groups[:23])) == 23
    notes = [one.message for one in diary.events if one.kind == "note"]
    assert any(note.startswith("23 images are duplicates of a few pictures") for note in notes)


def test_images_of_a_group_that_the_base_has_seen_an_image_of_do_not_score_its_networks(
    tmp_path: Path,
) -> None:
    clock = RunClock.open(tmp_path, 60, Diary(), lambda: False)
    hashes, groups = np.arange(400), np.arange(400) // 2
    seen = prepare._base_hashes(hashes, np.array([0, 7, 999]), groups, 2, clock)
    assert seen.tolist() == [0, 1, 6, 7]
    few = prepare._base_hashes(hashes[:40], hashes, groups[:40], 2, clock)
    assert few.tolist() == []


# --- layouts ---


def write_groups(folder: Path, people: int, head: str = "path,person") -> list[Sample]:
    samples = make_samples(folder, train=20, evaluation=0)
    lines = [f"{one.path.relative_to(folder)},p{number % people}" for number, one in enumerate(samples)]
    (folder / "groups.csv").write_text("\n".join([head, *lines]))
    return samples


def test_a_folder_with_groups_is_split_by_whole_groups(tmp_path: Path) -> None:
    write_groups(tmp_path, 10)
    split = layouts.samples_for_fit(tmp_path, 0.8, 0)
    sides: dict[str | None, set[str]] = {}
    for sample in split:
        sides.setdefault(sample.group, set()).add(sample.split)
    assert len(sides) == 10 and all(len(both) == 1 for both in sides.values())
    assert sum(sample.split == "EVAL" for sample in split) == 8


def test_a_table_of_groups_without_a_path_or_with_two_columns_is_refused(tmp_path: Path) -> None:
    for head in ("file,person", "path,person,camera"):
        write_groups(tmp_path, 3, head)
        with pytest.raises(EngineError, match="must have the column “path” and one other"):
            layouts.samples_for_fit(tmp_path, 0.8, 0)


def test_a_manifest_names_the_group_of_an_image(tmp_path: Path) -> None:
    samples = make_samples(tmp_path, train=2, evaluation=2)
    lines = [
        {
            "source": str(one.path.relative_to(tmp_path)),
            "usage": one.split,
            "annotation": [{"name": one.labels[0]}],
            **({"property": {"exeml:group": "7"}} if one.split == "EVAL" else {}),
        }
        for one in samples
    ]
    (tmp_path / "all.manifest").write_text("\n".join(map(json.dumps, lines)))
    read = layouts.samples_for_fit(tmp_path / "all.manifest", None, 0)
    assert [one.group for one in read] == ["7" if one.split == "EVAL" else None for one in read]
