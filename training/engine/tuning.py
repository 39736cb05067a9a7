"""Fine-tuning one network from its linear head (LP-FT, Kumar et al. 2022).

Batch-norm statistics stay those of the pretraining: with small batches they would only add noise.
The weights that count are an exponential average over the steps; the learning rate rises for a tenth
of the steps and falls along a cosine to zero at the planned end.
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

from training.engine.augmenting import Strength, augment
from training.engine.fusing import Trainable, with_trained
from training.engine.heads import log_loss
from training.engine.networks import Head, Member, build
from training.engine.pixels import Pixels, release

RELEASE_EVERY = 64  # steps
Tick = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """A recipe with its length. Rates are for AdamW; `ema_steps` is the reach of the average."""

    epochs: int
    batch: int = 16
    backbone_rate: float = 3e-4
    head_rate: float = 1e-3
    weight_decay: float = 0.02
    smoothing: float = 0.05
    ema_steps: int = 20
    strength: Strength = field(default_factory=Strength)

    def steps(self, rows: int) -> int:
        return self.epochs * steps_per_epoch(rows, self.batch)


def steps_per_epoch(rows: int, batch: int) -> int:
    """The last batch is filled up, so every step has the same size."""
    return max(1, math.ceil(rows / batch))


def tune(
    member: Member,
    pixels: Pixels,
    targets: NDArray[np.float32],
    rows: NDArray[np.int64],
    row_weights: NDArray[np.float64],
    plan: TuningPlan,
    is_multi_label: bool,
    seed: int,
    device: str,
    tick: Tick,
) -> Member:
    """Train a member on some rows of the pixels [N, S, S, 3]; gives the averaged weights.

    `tick(share of the plan done)` is called after every step and may raise; the work is then lost.
    """
    model = _Model(member, plan, device)
    average = _Average(model, plan.ema_steps)
    optimizer = _optimizer(model, plan)
    random = torch.Generator().manual_seed(seed)
    wanted, weights = torch.from_numpy(targets), torch.from_numpy(row_weights).float()
    steps = plan.steps(len(rows))
    order: list[int] = []
    for step in range(steps):
        while len(order) < plan.batch:
            order += torch.randperm(len(rows), generator=random).tolist()
        picked, order = rows[order[: plan.batch]], order[plan.batch :]
        batch = torch.from_numpy(pixels[np.sort(picked)]).to(device)
        _set_rate(optimizer, plan, step / steps)
        images = augment(batch, member.resolution, plan.strength, random)
        model.step(images, wanted[np.sort(picked)], weights[np.sort(picked)], plan, optimizer, is_multi_label)
        average.update()
        if step % RELEASE_EVERY == 0:
            release(pixels)
        tick((step + 1) / steps)
    return average.member(member)


def seconds_per_step(member: Member, side: int, batch: int, device: str, tick: Callable[[], None]) -> float:
    """Time of one training step, the best of eight on black pictures: the first ones are slow, and a busy
    machine hinders some."""
    plan = TuningPlan(epochs=1, batch=batch, backbone_rate=0, head_rate=0)
    model = _Model(member, plan, device)
    optimizer = _optimizer(model, plan)
    pixels = torch.zeros(batch, side, side, 3, dtype=torch.uint8, device=device)
    targets = torch.zeros(batch, member.head.bias.shape[0])
    random = torch.Generator().manual_seed(0)
    took = math.inf
    for _ in range(8):
        began = time.monotonic()
        images = augment(pixels, member.resolution, plan.strength, random)
        model.step(images, targets, torch.ones(batch), plan, optimizer, False)
        took = min(took, time.monotonic() - began)
        tick()
    return took


class _Model:
    """Backbone and head on the device, channels last, in the lowest precision that is fast there."""

    def __init__(self, member: Member, plan: TuningPlan, device: str) -> None:
        self.backbone = Trainable(build(member.network, member.state), device)
        self.weight = nn.Parameter(member.head.weight.clone().to(device))
        self.bias = nn.Parameter(member.head.bias.clone().to(device))
        self.device = device
        self.precision = torch.bfloat16 if has_fast_bfloat16(device) else torch.float32

    def step(
        self,
        images: Tensor,
        targets: Tensor,
        weights: Tensor,
        plan: TuningPlan,
        optimizer: torch.optim.Optimizer,
        is_multi_label: bool,
    ) -> None:
        wanted = _smooth(targets, plan.smoothing, is_multi_label).to(self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device, self.precision, enabled=self.precision != torch.float32):
            features = self.backbone(images)
        logits = features.float() @ self.weight.T + self.bias
        loss = (log_loss(logits, wanted, is_multi_label) * weights.to(self.device)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.backbone.live.values(), 5.0)
        optimizer.step()


class _Average:
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


def _optimizer(model: _Model, plan: TuningPlan) -> torch.optim.Optimizer:
    matrices = [p for p in model.backbone.live.values() if p.ndim > 1]
    vectors = [p for p in model.backbone.live.values() if p.ndim <= 1]
    groups = [
        {"params": matrices, "peak": plan.backbone_rate, "weight_decay": plan.weight_decay},
        {"params": vectors, "peak": plan.backbone_rate, "weight_decay": 0.0},
        {"params": [model.weight, model.bias], "peak": plan.head_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, foreach=True)


def _set_rate(optimizer: torch.optim.Optimizer, plan: TuningPlan, share: float) -> None:
    shape = min(1.0, share / 0.1 + 0.05) * (1 + math.cos(math.pi * share)) / 2
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * shape


def _smooth(targets: Tensor, smoothing: float, is_multi_label: bool) -> Tensor:
    centre = 0.5 if is_multi_label else 1 / targets.shape[1]
    return targets * (1 - smoothing) + smoothing * centre
