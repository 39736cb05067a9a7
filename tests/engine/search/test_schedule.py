"""The choice of the next fine-tuning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.search.test_state import make_search
from training.engine.backbones import registry
from training.engine.backbones.classifier import Head, Member
from training.engine.evaluation.scoring import score_logits
from training.engine.search import budget
from training.engine.search.budget import FinetuneBudget
from training.engine.search.finetune import view_cache_bytes
from training.engine.search.schedule import (
    MAX_CACHE_BYTES,
    FinetuneOption,
    Round,
    StepCosts,
    finetune_options,
    next_round,
)
from training.engine.search.state import FittedCandidate, SearchState

LAST, WHOLE = (True, "EfficientNet"), (False, "EfficientNet")
COSTS = {LAST: 1e-12, WHOLE: 3e-12}  # seconds per operation: next to nothing


def frozen(search: SearchState, network: int, sureness: float) -> FittedCandidate:
    kind = registry.NETWORKS[network]
    member = Member(kind, kind.resolution, {}, Head(torch.zeros(2, 3), torch.zeros(2)), is_deep=True)
    logits = (search.data.targets * sureness).astype(np.float32)
    score = score_logits(logits, search.data.targets, False)
    left_out = (np.zeros(4, np.int8),)
    return FittedCandidate((member,), "linear head", logits, np.ones(4, np.bool_), score, 6.0, 1.0, left_out)


def with_images(search: SearchState, count: int) -> SearchState:
    search.data = replace(search.data, paths=[Path("image.png")] * count)
    return search


def with_twice_the_time(search: SearchState) -> SearchState:
    config = replace(search.run.config, max_seconds=2 * search.run.config.max_seconds)
    search.run = replace(search.run, config=config)
    return search


@pytest.fixture
def search(tmp_path: Path) -> SearchState:
    return with_images(make_search(tmp_path), 4)


@pytest.fixture
def options(search: SearchState) -> list[FinetuneOption]:
    return finetune_options(search, [frozen(search, 0, 1.0), frozen(search, 2, 4.0)])


def chosen(
    search: SearchState, options: list[FinetuneOption], number: int, costs: StepCosts = COSTS
) -> Round:
    found = next_round(search, options, [], costs, number)
    assert found is not None
    return found


def test_the_better_network_comes_first_whole_and_in_part_and_small_pictures_enlarged_too(
    options: list[FinetuneOption],
) -> None:
    names = [f"EfficientNet-{name} at {size} px" for name in ("Lite2", "Lite0") for size in (160, 96)]
    assert [one.name for one in options] == names + [f"last blocks of {name}" for name in names]
    assert [one.is_upscaled for one in options] == 4 * [True, False]
    assert not any(one.member.is_deep for one in options)


def test_last_blocks_come_first_and_then_whole_networks(
    search: SearchState, options: list[FinetuneOption]
) -> None:
    assert chosen(search, options, 0).option.name == "last blocks of EfficientNet-Lite2 at 160 px"
    assert chosen(search, options, 1).option.name == "EfficientNet-Lite2 at 160 px"


def test_pictures_are_enlarged_only_where_there_is_time_for_all_epochs(
    search: SearchState, options: list[FinetuneOption]
) -> None:
    small = next(one for one in options if one.is_partial and not one.is_upscaled)
    wanted = FinetuneBudget(2, 5, 12, True, True)
    whole_s = wanted.trial_s(4, 1.0) + wanted.refit_s(4, 1.0)
    allowed_s = budget.FINETUNE_SHARE * (search.run.clock.left() - budget.EXPORT_RESERVE_S)
    just = {LAST: 0.9 * allowed_s / whole_s / small.cost, WHOLE: 1e9}
    assert chosen(search, options, 0, just).option.name == small.name
    with_twice_the_time(search)
    ample = {LAST: just[LAST] / 3, WHOLE: 1e9}
    assert chosen(search, options, 0, ample).option.name == "last blocks of EfficientNet-Lite2 at 160 px"


def test_enlarged_pictures_must_all_be_kept_in_memory(search: SearchState) -> None:
    with_images(search, 100_000)
    options = finetune_options(search, [frozen(search, 0, 1.0)])
    kinds = [(one.is_partial, one.is_upscaled) for one in options]
    assert kinds == [(False, True), (False, False), (True, False)]


def test_what_fits_in_its_wanted_length_goes_before_what_must_be_cut(
    search: SearchState, options: list[FinetuneOption]
) -> None:
    # 12 epochs of 4 images at a second each, three times, are too many
    costs = {LAST: 1.0 / options[3].cost, WHOLE: 1e9}
    found = chosen(search, options, 1, costs)
    assert found.option.name == "last blocks of EfficientNet-Lite0 at 96 px"
    assert not found.budget.is_refit
    assert search.run.clock.is_short


def test_a_family_of_networks_has_a_cost_of_its_own(search: SearchState) -> None:
    place = [one.name for one in registry.NETWORKS].index("DINOv2-ViT-S14")
    options = finetune_options(search, [frozen(search, 0, 1.0), frozen(search, place, 4.0)])
    costs = COSTS | {(True, "DINOv2"): 1.0, (False, "DINOv2"): 1.0}
    assert chosen(search, options, 1, costs).option.member.network.name == "EfficientNet-Lite0"
    costs = COSTS | {(True, "DINOv2"): 1e-12, (False, "DINOv2"): 1e-12}
    found = chosen(search, options, 0, costs)
    assert found.option.name == "last blocks of DINOv2-ViT-S14 at 168 px"


def test_no_time_is_no_round(search: SearchState, options: list[FinetuneOption]) -> None:
    assert next_round(search, options, [], dict.fromkeys(COSTS, 1.0), 0) is None
    assert search.run.clock.is_short


def test_a_killed_run_goes_on_with_its_plan_and_one_with_much_more_time_makes_another(
    search: SearchState, options: list[FinetuneOption]
) -> None:
    slow = {LAST: 1.0 / options[3].cost, WHOLE: 1e9}
    short = chosen(search, options, 0, slow)
    assert chosen(search, options, 0) == short
    with_twice_the_time(search)
    assert chosen(search, options, 0).budget.is_refit > short.budget.is_refit


def test_maps_that_would_take_too_much_memory_are_kept_for_a_share_of_the_pictures(
    search: SearchState, options: list[FinetuneOption]
) -> None:
    with_images(search, MAX_CACHE_BYTES // 1000)
    last = options[-1]
    found = chosen(search, [last], 0)
    each = view_cache_bytes(last.member, last.plan(), "cpu")
    assert found.budget.share < 0.5
    assert found.budget.views == 1
    kept = found.budget.share * len(search.data.paths) * found.budget.views * each
    assert 0.95 * MAX_CACHE_BYTES < kept < 1.01 * MAX_CACHE_BYTES
