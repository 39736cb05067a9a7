"""Fine-tuning under the clock: trials on held-out rows decide, then the winner is trained on all rows.

First come the last blocks of the most promising network, which are fast; then, round by round, a whole
network, or the last blocks of one where a whole one does not fit. Each is also mixed with the best model so
far: all models are sums of linear heads, so a mixture is one again. The rounds end when one brings nothing or
none fits.
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
from training.engine.evaluation.scoring import Floats, Score, score_logits
from training.engine.search import augmentation_probe, finetune, linear_head
from training.engine.search.checkpoint import export_best
from training.engine.search.linear_probe import frozen_features, member_key, stratified_order
from training.engine.search.prepare import trial_folds
from training.engine.search.schedule import (
    FinetuneOption,
    Round,
    StepCosts,
    finetune_options,
    measure_step_costs,
    next_round,
    share_cause,
)
from training.engine.search.state import FittedCandidate, LeftOut, SearchState, left_out_rows
from training.engine.search.time_limit import FitStopped, RunClock

MIXTURE_SHARES = (0.15, 0.3, 0.5, 0.7, 0.85)  # of the fine-tuned network in a mixture
MAX_ROUNDS = 4
MAX_OVERTIME = 1.6  # times the planned time, after which a fine-tuning is given up
MIN_PROGRESS = 0.04  # share of a fine-tuning after which its end can be estimated


class SlowerThanPlanned(Exception):
    """The machine is far slower than planned: one image now takes `image_s` seconds."""

    def __init__(self, image_s: float) -> None:
        super().__init__(image_s)
        self.image_s = image_s


@dataclass(slots=True)
class DeadlineGuard:
    """Gives up a fine-tuning that cannot end by the `deadline`, in seconds of the clock.

    `images` is its length: epochs times rows.
    """

    clock: RunClock
    deadline: float
    images: float
    # When the first step ended, and its share of the plan: fitting the head before it is no step.
    first: tuple[float, float] | None = None

    def tick(self, share: float) -> None:
        """To be called after every step with the share of the plan that is done.

        Raises SlowerThanPlanned, and FitStopped when the user or the clock ends the fit.
        """
        self.clock.tick(share)
        now = self.clock.elapsed()
        if self.first is None:
            self.first = (now, share)
            return
        whole_s = (now - self.first[0]) / (share - self.first[1])
        is_hopeless = share > MIN_PROGRESS and now + whole_s * (1 - share) > self.deadline
        if is_hopeless or now > self.deadline:
            raise SlowerThanPlanned(whole_s / self.images)


@dataclass(frozen=True, slots=True)
class Trial:
    """A fine-tuned network; its logits [N, C] are valid for the `is_held_out` [N] rows, not trained on.

    `left_out`: all rows that the network was not trained on, and why. `first` is the network of the first
    fold, which holds out the rows that score every candidate; of one fold it is `member`.
    """

    round: Round
    member: Member
    first: Member
    held_out: Floats
    is_held_out: NDArray[np.bool_]
    left_out: LeftOut


@dataclass(frozen=True, slots=True)
class Rounds:
    """The trials of a search, what a step of training costs, and how images are augmented.

    `head` was the best candidate before the first round; it is the part of a mixture that is not fine-tuned.
    """

    trials: list[Trial]
    costs: StepCosts
    strength: Strength
    head: FittedCandidate | None

    def refit_s(self, search: SearchState) -> float:
        """Seconds to train the fine-tuned networks of the best candidate on all rows."""
        rows = len(search.data.paths)
        return sum(
            trial.round.budget.refit_s(rows, trial.round.image_s)
            for trial in self.trials
            if search.best and is_part(trial.member, search.best)
        )


def run_rounds(search: SearchState, singles: list[FittedCandidate]) -> Rounds | None:
    """Fine-tune what the time allows; None where nothing was fine-tuned. `refit_on_all` is to follow.

    Raises FitStopped when the user or the clock ends the fit; the best candidate is then in `search`.
    """
    clock = search.run.clock
    clock.check()
    options = finetune_options(search, singles)
    if not options:
        return None
    is_mirrored = augmentation_probe.tolerates_mirroring(search, singles[0])
    strength = Strength(is_mirrored=is_mirrored, is_rotated=search.is_rotated)
    rounds = Rounds([], measure_step_costs(search, options), strength, search.best)
    trials, costs = rounds.trials, rounds.costs
    for number in range(MAX_ROUNDS):
        before = search.best
        planned = next_round(search, options, [trial.round for trial in trials], costs, number)
        if planned is None:
            clock.is_short |= bool(options)
            break
        tried = planned.option
        try:
            trials.append(_run_trial(search, planned, strength))
        except SlowerThanPlanned as slow:
            clock.emit("note", "The machine is busier than before: planning again.")
            costs[tried.kind] = max(costs[tried.kind], slow.image_s / tried.cost)
            continue
        _consider_trial(search, trials[-1])
        export_best(search)
        options = [option for option in options if not _is_redundant(option, tried)]
        if search.best is before and not tried.is_partial:
            break
    if not trials:
        clock.emit("note", "No time for fine-tuning.")
    return rounds if trials else None


def _is_redundant(option: FinetuneOption, tried: FinetuneOption) -> bool:
    """Whether the option cannot add anything: the same network in another size, or fewer of its blocks."""
    return option.member.network is tried.member.network and option.is_partial >= tried.is_partial


def _run_trial(search: SearchState, planned: Round, strength: Strength) -> Trial:
    """Fine-tune once per fold without its rows, then predict these rows, which the network has not seen.

    Where a later fold is stopped, the folds so far are the trial.
    """
    data, budget, clock, seed = search.data, planned.budget, search.run.clock, search.run.config.seed
    rows = len(data.paths)
    folds = trial_folds(data.targets, seed, data.groups)
    seconds = budget.trial_s(rows, planned.image_s)
    clock.expect(seconds + budget.refit_s(rows, planned.image_s))
    deadline = clock.elapsed() + MAX_OVERTIME * seconds
    held_out, scored = np.zeros_like(data.targets), list[NDArray[np.int64]]()
    members: list[Member] = []
    for fold in range(budget.folds):
        is_unseen = folds == fold
        seen = _trial_rows(search, planned, is_unseen)
        try:
            member = _finetune_once(search, planned, seen, strength, deadline, f"trial {fold + 1}")
        except (FitStopped, SlowerThanPlanned):
            if not members:
                raise
            break
        members.append(member)
        unseen = np.flatnonzero(is_unseen)
        held_out[unseen] = logits_of(search, member, unseen)
        scored.append(unseen)
        left_out = _trial_left_out(search, planned, is_unseen, seen)
    is_scored = data.may_score(members, np.concatenate(scored))
    return Trial(planned, members[-1], members[0], held_out, is_scored, left_out)


def _trial_rows(search: SearchState, planned: Round, is_unseen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The rows that a trial is trained on: those that it does not hold out, or a share of them."""
    data, share = search.data, planned.budget.share
    seen = np.flatnonzero(~is_unseen)
    if share == 1:
        return seen
    order = stratified_order(data.targets[seen], search.run.config.seed)
    seen = np.sort(seen[order[: int(share * len(seen))]])
    search.run.clock.emit(
        "note", f"{planned.option.name}: trained on {len(seen):,} of {len(is_unseen):,} images."
    )
    return seen


def _trial_left_out(
    search: SearchState, planned: Round, is_unseen: NDArray[np.bool_], seen: NDArray[np.int64]
) -> LeftOut:
    rows = len(is_unseen)
    cause = share_cause(planned.option, planned.budget, rows, search.run.device)
    others = left_out_rows(rows, seen, cause)
    held_out: LeftOut = np.where(is_unseen, left_out_rows(rows, seen, "held out"), others)
    return held_out


def logits_of(search: SearchState, member: Member, rows: NDArray[np.int64]) -> Floats:
    """[R, C] the member's logits of rows of the training images."""
    run = search.run
    features = extract_features(
        member, search.data.pixels, run.threads, run.device, run.clock.tick, rows.tolist()
    )
    logits: Floats = (features @ member.head.weight.T + member.head.bias).numpy()
    return logits


def _finetune_once(
    search: SearchState,
    planned: Round,
    rows: NDArray[np.int64],
    strength: Strength,
    deadline: float,
    name: str,
) -> Member:
    """Fine-tune on the rows, or read the result from the checkpoint where a killed run finished it."""
    member, budget, run, data = planned.member, planned.budget, search.run, search.data
    kind = "last" if budget.is_partial else "whole"
    length = f"{budget.epochs}x{len(rows)}"
    file = f"{kind}_{member_key(member)}_{name.replace(' ', '')}_{length}.pt"
    path = run.workdir / "checkpoint" / file
    if path.exists():
        return load_member(path, member)
    guard = DeadlineGuard(run.clock, deadline, budget.passes * len(rows))
    with run.clock.phase("fine-tuning", f"Fine-tuning {planned.option.name}: {name}"):
        job = finetune.FinetuneJob(
            member=replace(member, head=_initial_head(search, member, rows)),
            plan=planned.option.plan(budget, strength),
            pixels=data.pixels,
            targets=data.targets,
            row_weights=data.weights,
            rows=rows,
            is_multi_label=run.config.is_multi_label,
            seed=run.config.seed,
            device=run.device,
        )
        tuned = finetune.fine_tune(job, guard.tick)
    save_member(path, tuned)
    return tuned


def _initial_head(search: SearchState, member: Member, rows: NDArray[np.int64]) -> Head:
    """The linear head that a fine-tuning on these rows starts from; it is fitted on no other rows."""
    is_seen = np.isin(search.head_rows, rows)
    seen = search.head_rows[is_seen]
    return linear_head.fit_head(
        frozen_features(search, member)[is_seen],
        search.data.targets[seen],
        augmentation_probe.START_STRENGTH,
        search.run.config.is_multi_label,
        search.data.weights[seen],
        search.run.clock.tick,
    )


def _consider_trial(search: SearchState, trial: Trial) -> None:
    """Add the fine-tuned network, and its mixture with the best model so far, to the candidates."""
    best, rows, config = search.best, trial.is_held_out, search.run.config
    search.run.clock.emit("note", trial.round.text)
    score = score_logits(trial.held_out[rows], search.data.targets[rows], config.is_multi_label)
    seconds = trial.round.budget.trial_s(len(search.data.paths), trial.round.image_s)
    ms = search.latency_ms([trial.member])
    recipe = "last blocks" if trial.round.option.is_partial else "fine-tuned"
    left_out = (trial.left_out,)
    alone = FittedCandidate((trial.member,), recipe, trial.held_out, rows, score, ms, seconds, left_out)
    search.add(alone)
    if best is not None:
        mixed = _mixture(search, alone, best)
        if mixed.inference_ms <= config.max_inference_ms:
            search.add(mixed)


def _mixture(search: SearchState, tuned: FittedCandidate, best: FittedCandidate) -> FittedCandidate:
    """The weighted sum of both models' logits, each at its own temperature.

    Of MIXTURE_SHARES the one with the lowest loss on the rows that both held out is used.
    """
    rows, is_multi_label = tuned.is_held_out & best.is_held_out, search.run.config.is_multi_label
    targets = search.data.targets[rows]
    tuned_temperature = tuned.score.temperature
    best_temperature = score_logits(best.held_out[rows], targets, is_multi_label).temperature

    def mixed_at(share: float) -> tuple[Score, Floats]:
        tuned_factor, best_factor = share / tuned_temperature, (1 - share) / best_temperature
        logits: Floats = (tuned_factor * tuned.held_out + best_factor * best.held_out).astype(np.float32)
        return score_logits(logits[rows], targets, is_multi_label), logits

    share = min(MIXTURE_SHARES, key=lambda share: mixed_at(share)[0].loss)
    score, logits = mixed_at(share)
    members = (
        *(_scaled(member, share / tuned_temperature) for member in tuned.members),
        *(_scaled(member, (1 - share) / best_temperature) for member in best.members),
    )
    recipe = f"{tuned.recipe} + {best.recipe}"
    ms, left_out = search.latency_ms(members), (*tuned.left_out, *best.left_out)
    return FittedCandidate(members, recipe, logits, rows, score, ms, tuned.seconds, left_out)


def refit_on_all(search: SearchState, rounds: Rounds) -> None:
    """Train the fine-tuned networks of the best candidate again, on all rows, as far as there is time."""
    rows, clock, strength = len(search.data.paths), search.run.clock, rounds.strength
    for trial in rounds.trials:
        planned, winner = trial.round, search.best
        if winner is None or not planned.budget.is_refit or not is_part(trial.member, winner):
            continue
        seconds = planned.budget.refit_s(rows, planned.image_s)
        if seconds > clock.left():
            clock.is_short = True
            clock.emit("note", f"{planned.option.name}: no time to train on the held-out images as well.")
            continue
        clock.expect(seconds)
        try:
            final = _finetune_once(search, planned, np.arange(rows), strength, float("inf"), "all images")
        except SlowerThanPlanned:
            continue
        left_out = [
            left_out_rows(rows, np.arange(rows), "held out") if member.state is trial.member.state else part
            for member, part in zip(winner.members, winner.left_out, strict=True)
        ]
        members = _with_member_replaced(winner.members, trial.member, final)
        search.replace_best(members, tuple(left_out))
        export_best(search)


def is_part(member: Member, candidate: FittedCandidate) -> bool:
    """Whether the candidate is, or mixes, this network with these weights."""
    return any(other.state is member.state for other in candidate.members)


def _with_member_replaced(members: tuple[Member, ...], old: Member, new: Member) -> tuple[Member, ...]:
    """The same model with another fine-tuned network; its share of the logits stays."""
    replaced = []
    for member in members:
        if member.state is old.state:
            member = _scaled(new, share_of(member, old))
        replaced.append(member)
    return tuple(replaced)


def share_of(part: Member, whole: Member) -> float:
    """The factor by which the head of a part of a mixture was scaled."""
    return float(part.head.weight.norm() / whole.head.weight.norm())


def _scaled(member: Member, factor: float) -> Member:
    return replace(member, head=member.head.scaled(factor))


def save_member(path: Path, member: Member) -> None:
    """Write the weights that fine-tuning changed; a reader sees all of them or none."""
    unfinished = path.with_suffix(".part")
    torch.save({"state": member.state, "weight": member.head.weight, "bias": member.head.bias}, unfinished)
    unfinished.replace(path)


def load_member(path: Path, like: Member) -> Member:
    """The member with the weights that `save_member` wrote."""
    stored = torch.load(path, map_location="cpu", weights_only=True)
    return replace(like, state=stored["state"], head=Head(stored["weight"], stored["bias"]))
