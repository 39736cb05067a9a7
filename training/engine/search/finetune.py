"""Fine-tune one network, or its last blocks alone, starting from its linear head (LP-FT, Kumar et al. 2022).

Batch-norm statistics stay those of the pretraining: with small batches new ones would only add noise.
The resulting weights are an exponential average over the steps; the learning rate rises for a tenth of the
steps and falls along a cosine to zero at the planned end.

Last blocks alone: the maps that leave the frozen stages, of the plain images and of a few augmented views,
are computed once and cached; a step then costs a third, and with many images takes a larger batch.
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
from training.engine.data.images import JoinedPixels, Pixels, release_pages, resize_square
from training.engine.search.budget import EPOCHS_PER_VIEW
from training.engine.search.linear_head import log_loss

RELEASE_EVERY = 64  # steps
CACHE_BATCH = 16  # the fastest: larger maps leave the processor's cache
Tick = Callable[[float], None]
BatchSource = Callable[[NDArray[np.int64]], Tensor]


@dataclass(frozen=True, slots=True)
class FinetunePlan:
    """The hyperparameters of a fine-tuning. Rates are for AdamW; `ema_steps` is the reach of the average.

    With `frozen_stages` only the blocks after these stages are trained, on the cached maps of `views` of each
    image: the plain one and augmented ones.
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


@dataclass(frozen=True, slots=True)
class FinetuneJob:
    """What a fine-tuning trains, on what, and how.

    `member` is trained on `rows` [M] of `pixels` [N, S, S, 3] uint8 and `targets` [N, C], zeros and ones or
    a teacher's scores between, each row with its weight [N] in the loss. `device` is "cpu" or "cuda".
    """

    member: Member
    plan: FinetunePlan
    pixels: Pixels | JoinedPixels
    targets: NDArray[np.float32]
    row_weights: NDArray[np.float64]
    rows: NDArray[np.int64]
    is_multi_label: bool
    seed: int
    device: str


def last_blocks_plan(
    epochs: int, views: int, strength: Strength, batch: int, frozen_stages: int
) -> FinetunePlan:
    """The plan for the last blocks; the learning rate grows with the batch."""
    rate = 3e-4 * batch / 16
    return FinetunePlan(
        epochs, batch, backbone_rate=rate, strength=strength, frozen_stages=frozen_stages, views=views
    )


def steps_per_epoch(rows: int, batch: int) -> int:
    """The last batch is filled up, so every step has the same size."""
    return max(1, math.ceil(rows / batch))


def fine_tune(job: FinetuneJob, tick: Tick) -> Member:
    """Train the job's member; gives it with the averaged weights. The same seed gives the same weights.

    `tick(share of the plan done)` is called after every step and may raise; the work is then lost.
    """
    plan, rows = job.plan, job.rows
    # 1. The model on the device, and the average that becomes the result: single steps are too noisy.
    model = _Model(job)
    average = _WeightAverage(model, plan.ema_steps)
    random = torch.Generator().manual_seed(job.seed)
    # 2. The inputs. With frozen stages they are computed now and cached, so they take a share of the time.
    views_share = EPOCHS_PER_VIEW * plan.views / (plan.epochs + EPOCHS_PER_VIEW * plan.views)
    next_batch = _batch_source(model, random, lambda share: tick(views_share * share))
    # 3. The steps. Rows are drawn without replacement across epochs, so no batch is smaller than the others.
    targets, weights = torch.from_numpy(job.targets), torch.from_numpy(job.row_weights).float()
    steps = plan.steps(len(rows))
    order: list[int] = []
    for step in range(steps):
        while len(order) < plan.batch:
            order += torch.randperm(len(rows), generator=random).tolist()
        places, order = np.sort(order[: plan.batch]), order[plan.batch :]
        batch_rows = rows[places]
        model.set_learning_rate(step / steps)
        model.step(next_batch(places), targets[batch_rows], weights[batch_rows])
        average.update()
        if step % RELEASE_EVERY == 0:
            release_pages(job.pixels)
        tick(views_share + (1 - views_share) * (step + 1) / steps)
    return average.member(job.member)


def _batch_source(model: _Model, random: torch.Generator, tick: Tick) -> BatchSource:
    """A function from places in the job's rows [B] to the model's inputs for them."""
    if model.job.plan.frozen_stages:
        return _cached_maps(model, random, tick)
    return _augmented_images(model, random)


def _augmented_images(model: _Model, random: torch.Generator) -> BatchSource:
    """Gives newly augmented images [B, 3, R, R] at every step."""
    job = model.job

    def source(places: NDArray[np.int64]) -> Tensor:
        batch = torch.from_numpy(job.pixels[job.rows[places]]).to(job.device)
        return augment(batch, job.member.resolution, job.plan.strength, random)

    return source


def _cached_maps(model: _Model, random: torch.Generator, tick: Tick) -> BatchSource:
    """Gives cached maps [B, C, h, w], at each step those of one view: the plain one or an augmented one."""
    job = model.job
    caches: list[Tensor] = []
    total, done = job.plan.views * steps_per_epoch(len(job.rows), CACHE_BATCH), 0
    for view in range(job.plan.views):
        for start in range(0, len(job.rows), CACHE_BATCH):
            maps = model.maps(_view_of(job, job.rows[start : start + CACHE_BATCH], view, random))
            if start == 0:
                shape = (len(job.rows), *maps.shape[1:])
                cache = torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)
                caches.append(cache.to(maps.device))
            caches[view][start : start + CACHE_BATCH] = maps
            done += 1
            if done % RELEASE_EVERY == 0:
                release_pages(job.pixels)
            tick(done / total)

    def source(places: NDArray[np.int64]) -> Tensor:
        view = int(torch.randint(job.plan.views, (1,), generator=random))
        return caches[view][torch.from_numpy(places).to(job.device)]

    return source


def _view_of(job: FinetuneJob, rows: NDArray[np.int64], view: int, random: torch.Generator) -> Tensor:
    """Images [B, 3, R, R] of the rows: plain, as the bundle will see them, in view 0, else augmented."""
    resolution = job.member.resolution
    if view == 0:
        squares = [resize_square(job.pixels[row], resolution) for row in rows]
        return to_network_input(torch.from_numpy(np.stack(squares)).to(job.device))
    batch = torch.from_numpy(job.pixels[rows]).to(job.device)
    return augment(batch, resolution, job.plan.strength, random)


def view_cache_bytes(member: Member, plan: FinetunePlan, device: str) -> int:
    """Memory for the cached maps of one view of one image."""
    network, width = member.network, 2 if has_fast_bfloat16(device) else 4
    side = -(-member.resolution // network.frozen_stride)
    return network.stages[plan.frozen_stages - 1] * (side * side + network.prefix_tokens) * width


def seconds_per_step(
    member: Member, side: int, plan: FinetunePlan, device: str, tick: Callable[[], None]
) -> float:
    """Seconds of one training step on black images of `side` pixels, measured in about a second.

    The best of three to eight steps counts: the first are slow, and a busy machine slows others down.
    """
    rows, labels = np.arange(plan.batch), member.head.bias.shape[0]
    job = FinetuneJob(
        member=member,
        plan=replace(plan, epochs=1, views=min(1, plan.views), backbone_rate=0, head_rate=0),
        pixels=np.zeros((plan.batch, side, side, 3), np.uint8),
        targets=np.zeros((plan.batch, labels), np.float32),
        row_weights=np.ones(plan.batch),
        rows=rows,
        is_multi_label=False,
        seed=0,
        device=device,
    )
    model = _Model(job)
    next_batch = _batch_source(model, torch.Generator().manual_seed(job.seed), lambda share: tick())
    targets, weights = torch.from_numpy(job.targets), torch.ones(plan.batch)
    fastest, spent, count = math.inf, 0.0, 0
    while count < 3 or (count < 8 and spent < 1):
        began = time.monotonic()
        model.step(next_batch(rows), targets, weights)
        used = time.monotonic() - began
        fastest, spent, count = min(fastest, used), spent + used, count + 1
        tick()
    return fastest


class _Model:
    """Backbone, head and optimizer of a job, channels last, in the lowest precision that is fast there."""

    def __init__(self, job: FinetuneJob) -> None:
        member, device = job.member, job.device
        self.job = job
        self.backbone = TrainableBackbone(
            member.network, member.resolution, member.state, device, job.plan.frozen_stages
        )
        self.weight = nn.Parameter(member.head.weight.clone().to(device))
        self.bias = nn.Parameter(member.head.bias.clone().to(device))
        self.precision = torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
        self.is_mixed = self.precision != torch.float32
        self.optimizer = self._make_optimizer()

    def maps(self, images: Tensor) -> Tensor:
        """The maps that leave the frozen stages, of images [N, 3, R, R], in the precision of the training."""
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast(self.job.device, self.precision, enabled=self.is_mixed):
            return self.backbone.maps(images).to(self.precision)

    def step(self, inputs: Tensor, targets: Tensor, weights: Tensor) -> None:
        """One step of the optimizer on inputs [B, ...], targets [B, C] and their weights [B] in the loss."""
        job = self.job
        smoothed = _smooth_labels(targets, job.plan.smoothing, job.is_multi_label).to(job.device)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(job.device, self.precision, enabled=self.is_mixed):
            features = self.backbone(inputs)
        logits = features.float() @ self.weight.T + self.bias
        loss = (log_loss(logits, smoothed, job.is_multi_label) * weights.to(job.device)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.backbone.live.values(), 5.0)
        self.optimizer.step()

    def set_learning_rate(self, share: float) -> None:
        """Set the rates for this share of the plan: a rise for a tenth, then a cosine down to zero."""
        shape = min(1.0, share / 0.1 + 0.05) * (1 + math.cos(math.pi * share)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * shape

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW; norms and biases are not decayed, and the head has a rate of its own."""
        plan, live = self.job.plan, self.backbone.live.values()
        rate = plan.backbone_rate * self.job.member.network.rate_scale
        matrices = [parameter for parameter in live if parameter.ndim > 1]
        vectors = [parameter for parameter in live if parameter.ndim <= 1]
        groups = [
            {"params": matrices, "peak": rate, "weight_decay": plan.weight_decay},
            {"params": vectors, "peak": rate, "weight_decay": 0.0},
            {"params": [self.weight, self.bias], "peak": plan.head_rate, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=0.0, foreach=True)


class _WeightAverage:
    """Exponential average of all weights; the plain mean at first, so the start has no lasting influence."""

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
        """`start` with the averaged weights."""
        *trained, weight, bias = self.mean
        state = with_trained(start.state, dict(zip(self.model.backbone.live, trained, strict=True)))
        return replace(start, state=state, head=Head(weight.cpu(), bias.cpu()))


def has_fast_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; on others autocast only costs time."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _smooth_labels(targets: Tensor, smoothing: float, is_multi_label: bool) -> Tensor:
    centre = 0.5 if is_multi_label else 1 / targets.shape[1]
    return targets * (1 - smoothing) + smoothing * centre
