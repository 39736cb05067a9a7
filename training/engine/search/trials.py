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
from training.engine.backbones.features import extract
from training.engine.data.augment import Strength
from training.engine.search import augmentation_probe, finetune, linear_head
from training.engine.search.checkpoint import ship_best
from training.engine.search.clock import Halt, Journal
from training.engine.search.linear_probe import features_of, key, stratified_order
from training.engine.search.schedule import Option, Round, next_round, options_of, pace_of
from training.engine.search.scoring import Table, Verdict, judge
from training.engine.search.state import Contender, Search

SHARES = (0.15, 0.3, 0.5, 0.7, 0.85)  # of the fine-tuned network in a mixture
MOST_ROUNDS = 4
PATIENCE = 1.6  # times the planned time, then a fine-tuning is given up
PROBATION = 0.04  # of a run, after which its end can be foreseen


class TooSlow(Exception):
    """The machine is far slower than it was when the fine-tuning was planned; it needs `image_s` now."""

    def __init__(self, image_s: float) -> None:
        super().__init__(image_s)
        self.image_s = image_s


@dataclass(slots=True)
class Watch:
    """Gives a fine-tuning of so many `pictures` (epochs × rows) up where it cannot end by the `deadline`."""

    journal: Journal
    deadline: float
    pictures: float
    # When the first step ended, and its share of the plan: fitting the head before it is no step.
    first: tuple[float, float] | None = None

    def tick(self, share: float) -> None:
        """Called after every step with the share of the plan that is done. Raises TooSlow, and Halt."""
        self.journal.tick(share)
        now = self.journal.elapsed()
        if self.first is None:
            self.first = (now, share)
            return
        whole_s = (now - self.first[0]) / (share - self.first[1])
        is_hopeless = share > PROBATION and now + whole_s * (1 - share) > self.deadline
        if is_hopeless or now > self.deadline:
            raise TooSlow(whole_s / self.pictures)


@dataclass(frozen=True, slots=True)
class Trial:
    """A fine-tuned network; its logits [N, C] hold for the `known` [N] rows, which it has not seen."""

    round: Round
    member: Member
    held_out: Table
    known: NDArray[np.bool_]


def refine(search: Search, singles: list[Contender]) -> bool:
    """Fine-tune what the time allows; was that anything? Raises Halt, with the best kept in `search`."""
    search.journal.check()
    options = options_of(search, singles)
    if not options:
        return False
    strength = Strength(
        is_mirrored=augmentation_probe.bears_mirrors(search, singles[0]), is_turned=search.is_turned
    )
    pace = pace_of(search, options)
    trials: list[Trial] = []
    for number in range(MOST_ROUNDS):
        before, planned = (
            search.best,
            next_round(search, options, [one.round for one in trials], pace, number),
        )
        if planned is None:
            search.journal.is_short |= bool(options)
            break
        option = planned.option
        try:
            trials.append(_trial(search, planned, strength))
        except TooSlow as slow:
            search.journal.tell("note", "The machine is busier than before: planning anew.")
            pace[option.is_partial] = max(pace[option.is_partial], slow.image_s / option.cost)
            continue
        _offer(search, trials[-1])
        ship_best(search)
        options = [one for one in options if not _is_done(one, option)]
        if search.best is before and not option.is_partial:
            break
    _train_on_all(search, trials, strength)
    if not trials:
        search.journal.tell("note", "No time for fine-tuning.")
    return bool(trials)


def _is_done(one: Option, tuned: Option) -> bool:
    """Would it bring nothing after that one? The same network in another size, or less of it."""
    return one.member.network is tuned.member.network and one.is_partial >= tuned.is_partial


def _trial(search: Search, planned: Round, strength: Strength) -> Trial:
    """Fine-tune without some folds in turn, each of which judges the network that has not seen it."""
    budget, rows = planned.budget, len(search.paths)
    held_out = np.zeros_like(search.targets)
    judged = list[NDArray[np.int64]]()
    folds = linear_head.make_folds(search.targets, budget.parts, search.config.seed, search.groups)
    seconds = budget.trial_s(rows, planned.image_s)
    search.journal.expect(seconds + budget.refit_s(rows, planned.image_s))
    deadline = search.journal.elapsed() + PATIENCE * seconds
    member: Member | None = None
    for fold in range(budget.folds):
        unseen, seen = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if budget.share < 1:
            order = stratified_order(search.targets[seen], search.config.seed)
            seen = np.sort(seen[order[: int(budget.share * len(seen))]])
            search.journal.tell("note", f"{planned.option.name} learn from {len(seen)} of {rows} images.")
        try:
            member = _run(search, planned, seen, strength, deadline, f"trial {fold + 1}")
        except (Halt, TooSlow):
            if member is None:
                raise
            break
        held_out[unseen] = _logits(search, member, unseen)
        judged.append(unseen)
    assert member is not None
    return Trial(planned, member, held_out, search.judges([member], np.concatenate(judged)))


def _logits(search: Search, member: Member, rows: NDArray[np.int64]) -> Table:
    features = extract(
        member, search.pixels, search.threads, search.device, search.journal.tick, rows.tolist()
    )
    logits: Table = (features @ member.head.weight.T + member.head.bias).numpy()
    return logits


def _run(
    search: Search, planned: Round, rows: NDArray[np.int64], strength: Strength, deadline: float, name: str
) -> Member:
    """One fine-tuning, from the checkpoint where a killed run finished it."""
    member, budget = planned.member, planned.budget
    kind = "last" if budget.is_partial else "whole"
    length = f"{budget.epochs}x{len(rows)}"
    file = f"{kind}_{key(member)}_{name.replace(' ', '')}_{length}.pt"
    path = search.workdir / "checkpoint" / file
    if path.exists():
        return _load(path, member)
    plan = planned.option.plan(budget, strength)
    watch = Watch(search.journal, deadline, budget.passes * len(rows))
    with search.journal.phase("fine-tuning", f"Fine-tuning {planned.option.name}: {name}"):
        tuned = finetune.tune(
            replace(member, head=_first_head(search, member, rows)),
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
    _save(path, tuned)
    return tuned


def _first_head(search: Search, member: Member, rows: NDArray[np.int64]) -> Head:
    """The linear head that a fine-tuning on these rows begins with; it has not seen the others."""
    seen = np.isin(search.head_rows, rows)
    known = search.head_rows[seen]
    return linear_head.fit_head(
        features_of(search, member)[seen],
        search.targets[known],
        augmentation_probe.START_STRENGTH,
        search.config.is_multi_label,
        search.weights[known],
        search.journal.tick,
    )


def _offer(search: Search, trial: Trial) -> None:
    """Let the fine-tuned network, and its mixture with the best model so far, compete."""
    best, known = search.best, trial.known
    verdict = judge(trial.held_out[known], search.targets[known], search.config.is_multi_label)
    seconds = trial.round.budget.trial_s(len(search.paths), trial.round.image_s)
    ms = search.latency_ms([trial.member])
    recipe = "last blocks" if trial.round.option.is_partial else "fine-tuned"
    alone = Contender((trial.member,), recipe, trial.held_out, known, verdict, ms, seconds)
    search.consider(alone)
    if best is not None:
        mixed = _mixed(search, alone, best)
        if mixed.inference_ms <= search.config.max_inference_ms:
            search.consider(mixed)


def _mixed(search: Search, tuned: Contender, best: Contender) -> Contender:
    """Both models' logits, each at its own temperature, at the share that suits the held-out rows best."""
    known, is_multi = tuned.known & best.known, search.config.is_multi_label
    base = judge(best.held_out[known], search.targets[known], is_multi)

    def at(share: float) -> tuple[Verdict, Table]:
        mine, theirs = share / tuned.verdict.temperature, (1 - share) / base.temperature
        logits: Table = (mine * tuned.held_out + theirs * best.held_out).astype(np.float32)
        return judge(logits[known], search.targets[known], is_multi), logits

    share = min(SHARES, key=lambda one: at(one)[0].loss)
    verdict, logits = at(share)
    members = (
        *(_scaled(one, share / tuned.verdict.temperature) for one in tuned.members),
        *(_scaled(one, (1 - share) / base.temperature) for one in best.members),
    )
    recipe = f"{tuned.recipe} + {best.recipe}"
    return Contender(members, recipe, logits, known, verdict, search.latency_ms(members), tuned.seconds)


def _train_on_all(search: Search, trials: list[Trial], strength: Strength) -> None:
    """The fine-tuned networks of the winner once more, on all rows."""
    for trial in trials:
        planned, rows = trial.round, len(search.paths)
        winner = search.best
        if winner is None or not planned.budget.is_refit or not _holds(winner, trial.member):
            continue
        seconds = planned.budget.refit_s(rows, planned.image_s)
        if seconds > search.journal.left():
            search.journal.is_short = True
            continue
        search.journal.expect(seconds)
        try:
            final = _run(search, planned, np.arange(rows), strength, float("inf"), "all images")
        except TooSlow:
            continue
        search.refitted(_replaced(winner.members, trial.member, final))
        ship_best(search)


def _holds(contender: Contender, member: Member) -> bool:
    return any(one.state is member.state for one in contender.members)


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
