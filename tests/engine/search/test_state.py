"""The search's memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from training.engine.backbones import registry
from training.engine.backbones.classifier import Head, Member
from training.engine.config import FitConfig
from training.engine.search.clock import RunClock
from training.engine.search.scoring import score_logits
from training.engine.search.state import Candidate, Search


def make_search(workdir: Path) -> Search:
    (workdir / "checkpoint").mkdir()
    clock = RunClock.open(workdir, 60, lambda event: None, lambda: False)
    return Search(
        config=FitConfig(max_seconds=60),
        clock=clock,
        workdir=workdir,
        labels=("blue", "red"),
        marks=np.arange(4),
        trained_on=np.arange(4),
        paths=[],
        pixels=np.zeros((4, 32, 32, 3), np.uint8),
        targets=np.eye(2, dtype=np.float32)[[0, 0, 1, 1]],
        weights=np.ones(4),
        groups=np.arange(4),
        folds=np.zeros(4, np.int64),
        threads=1,
        device="cpu",
    )


def make_contender(search: Search, sureness: float) -> Candidate:
    head = Head(torch.zeros(2, 3), torch.zeros(2))
    member = Member(registry.NETWORKS[0], 224, {}, head)
    held_out = (search.targets * sureness).astype(np.float32)
    verdict = score_logits(held_out, search.targets, False)
    return Candidate((member,), "fine-tuned", held_out, np.ones(4, np.bool_), verdict, 6.0, 1.0)


def test_the_best_trained_again_on_all_rows_stays_the_one_chosen_candidate(tmp_path: Path) -> None:
    search = make_search(tmp_path)
    search.consider(make_contender(search, 0.1))
    search.consider(make_contender(search, 4.0))
    again = (Member(registry.NETWORKS[0], 224, {}, Head(torch.ones(2, 3), torch.zeros(2))),)

    search.refitted(again)

    assert [report.is_best for report in search.reports()] == [False, True]
    assert search.best is not None
    assert search.best.members is again


def test_rows_that_a_base_has_seen_do_not_judge_its_networks(tmp_path: Path) -> None:
    search = make_search(tmp_path)
    search.base_marks = np.array([1, 3])
    own = make_contender(search, 1.0).members[0]
    rows = np.arange(3)
    assert search.judges([own], rows).tolist() == [True, True, True, False]
    inherited = replace(own, is_from_base=True)
    assert search.judges([own, inherited], rows).tolist() == [True, False, True, False]
