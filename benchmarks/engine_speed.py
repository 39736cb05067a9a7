"""The engine's speed beside the limit of the machine and beside a plain PyTorch loop, in one run.

    python -m benchmarks.engine_speed [--seconds 5] [--rounds 3] [--one-core] [--no-training]

Measurements take turns, round by round, for `--seconds` each, so that a busy moment affects all alike;
the best and the median of the rounds are printed. Building, exporting and compiling are not counted. Where
other processes use the same cores, threads wait for each other and the figures mean nothing; `--one-core`
then measures the processor time of one thread, which they hardly affect.

product    torch's matrix product on all cores, the physical limit
features   `features.extract_features` of EfficientNet-Lite0 on noise in memory; GFLOP/s are 2 * macs times
           images/s; the ratio is to the float32 product, and 0.6 is the aim
embedding  `Embedder.embed` as the labeling worker uses it, on thumbnails just made (in memory) and on stored
           ones (WebP, decoded meanwhile); the ratio is to `features`, deep, and 0.9 is the aim
batch      `Bundle.answer_square` and, from a JPEG of 600 x 400 pixels, `Bundle.answer`, as the worker of
           batches uses them; the ratio is to `features`, plain, and 0.9 is the aim without the decoding
whole      `finetune.fine_tune`, all work of a step: choose rows, augment, step, average
last       the same for the last blocks on cached maps; computing these is not counted; GFLOP/s are those
           of the whole network
step       augmentation and step on a batch that lies on the device, as the engine times it for its plans
bare       the step alone on images of the network's size: the same work as the peer's
plain      the peer: an eager PyTorch loop over the same network of timm, channels last, the same autocast,
           AdamW, the batch on the device; `trained norms` is the usual loop, `frozen norms` normalizes
           with the statistics of the pretraining, as the engine does

GFLOP/s of training count three times the forward pass. Ratios of training are to the best plain loop of the
same batch. With CUDA the same follows on the GPU.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.feature_speed import IMAGES, LABELS, NETWORK, frozen, member, worker_measures
from benchmarks.rates import Measure, Run, Span, calls_per_second, noise, ticks_per_second
from training.engine.backbones import classifier, registry
from training.engine.backbones.timm_loader import gpu_name, load_timm
from training.engine.data.augment import Strength, augment
from training.engine.search import finetune

ENDLESS = 10**6
ROW = "{:<52} {:>10} {:>10} {:>10} {:>8} {:>8}"


# The limit


def product(kind: torch.dtype, device: str) -> Measure:
    side = 8192 if device == "cuda" else 2048
    left, right = (torch.randn(side, side).to(device, kind) for _ in range(2))
    name = f"product of {side} x {side}, {str(kind).removeprefix('torch.')}"
    run = functools.partial(calls_per_second, functools.partial(torch.mm, left, right), device)
    return Measure(name, "limit", 2 * side**3, run, kind == torch.float32)


# Training steps of the engine


def tuned(side: int, device: str, plan: finetune.FinetunePlan) -> Run:
    """`finetune.fine_tune` on images in the processor's memory."""
    job = job_of(side, max(IMAGES, plan.batch), device, plan)
    return lambda span: plan.batch * ticks_per_second(lambda ticks: finetune.fine_tune(job, ticks), span)


def job_of(side: int, count: int, device: str, plan: finetune.FinetunePlan) -> finetune.FinetuneJob:
    """A fine-tuning on that many images of noise."""
    rows = np.arange(count)
    return finetune.FinetuneJob(
        member=member(side),
        plan=plan,
        pixels=noise(count, side),
        targets=np.eye(LABELS, dtype=np.float32)[rows % LABELS],
        row_weights=np.ones(count),
        rows=rows,
        is_multi_label=False,
        seed=0,
        device=device,
    )


def step(side: int, batch: int, device: str, is_augmented: bool) -> Run:
    """One step of the engine's model, with or without the augmentation before it."""
    plan = finetune.FinetunePlan(epochs=1, batch=batch, backbone_rate=0, head_rate=0)
    job = job_of(side, batch, device, plan)
    model, random = finetune._Model(job), torch.Generator().manual_seed(0)
    pixels = torch.from_numpy(job.pixels).to(device)
    images = augment(pixels, side, plan.strength, random)
    targets, weights = torch.from_numpy(job.targets), torch.ones(batch)

    def call() -> None:
        inputs = augment(pixels, side, plan.strength, random) if is_augmented else images
        model.step(inputs, targets, weights)

    return lambda span: batch * calls_per_second(call, device, span)


# The peer


class PlainLoop:
    """What one writes without an engine: model, autocast, cross entropy, AdamW."""

    def __init__(self, side: int, batch: int, device: str, is_frozen: bool) -> None:
        net = load_timm().create_model(NETWORK.timm_name, pretrained=False, num_classes=LABELS)
        net.load_state_dict(classifier.pretrained_state(NETWORK), strict=False)
        self.net = net.to(device).to(memory_format=torch.channels_last).train(not is_frozen)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-5, weight_decay=0.02)
        images = classifier.to_network_input(torch.from_numpy(noise(batch, side))).to(device)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.targets = (torch.arange(batch) % LABELS).to(device)
        self.device, self.is_low = device, finetune.has_fast_bfloat16(device)

    def __call__(self) -> None:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.is_low):
            logits = self.net(self.images)
        loss = torch.nn.functional.cross_entropy(logits.float(), self.targets, label_smoothing=0.05)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def plain(side: int, batch: int, device: str, is_frozen: bool, is_searched: bool) -> Run:
    """`is_searched`: cudnn may try its algorithms and keep the quickest."""
    loop = PlainLoop(side, batch, device, is_frozen)

    def run(span: Span) -> float:
        torch.backends.cudnn.benchmark = is_searched
        try:
            return batch * calls_per_second(loop, device, span)
        finally:
            torch.backends.cudnn.benchmark = False

    return run


def plain_loops(side: int, batch: int, device: str) -> Iterator[tuple[str, Run]]:
    for is_searched in (False, True) if device == "cuda" else (False,):
        for is_frozen in (False, True):
            name = f"plain, {'frozen' if is_frozen else 'trained'} norms"
            name += ", cudnn.benchmark" if is_searched else ""
            yield name, plain(side, batch, device, is_frozen, is_searched)


def training(side: int, batch: int, device: str) -> list[Measure]:
    group, flops = f"{side} px, batch {batch}", 6 * registry.macs_at(NETWORK, side)
    own = {
        "whole": tuned(side, device, finetune.FinetunePlan(epochs=ENDLESS, batch=batch)),
        "last": tuned(
            side, device, finetune.last_blocks_plan(ENDLESS, 1, Strength(), batch, NETWORK.frozen_stages)
        ),
        "step": step(side, batch, device, is_augmented=True),
        "bare": step(side, batch, device, is_augmented=False),
    }
    peers = list(plain_loops(side, batch, device))
    return [
        *(Measure(f"{group}: {name}", group, flops, run) for name, run in own.items()),
        *(Measure(f"{group}: {name}", group, flops, run, True) for name, run in peers),
    ]


# Turns and table


def measures(device: str, with_training: bool) -> list[Measure]:
    kinds = (torch.float32, torch.bfloat16)
    batches = (64, 128) if device == "cuda" else (16,)
    return [
        *(product(kind, device) for kind in kinds),
        *(frozen(is_deep, device) for is_deep in (False, True)),
        *(worker_measures() if device == "cpu" else ()),
        *(
            one
            for batch in (batches if with_training else ())
            for side in (224, 128)
            for one in training(side, batch, device)
        ),
    ]


def in_turns(every: list[Measure], rounds: int, span: Span) -> dict[str, list[float]]:
    """Rates by name, one for each round."""
    rates: dict[str, list[float]] = {one.name: [] for one in every}
    for number in range(rounds):
        began = time.monotonic()
        for one in every:
            rates[one.name].append(one.run(span))
        sys.stderr.write(f"round {number + 1} of {rounds}: {time.monotonic() - began:.0f} s\n")
    return rates


def show(device: str, every: list[Measure], rates: dict[str, list[float]]) -> None:
    print(ROW.format(described(device), "best", "median", "GFLOP/s", "ratio", "(median)"))
    for one in every:
        best, median = max(rates[one.name]), statistics.median(rates[one.name])
        ratios = ("", "") if one.is_limit else ratios_of(one, every, rates)
        shown = ("", "") if one.group == "limit" else (f"{best:.1f}", f"{median:.1f}")
        print(ROW.format(one.name, *shown, f"{best * one.flops / 1e9:.1f}", *ratios))


def ratios_of(one: Measure, every: list[Measure], rates: dict[str, list[float]]) -> tuple[str, ...]:
    """Work a second over that of the group's limit: best over best and median over median."""
    wanted = "limit" if one.group == "features" else one.group
    limits = [other for other in every if other.group == wanted and other.is_limit]
    if one.limit:
        limits = [other for other in every if other.name == one.limit]

    def ratio(of: Callable[[list[float]], float]) -> str:
        most = max(other.flops * of(rates[other.name]) for other in limits)
        return f"{one.flops * of(rates[one.name]) / most:.2f}"

    return ratio(max), ratio(statistics.median)


def described(device: str) -> str:
    return (
        f"{gpu_name()}, images/s"
        if device == "cuda"
        else f"{chip()}, {torch.get_num_threads()} of {os.cpu_count()} cores, images/s"
    )


def chip() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "processor")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one-core", action="store_true", help="one thread, by the processor time it takes")
    parser.add_argument("--no-training", action="store_true", help="without the steps of training")
    options = parser.parse_args()
    torch.set_num_threads(1 if options.one_core else os.cpu_count() or 1)
    on_cpu = Span(options.seconds, time.process_time if options.one_core else time.monotonic)
    spans = {"cpu": on_cpu} | ({"cuda": Span(options.seconds)} if torch.cuda.is_available() else {})
    for device, span in spans.items():
        every = measures(device, not options.no_training)
        show(device, every, in_turns(every, options.rounds, span))


if __name__ == "__main__":
    main()
