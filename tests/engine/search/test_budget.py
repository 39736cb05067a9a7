"""How the time is spread, and which networks a latency limit admits."""

import numpy as np
import pytest

from training.engine.backbones import latency, registry
from training.engine.config import EngineError
from training.engine.search import budget as time_budget
from training.engine.search.budget import FinetuneBudget


@pytest.mark.parametrize(
    ("rows", "image_s", "left_s", "budget"),
    [
        (320, 0.028, 3500, FinetuneBudget(2, 5, 12, True)),
        (320, 0.045, 280, FinetuneBudget(1, 5, 9, True)),
        (1650, 0.012, 330, FinetuneBudget(1, 5, 7, True)),
        (1650, 0.012, 75, FinetuneBudget(1, 5, 4, False)),
        (1650, 0.2, 250, None),
        (8000, 0.006, 300, FinetuneBudget(1, 10, 4, False)),
        (20000, 0.006, 1100, FinetuneBudget(1, 10, 4, True)),
    ],
)
def test_fine_tuning_fits_the_time(
    rows: int, image_s: float, left_s: float, budget: FinetuneBudget | None
) -> None:
    assert time_budget.finetune_budget(rows, image_s, left_s) == budget
    if budget is not None:
        assert budget.trial_s(rows, image_s) + budget.refit_s(rows, image_s) < left_s


@pytest.mark.parametrize(
    ("rows", "left_s", "budget"),
    [
        (10_000, 220, FinetuneBudget(1, 10, 4, True, True)),
        (10_000, 40, FinetuneBudget(1, 10, 1, False, True)),
        (1650, 60, FinetuneBudget(1, 5, 7, True, True)),
        (10_000, 20, FinetuneBudget(1, 10, 1, False, True, share=0.493)),
        (80_000, 150, FinetuneBudget(1, 10, 1, False, True, share=0.634)),
        (80_000, 15, None),
    ],
)
def test_last_blocks_fit_where_a_whole_network_does_not(
    rows: int, left_s: float, budget: FinetuneBudget | None
) -> None:
    assert time_budget.finetune_budget(rows, 0.002, left_s, cached=10**6) == budget
    if budget is not None:
        assert budget.trial_s(rows, 0.002) + budget.refit_s(rows, 0.002) < left_s
    assert time_budget.finetune_budget(rows, 0.008, left_s) is None or budget is not None


def test_memory_bounds_the_views_and_then_the_pictures() -> None:
    def budget(kept: int) -> FinetuneBudget | None:
        return time_budget.finetune_budget(20_000, 0.01, 10_000, cached=kept)

    assert budget(100_000) == FinetuneBudget(1, 10, 4, True, True)
    assert budget(25_000) == FinetuneBudget(1, 10, 4, True, True, most_views=1)
    assert budget(10_000) == FinetuneBudget(1, 10, 4, False, True, share=0.5, most_views=1)
    assert time_budget.finetune_budget(20_000, 0.01, 100, cached=10_000) == FinetuneBudget(
        1, 10, 1, False, True, share=0.331, most_views=1
    )


@pytest.mark.parametrize(("rows", "batch"), [(20, 16), (400, 16), (600, 32), (1650, 64), (100_000, 64)])
def test_few_pictures_are_learned_in_smaller_steps(rows: int, batch: int) -> None:
    assert time_budget.partial_batch(rows) == batch


def test_a_long_fine_tuning_of_last_blocks_sees_more_views() -> None:
    views = [FinetuneBudget(1, 5, epochs, True, True).views for epochs in (1, 3, 4, 7, 12)]
    assert views == [1, 1, 2, 3, 4]
    assert FinetuneBudget(1, 5, 4, True, True).passes == 4.9
    assert FinetuneBudget(1, 5, 4, True).passes == 4


@pytest.mark.parametrize(
    ("side", "sizes"),
    [
        (320, (224,)),
        (224, (224,)),
        (160, (192,)),
        (128, (224, 160)),
        (112, (192, 128)),
        (96, (160, 96)),
        (32, (160, 96)),
    ],
)
def test_small_pictures_are_fine_tuned_at_a_smaller_size_or_enlarged(
    side: int, sizes: tuple[int, ...]
) -> None:
    assert time_budget.finetune_resolutions(224, side) == sizes


def test_sizes_are_multiples_of_what_a_network_takes() -> None:
    assert time_budget.finetune_resolutions(224, 96, 14) == (168, 112)
    assert time_budget.finetune_resolutions(224, 32, 14) == (168, 98)
    assert time_budget.finetune_resolutions(224, 300, 14) == (224,)


def test_tiny_pictures_get_a_small_cache() -> None:
    assert time_budget.cache_side([28] * 20, 320) == 32
    assert time_budget.cache_side([4000] * 20, 320) == 320


def test_a_short_limit_reads_fewer_images() -> None:
    assert time_budget.rows_that_fit(100_000, 0.01, 360) == 10_800
    assert time_budget.rows_that_fit(320, 0.01, 360) == 320


def test_every_network_fits_the_default_limit_and_larger_takes_longer() -> None:
    found = latency.admissible_networks("NV_P4", 500)
    assert len(found) == sum(len(one.resolutions) for one in registry.available_networks())
    assert [ms for _, _, ms in found] == sorted(ms for _, _, ms in found)
    assert found[0] == latency.fastest_network("NV_P4")


def test_an_unknown_network_is_an_error() -> None:
    with pytest.raises(EngineError):
        registry.get_network("AlexNet")


def test_a_short_limit_fits_heads_on_fewer_rows_and_memory_bounds_them() -> None:
    assert time_budget.max_head_rows(400, 4096, 5, 120) == 400
    assert time_budget.max_head_rows(10_000, 4096, 10, 360) == 10_000
    assert 5000 < time_budget.max_head_rows(10_000, 4096, 10, 120) < 6000
    assert 2000 < time_budget.max_head_rows(10_000, 4096, 136, 120) < 3000
    assert time_budget.max_head_rows(10_000, 4096, 1000, 60) == 2000  # two of each label
    assert time_budget.max_head_rows(100_000, 4096, 10, 36_000) == time_budget.MAX_HEAD_ROWS


def test_a_group_that_would_break_the_folds_is_taken_apart() -> None:
    groups = np.array([0] * 3 + [1] * 60 + list(range(2, 339)))
    usable = time_budget.usable_groups(groups)
    assert len(set(usable[:3])) == 1
    assert len(set(usable)) == 1 + 60 + 337


@pytest.mark.parametrize(
    ("rows", "seconds", "directions"),
    [
        (10, 360, 0),  # too few images to find directions in
        (400, 120, 96),
        (2_000, 120, 96),
        (4_500, 120, 96),
        (5_000, 120, 0),  # any would leave images out
        (10_000, 360, 48),  # 96 would
        (20_000, 360, 0),
        (10_000, 3600, 48),  # 96 take too much memory
        (20_000, 3600, 48),
    ],
)
def test_a_covariance_is_pooled_only_where_it_leaves_no_image_out(
    rows: int, seconds: float, directions: int
) -> None:
    assert time_budget.direction_count(rows, 4096, 10, seconds) == directions
    with_pairs = 4096 + directions * (directions + 1) // 2
    assert time_budget.max_head_rows(rows, with_pairs, 10, seconds) == time_budget.max_head_rows(
        rows, 4096, 10, seconds
    )
