"""Cross-validation over training and validation images, after a search with a tiny network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.engine.generated_images import Diary, make_samples, quick_config
from training.engine import FitResult, Sample
from training.engine import cross_validation as module
from training.engine.evaluation.intervals import wilson_interval
from training.engine.evaluation.scoring import score_logits
from training.engine.fit import fit
from training.engine.search import linear_head

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_network", "no_int8")]


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    return make_samples(tmp_path / "pictures", train=12, evaluation=5)


def fitted(samples: list[Sample], workdir: Path, **changes: object) -> FitResult:
    diary = Diary()
    return fit(samples, quick_config(**changes), workdir, diary, diary.should_stop)


def test_every_image_is_predicted_once_in_each_repeat(samples: list[Sample], tmp_path: Path) -> None:
    found = fitted(samples, tmp_path / "fit").cross_validation

    assert found is not None
    assert (found.images, found.validation_images) == (34, 10)
    assert len(found.folds) == module.REPEATS
    for repeat in found.folds:
        assert len(repeat) == module.FOLDS and sum(images for _, images in repeat) == 34
    hits = sum(hits for repeat in found.folds for hits, _ in repeat)
    assert found.accuracy == pytest.approx(hits / (34 * module.REPEATS))
    assert (found.low, found.high) == wilson_interval(found.accuracy, 34 / module.SHARED_TRAINING)
    assert found.recipe.startswith(module.HEADS)


def test_it_changes_neither_the_model_nor_its_candidates(samples: list[Sample], tmp_path: Path) -> None:
    train = [sample for sample in samples if sample.split == "TRAIN"]
    judged, alone = fitted(samples, tmp_path / "judged"), fitted(train, tmp_path / "alone")

    assert alone.cross_validation is None
    assert [(c.recipe, c.accuracy) for c in judged.candidates] == [
        (c.recipe, c.accuracy) for c in alone.candidates
    ]
    assert (judged.bundle / "known.npz").read_bytes() == (alone.bundle / "known.npz").read_bytes()


def test_labels_dealt_by_chance_are_right_as_often_as_chance(tmp_path: Path) -> None:
    """Nothing of a held-out image reaches its prediction."""
    samples = make_samples(tmp_path / "pictures", labels=("red",), train=48, evaluation=20)
    labels = np.random.default_rng(0).permutation(np.arange(len(samples)) % 2)
    dealt = [replace(s, labels=(("red", "blue")[one],)) for s, one in zip(samples, labels, strict=True)]

    found = fitted(dealt, tmp_path / "fit").cross_validation

    assert found is not None and found.low < 0.5 < found.high


def test_duplicates_share_a_fold_and_widen_the_interval(samples: list[Sample], tmp_path: Path) -> None:
    copies = [replace(sample, id=f"{sample.id} again") for sample in samples]

    found = fitted([*samples, *copies], tmp_path / "fit").cross_validation

    assert found is not None and found.images == 68
    plain = wilson_interval(found.accuracy, 68 / module.SHARED_TRAINING)
    assert found.high - found.low > 1.2 * (plain.high - plain.low)


def test_unreadable_and_unknown_validation_images_are_left_out(samples: list[Sample], tmp_path: Path) -> None:
    missing = Sample("missing", tmp_path / "missing.png", ("red",), "EVAL")
    strange = replace(samples[-1], id="strange", labels=("yellow",))

    found = fitted([*samples, missing, strange], tmp_path / "fit").cross_validation

    assert found is not None and found.images == 34


def test_many_validation_images_need_none(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_VALIDATION", 10)
    assert fitted(samples, tmp_path / "fit").cross_validation is None


def test_a_fit_that_the_user_stops_is_not_judged_any_more(samples: list[Sample], tmp_path: Path) -> None:
    diary = Diary(stop_after="best")
    result = fit(samples, quick_config(), tmp_path / "fit", diary, diary.should_stop)
    assert result.stop_reason == "user" and result.cross_validation is None


def test_several_labels_of_an_image_must_all_be_right() -> None:
    held_out = np.array([[4, -4], [4, 4], [-4, 4], [-4, -4]] * 5, np.float32)
    targets = (held_out > 0).astype(np.float32)
    targets[3] = [0, 1]  # one of its two labels is missed
    score = score_logits(held_out, targets, True)
    fit_ = linear_head.HeadFit(None, held_out, score, 1e-4)  # type: ignore[arg-type]
    right = module._is_right(fit_, targets, np.arange(20) % 5, True)
    assert np.flatnonzero(~right).tolist() == [3]
