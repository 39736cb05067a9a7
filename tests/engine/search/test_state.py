"""Candidates of a search, and the data they are scored on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from training.engine.backbones import registry
from training.engine.backbones.classifier import Head, Member
from training.engine.backbones.inference_time import InferenceTime
from training.engine.config import FitConfig
from training.engine.evaluation.scoring import score_logits
from training.engine.search import linear_head
from training.engine.search.state import FittedCandidate, Run, SearchState, TrainingData, left_out_rows
from training.engine.search.time_limit import RunClock


def make_data(pixels: np.ndarray, kinds: np.ndarray, paths: list[Path]) -> TrainingData:
    """Images [N, S, S, 3] of two labels, by their `kinds` [N] 0 and 1; no duplicates, five folds."""
    rows = np.arange(len(pixels))
    targets = np.eye(2, dtype=np.float32)[kinds]
    return TrainingData(
        labels=("blue", "red"),
        id_hashes=rows,
        trained_on=rows,
        base_hashes=rows[:0],
        paths=paths,
        pixels=pixels,
        targets=targets,
        weights=np.ones(len(rows)),
        groups=rows,
        folds=linear_head.make_folds(targets, 5, 0),
        is_common=np.ones(len(rows), np.bool_),
    )


def make_search(
    workdir: Path, data: TrainingData | None = None, config: FitConfig | None = None
) -> SearchState:
    """A search that has found nothing yet, on four black images unless `data` are given."""
    (workdir / "checkpoint").mkdir(parents=True)
    clock = RunClock.open(workdir, 60, lambda event: None, lambda: False)
    run = Run(config or FitConfig(max_seconds=60), clock, workdir, threads=1, device="cpu")
    data = data or make_data(np.zeros((4, 32, 32, 3), np.uint8), np.array([0, 0, 1, 1]), [])
    return SearchState(run, data)


def make_candidate(search: SearchState, sureness: float) -> FittedCandidate:
    head = Head(torch.zeros(2, 3), torch.zeros(2))
    member = Member(registry.NETWORKS[0], 224, {}, head)
    held_out = (search.data.targets * sureness).astype(np.float32)
    score = score_logits(held_out, search.data.targets, False)
    left_out = (np.zeros(4, np.int8),)
    return FittedCandidate((member,), "fine-tuned", held_out, np.ones(4, np.bool_), score, 6.0, 1.0, left_out)


def test_the_best_trained_again_on_all_rows_stays_the_one_chosen_candidate(tmp_path: Path) -> None:
    search = make_search(tmp_path)
    search.add(make_candidate(search, 0.1))
    search.add(make_candidate(search, 4.0))
    again = (Member(registry.NETWORKS[0], 224, {}, Head(torch.ones(2, 3), torch.zeros(2))),)

    search.replace_best(again, (np.zeros(4, np.int8),))

    assert [report.is_best for report in search.reports()] == [False, True]
    assert search.best is not None
    assert search.best.members is again


def test_rows_that_a_base_has_seen_do_not_judge_its_networks(tmp_path: Path) -> None:
    search = make_search(tmp_path)
    own = make_candidate(search, 1.0).members[0]
    rows, data = np.arange(3), replace(search.data, base_hashes=np.array([1, 3]))
    assert data.may_score([own], rows).tolist() == [True, True, True, False]
    inherited = replace(own, is_from_base=True)
    assert data.may_score([own, inherited], rows).tolist() == [True, False, True, False]


def scored(
    search: SearchState, right: list[int], held_out: list[int], recipe: str = "linear head"
) -> FittedCandidate:
    """A candidate that is right on these rows, and held these out."""
    rows, count = np.array(held_out), len(search.data.paths)
    logits = np.where(np.isin(np.arange(count), right)[:, None], 2, -2) * search.data.targets
    is_held_out = np.isin(np.arange(count), rows)
    score = score_logits(logits[rows], search.data.targets[rows], False)
    example = make_candidate(search, 1.0)
    left_out = (left_out_rows(count, np.flatnonzero(~is_held_out), "held out"),)
    return replace(
        example,
        recipe=recipe,
        held_out=logits.astype(np.float32),
        is_held_out=is_held_out,
        score=score,
        left_out=left_out,
    )


def make_search_of(folder: Path, count: int) -> SearchState:
    pixels = np.zeros((count, 32, 32, 3), np.uint8)
    return make_search(folder, make_data(pixels, np.arange(count) % 2, [Path("image.png")] * count))


def test_candidates_are_scored_on_the_images_that_all_of_them_held_out(tmp_path: Path) -> None:
    search = make_search_of(tmp_path, 20)
    everything, fold = list(range(20)), [0, 1, 2, 3]
    search.add(scored(search, [0, 1, *range(6, 20)], everything))  # 80 % of all, half of the fold
    search.add(scored(search, [0, 1, 2], fold, "fine-tuned"))  # 75 % of the fold

    head, tuned = search.reports()

    assert (head.accuracy, tuned.accuracy) == (0.8, 0.75)
    assert head.common is not None and tuned.common is not None
    assert (head.common.hits, head.common.images) == (2, 4)
    assert (tuned.common.hits, tuned.common.images) == (3, 4)
    assert tuned.is_best and tuned.common.loss < head.common.loss
    assert (tuned.common.p_value, head.common.p_value) == (1, 1)  # one image of four tells nothing


def test_a_candidate_that_held_out_other_images_is_not_ranked(tmp_path: Path) -> None:
    search = make_search_of(tmp_path, 20)
    search.add(scored(search, list(range(9)), list(range(10))))
    search.candidates.append((search.candidates[0][0], scored(search, [15], [15, 16])))
    search.add_failed("ResNet-50", 224, "linear head", 1.0, "No memory.")
    assert [report.common is not None for report in search.reports()] == [True, False, False]


def test_the_curve_scores_heads_and_fine_tuned_networks_on_the_same_images(tmp_path: Path) -> None:
    data = make_search_of(tmp_path / "first", 20).data
    is_common = np.arange(20) < 4
    search = make_search(tmp_path / "second", replace(data, is_common=is_common))
    search.head_rows = np.arange(20)
    search.add(scored(search, [0, 1, *range(6, 20)], list(range(20))))
    search.add(scored(search, [0, 1, 2], [0, 1, 2, 3, 4, 5], "fine-tuned"))
    assert search.run.clock.judged == 4
    assert [accuracy for _, accuracy in search.run.clock.curve] == [0.5, 0.75]


def test_images_that_shaped_no_part_of_a_model_are_counted_by_cause(tmp_path: Path) -> None:
    search = make_search_of(tmp_path, 20)
    search.data = replace(search.data, left_out={"unreadable": 2, "reading": 8})
    head = left_out_rows(20, np.arange(10), "heads")
    tuned = left_out_rows(20, np.arange(8, 12), "held out")
    candidate = replace(scored(search, [0], [0, 1]), left_out=(head, tuned))

    used = search.images_used(candidate)

    assert (used.given, used.fitted, used.fewest, used.judged) == (30, 12, 4, 2)
    assert used.left_out == {"unreadable": 2, "reading": 8, "heads": 8}
    assert used.fitted + sum(used.left_out.values()) == used.given


def test_a_mixture_is_named_with_all_its_networks(tmp_path: Path) -> None:
    search = make_search(tmp_path)
    single = make_candidate(search, 1.0)
    (member,) = single.members
    other = replace(member, network=registry.NETWORKS[1])
    mixed = replace(single, members=(member, other, member))
    first, second = registry.NETWORKS[0].name, registry.NETWORKS[1].name
    assert (single.name, mixed.name) == (first, f"{first} ×2 + {second}")


def test_the_measured_time_of_a_mixture_is_that_of_all_its_networks_and_one_reading(tmp_path: Path) -> None:
    search = make_search(tmp_path, config=FitConfig(max_seconds=60, hardware="CPU"))
    single = make_candidate(search, 1.0)
    (member,) = single.members
    other = replace(member, network=registry.NETWORKS[1])
    search.reading_time = InferenceTime(2.0, 1.5, 2.5)
    search.network_times = {
        (member.network.name, 224, False): InferenceTime(4.0, 3.5, 5.0),
        (other.network.name, 224, False): InferenceTime(6.0, 5.5, 7.0),
    }
    assert search.latency_ms([member]) == 6.0
    assert search.latency_ms([member, other, member]) == 16.0
    mixed = replace(single, members=(member, other, member), inference_ms=16.0)
    search.add(mixed)
    (report,) = search.reports()
    assert (report.inference_ms, report.inference_low_ms, report.inference_high_ms) == (16.0, 14.0, 19.5)
