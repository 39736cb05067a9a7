"""The rounds of fine-tuning: what could be fine-tuned, what the time allows, and which comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch

from training.engine import planning
from training.engine.augmenting import Strength
from training.engine.catalogue import macs
from training.engine.journal import read_json, write_json
from training.engine.networks import Head, Member
from training.engine.planning import TuningBudget
from training.engine.searching import Contender, Search
from training.engine.tuning import TuningPlan, kept_bytes, last_blocks, seconds_per_step

MOST_KEPT = 2 << 30  # bytes of kept maps, on which last blocks are trained
SAFETY = 1.15  # steps take longer than the measured one, and other work may come
MORE_TIME = 1.3  # times the limit of a run before, its plans are made anew
Pace = dict[bool, float]  # for last blocks (True) and whole networks


@dataclass(frozen=True, slots=True)
class Option:
    """What can be fine-tuned: a whole network or its last blocks, these in steps of `batch` pictures."""

    member: Member
    is_partial: bool
    batch: int

    @property
    def name(self) -> str:
        whole = f"{self.member.network.name} at {self.member.resolution}"
        return f"last blocks of {whole}" if self.is_partial else whole

    @property
    def cost(self) -> float:
        """Operations that the time of a training step grows with."""
        return macs(self.member.network, self.member.resolution)

    def plan(self, budget: TuningBudget | None = None, strength: Strength | None = None) -> TuningPlan:
        """The recipe in that length; without one, a single epoch."""
        epochs, views = (budget.epochs, budget.views) if budget else (1, 1)
        if self.is_partial:
            frozen = self.member.network.frozen_stages
            return last_blocks(epochs, views, strength or Strength(), self.batch, frozen)
        return TuningPlan(epochs, strength=strength or Strength())


@dataclass(frozen=True, slots=True)
class Round:
    """What one round fine-tunes, and for how long."""

    option: Option
    budget: TuningBudget
    image_s: float

    @property
    def member(self) -> Member:
        return self.option.member


def options_of(search: Search, singles: list[Contender]) -> list[Option]:
    """Networks in the order of their frozen worth, at the size that is fine-tuned; whole and last blocks."""
    best: dict[str, Member] = {}
    for one in sorted(singles, key=lambda contender: contender.verdict.loss):
        member = one.members[0]
        size = planning.tuning_resolution(member.network.resolution, search.side)
        head = Head(torch.zeros(len(search.labels), member.network.features), torch.zeros(len(search.labels)))
        plain = replace(member, resolution=size, head=head, is_deep=False)
        if search.latency_ms([plain]) <= search.config.max_inference_ms:
            best.setdefault(one.name, plain)
    batch = planning.partial_batch(len(search.paths))
    return [Option(member, is_partial, batch) for is_partial in (False, True) for member in best.values()]


def pace_of(search: Search, options: Sequence[Option]) -> Pace:
    """Seconds per multiply-add and picture of a training step, timed on the cheapest network of each kind."""
    pace: Pace = {}
    for kind in sorted({one.is_partial for one in options}):
        cheapest = min((one for one in options if one.is_partial == kind), key=lambda one: one.cost)
        plan = cheapest.plan()
        step_s = seconds_per_step(cheapest.member, search.side, plan, search.device, search.journal.tick)
        pace[kind] = SAFETY * step_s / plan.batch / cheapest.cost
    return pace


def next_round(
    search: Search, options: Sequence[Option], before: Sequence[Round], pace: Pace, number: int
) -> Round | None:
    """The plan of a round: that of a killed run, unless there is much more time now; or the first that fits
    in its wanted length, last blocks first in the first round only; else the cheapest with what fits."""
    path = search.workdir / "checkpoint" / f"round_{number}.json"
    stored = read_json(path)
    is_binding = stored and search.config.max_seconds < MORE_TIME * stored["max_seconds"]
    for option in options if is_binding else ():
        if stored["option"] == option.name:
            return Round(option, TuningBudget(**stored["budget"]), stored["image_s"])
    owed = sum(one.budget.refit_s(len(search.paths), one.image_s) for one in before)
    fitting: list[Round] = []
    for option in sorted(options, key=lambda one: one.is_partial != (number == 0)):
        image_s = pace[option.is_partial] * option.cost
        left_s = search.journal.left() - owed
        kept = (
            MOST_KEPT // kept_bytes(option.member, option.plan(), search.device)
            if option.is_partial
            else None
        )
        budget = planning.tuning_budget(len(search.paths), image_s, left_s, kept)
        if budget is not None:
            fitting.append(Round(option, budget, image_s))
    whole = [one for one in fitting if one.budget.is_whole(len(search.paths))]
    search.journal.is_short |= len(whole) < len(options)
    chosen = next(iter(whole), None) or min(fitting, key=lambda one: one.image_s, default=None)
    if chosen is not None:
        record = {"option": chosen.option.name, "budget": asdict(chosen.budget)}
        write_json(path, record | {"image_s": chosen.image_s, "max_seconds": search.config.max_seconds})
    return chosen
