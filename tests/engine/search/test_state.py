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
from training.engine.search import linear_head
from training.engine.search.scoring import score_logits
from training.engine.search.state import FittedCandidate, Run, SearchState, TrainingData
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
    return FittedCandidate((member,), "fine-tuned", held_out, np.ones(4, np.bool_), score, 6.0, 1.0)


def test_the_best_trained_again_on_all_rows_stays_the_one_chosen_candidate(tmp_path: Path) -> None:
    search = make_search(tmp_path)
    search.add(make_candidate(search, 0.1))
    search.add(make_candidate(search, 4.0))
    again = (Member(registry.NETWORKS[0], 224, {}, Head(torch.ones(2, 3), torch.zeros(2))),)

    search.replace_best(again)

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
        (member.network.name, 224): InferenceTime(4.0, 3.5, 5.0),
        (other.network.name, 224): InferenceTime(6.0, 5.5, 7.0),
    }
    assert search.latency_ms([member]) == 6.0
    assert search.latency_ms([member, other, member]) == 16.0
    mixed = replace(single, members=(member, other, member), inference_ms=16.0)
    search.add(mixed)
    (report,) = search.reports()
    assert (report.inference_ms, report.inference_low_ms, report.inference_high_ms) == (16.0, 14.0, 19.5)
