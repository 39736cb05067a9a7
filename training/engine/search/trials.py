"""Fine-tuning under the clock: trials on held-out rows decide, then all rows train the model that ships.

First the last blocks of the most promising network, which is quick; then round by round a whole network,
or the last blocks of one where a whole one does not fit. Each is mixed with the best model so far. All models
are sums of linear heads, so a mixture is one again. The rounds end when one brings nothing or none fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.engine.backbones.classifier import Head, Member
from training.engine.backbones.features import extract_features
from training.engine.data.augment import Strength
from training.engine.search import augmentation_probe, finetune, linear_head
from training.engine.search.checkpoint import export_best
from training.engine.search.clock import FitStopped, RunClock
from training.engine.search.linear_probe import frozen_features, member_key, stratified_order
from training.engine.search.schedule import (
    FinetuneOption,
    Round,
    finetune_options,
    measure_step_costs,
    next_round,
)
from training.engine.search.scoring import Floats, Score, score_logits
from training.engine.search.state import Candidate, Search

MIXTURE_SHARES = (0.15, 0.3, 0.5, 0.7, 0.85)  # of the fine-tuned network in a mixture
MAX_ROUNDS = 4
MAX_OVERTIME = 1.6  # times the planned time, then a fine-tuning is given up
MIN_PROGRESS = 0.04  # of a run, after which its end can be foreseen


class SlowerThanPlanned(Exception):
    """The machine is far slower than it was when the fine-tuning was planned; it needs `image_s` now."""

    def __init__(self, image_s: float) -> None:
        super().__init__(image_s)
        self.image_s = image_s


@dataclass(slots=True)
class DeadlineGuard:
    """Gives a fine-tuning of so many `pictures` (epochs × rows) up where it cannot end by the `deadline`."""

    clock: RunClock
    deadline: float
    pictures: float
    # When the first step ended, and its share of the plan: fitting the head before it is no step.
    first: tuple[float, float] | None = None

    def tick(self, share: float) -> None:
        """Called after every step with the share of the plan that is done. Raises TooSlow, and Halt."""
        self.clock.tick(share)
        now = self.clock.elapsed()
        if self.first is None:
            self.first = (now, share)
            return
        whole_s = (now - self.first[0]) / (share - self.first[1])
        is_hopeless = share > MIN_PROGRESS and now + whole_s * (1 - share) > self.deadline
        if is_hopeless or now > self.deadline:
            raise SlowerThanPlanned(whole_s / self.pictures)


@dataclass(frozen=True, slots=True)
class Trial:
    """A fine-tuned network; its logits [N, C] hold for the `known` [N] rows, which it has not seen."""

    round: Round
    member: Member
    held_out: Floats
    known: NDArray[np.bool_]


def run_rounds(search: Search, singles: list[Candidate]) -> bool:
    """Fine-tune what the time allows; was that anything? Raises Halt, with the best kept in `search`."""
    search.clock.check()
    options = finetune_options(search, singles)
    if not options:
        return False
    strength = Strength(
        is_mirrored=augmentation_probe.tolerates_mirroring(search, singles[0]), is_rotated=search.is_rotated
    )
    pace = measure_step_costs(search, options)
    trials: list[Trial] = []
    for number in range(MAX_ROUNDS):
        before, planned = (
            search.best,
            next_round(search, options, [one.round for one in trials], pace, number),
        )
        if planned is None:
            search.clock.is_short |= bool(options)
            break
        option = planned.option
        try:
            trials.append(_run_trial(search, planned, strength))
        except SlowerThanPlanned as slow:
            search.clock.emit("note", "The machine is busier than before: planning anew.")
            pace[option.is_partial] = max(pace[option.is_partial], slow.image_s / option.cost)
            continue
        _consider_trial(search, trials[-1])
        export_best(search)
        options = [one for one in options if not _is_redundant(one, option)]
        if search.best is before and not option.is_partial:
            break
    _refit_on_all(search, trials, strength)
    if not trials:
        search.clock.emit("note", "No time for fine-tuning.")
    return bool(trials)


def _is_redundant(one: FinetuneOption, tuned: FinetuneOption) -> bool:
    """Would it bring nothing after that one? The same network in another size, or less of it."""
    return one.member.network is tuned.member.network and one.is_partial >= tuned.is_partial


def _run_trial(search: Search, planned: Round, strength: Strength) -> Trial:
    """Fine-tune without some folds in turn, each of which judges the network that has not seen it."""
    budget, rows = planned.budget, len(search.paths)
    held_out = np.zeros_like(search.targets)
    judged = list[NDArray[np.int64]]()
    folds = linear_head.make_folds(search.targets, budget.parts, search.config.seed, search.groups)
    seconds = budget.trial_s(rows, planned.image_s)
    search.clock.expect(seconds + budget.refit_s(rows, planned.image_s))
    deadline = search.clock.elapsed() + MAX_OVERTIME * seconds
    member: Member | None = None
    for fold in range(budget.folds):
        unseen, seen = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if budget.share < 1:
            order = stratified_order(search.targets[seen], search.config.seed)
            seen = np.sort(seen[order[: int(budget.share * len(seen))]])
            search.clock.emit("note", f"{planned.option.name} learn from {len(seen)} of {rows} images.")
        try:
            member = _finetune_once(search, planned, seen, strength, deadline, f"trial {fold + 1}")
        except (FitStopped, SlowerThanPlanned):
            if member is None:
                raise
            break
        held_out[unseen] = _logits(search, member, unseen)
        judged.append(unseen)
    assert member is not None
    return Trial(planned, member, held_out, search.judges([member], np.concatenate(judged)))


def _logits(search: Search, member: Member, rows: NDArray[np.int64]) -> Floats:
    features = extract_features(
        member, search.pixels, search.threads, search.device, search.clock.tick, rows.tolist()
    )
    logits: Floats = (features @ member.head.weight.T + member.head.bias).numpy()
    return logits


def _finetune_once(
    search: Search, planned: Round, rows: NDArray[np.int64], strength: Strength, deadline: float, name: str
) -> Member:
    """One fine-tuning, from the checkpoint where a killed run finished it."""
    member, budget = planned.member, planned.budget
    kind = "last" if budget.is_partial else "whole"
    length = f"{budget.epochs}x{len(rows)}"
    file = f"{kind}_{member_key(member)}_{name.replace(' ', '')}_{length}.pt"
    path = search.workdir / "checkpoint" / file
    if path.exists():
        return _load_member(path, member)
    plan = planned.option.plan(budget, strength)
    watch = DeadlineGuard(search.clock, deadline, budget.passes * len(rows))
    with search.clock.phase("fine-tuning", f"Fine-tuning {planned.option.name}: {name}"):
        tuned = finetune.fine_tune(
            replace(member, head=_initial_head(search, member, rows)),
            search.pixels,
            search.targets,
            rows,
            search.weights,
            plan,
            search.config.is_multi_label,
            search.config.seed,
            search.device,
            watch.tick,
        )
    _save_member(path, tuned)
    return tuned


def _initial_head(search: Search, member: Member, rows: NDArray[np.int64]) -> Head:
    """The linear head that a fine-tuning on these rows begins with; it has not seen the others."""
    seen = np.isin(search.head_rows, rows)
    known = search.head_rows[seen]
    return linear_head.fit_head(
        frozen_features(search, member)[seen],
        search.targets[known],
        augmentation_probe.START_STRENGTH,
        search.config.is_multi_label,
        search.weights[known],
        search.clock.tick,
    )


def _consider_trial(search: Search, trial: Trial) -> None:
    """Let the fine-tuned network, and its mixture with the best model so far, compete."""
    best, known = search.best, trial.known
    verdict = score_logits(trial.held_out[known], search.targets[known], search.config.is_multi_label)
    seconds = trial.round.budget.trial_s(len(search.paths), trial.round.image_s)
    ms = search.latency_ms([trial.member])
    recipe = "last blocks" if trial.round.option.is_partial else "fine-tuned"
    alone = Candidate((trial.member,), recipe, trial.held_out, known, verdict, ms, seconds)
    search.consider(alone)
    if best is not None:
        mixed = _mixture(search, alone, best)
        if mixed.inference_ms <= search.config.max_inference_ms:
            search.consider(mixed)


def _mixture(search: Search, tuned: Candidate, best: Candidate) -> Candidate:
    """Both models' logits, each at its own temperature, at the share that suits the held-out rows best."""
    known, is_multi = tuned.known & best.known, search.config.is_multi_label
    base = score_logits(best.held_out[known], search.targets[known], is_multi)

    def at(share: float) -> tuple[Score, Floats]:
        mine, theirs = share / tuned.verdict.temperature, (1 - share) / base.temperature
        logits: Floats = (mine * tuned.held_out + theirs * best.held_out).astype(np.float32)
        return score_logits(logits[known], search.targets[known], is_multi), logits

    share = min(MIXTURE_SHARES, key=lambda one: at(one)[0].loss)
    verdict, logits = at(share)
    members = (
        *(_scaled(one, share / tuned.verdict.temperature) for one in tuned.members),
        *(_scaled(one, (1 - share) / base.temperature) for one in best.members),
    )
    recipe = f"{tuned.recipe} + {best.recipe}"
    return Candidate(members, recipe, logits, known, verdict, search.latency_ms(members), tuned.seconds)


def _refit_on_all(search: Search, trials: list[Trial], strength: Strength) -> None:
    """The fine-tuned networks of the winner once more, on all rows."""
    for trial in trials:
        planned, rows = trial.round, len(search.paths)
        winner = search.best
        if winner is None or not planned.budget.is_refit or not _contains(winner, trial.member):
            continue
        seconds = planned.budget.refit_s(rows, planned.image_s)
        if seconds > search.clock.left():
            search.clock.is_short = True
            continue
        search.clock.expect(seconds)
        try:
            final = _finetune_once(search, planned, np.arange(rows), strength, float("inf"), "all images")
        except SlowerThanPlanned:
            continue
        search.refitted(_with_member_replaced(winner.members, trial.member, final))
        export_best(search)


def _contains(contender: Candidate, member: Member) -> bool:
    return any(one.state is member.state for one in contender.members)


def _with_member_replaced(members: tuple[Member, ...], old: Member, new: Member) -> tuple[Member, ...]:
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


def _save_member(path: Path, member: Member) -> None:
    unfinished = path.with_suffix(".part")
    torch.save({"state": member.state, "weight": member.head.weight, "bias": member.head.bias}, unfinished)
    unfinished.replace(path)


def _load_member(path: Path, like: Member) -> Member:
    stored = torch.load(path, map_location="cpu", weights_only=True)
    return replace(like, state=stored["state"], head=Head(stored["weight"], stored["bias"]))
