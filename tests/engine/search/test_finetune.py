"""Fine-tuning and features on few generated images."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.engine.backbones import features, registry
from training.engine.backbones.classifier import Head, Member, pretrained_state
from training.engine.data.augment import Strength
from training.engine.search import finetune, linear_probe
from training.engine.search.linear_probe import stratified_order

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def member() -> Member:
    network = registry.NETWORKS[0]
    return Member(network, 96, pretrained_state(network), Head(torch.zeros(2, 1280), torch.zeros(2)))


@pytest.fixture(scope="module")
def squares() -> np.ndarray:
    random = np.random.default_rng(0)
    shade = (np.arange(12) % 2 * 120)[:, None, None, None]
    return (random.integers(0, 120, (12, 96, 96, 3)) + shade).astype(np.uint8)


def make_job(
    member: Member, plan: finetune.FinetunePlan, squares: np.ndarray, seed: int = 0
) -> finetune.FinetuneJob:
    """All images train; every other one carries the second label."""
    rows = np.arange(len(squares))
    return finetune.FinetuneJob(
        member=member,
        plan=plan,
        pixels=squares,
        targets=np.eye(2, dtype=np.float32)[rows % 2],
        row_weights=np.ones(len(rows)),
        rows=rows,
        is_multi_label=False,
        seed=seed,
        device="cpu",
    )


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    member: Member, squares: np.ndarray
) -> None:
    plan = finetune.FinetunePlan(epochs=2, batch=4)

    def head_of(seed: int) -> torch.Tensor:
        job = make_job(member, plan, squares, seed)
        return finetune.fine_tune(job, lambda share: None).head.weight

    first = head_of(0)
    assert torch.equal(first, head_of(0))
    assert not torch.equal(first, head_of(1))


def test_last_blocks_alone_are_trained_and_learn(member: Member, squares: np.ndarray) -> None:
    job = make_job(member, finetune.last_blocks_plan(6, 2, Strength(), 4, 3), squares)
    shares: list[float] = []
    tuned = finetune.fine_tune(job, shares.append)
    changed = {name for name, tensor in tuned.state.items() if not torch.equal(tensor, member.state[name])}
    assert {"conv_head.weight", "bn2.weight", "blocks.3.0.conv_pw.weight"} <= changed
    assert not [name for name in changed if name.startswith(("conv_stem", "bn1", "blocks.0", "blocks.2"))]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    logits = (
        features.extract_features(tuned, squares, 1, "cpu", lambda share: None) @ tuned.head.weight.T
        + tuned.head.bias
    )
    assert (logits.argmax(dim=1).numpy() == np.arange(12) % 2).all()
    again = finetune.fine_tune(job, lambda share: None)
    assert torch.equal(tuned.head.weight, again.head.weight)
    assert linear_probe.member_key(tuned) != linear_probe.member_key(member)


@pytest.mark.parametrize("size", [96, 100, 240, 260])
def test_kept_maps_take_the_memory_that_was_foretold(member: Member, size: int) -> None:
    plan = finetune.last_blocks_plan(4, 2, Strength(), 16, 3)
    sized = replace(member, resolution=size)
    job = make_job(sized, plan, np.zeros((1, size, size, 3), np.uint8))
    maps = finetune._Model(job).maps(torch.zeros(1, 3, size, size))
    assert finetune.view_cache_bytes(sized, plan, "cpu") == maps.nbytes


def test_features_that_are_enough_are_those_of_the_first_rows(member: Member, squares: np.ndarray) -> None:
    def tick(share: float) -> None:
        if share >= 0.5:
            raise features.StopExtraction

    whole = features.extract_features(member, squares, 1, "cpu", lambda share: None)
    part = features.extract_features(member, squares, 1, "cpu", tick)
    assert 6 <= len(part) < 12
    assert torch.allclose(part, whole[: len(part)], atol=1e-4)


def test_every_beginning_of_the_order_holds_all_labels_in_their_shares() -> None:
    kinds = np.repeat([0, 1, 2], [80, 16, 4])
    order = stratified_order(np.eye(3, dtype=np.float32)[kinds], 0)
    assert sorted(order) == list(range(100))
    assert np.bincount(kinds[order[:25]]).tolist() == [20, 4, 1]
