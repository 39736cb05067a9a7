"""One network learns the answers of the best mixture, and replaces it where it is as good."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.generated_images import paint, quick_config
from tests.engine.search.test_state import make_data, make_search
from tests.engine.tiny_network import TINY
from training.engine.backbones.classifier import Head, Member, pretrained_state
from training.engine.backbones.inference_time import InferenceTime
from training.engine.bundle.bundle import Bundle
from training.engine.data.augment import Strength
from training.engine.data.images import JoinedPixels, Pixels, read_square
from training.engine.evaluation.scoring import TEMPERATURES, row_losses, score_logits
from training.engine.search import distillation, linear_head, trials
from training.engine.search.budget import FinetuneBudget
from training.engine.search.distillation import distil, is_as_good
from training.engine.search.linear_probe import choose_head_rows, fit_joint_head, head_left_out
from training.engine.search.prepare import trial_folds
from training.engine.search.schedule import FinetuneOption, Round
from training.engine.search.state import FittedCandidate, SearchState, left_out_rows
from training.engine.search.trials import Rounds, Trial, refit_on_all

pytestmark = pytest.mark.slow

ROWS, UNLABELED, SIDE = 60, 24, 48
COSTS = {(True, TINY.family): 1e-13, (False, TINY.family): 1e-13}  # seconds per operation: next to nothing


def painted(folder: Path, count: int, first: int) -> tuple[list[Path], Pixels, np.ndarray]:
    folder.mkdir()
    kinds = np.arange(count) % 2
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        paint(("blue", "red")[kinds[number]], first + number).save(path)
    return paths, np.stack([read_square(path, SIDE) for path in paths]), kinds


@pytest.fixture
def search(tmp_path: Path, tiny_network: None) -> SearchState:
    """Images of two labels, every seventh with the other one, and images without labels."""
    paths, pixels, kinds = painted(tmp_path / "labeled", ROWS, 0)
    kinds[::7] = 1 - kinds[::7]
    data = make_data(pixels, kinds, paths)
    data = replace(data, is_common=trial_folds(data.targets, 0, data.groups) == 0)
    search = make_search(tmp_path / "work", data, quick_config(hardware="CPU", max_inference_ms=500))
    search.run.clock.max_seconds = 300
    unlabeled, _, _ = painted(tmp_path / "unlabeled", UNLABELED, 1000)
    search.run = replace(search.run, unlabeled=unlabeled)
    search.reading_time = InferenceTime(1, 1, 1)
    search.network_times = {("Tiny", 64, False): InferenceTime(5, 5, 5)}
    return search


@pytest.fixture
def rounds(search: SearchState) -> Rounds:
    """A linear head, a network that was trained without the first fold, and their mixture, the best one."""
    data, head = search.data, Head(torch.zeros(2, TINY.features), torch.zeros(2))
    member = Member(TINY, 64, pretrained_state(TINY), head)
    choose_head_rows(search, member)
    fit = fit_joint_head(search, [replace(member, is_deep=True)])
    left_out = (head_left_out(search),)
    frozen = FittedCandidate(
        fit.members, "linear head", fit.held_out, fit.is_held_out, fit.score, 6, 1, left_out
    )
    search.add(frozen)
    seen = np.flatnonzero(~data.is_common)
    tuned = trained_without(search, member, seen)
    held_out = np.zeros_like(data.targets)
    held_out[data.is_common] = trials.logits_of(search, tuned, np.flatnonzero(data.is_common))
    planned = Round(FinetuneOption(tuned, False, 16), FinetuneBudget(1, 5, 2, True), 1e-4)
    trial = Trial(planned, tuned, tuned, held_out, data.is_common, left_out_rows(ROWS, seen, "held out"))
    score = score_logits(held_out[data.is_common], data.targets[data.is_common], False)
    alone = FittedCandidate((tuned,), "fine-tuned", held_out, data.is_common, score, 6, 1, (trial.left_out,))
    search.best = trials._mixture(search, alone, frozen)
    search.candidates.append((search._report(search.best, True, True), search.best))
    return Rounds([trial], dict(COSTS), Strength(is_mirrored=False), frozen)


def trained_without(search: SearchState, member: Member, seen: np.ndarray) -> Member:
    """Other weights than the pretrained ones, with a head fitted on the seen rows."""
    state = {
        name: tensor * 1.01 if tensor.is_floating_point() else tensor for name, tensor in member.state.items()
    }
    changed = replace(member, state=state)
    eye = replace(changed, head=Head(torch.eye(TINY.features), torch.zeros(TINY.features)))
    features = torch.from_numpy(trials.logits_of(search, eye, seen))
    targets, weights = search.data.targets[seen], search.data.weights[seen]
    return replace(changed, head=linear_head.fit_head(features, targets, 1e-3, False, weights, lambda: None))


def choose_student(monkeypatch: pytest.MonkeyPatch, is_as_good: bool) -> None:
    monkeypatch.setattr(distillation, "is_as_good", lambda *candidates: is_as_good)
    monkeypatch.setattr(SearchState, "_beats", lambda *candidates: False)


def test_a_student_that_is_as_good_replaces_the_mixture_and_learns_from_all_images(
    search: SearchState, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_student(monkeypatch, is_as_good=True)
    mixture = search.best
    assert mixture is not None
    distil(search, rounds)
    student = search.best
    assert student is not None
    assert (student.recipe, len(student.members), student.unlabeled) == ("distilled", 1, UNLABELED)
    assert student.inference_ms == 6 < mixture.inference_ms == 11
    used = search.images_used(student)
    assert (used.given, used.fitted, used.unlabeled, used.judged) == (ROWS, ROWS, UNLABELED, 12)
    assert Bundle.load(search.run.workdir / "bundle").description["images_used"]["unlabeled"] == UNLABELED
    assert "the best 2, also on 24 images without labels" in search.run.clock.notes[-1]
    refit_on_all(search, rounds)
    assert search.best is student, "the mixture is not trained again"


def test_a_student_that_is_worse_leaves_the_mixture(
    search: SearchState, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_student(monkeypatch, is_as_good=False)
    mixture = search.best
    distil(search, rounds)
    assert search.best is mixture
    student = search.candidates[-1][1]
    assert student is not None
    assert search.images_used(student).left_out == {"held out": 12}
    assert len(list(search.run.workdir.glob("checkpoint/student_*.pt"))) == 1


def test_labels_of_the_held_out_images_do_not_reach_the_student(search: SearchState, rounds: Rounds) -> None:
    """With the labels of the first fold exchanged, the teacher's answers to all images are the same."""
    assert search.best is not None
    pixels = JoinedPixels(search.data.pixels, search.data.pixels[:5])
    honest = distillation._teacher_logits(search, rounds, search.best, pixels)
    targets = search.data.targets.copy()
    targets[search.data.is_common] = 1 - targets[search.data.is_common]
    search.data = replace(search.data, targets=targets)
    seed_folds = search.data.is_common
    with pytest.MonkeyPatch.context() as patch:  # the folds are stratified by the labels
        patch.setattr(distillation, "_is_unseen", lambda search: seed_folds)
        other = distillation._teacher_logits(search, rounds, search.best, pixels)
    np.testing.assert_allclose(honest, other, atol=1e-4)
    np.testing.assert_allclose(honest[:5], honest[ROWS:], atol=1e-3)


def test_a_killed_run_reads_its_student(
    search: SearchState, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_student(monkeypatch, is_as_good=True)
    before = search.best
    distil(search, rounds)
    first, search.best = search.best, before
    monkeypatch.setattr(distillation.finetune, "fine_tune", lambda *job: pytest.fail("trained again"))
    search.run = replace(search.run, unlabeled=())  # they have labels by now
    distil(search, rounds)
    assert first is not None and search.best is not None and search.best is not first
    assert torch.equal(first.members[0].head.weight, search.best.members[0].head.weight)


def test_there_is_no_student_without_time_or_unlabeled_images_or_where_it_saves_nothing(
    search: SearchState, rounds: Rounds
) -> None:
    count, mixture = len(search.candidates), search.best
    rounds.costs[False, TINY.family] = 1e-5
    distil(search, rounds)
    assert search.run.clock.is_short
    rounds.costs[False, TINY.family] = 1e-13
    search.network_times[("Tiny", 64, False)] = InferenceTime(0.1, 0.1, 0.1)
    assert mixture is not None
    search.best = replace(mixture, inference_ms=1.2)
    distil(search, rounds)
    search.best, search.run = mixture, replace(search.run, unlabeled=search.run.unlabeled[:14])
    distil(search, rounds)
    assert len(search.candidates) == count


@pytest.mark.parametrize(
    ("worse", "better", "expected"), [(0, 0, True), (0, 9, True), (6, 5, True), (9, 1, False), (40, 0, False)]
)
def test_as_good_is_within_the_standard_error_and_a_twentieth(
    tmp_path: Path, worse: int, better: int, expected: bool
) -> None:
    paths = [Path("image.png")] * 120
    search = make_search(tmp_path, make_data(np.zeros((120, 32, 32, 3), np.uint8), np.arange(120) % 2, paths))
    logits = 2 * search.data.targets
    logits[::10] = -logits[::10]
    student = logits.copy()
    student[1 : 1 + 2 * worse : 2] *= 0.8
    student[119 : 119 - 2 * better : -2] *= 1.2
    rows, score = np.ones(120, np.bool_), score_logits(logits, search.data.targets, False)
    member = Member(TINY, 64, {}, Head(torch.zeros(2, 3), torch.zeros(2)))
    mixture = FittedCandidate((member,), "", logits, rows, score, 6, 1, (np.zeros(120, np.int8),))
    assert is_as_good(search, replace(mixture, held_out=student), mixture) == expected


def test_joined_pixels_are_read_like_one_array() -> None:
    whole = np.arange(5 * 2 * 2 * 3, dtype=np.uint8).reshape(5, 2, 2, 3)
    joined = JoinedPixels(whole[:3], whole[3:])
    assert len(joined) == 5
    assert joined.shape == whole.shape
    assert np.array_equal(joined[np.array([4, 0, 3])], whole[[4, 0, 3]])
    assert np.array_equal(joined[2], whole[2])


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_the_losses_of_the_rows_are_what_the_score_is_made_of(is_multi_label: bool) -> None:
    random = np.random.default_rng(0)
    targets = np.eye(3, dtype=np.float32)[random.integers(3, size=40)]
    logits = (3 * targets + random.normal(0, 1, targets.shape)).astype(np.float32)
    score = score_logits(logits, targets, is_multi_label)
    means = [float(row_losses(logits, targets, one, is_multi_label).mean()) for one in TEMPERATURES]
    assert min(means) == pytest.approx(score.loss, rel=1e-5)


def test_targets_are_the_mean_of_label_and_answer_and_the_answer_alone_without_a_label(
    search: SearchState, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = np.tile(np.float32([0, 1]), (ROWS + UNLABELED, 1))
    monkeypatch.setattr(distillation, "_teacher_logits", lambda *asked: answers)
    mixture = search.best
    assert mixture is not None
    for is_multi_label, blue in ((False, 1 / (1 + np.e)), (True, 0.5)):
        search.run = replace(search.run, config=replace(search.run.config, is_multi_label=is_multi_label))
        mixture = replace(mixture, score=replace(mixture.score, temperature=1.0))
        plan = distillation.StudentPlan(rounds.trials[0], 2, UNLABELED, 1e-6)
        lesson = distillation._lesson(search, rounds, plan, mixture)
        np.testing.assert_allclose(lesson.targets[ROWS:, 0], blue, atol=1e-3)
        labels = search.data.targets[:, 0]
        np.testing.assert_allclose(lesson.targets[:ROWS, 0], (labels + blue) / 2, atol=1e-3)
        assert len(lesson.pixels) == len(lesson.weights) == ROWS + UNLABELED
