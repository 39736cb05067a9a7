"""The rounds of fine-tuning: what could be fine-tuned, what the time allows, and which comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch

from training.engine.backbones.classifier import Head, Member
from training.engine.backbones.registry import macs_at
from training.engine.data.augment import Strength
from training.engine.search import budget as time_budget
from training.engine.search.budget import FinetuneBudget
from training.engine.search.clock import read_json, write_json
from training.engine.search.finetune import FinetunePlan, last_blocks_plan, seconds_per_step, view_cache_bytes
from training.engine.search.state import Candidate, Search

MAX_CACHE_BYTES = 2 << 30  # bytes of kept maps, on which last blocks are trained
SAFETY = 1.15  # steps take longer than the measured one, and other work may come
REPLAN_RATIO = 1.3  # times the limit of a run before, its plans are made anew
StepCosts = dict[bool, float]  # for last blocks (True) and whole networks


@dataclass(frozen=True, slots=True)
class FinetuneOption:
    """What can be fine-tuned: a whole network or its last blocks, these in steps of `batch` pictures.

    `is_enlarged`: there is a smaller size for the same pictures, which takes less time.
    """

    member: Member
    is_partial: bool
    batch: int
    is_enlarged: bool = False

    @property
    def name(self) -> str:
        whole = f"{self.member.network.name} at {self.member.resolution}"
        return f"last blocks of {whole}" if self.is_partial else whole

    @property
    def cost(self) -> float:
        """Operations that the time of a training step grows with."""
        return macs_at(self.member.network, self.member.resolution)

    def kept_pictures(self, device: str) -> int:
        """How many views of pictures the memory has room for, as the last blocks learn from them."""
        return MAX_CACHE_BYTES // view_cache_bytes(self.member, self.plan(), device)

    def plan(self, budget: FinetuneBudget | None = None, strength: Strength | None = None) -> FinetunePlan:
        """The recipe in that length; without one, a single epoch."""
        epochs, views = (budget.epochs, budget.views) if budget else (1, 1)
        if self.is_partial:
            frozen = self.member.network.frozen_stages
            return last_blocks_plan(epochs, views, strength or Strength(), self.batch, frozen)
        return FinetunePlan(epochs, strength=strength or Strength())


@dataclass(frozen=True, slots=True)
class Round:
    """What one round fine-tunes, and for how long."""

    option: FinetuneOption
    budget: FinetuneBudget
    image_s: float

    @property
    def member(self) -> Member:
        return self.option.member


def finetune_options(search: Search, singles: list[Candidate]) -> list[FinetuneOption]:
    """Networks in the order of their frozen worth, at the sizes to tune at: whole ones, then last blocks."""
    labels, batch = len(search.labels), time_budget.partial_batch(len(search.paths))
    best: dict[str, Candidate] = {}
    for one in sorted(singles, key=lambda contender: contender.verdict.loss):
        best.setdefault(one.name, one)
    options = list[FinetuneOption]()
    for one in best.values():
        frozen = one.members[0]
        head = Head(torch.zeros(labels, frozen.network.features), torch.zeros(labels))
        sizes = time_budget.finetune_resolutions(frozen.network.resolution, search.side)
        for size in sizes:
            member = replace(frozen, resolution=size, head=head, is_deep=False)
            if search.latency_ms([member]) <= search.config.max_inference_ms:
                options += [FinetuneOption(member, part, batch, size > sizes[-1]) for part in (False, True)]
    fitting = [one for one in options if not one.is_enlarged or _fits_in_memory(one, search)]
    return sorted(fitting, key=lambda one: one.is_partial)


def _fits_in_memory(option: FinetuneOption, search: Search) -> bool:
    """Can all pictures be kept? A share of enlarged ones would teach less than all of the small ones."""
    return not option.is_partial or option.kept_pictures(search.device) >= len(search.paths)


def measure_step_costs(search: Search, options: Sequence[FinetuneOption]) -> StepCosts:
    """Seconds per multiply-add and picture of a training step, timed on the cheapest network of each kind.

    Larger pictures take a little less than that foretells.
    """
    pace: StepCosts = {}
    for kind in sorted({one.is_partial for one in options}):
        cheapest = min((one for one in options if one.is_partial == kind), key=lambda one: one.cost)
        plan = cheapest.plan()
        step_s = seconds_per_step(cheapest.member, search.side, plan, search.device, search.clock.tick)
        pace[kind] = SAFETY * step_s / plan.batch / cheapest.cost
    return pace


def next_round(
    search: Search, options: Sequence[FinetuneOption], before: Sequence[Round], pace: StepCosts, number: int
) -> Round | None:
    """The plan of a round: that of a killed run, unless there is much more time now; or the first that fits
    in its wanted length, last blocks first in the first round only; else the cheapest with what fits."""
    path = search.workdir / "checkpoint" / f"round_{number}.json"
    stored = read_json(path)
    is_binding = stored and search.config.max_seconds < REPLAN_RATIO * stored["max_seconds"]
    for option in options if is_binding else ():
        if stored["option"] == option.name:
            return Round(option, FinetuneBudget(**stored["budget"]), stored["image_s"])
    rows = len(search.paths)
    owed = sum(one.budget.refit_s(rows, one.image_s) for one in before)
    left_s = search.clock.left() - owed
    fitting: list[Round] = []
    for option in sorted(options, key=lambda one: one.is_partial != (number == 0)):
        image_s = pace[option.is_partial] * option.cost
        kept = option.kept_pictures(search.device) if option.is_partial else None
        budget = time_budget.finetune_budget(rows, image_s, left_s, kept)
        if budget is not None:
            fitting.append(Round(option, budget, image_s))
    whole = [one for one in fitting if one.budget.is_whole(rows)]
    search.clock.is_short |= len(whole) < len(options)
    chosen = next(iter(whole), None) or min(fitting, key=lambda one: one.image_s, default=None)
    if chosen is not None:
        record = {"option": chosen.option.name, "budget": asdict(chosen.budget)}
        write_json(path, record | {"image_s": chosen.image_s, "max_seconds": search.config.max_seconds})
    return chosen
