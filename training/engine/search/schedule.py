"""The rounds of fine-tuning: the options, their costs, and the next round that the time allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from training.engine.backbones.classifier import Head, Member
from training.engine.backbones.registry import macs_at
from training.engine.config import LeftOutCause
from training.engine.data.augment import Strength
from training.engine.search import budget as time_budget
from training.engine.search.budget import FinetuneBudget
from training.engine.search.finetune import FinetunePlan, last_blocks_plan, seconds_per_step, view_cache_bytes
from training.engine.search.state import FittedCandidate, SearchState
from training.engine.search.time_limit import read_json, write_json

MAX_CACHE_BYTES = 2 << 30  # bytes of the cached maps that last blocks are trained on
SAFETY = 1.15  # steps take longer than the measured one, and the machine may become busier
REPLAN_RATIO = 1.3  # times the limit of an earlier run, from which on its plans are replaced
# Seconds per multiply-add and image of a training step, for last blocks (True) or whole networks of a family.
StepCosts = dict[tuple[bool, str], float]


@dataclass(frozen=True, slots=True)
class FinetuneOption:
    """A network to fine-tune, or its last blocks alone (`is_partial`), these in steps of `batch` images.

    `is_upscaled`: there is also an option with the same images at a smaller size, which takes less time.
    """

    member: Member
    is_partial: bool
    batch: int
    is_upscaled: bool = False

    @property
    def name(self) -> str:
        whole = f"{self.member.network.name} at {self.member.resolution} px"
        return f"last blocks of {whole}" if self.is_partial else whole

    @property
    def kind(self) -> tuple[bool, str]:
        """What has one time for a multiply-add: attention takes a tenth of the time of small convolutions."""
        return self.is_partial, self.member.network.family

    @property
    def cost(self) -> float:
        """Multiply-adds of one image, to which the time of a training step of its kind is proportional."""
        return macs_at(self.member.network, self.member.resolution)

    def cached_images(self, device: str) -> int:
        """How many views of images fit in the memory for cached maps."""
        return MAX_CACHE_BYTES // view_cache_bytes(self.member, self.plan(), device)

    def plan(self, budget: FinetuneBudget | None = None, strength: Strength | None = None) -> FinetunePlan:
        """The hyperparameters for a budget; without one, for a single epoch."""
        epochs, views = (budget.epochs, budget.views) if budget else (1, 1)
        if self.is_partial:
            frozen = self.member.network.frozen_stages
            return last_blocks_plan(epochs, views, strength or Strength(), self.batch, frozen)
        return FinetunePlan(epochs, strength=strength or Strength())


@dataclass(frozen=True, slots=True)
class Round:
    """An option with the budget of its round, at `image_s` seconds for one training image."""

    option: FinetuneOption
    budget: FinetuneBudget
    image_s: float

    @property
    def member(self) -> Member:
        return self.option.member

    @property
    def text(self) -> str:
        """What is trained, and on how many views of each image, as a sentence."""
        epochs, views = self.budget.epochs, self.budget.views
        seen = "one view" if views == 1 else f"{views} views" if views else "another view in each epoch"
        return f"Fine-tuned: {self.option.name}; epochs: {epochs}; {seen} of each image."


def finetune_options(search: SearchState, singles: list[FittedCandidate]) -> list[FinetuneOption]:
    """The networks by the loss of their linear heads, at each size: whole ones first, then last blocks."""
    data = search.data
    labels, batch = len(data.labels), time_budget.partial_batch(len(data.paths))
    best: dict[str, FittedCandidate] = {}
    for candidate in sorted(singles, key=lambda candidate: candidate.score.loss):
        best.setdefault(candidate.name, candidate)
    options = list[FinetuneOption]()
    for candidate in best.values():
        frozen = candidate.members[0]
        network = frozen.network
        head = Head(torch.zeros(labels, network.features), torch.zeros(labels))
        sizes = time_budget.finetune_resolutions(network.resolution, data.side, network.multiple)
        for size in sizes:
            member = replace(frozen.plain, resolution=size, head=head)
            if search.latency_ms([member]) <= search.run.config.max_inference_ms:
                options += [FinetuneOption(member, part, batch, size > sizes[-1]) for part in (False, True)]
    fitting = [option for option in options if not option.is_upscaled or _fits_in_memory(option, search)]
    return sorted(fitting, key=lambda option: option.is_partial)


def share_cause(option: FinetuneOption, budget: FinetuneBudget, rows: int, device: str) -> LeftOutCause:
    """Why a trial is trained on a share of its rows: the memory for cached maps, or the time."""
    return (
        "memory"
        if budget.share >= time_budget.cached_share(option.cached_images(device), rows)
        else "fine-tuning"
    )


def _fits_in_memory(option: FinetuneOption, search: SearchState) -> bool:
    """Whether all images fit: a share of upscaled ones would bring less than all of the small ones."""
    return not option.is_partial or option.cached_images(search.run.device) >= len(search.data.paths)


def measure_step_costs(search: SearchState, options: Sequence[FinetuneOption]) -> StepCosts:
    """Seconds per multiply-add and image of a training step, timed on the cheapest network of each kind.

    Larger images take a little less than this estimate.
    """
    run, costs = search.run, StepCosts()
    for kind in sorted({option.kind for option in options}):
        of_kind = [option for option in options if option.kind == kind]
        cheapest = min(of_kind, key=lambda option: option.cost)
        plan = cheapest.plan()
        step_s = seconds_per_step(cheapest.member, search.data.side, plan, run.device, run.clock.tick)
        costs[kind] = SAFETY * step_s / plan.batch / cheapest.cost
    return costs


def next_round(
    search: SearchState,
    options: Sequence[FinetuneOption],
    before: Sequence[Round],
    costs: StepCosts,
    number: int,
) -> Round | None:
    """The next round, or None where none fits in the time; `costs` as `measure_step_costs` gives them.

    A round that a killed run has planned is used again, unless there is much more time now. Else the first
    option that fits in its full length is chosen, last blocks first in the first round only; else the
    cheapest one, shortened.
    """
    run, rows = search.run, len(search.data.paths)
    file = run.workdir / "checkpoint" / f"round_{number}.json"
    if stored := _stored_round(file, options, run.config.max_seconds):
        return stored
    # The rounds so far may still be trained on all rows, so this time is not free.
    owed_s = sum(earlier.budget.refit_s(rows, earlier.image_s) for earlier in before)
    left_s, slowdown = run.clock.left() - owed_s, run.clock.slowdown.measure()
    others = search.best.members if search.best else ()  # of a mixture with the network of the round
    fitting: list[Round] = []
    for option in sorted(options, key=lambda option: option.is_partial != (number == 0)):
        image_s = costs[option.kind] * option.cost
        cached = option.cached_images(run.device) if option.is_partial else None
        growth_s = slowdown * search.evaluation_growth_s([option.member, *others])
        budget = time_budget.finetune_budget(rows, image_s, left_s - growth_s, cached)
        if budget is not None:
            fitting.append(Round(option, budget, image_s))
    full_length = [planned for planned in fitting if planned.budget.is_whole(rows)]
    run.clock.is_short |= len(full_length) < len(options)
    chosen = next(iter(full_length), None) or min(fitting, key=lambda planned: planned.image_s, default=None)
    if chosen is not None:
        search.reserve_evaluation([chosen.member, *others])
        record = {"option": chosen.option.name, "budget": asdict(chosen.budget)}
        write_json(file, record | {"image_s": chosen.image_s, "max_seconds": run.config.max_seconds})
    return chosen


def _stored_round(file: Path, options: Sequence[FinetuneOption], max_seconds: float) -> Round | None:
    """The round in a checkpoint, if its option is still open and the limit is not much longer now."""
    stored = read_json(file)
    if not stored or max_seconds >= REPLAN_RATIO * stored["max_seconds"]:
        return None
    for option in options:
        if stored["option"] == option.name:
            return Round(option, FinetuneBudget(**stored["budget"]), stored["image_s"])
    return None
