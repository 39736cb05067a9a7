"""Fine-tuning under the clock: a trial on held-out rows decides, then all rows train the model that ships.

The trial is also blended with the best frozen model. Both are sums of linear heads, so is the blend.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.engine import heads, planning, tuning
from training.engine.augmenting import Strength
from training.engine.catalogue import macs
from training.engine.features import extract
from training.engine.journal import Halt
from training.engine.judging import Table, Verdict, judge
from training.engine.networks import Head, Member
from training.engine.planning import TuningBudget
from training.engine.searching import Contender, Search, features_of, key

SHARES = (0.0, 0.15, 0.3, 0.5, 0.7, 0.85, 1.0)  # of the fine-tuned network in a blend
LEAST_STRENGTH = 1e-5  # a head to start from should be smooth
PATIENCE = 2.0  # times the time meant for fine-tuning, then it is given up
SAFETY = 1.25  # steps take longer than the measured one, and other work may come
PROBATION = 0.04  # of a run, after which its end can be foreseen


class TooSlow(Exception):
    """The machine is far slower than it was when the fine-tuning was planned; it needs `image_s` now."""

    def __init__(self, image_s: float) -> None:
        super().__init__(image_s)
        self.image_s = image_s


def refine(search: Search, singles: list[Contender], network_ms: dict[str, float]) -> None:
    """Fine-tune the best single network that the time allows. Raises Halt, with the best kept in `search`."""
    journal = search.journal
    journal.check()
    chosen = _choose(search, singles)
    while chosen is not None:
        start, budget = chosen
        seconds = planning.tuning_seconds(journal.left(), search.config.max_seconds)
        journal.expect(seconds)
        try:
            _tune_and_judge(search, start, budget, network_ms, journal.elapsed() + PATIENCE * seconds)
            return
        except TooSlow as slow:
            journal.tell("note", f"The machine is too busy to fine-tune {start.name}.")
            singles = [one for one in singles if _cost(one) < 0.7 * _cost(start)]
            chosen = _plan(search, singles, slow.image_s / _cost(start)) if singles else None
    journal.is_short = True
    journal.tell("note", "No time for fine-tuning: the best model so far stays.")


def _tune_and_judge(
    search: Search, start: Contender, budget: TuningBudget, network_ms: dict[str, float], deadline: float
) -> None:
    is_mirrored = _keeps_meaning_mirrored(search, start)
    held_out, known, trial = _trial(search, start, budget, is_mirrored, deadline)
    frozen = search.best
    seconds = search.journal.seconds_by_phase.get("fine-tuning", 0)
    _offer(search, start, trial, held_out, known, frozen, network_ms, seconds)
    winner = search.best
    if not budget.is_refit or winner is None or winner is frozen:
        return
    final = _run(search, start, np.arange(len(search.paths)), budget.epochs, is_mirrored, deadline, "all")
    search.refitted(_replaced(winner.members, trial, final))


def _choose(search: Search, singles: list[Contender]) -> tuple[Contender, TuningBudget] | None:
    """Time one step of the cheapest network, and plan with it."""
    cheapest = min(singles, key=_cost)
    batch = 16
    step_s = tuning.seconds_per_step(
        cheapest.members[0], search.side, batch, search.device, search.journal.tick
    )
    return _plan(search, singles, step_s / batch / _cost(cheapest))


def _plan(
    search: Search, singles: list[Contender], seconds_per_cost: float
) -> tuple[Contender, TuningBudget] | None:
    """The network with the best head among those whose whole fine-tuning fits; else the cheapest."""
    fitting = []
    for one in sorted(singles, key=lambda contender: contender.verdict.loss):
        image_s = SAFETY * seconds_per_cost * _cost(one)
        left, limit = search.journal.left(), search.config.max_seconds
        budget = planning.tuning_budget(len(search.paths), image_s, left, limit)
        if budget is not None:
            fitting.append((one, budget))
    wanted = planning.wanted_epochs(len(search.paths))
    whole = [(one, budget) for one, budget in fitting if budget.is_refit and budget.epochs == wanted]
    search.journal.is_short |= not whole
    return next(iter(whole or fitting[::-1]), None)


def _cost(contender: Contender) -> float:
    member = contender.members[0]
    return macs(member.network, member.resolution)


def _trial(
    search: Search, start: Contender, budget: TuningBudget, is_mirrored: bool, deadline: float
) -> tuple[Table, NDArray[np.bool_], Member]:
    """Fine-tune without some folds in turn: logits of the rows left out, where they are known, a member."""
    held_out = np.zeros_like(search.targets)
    known = np.zeros(len(search.paths), dtype=np.bool_)
    member = start.members[0]
    for fold in range(budget.folds):
        unseen = np.flatnonzero(search.folds == fold)
        seen = np.setdiff1d(np.arange(len(search.paths)), unseen)
        try:
            member = _run(search, start, seen, budget.epochs, is_mirrored, deadline, f"trial {fold + 1}")
        except (Halt, TooSlow):
            if known.any():
                break
            raise
        features = extract(
            member, search.pixels, search.threads, search.device, search.journal.tick, unseen.tolist()
        )
        held_out[unseen] = (features @ member.head.weight.T + member.head.bias).numpy()
        known[unseen] = True
    return held_out, known, member


def _keeps_meaning_mirrored(search: Search, start: Contender) -> bool:
    """Do mirrored pictures help a head? They do not where left and right matter, as in letters."""
    member, journal = start.members[0], search.journal
    mirrored = extract(member, search.pixels[:, :, ::-1], search.threads, search.device, journal.tick)
    fit = heads.cross_validate(
        torch.stack([features_of(search, member), mirrored]),
        search.targets,
        search.folds,
        search.config.is_multi_label,
        search.weights,
        journal.tick,
    )
    return fit.verdict.loss < 1.02 * start.verdict.loss


def _run(
    search: Search,
    start: Contender,
    rows: NDArray[np.int64],
    epochs: int,
    is_mirrored: bool,
    deadline: float,
    name: str,
) -> Member:
    """One fine-tuning, from the checkpoint where a killed run finished it."""
    member = start.members[0]
    path = search.workdir / "checkpoint" / f"tuned_{key(member)}_{name.replace(' ', '')}_{epochs}.pt"
    if path.exists():
        return _load(path, member)
    head = _first_head(search, start, rows)
    plan = tuning.TuningPlan(epochs=epochs, strength=Strength(is_mirrored=is_mirrored))
    message = f"Fine-tuning {start.name}: {name}"

    began = search.journal.elapsed()

    def tick(share: float) -> None:
        search.journal.tick(share)
        took = search.journal.elapsed() - began
        is_hopeless = share > PROBATION and began + took / share > deadline
        if is_hopeless or search.journal.elapsed() > deadline:
            raise TooSlow(took / (share * epochs * len(rows)))

    with search.journal.phase("fine-tuning", message):
        tuned = tuning.tune(
            replace(member, head=head),
            search.pixels,
            search.targets,
            rows,
            search.weights,
            plan,
            search.config.is_multi_label,
            search.config.seed,
            search.device,
            tick,
        )
    _save(path, tuned)
    return tuned


def _first_head(search: Search, start: Contender, rows: NDArray[np.int64]) -> Head:
    """The linear head that a fine-tuning on these rows begins with; it has not seen the others."""
    return heads.fit_head(
        features_of(search, start.members[0])[rows],
        search.targets[rows],
        max(start.strength, LEAST_STRENGTH),
        search.config.is_multi_label,
        search.weights[rows],
        search.journal.tick,
    )


def _offer(
    search: Search,
    start: Contender,
    tuned: Member,
    held_out: Table,
    known: NDArray[np.bool_],
    frozen: Contender | None,
    network_ms: dict[str, float],
    seconds: float,
) -> None:
    """Let the fine-tuned network, and its blend with the best frozen model, compete."""
    is_multi = search.config.is_multi_label
    network_ms[key(tuned)] = network_ms.get(key(start.members[0]), 0)
    verdict = judge(held_out[known], search.targets[known], is_multi)
    ms = search.latency_ms([tuned], network_ms)
    alone = Contender((tuned,), "fine-tuned", held_out, known, verdict, ms, seconds)
    search.consider(alone)
    if frozen is None:
        return
    blend = _blend(search, alone, frozen, is_multi, network_ms)
    if blend is not None and blend.inference_ms <= search.config.max_inference_ms:
        search.consider(blend)


def _blend(
    search: Search, tuned: Contender, frozen: Contender, is_multi: bool, network_ms: dict[str, float]
) -> Contender | None:
    """Both models' logits, each at its own temperature, at the share that suits the held-out rows best."""
    known = tuned.known & frozen.known
    base = judge(frozen.held_out[known], search.targets[known], is_multi)
    best: tuple[Verdict, float, Table] | None = None
    for share in SHARES[1:-1]:
        mixed = (
            share * tuned.held_out / tuned.verdict.temperature
            + (1 - share) * frozen.held_out / base.temperature
        )
        verdict = judge(mixed[known], search.targets[known], is_multi)
        if best is None or verdict.loss < best[0].loss:
            best = (verdict, share, mixed)
    if best is None:
        return None
    verdict, share, mixed = best
    members = (
        *(_scaled(one, share / tuned.verdict.temperature) for one in tuned.members),
        *(_scaled(one, (1 - share) / base.temperature) for one in frozen.members),
    )
    ms = search.latency_ms(members, network_ms)
    return Contender(members, "fine-tuned + linear head", mixed, known, verdict, ms, tuned.seconds)


def _replaced(members: tuple[Member, ...], old: Member, new: Member) -> tuple[Member, ...]:
    """The same model with another fine-tuned network; its share of the logits stays."""
    changed = []
    for one in members:
        if one.state is old.state:
            share = float(one.head.weight.norm() / old.head.weight.norm())
            one = _scaled(new, share)
        changed.append(one)
    return tuple(changed)


def _scaled(member: Member, factor: float) -> Member:
    return replace(member, head=member.head.scaled(factor))


def _save(path: Path, member: Member) -> None:
    unfinished = path.with_suffix(".part")
    torch.save({"state": member.state, "weight": member.head.weight, "bias": member.head.bias}, unfinished)
    unfinished.replace(path)


def _load(path: Path, like: Member) -> Member:
    stored = torch.load(path, map_location="cpu", weights_only=True)
    return replace(like, state=stored["state"], head=Head(stored["weight"], stored["bias"]))
