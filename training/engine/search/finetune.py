"""Fine-tuning one network, or its last blocks alone, from its linear head (LP-FT, Kumar et al. 2022).

Batch-norm statistics stay those of the pretraining: with small batches they would only add noise.
The weights that count are an exponential average over the steps; the learning rate rises for a tenth
of the steps and falls along a cosine to zero at the planned end.

Last blocks alone: what the frozen stages make of the pictures, plain and in a few augmented views, is
computed once and kept; a step then costs a third, and with many pictures takes a larger batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.engine.backbones.classifier import Head, Member, to_network_input
from training.engine.backbones.fused import TrainableBackbone, with_trained
from training.engine.data.augment import Strength, augment
from training.engine.data.images import Pixels, release_pages, resize_square
from training.engine.search.budget import EPOCHS_PER_VIEW
from training.engine.search.linear_head import log_loss

RELEASE_EVERY = 64  # steps
CACHE_BATCH = 16  # the quickest: larger maps leave the processor's cache
Tick = Callable[[float], None]
BatchSource = Callable[[NDArray[np.int64]], Tensor]


@dataclass(frozen=True, slots=True)
class FinetunePlan:
    """A recipe with its length. Rates are for AdamW; `ema_steps` is the reach of the average.

    With `frozen_stages` only the last blocks are trained, on that which leaves these stages for so many
    `views` of each picture: the plain one and augmented ones.
    """

    epochs: int
    batch: int = 16
    backbone_rate: float = 3e-4
    head_rate: float = 1e-3
    weight_decay: float = 0.02
    smoothing: float = 0.05
    ema_steps: int = 20
    strength: Strength = field(default_factory=Strength)
    frozen_stages: int = 0
    views: int = 0

    def steps(self, rows: int) -> int:
        return self.epochs * steps_per_epoch(rows, self.batch)


def last_blocks_plan(
    epochs: int, views: int, strength: Strength, batch: int, frozen_stages: int
) -> FinetunePlan:
    """The recipe for the last blocks; the rate grows with the batch."""
    rate = 3e-4 * batch / 16
    return FinetunePlan(
        epochs, batch, backbone_rate=rate, strength=strength, frozen_stages=frozen_stages, views=views
    )


def steps_per_epoch(rows: int, batch: int) -> int:
    """The last batch is filled up, so every step has the same size."""
    return max(1, math.ceil(rows / batch))


def fine_tune(
    member: Member,
    pixels: Pixels,
    targets: NDArray[np.float32],
    rows: NDArray[np.int64],
    row_weights: NDArray[np.float64],
    plan: FinetunePlan,
    is_multi_label: bool,
    seed: int,
    device: str,
    tick: Tick,
) -> Member:
    """Train a member on some rows of the pixels [N, S, S, 3]; gives the averaged weights.

    `tick(share of the plan done)` is called after every step and may raise; the work is then lost.
    """
    model = _Model(member, plan, device)
    average = _WeightAverage(model, plan.ema_steps)
    optimizer = _optimizer(model, plan)
    random = torch.Generator().manual_seed(seed)
    wanted, weights = torch.from_numpy(targets), torch.from_numpy(row_weights).float()
    begin = EPOCHS_PER_VIEW * plan.views / (plan.epochs + EPOCHS_PER_VIEW * plan.views)
    make = _cached_maps if plan.frozen_stages else _augmented_images
    source = make(model, pixels, rows, plan, random, lambda share: tick(begin * share))
    steps = plan.steps(len(rows))
    order: list[int] = []
    for step in range(steps):
        while len(order) < plan.batch:
            order += torch.randperm(len(rows), generator=random).tolist()
        places, order = np.sort(order[: plan.batch]), order[plan.batch :]
        picked = rows[places]
        _set_learning_rate(optimizer, plan, step / steps)
        model.step(source(places), wanted[picked], weights[picked], plan, optimizer, is_multi_label)
        average.update()
        if step % RELEASE_EVERY == 0:
            release_pages(pixels)
        tick(begin + (1 - begin) * (step + 1) / steps)
    return average.member(member)


def _augmented_images(
    model: _Model,
    pixels: Pixels,
    rows: NDArray[np.int64],
    plan: FinetunePlan,
    random: torch.Generator,
    _tick: Tick,
) -> BatchSource:
    """Gives new pictures [B, 3, R, R] at every step."""

    def source(places: NDArray[np.int64]) -> Tensor:
        batch = torch.from_numpy(pixels[rows[places]]).to(model.device)
        return augment(batch, model.resolution, plan.strength, random)

    return source


def _cached_maps(
    model: _Model,
    pixels: Pixels,
    rows: NDArray[np.int64],
    plan: FinetunePlan,
    random: torch.Generator,
    tick: Tick,
) -> BatchSource:
    """Gives kept maps [B, C, h, w], at each step those of one view: the plain one or an augmented one."""
    views: list[Tensor] = []
    total, done = plan.views * steps_per_epoch(len(rows), CACHE_BATCH), 0
    for view in range(plan.views):
        for start in range(0, len(rows), CACHE_BATCH):
            picked = rows[start : start + CACHE_BATCH]
            if view == 0:  # as the bundle will see them
                squares = [resize_square(pixels[row], model.resolution) for row in picked]
                images = to_network_input(torch.from_numpy(np.stack(squares)).to(model.device))
            else:
                batch = torch.from_numpy(pixels[picked]).to(model.device)
                images = augment(batch, model.resolution, plan.strength, random)
            maps = model.maps(images)
            if start == 0:
                shape = (len(rows), *maps.shape[1:])
                room = torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)
                views.append(room.to(maps.device))
            views[view][start : start + CACHE_BATCH] = maps
            done += 1
            if done % RELEASE_EVERY == 0:
                release_pages(pixels)
            tick(done / total)

    def source(places: NDArray[np.int64]) -> Tensor:
        view = int(torch.randint(plan.views, (1,), generator=random))
        return views[view][torch.from_numpy(places).to(model.device)]

    return source


def view_cache_bytes(member: Member, plan: FinetunePlan, device: str) -> int:
    """Memory for the maps of one view of a picture."""
    side = -(-member.resolution // 8)  # a quarter after two stages, and half of that after the third
    width = 2 if has_fast_bfloat16(device) else 4
    return member.network.stages[plan.frozen_stages - 1] * side * side * width


def seconds_per_step(
    member: Member, side: int, plan: FinetunePlan, device: str, tick: Callable[[], None]
) -> float:
    """Time of one training step, the best of three to eight, in about a second, on black pictures: the first
    ones are slow, and a busy machine hinders some."""
    plan = replace(plan, epochs=1, views=min(1, plan.views), backbone_rate=0, head_rate=0)
    model = _Model(member, plan, device)
    optimizer = _optimizer(model, plan)
    rows, pixels = np.arange(plan.batch), np.zeros((plan.batch, side, side, 3), np.uint8)
    targets = torch.zeros(plan.batch, member.head.bias.shape[0])
    random = torch.Generator().manual_seed(0)
    make = _cached_maps if plan.frozen_stages else _augmented_images
    source = make(model, pixels, rows, plan, random, lambda share: tick())
    took, spent, turns = math.inf, 0.0, 0
    while turns < 3 or (turns < 8 and spent < 1):
        began = time.monotonic()
        model.step(source(rows), targets, torch.ones(plan.batch), plan, optimizer, False)
        used = time.monotonic() - began
        took, spent, turns = min(took, used), spent + used, turns + 1
        tick()
    return took


class _Model:
    """Backbone and head on the device, channels last, in the lowest precision that is fast there."""

    def __init__(self, member: Member, plan: FinetunePlan, device: str) -> None:
        self.backbone = TrainableBackbone(member.network, member.state, device, plan.frozen_stages)
        self.resolution = member.resolution
        self.weight = nn.Parameter(member.head.weight.clone().to(device))
        self.bias = nn.Parameter(member.head.bias.clone().to(device))
        self.device = device
        self.precision = torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
        self.is_mixed = self.precision != torch.float32

    def maps(self, images: Tensor) -> Tensor:
        """What the frozen stages make of pictures [N, 3, R, R], in the precision of the training."""
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast(self.device, self.precision, enabled=self.is_mixed):
            return self.backbone.maps(images).to(self.precision)

    def step(
        self,
        inputs: Tensor,
        targets: Tensor,
        weights: Tensor,
        plan: FinetunePlan,
        optimizer: torch.optim.Optimizer,
        is_multi_label: bool,
    ) -> None:
        wanted = _smooth_labels(targets, plan.smoothing, is_multi_label).to(self.device)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device, self.precision, enabled=self.is_mixed):
            features = self.backbone(inputs)
        logits = features.float() @ self.weight.T + self.bias
        loss = (log_loss(logits, wanted, is_multi_label) * weights.to(self.device)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.backbone.live.values(), 5.0)
        optimizer.step()


class _WeightAverage:
    """Exponential average of all weights; early on the plain mean, so the start does not linger."""

    def __init__(self, model: _Model, reach: int) -> None:
        self.model, self.reach, self.count = model, reach, 0
        self.live: list[Tensor] = [*model.backbone.live.values(), model.weight, model.bias]
        self.mean = [tensor.detach().clone() for tensor in self.live]

    def update(self) -> None:
        self.count += 1
        share = max(1 / self.count, 1 / self.reach)
        with torch.no_grad():
            torch._foreach_lerp_(self.mean, self.live, share)

    def member(self, start: Member) -> Member:
        *trained, weight, bias = self.mean
        state = with_trained(start.state, dict(zip(self.model.backbone.live, trained, strict=True)))
        return replace(start, state=state, head=Head(weight.cpu(), bias.cpu()))


def has_fast_bfloat16(device: str) -> bool:
    """Does this device multiply bfloat16 in hardware? On others autocast only costs."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _optimizer(model: _Model, plan: FinetunePlan) -> torch.optim.Optimizer:
    matrices = [p for p in model.backbone.live.values() if p.ndim > 1]
    vectors = [p for p in model.backbone.live.values() if p.ndim <= 1]
    groups = [
        {"params": matrices, "peak": plan.backbone_rate, "weight_decay": plan.weight_decay},
        {"params": vectors, "peak": plan.backbone_rate, "weight_decay": 0.0},
        {"params": [model.weight, model.bias], "peak": plan.head_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, foreach=True)


def _set_learning_rate(optimizer: torch.optim.Optimizer, plan: FinetunePlan, share: float) -> None:
    shape = min(1.0, share / 0.1 + 0.05) * (1 + math.cos(math.pi * share)) / 2
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * shape


def _smooth_labels(targets: Tensor, smoothing: float, is_multi_label: bool) -> Tensor:
    centre = 0.5 if is_multi_label else 1 / targets.shape[1]
    return targets * (1 - smoothing) + smoothing * centre
