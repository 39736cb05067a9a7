"""One network from many: where the best model mixes networks, a fine-tuned one of them learns its answers.

The student goes on from the network of a trial. It is trained on the labeled images, with the mean of the
label and of the mixture's scores as target, and on images without labels, with the scores alone. The mixture
is asked once about each plain image; the student sees augmented ones (Hinton, Vinyals and Dean 2015).

The score is honest: the rows of the first fold train neither the student nor a part of its teacher, whose
heads are fitted again without them. Only the shares and temperatures of the mixture were chosen on them.
The student answers in a fraction of the time, so it is chosen unless it is worse by more than noise.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.engine.backbones.classifier import Member
from training.engine.backbones.features import extract_features, measure_reading
from training.engine.backbones.registry import macs_at
from training.engine.bundle.bundle import calibrate
from training.engine.data import images
from training.engine.data.images import JoinedPixels, Pixels
from training.engine.evaluation.scoring import Floats, row_losses, score_logits
from training.engine.search import budget, finetune, trials
from training.engine.search.budget import FinetuneBudget
from training.engine.search.checkpoint import export_best
from training.engine.search.linear_probe import fit_joint_head, frozen_features, member_key, views_of
from training.engine.search.prepare import trial_folds
from training.engine.search.schedule import REPLAN_RATIO
from training.engine.search.state import FittedCandidate, SearchState, left_out_rows
from training.engine.search.time_limit import read_json, save_array, write_json
from training.engine.search.trials import DeadlineGuard, Rounds, SlowerThanPlanned, Trial

MAX_UNLABELED, MAX_UNLABELED_RATIO = 2000, 2  # images without labels; times the labeled ones
# With fewer there is nothing to learn: the mixture is certain of the labeled images, which it was fitted on.
# Measured on hand signs with 654 labels, loss on held-out images over that of the mixture: 1.7 with none,
# 1.1 with 249 or 498, at most 0.7 with 996.
MIN_UNLABELED_RATIO = 0.25
MAX_TIME_RATIO = (
    0.8  # of the mixture's time of an answer; a student that saves less is not worth its training
)
MAX_TIME_SHARE = (
    0.8  # of the time that is left, the training on all rows included; then cross-validation comes
)
MAX_LOSS_RATIO = 1.05  # of the mixture's loss, however large the noise is
LABEL_SHARE = 0.5  # of a labeled image's target; the rest is the teacher's answer
MIN_READING_S = 5.0
PASS_COST = 0.25  # of a training step: an image's pass through a network


@dataclass(frozen=True, slots=True)
class StudentPlan:
    """What a student goes on from, for how many epochs, and with how many images without labels."""

    start: Trial
    epochs: int
    unlabeled: int
    image_s: float

    def budget(self, rows: int, device: str) -> FinetuneBudget:
        """The budget of its training on `rows` images, labeled or not."""
        option = self.start.round.option
        blank = FinetuneBudget(1, 1, self.epochs, False, option.is_partial)
        if not option.is_partial:
            return blank
        return replace(blank, most_views=max(1, min(budget.MAX_VIEWS, option.cached_images(device) // rows)))


@dataclass(frozen=True, slots=True)
class _Lesson:
    """Images [N + U, S, S, 3], the labeled rows first, with soft targets [N + U, C] and weights [N + U]."""

    pixels: Pixels | JoinedPixels
    targets: Floats
    weights: NDArray[np.float64]
    key: str


def distil(search: SearchState, rounds: Rounds) -> None:
    """Train a student where it would save time and there is time for it, and choose it if it is as good.

    Raises FitStopped when the user or the clock ends the fit.
    """
    mixture, clock = search.best, search.run.clock
    start = _start(search, rounds)
    if mixture is None or start is None:
        return
    plan = _plan(search, rounds, start)
    if plan is None:
        return
    try:
        began = time.monotonic()
        lesson = _lesson(search, rounds, plan, mixture)
        student = _trained(search, rounds, plan, lesson, is_trial=True)
        candidate = _candidate(search, plan, lesson, student, mixture, time.monotonic() - began)
    except SlowerThanPlanned:
        clock.emit("note", "The machine is busier than before: no time to train one network from many.")
        return
    search.add(candidate, is_as_good(search, candidate, mixture))
    export_best(search)
    if search.best is candidate:
        _say_so(search, candidate, mixture)
        if len(search.data.paths) < budget.MANY_ROWS:
            _refit(search, rounds, plan, lesson)


def _refit(search: SearchState, rounds: Rounds, plan: StudentPlan, lesson: _Lesson) -> None:
    """Train the student, which is the best model, again on all images."""
    try:
        final = _trained(search, rounds, plan, lesson, is_trial=False)
    except SlowerThanPlanned:
        search.run.clock.is_short = True
        name = plan.start.round.option.name
        search.run.clock.emit("note", f"{name}: no time to train on the held-out images as well.")
        return
    everything = np.arange(len(search.data.paths))
    search.replace_best((final,), (left_out_rows(len(everything), everything, "held out"),))
    export_best(search)


def is_as_good(search: SearchState, student: FittedCandidate, mixture: FittedCandidate) -> bool:
    """Whether the student's loss exceeds the mixture's by no more than its standard error.

    On the rows that both held out, at the temperature that their answers would have; those of one group
    count as one observation.
    """
    rows, is_multi_label = student.is_held_out & mixture.is_held_out, search.run.config.is_multi_label
    targets = search.data.targets[rows]
    losses = [
        row_losses(
            one.held_out[rows],
            targets,
            score_logits(one.held_out[rows], targets, is_multi_label).temperature,
            is_multi_label,
        )
        for one in (student, mixture)
    ]
    difference = losses[0] - losses[1]
    _, group = np.unique(search.data.groups[rows], return_inverse=True)
    sums = np.bincount(group, difference - difference.mean())
    error = float(np.sqrt(np.square(sums).sum())) / len(difference)
    return float(difference.mean()) <= min(error, (MAX_LOSS_RATIO - 1) * float(losses[1].mean()))


def _start(search: SearchState, rounds: Rounds) -> Trial | None:
    """The best fine-tuned network, if it answers much sooner than the best model and holds out the same."""
    mixture = search.best
    if mixture is None or len(mixture.members) < 2 or len(search.head_rows) < len(search.data.paths):
        return None
    allowed_ms = MAX_TIME_RATIO * mixture.inference_ms
    quick = [trial for trial in rounds.trials if search.latency_ms([trial.member]) <= allowed_ms]
    rows, is_multi_label = search.data.is_common, search.run.config.is_multi_label

    def loss(trial: Trial) -> float:
        return score_logits(trial.held_out[rows], search.data.targets[rows], is_multi_label).loss

    return min(quick, key=loss, default=None)


def _plan(search: SearchState, rounds: Rounds, start: Trial) -> StudentPlan | None:
    """The longest training that fits, with all images without labels or a half or a quarter of them.

    None where none fits, or these images are too few. The plan of a killed run is used again, unless there
    is much more time now.
    """
    run, rows, option = search.run, len(search.data.paths), start.round.option
    file = run.workdir / "checkpoint" / "student.json"
    image_s = rounds.costs[option.kind] * option.cost
    stored = read_json(file)
    if stored and stored["option"] == option.name and run.config.max_seconds < REPLAN_RATIO * stored["limit"]:
        return StudentPlan(start, stored["epochs"], stored["unlabeled"], image_s)
    most = min(len(run.unlabeled), MAX_UNLABELED, MAX_UNLABELED_RATIO * rows)
    allowed = MAX_TIME_SHARE * (run.clock.left() - budget.EXPORT_RESERVE_S)
    epochs = range(max(budget.MIN_EPOCHS, budget.full_epochs(rows) // 2), budget.MIN_EPOCHS - 1, -1)
    for unlabeled in (most, most // 2, most // 4):
        if unlabeled < MIN_UNLABELED_RATIO * rows:
            return None
        before_s = _preparation_s(search, rounds, unlabeled)
        for count in epochs:
            plan = StudentPlan(start, count, unlabeled, image_s)
            if before_s + _training_s(search, rounds, plan) <= allowed:
                limit = run.config.max_seconds
                write_json(
                    file, {"option": option.name, "epochs": count, "unlabeled": unlabeled, "limit": limit}
                )
                return plan
        run.clock.is_short = True
    return None


def _preparation_s(search: SearchState, rounds: Rounds, unlabeled: int) -> float:
    """Seconds to read the images without labels, and to ask the mixture about all images."""
    data, run, mixture = search.data, search.run, search.best
    assert mixture is not None
    passes_s = sum(
        PASS_COST
        * rounds.costs[False, member.network.family]
        * macs_at(member.network, member.resolution)
        * (unlabeled + len(data.paths) * (_trial_of(rounds, member) is not None))
        for member in mixture.members
    )
    columns = sum(sum(member.taps) for member in mixture.members)
    views = views_of(search, rounds.head) if rounds.head else 1
    head_s = budget.head_fit_s(views * len(data.paths), columns, len(data.labels))
    return passes_s + run.clock.slowdown.measure() * head_s + _reading_s(search, unlabeled)


def _reading_s(search: SearchState, count: int) -> float:
    """Seconds to read images without labels, which take as long as the labeled ones."""
    if count and search.reading_time is None:
        paths, tick = search.data.paths, search.run.clock.tick
        search.reading_time = measure_reading(paths, search.data.side, tick)
    return count * search.reading_time.ms / 1000 if search.reading_time else 0.0


def _training_s(search: SearchState, rounds: Rounds, plan: StudentPlan) -> float:
    """Seconds to train the student without the held-out rows, and then whichever model wins on all rows."""
    rows, all_rows = len(search.data.paths), len(search.data.paths) + plan.unlabeled
    whole_s = plan.budget(all_rows, search.run.device).passes * all_rows * plan.image_s
    trial_s = whole_s * (all_rows - rows / budget.trial_parts(rows)) / all_rows
    refit_s = whole_s if rows < budget.MANY_ROWS else 0
    return trial_s + max(refit_s, rounds.refit_s(search))


def _trial_of(rounds: Rounds, member: Member) -> Trial | None:
    return next((trial for trial in rounds.trials if trial.member.state is member.state), None)


def _is_unseen(search: SearchState) -> NDArray[np.bool_]:
    """[N] the rows that each first fold of a trial holds out."""
    folds = trial_folds(search.data.targets, search.run.config.seed, search.data.groups)
    return np.asarray(folds == 0)


def _lesson(search: SearchState, rounds: Rounds, plan: StudentPlan, mixture: FittedCandidate) -> _Lesson:
    """The images and the mixture's answers, or what a killed run has stored of them."""
    data, run = search.data, search.run
    pixels: Pixels | JoinedPixels = data.pixels
    if plan.unlabeled:
        pixels = JoinedPixels(data.pixels, _unlabeled_pixels(search, plan.unlabeled))
    parts = "".join(f"{member_key(one)} {float(one.head.weight.norm()):.4f} " for one in mixture.members)
    key = hashlib.sha256(f"{parts}{len(pixels)}".encode()).hexdigest()[:12]
    path = run.workdir / "checkpoint" / f"teacher_{key}.npy"
    if not path.exists():
        with run.clock.phase("fine-tuning", "Asking the networks of the best model"):
            save_array(path, _teacher_logits(search, rounds, mixture, pixels))
    scores = calibrate(np.load(path), mixture.score.temperature, run.config.is_multi_label)
    count = len(data.paths)
    known = LABEL_SHARE * data.targets + (1 - LABEL_SHARE) * scores[:count]
    targets = np.concatenate([known, scores[count:]]).astype(np.float32)
    return _Lesson(pixels, targets, np.concatenate([data.weights, np.ones(len(pixels) - count)]), key)


def _unlabeled_pixels(search: SearchState, count: int) -> Pixels:
    """The images without labels that can be read, of `count` chosen at random."""
    run, side = search.run, search.data.side
    cache = run.workdir / "checkpoint" / f"unlabeled_{count}.npy"
    notes = cache.with_suffix(".json")
    readable = read_json(notes)
    if readable is None or not cache.exists():
        chosen = np.random.default_rng(run.config.seed).permutation(len(run.unlabeled))[:count].tolist()
        deadline = run.clock.elapsed() + max(MIN_READING_S, trials.MAX_OVERTIME * _reading_s(search, count))

        def tick(done: int) -> None:
            run.clock.tick(done / len(chosen))
            if run.clock.elapsed() > deadline:
                raise SlowerThanPlanned(0)

        with run.clock.phase("pixels", f"Reading {len(chosen):,} images without labels"):
            paths = []
            for row in chosen:
                paths.append(run.unlabeled[row])
                tick(0)
            problems = images.decode_all(paths, side, cache, run.threads, tick)
        images.compact_rows(cache, problems.keys())
        readable = len(chosen) - len(problems)
        write_json(notes, readable)
    return images.open_cache(cache)[:readable]


def _teacher_logits(
    search: SearchState, rounds: Rounds, mixture: FittedCandidate, pixels: Pixels | JoinedPixels
) -> Floats:
    """[N + U, C] the mixture's logits of all images, its parts fitted without the rows of the first fold."""
    run, count = search.run, len(search.data.paths)
    fitted: Sequence[Member] = ()
    logits = np.zeros((len(pixels), len(search.data.labels)), np.float32)
    for member in mixture.members:
        trial = _trial_of(rounds, member)
        if trial is not None:
            part, share, known = trial.first, trials.share_of(member, trial.member), None
        else:
            assert rounds.head is not None
            heads = rounds.head.members
            fitted = (
                fitted
                or fit_joint_head(
                    search, heads, views_of(search, rounds.head), is_left_out=_is_unseen(search)
                ).members
            )
            place = next(place for place, one in enumerate(heads) if _is_same_network(one, member))
            part, share = fitted[place], trials.share_of(member, heads[place])
            known = frozen_features(search, part)
        rows = range(0 if known is None else count, len(pixels))
        tables = [] if known is None else [known.numpy()]
        if rows:
            tables.append(
                extract_features(part, pixels, run.threads, run.device, run.clock.tick, rows).numpy()
            )
        features = np.concatenate(tables)
        logits += share * (features @ part.head.weight.numpy().T + part.head.bias.numpy())
    return logits


def _is_same_network(one: Member, other: Member) -> bool:
    return one.state is other.state and one.resolution == other.resolution


def _trained(
    search: SearchState, rounds: Rounds, plan: StudentPlan, lesson: _Lesson, *, is_trial: bool
) -> Member:
    """The student, trained without the rows of the first fold or on all, or read from the checkpoint."""
    run, count = search.run, len(search.data.paths)
    is_used = np.ones(len(lesson.pixels), np.bool_)
    if is_trial:
        is_used[:count] = ~_is_unseen(search)
    rows = np.flatnonzero(is_used)
    path = run.workdir / "checkpoint" / f"student_{lesson.key}_{plan.epochs}x{len(rows)}.pt"
    if path.exists():
        return trials.load_member(path, plan.start.first)
    length = plan.budget(len(rows), run.device)
    option = plan.start.round.option
    job = finetune.FinetuneJob(
        member=plan.start.first,
        plan=replace(option.plan(length, rounds.strength), smoothing=0),
        pixels=lesson.pixels,
        targets=lesson.targets,
        row_weights=lesson.weights,
        rows=rows,
        is_multi_label=run.config.is_multi_label,
        seed=run.config.seed,
        device=run.device,
    )
    owed_s = rounds.refit_s(search) if is_trial else 0
    deadline = run.clock.elapsed() + run.clock.left() - owed_s
    guard = DeadlineGuard(run.clock, deadline, length.passes * len(rows))
    run.clock.expect(_training_s(search, rounds, plan))
    with run.clock.phase("fine-tuning", f"One network from many: {option.name}"):
        student = finetune.fine_tune(job, guard.tick)
    trials.save_member(path, student)
    return student


def _candidate(
    search: SearchState,
    plan: StudentPlan,
    lesson: _Lesson,
    student: Member,
    mixture: FittedCandidate,
    seconds: float,
) -> FittedCandidate:
    data, is_unseen = search.data, _is_unseen(search)
    unseen, held_out = np.flatnonzero(is_unseen), np.zeros_like(data.targets)
    held_out[unseen] = trials.logits_of(search, student, unseen)
    is_scored = data.may_score(mixture.members, unseen)
    return FittedCandidate(
        members=(student,),
        recipe="distilled",
        held_out=held_out,
        is_held_out=is_scored,
        score=score_logits(held_out[is_scored], data.targets[is_scored], search.run.config.is_multi_label),
        inference_ms=search.latency_ms([student]),
        seconds=seconds,
        left_out=(left_out_rows(len(is_unseen), np.flatnonzero(~is_unseen), "held out"),),
        unlabeled=len(lesson.pixels) - len(data.paths),
    )


def _say_so(search: SearchState, student: FittedCandidate, mixture: FittedCandidate) -> None:
    extra = f", also on {student.unlabeled:,} images without labels" if student.unlabeled else ""
    search.run.clock.emit(
        "note",
        f"One network learned the answers of the best {len(mixture.members)}{extra}. "
        f"It answers in {student.inference_ms:.1f} ms instead of {mixture.inference_ms:.1f} ms.",
    )
