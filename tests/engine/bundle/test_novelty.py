"""Known and unknown images: the reference, its scores, and bundles without one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.generated_images import Diary, make_samples, paint, quick_config
from tests.engine.search.test_state import make_data, make_search
from training.engine import EngineError
from training.engine.backbones import classifier, registry
from training.engine.backbones.classifier import Head, Member
from training.engine.bundle import novelty
from training.engine.bundle.bundle import Bundle
from training.engine.bundle.writer import BundleInfo
from training.engine.cli import main
from training.engine.evaluation.scoring import score_logits
from training.engine.fit import fit
from training.engine.search.novelty_reference import make_reference
from training.engine.search.state import FittedCandidate, SearchState, left_out_rows

pytestmark = pytest.mark.slow

LABELS = ("red", "blue", "green")


def fit_head(pictures: Path, workdir: Path, **changes: object) -> Bundle:
    """Stops as soon as the first model exists."""
    diary = Diary(stop_after="best")
    samples = make_samples(pictures, LABELS, train=12, evaluation=0)
    return Bundle.load(fit(samples, quick_config(**changes), workdir, diary, diary.should_stop).bundle)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fit_head(tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("work"))


@pytest.fixture
def copied(bundle: Bundle, tmp_path: Path) -> Path:
    return shutil.copytree(bundle.path, tmp_path / "bundle")


def strange_pictures() -> list[Image.Image]:
    random = np.random.default_rng(5)
    row, column = np.mgrid[:96, :96]
    rings = 127 + 120 * np.sin(np.hypot(row - 48, column - 48) / 4)
    pixels = [
        random.integers(0, 256, (96, 96, 3)),
        np.full((96, 96, 3), 250),
        np.stack([rings, rings, 255 - rings], axis=2),
        np.kron(random.integers(0, 256, (6, 6, 3)), np.ones((16, 16, 1))),
    ]
    return [Image.fromarray(one.astype(np.uint8)) for one in pixels]


def test_pictures_like_those_of_the_training_are_known(bundle: Bundle) -> None:
    answers = [bundle.answer(paint(label, number)) for label in LABELS for number in range(100, 110)]
    assert sum(answer.novelty_score.is_known is True for answer in answers) >= 26
    assert [answer.predicted_labels for answer in answers] == [
        (label,) for label in LABELS for _ in range(10)
    ]


def test_pictures_of_another_world_are_unknown(bundle: Bundle) -> None:
    judgements = [bundle.answer(picture).novelty_score for picture in strange_pictures()]
    assert [one.is_known for one in judgements] == [False] * len(judgements)
    assert all(one.familiarity == 0 for one in judgements)


def test_an_answer_holds_the_scores_that_a_prediction_gives(bundle: Bundle) -> None:
    answer = bundle.answer(paint("red", 50))
    assert np.array_equal(answer.scores, bundle.predict_one(paint("red", 50)))
    assert answer.novelty_score.confidence == answer.scores.max()


def test_a_bundle_describes_what_it_knows(bundle: Bundle) -> None:
    entry = bundle.description["unknown"]
    assert entry["references"] == 36
    assert entry["dimensions"] == 1280
    assert bundle.novelty_reference is not None
    assert bundle.novelty_reference.references.shape == (36, 1280)
    assert 0 < entry["min_confidence"] <= 0.9  # although all images are told apart with certainty
    assert 0 < entry["max_distance"] < 2**0.5


def test_the_same_seed_remembers_the_same(bundle: Bundle, tmp_path: Path) -> None:
    again = fit_head(tmp_path / "pictures", tmp_path / "work")
    assert (again.path / novelty.REFERENCE_FILE).read_bytes() == (
        bundle.path / novelty.REFERENCE_FILE
    ).read_bytes()
    assert again.description["unknown"] == bundle.description["unknown"]


def test_a_reloaded_bundle_judges_the_same(bundle: Bundle) -> None:
    picture = paint("blue", 70)
    assert Bundle.load(bundle.path).answer(picture).novelty_score == bundle.answer(picture).novelty_score


def test_an_older_bundle_loads_and_does_not_pretend_to_know(bundle: Bundle, copied: Path) -> None:
    (copied / novelty.REFERENCE_FILE).unlink()
    description = json.loads((copied / "bundle.json").read_text())
    del description["unknown"]
    (copied / "bundle.json").write_text(json.dumps(description))
    older = Bundle.load(copied)
    older.self_test()
    novelty_score = older.answer(paint("red", 1)).novelty_score
    assert (novelty_score.is_known, novelty_score.distance, novelty_score.familiarity) == (None, None, None)
    assert novelty_score.confidence == bundle.answer(paint("red", 1)).novelty_score.confidence


@pytest.mark.parametrize("content", [None, b"", b"no archive", "cut", "pickled", "narrow"])
def test_a_damaged_memory_is_refused_with_a_sentence(copied: Path, content: bytes | str | None) -> None:
    path = copied / novelty.REFERENCE_FILE
    whole = path.read_bytes()
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif content == "pickled":
        np.savez(path, references=np.array([{}], object), confidences=np.zeros(101), distances=np.zeros(101))
    elif content == "narrow":
        np.savez(path, references=np.zeros((36, 3)), confidences=np.zeros(101), distances=np.zeros(101))
    with pytest.raises(EngineError, match="knows of its training images cannot be read"):
        Bundle.load(copied)


def test_the_command_line_says_whether_a_picture_is_known(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange_pictures()[0].save(tmp_path / "noise.png")
    assert main(["predict", str(bundle.path), str(tmp_path / "noise.png"), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["predictions"]
    assert answer["is_known"] is False
    assert answer["distance"] > bundle.description["unknown"]["max_distance"]
    assert 0 < answer["confidence"] <= 1


def test_with_several_labels_confidence_is_relative_to_the_threshold() -> None:
    scores = np.array([[0.2, 0.3], [0.6, 0.1]], np.float32)
    assert np.allclose(novelty.confidences(scores, None), [0.3, 0.6])
    assert np.allclose(novelty.confidences(scores, (0.5, 0.1)), [3, 1.2])


def test_copies_of_a_picture_do_not_make_it_near() -> None:
    directions = novelty.directions(np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]]))
    groups = np.array([0, 0, 1])
    assert np.allclose(novelty.distances_to_references(directions, directions, groups, groups), 2**0.5)
    alone = np.zeros(3, np.int64)
    assert np.isinf(novelty.distances_to_references(directions, directions, alone, alone)).all()


def make_striped_search(workdir: Path) -> SearchState:
    """Twelve images, of two labels in turn, whose features are not in the checkpoint."""
    kinds = np.arange(12) % 2
    pixels = np.stack([np.asarray(paint(LABELS[kind], row, side=96)) for row, kind in enumerate(kinds)])
    return make_search(workdir, make_data(pixels, kinds, [Path("image.png")] * 12), quick_config())


def make_tuned(search: SearchState, shift: float) -> FittedCandidate:
    """A network unlike the pretrained one; the last four images were held out."""
    network = registry.NETWORKS[0]
    state = {
        name: one + shift if name == "conv_stem.weight" else one
        for name, one in classifier.pretrained_state(network).items()
    }
    member = Member(network, 96, state, Head(torch.zeros(2, 1280), torch.zeros(2)))
    held_out, known = 4 * search.data.targets, np.arange(12) >= 8
    score = score_logits(held_out, search.data.targets, False)
    left_out = left_out_rows(12, np.arange(8), "held out")
    return FittedCandidate((member,), "fine-tuned", held_out, known, score, 6.0, 1.0, (left_out,))


def test_a_fine_tuned_network_is_judged_by_pictures_that_its_trial_had_not_seen(tmp_path: Path) -> None:
    search = make_striped_search(tmp_path)
    trial = make_tuned(search, 0.01)
    identity = BundleInfo(search.data.labels, False, 96, "fine-tuned", 1.0, (0.5, 0.5), None)

    first = make_reference(search, trial, identity)
    final = make_reference(search, replace(trial, members=make_tuned(search, 0.02).members), identity)

    assert first is not None
    assert final is not None
    assert first.references.shape == (12, 1280)
    assert not np.allclose(first.references, final.references)
    assert first.max_distance == final.max_distance
    groups = np.arange(12)
    apart = novelty.distances_to_references(
        first.references[8:], first.references[:8], groups[8:], groups[:8]
    )
    assert np.allclose(first.distances, novelty.quantiles(apart))
