"""Fit a classifier under a time limit, read top to bottom: pixels, frozen features with heads, fine-tuning.

Only TRAIN samples are opened. From the first head on there is always a model in `workdir/bundle`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from training.engine.backbones import classifier, latency, registry
from training.engine.backbones.classifier import Head, Member, StateDict
from training.engine.backbones.registry import Network
from training.engine.bundle import writer
from training.engine.config import (
    EngineError,
    Event,
    FitConfig,
    FitResult,
    Sample,
    StoppedBeforeModel,
    StopReason,
)
from training.engine.search import budget
from training.engine.search.augmentation_probe import gains_from_rotation
from training.engine.search.candidate_store import CANDIDATES_FILE, store_candidates
from training.engine.search.checkpoint import export_best
from training.engine.search.clock import FitStopped, RunClock
from training.engine.search.linear_probe import (
    JointFit,
    choose_head_rows,
    features_path,
    fit_joint_head,
    member_key,
)
from training.engine.search.prepare import label_names, load_training_data, prepare_workdir
from training.engine.search.state import Candidate, Search
from training.engine.search.trials import run_rounds


def fit(
    samples: Sequence[Sample],
    config: FitConfig,
    workdir: Path,
    report: Callable[[Event], None],
    should_stop: Callable[[], bool],
) -> FitResult:
    """Train on the TRAIN samples; the best model so far is always in `workdir/bundle`.

    Called again with the same workdir it continues; time already used counts. Raises EngineError for an
    expected ending, StoppedBeforeModel when the user stops before a model exists.
    """
    train = [sample for sample in samples if sample.split == "TRAIN"]
    evaluations = len(samples) - len(train)
    labels = label_names(train)
    prepare_workdir(workdir, train, config)
    clock = RunClock.open(workdir, config.max_seconds, report, should_stop)
    clock.reserve_s = min(budget.evaluation_reserve_s(evaluations), config.max_seconds / 3)
    threads = config.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    search: Search | None = None
    stop_reason: StopReason = "converged"
    try:
        search, unreadable = load_training_data(train, labels, config, workdir, clock, threads)
        search.eval_images = evaluations
        _run_stages(search, _networks_to_try(search))
        stop_reason = "time limit" if clock.is_short else "converged"
    except FitStopped as halt:
        stop_reason = halt.reason
    return _finish(search, clock, stop_reason, unreadable if search else ())


def _run_stages(search: Search, options: list[Member]) -> None:
    """The stages in their order. Raises Halt."""
    singles, left = _fit_linear_heads(search, options, [], budget.HEADS_SHARE * search.config.max_seconds)
    _fit_joint_heads(search, singles)
    if not run_rounds(search, singles) and left:  # the time that is too short for a fine-tuning
        more, _ = _fit_linear_heads(search, left, singles, budget.LATE_SHARE * search.clock.left())
        if more:
            _fit_joint_heads(search, singles + more)


def _fit_linear_heads(
    search: Search, options: list[Member], before: list[Candidate], allowed_s: float
) -> tuple[list[Candidate], list[Member]]:
    """A linear head for each network whose time is allowed, foretold by those `before`; and what is left."""
    clock, singles, left = search.clock, list[Candidate](), list[Member]()
    began = clock.elapsed()
    error: EngineError | None = None
    for member in options:
        used, known = clock.elapsed() - began, before + singles
        if known and used + _estimated_head_s(member, known) > allowed_s:
            clock.is_short = True
            left.append(member)
            continue
        started = time.monotonic()
        try:
            with clock.phase("heads", f"{member.network.name} at {member.resolution}: features and head"):
                contender = _fit_linear_head(search, member)
        except (RuntimeError, OSError, EngineError) as problem:
            error = problem if isinstance(problem, EngineError) else error
            name, seconds = member.network.name, time.monotonic() - started
            search.failed(name, member.resolution, "linear head", seconds, str(problem))
            continue
        search.consider(contender)
        if contender.inference_ms <= search.config.max_inference_ms:
            singles.append(contender)
        if singles and not known:
            _export_first_model(search, contender)
    if not before + singles:
        raise error or _too_slow_error(search)
    return singles, left


def _export_first_model(search: Search, first: Candidate) -> None:
    """The first model on disk, and whether turned pictures train as well."""
    export_best(search)
    search.is_rotated = gains_from_rotation(search, first)
    if search.is_rotated:
        search.clock.emit("note", "No side of the images is their top: turned ones train as well.")
        _fit_with_rotations(search, first.members, [first])


def _estimated_head_s(member: Member, before: list[Candidate]) -> float:
    """Seconds that a network's features and head will take: they grow with its operations."""
    members = [one.members[0] for one in before]
    operations = sum(registry.macs_at(one.network, one.resolution) for one in members)
    return (
        sum(one.seconds for one in before) * registry.macs_at(member.network, member.resolution) / operations
    )


def _fit_linear_head(search: Search, member: Member) -> Candidate:
    started = time.monotonic()
    ms = search.latency_ms([member])
    choose_head_rows(search, member)
    fit = fit_joint_head(search, [replace(member, is_deep=True)])
    return _candidate_of(fit, "linear head", ms, time.monotonic() - started)


def _candidate_of(fit: JointFit, recipe: str, ms: float, seconds: float) -> Candidate:
    return Candidate(fit.members, recipe, fit.held_out, fit.known, fit.verdict, ms, seconds)


def _fit_joint_heads(search: Search, singles: list[Candidate]) -> None:
    """Several networks' features side by side: the best of each network, two, then three; then on disk."""
    best = list({one.name: one for one in sorted(singles, key=lambda c: -c.verdict.loss)}.values())
    best.sort(key=lambda contender: contender.verdict.loss)
    joined: tuple[Member, ...] = ()
    for count in range(2, min(3, len(best)) + 1):
        started = time.monotonic()
        parts = tuple(contender.members[0] for contender in best[:count])
        ms = search.latency_ms(parts)
        if ms > search.config.max_inference_ms or search.clock.left() < 30:
            break
        with search.clock.phase("heads", "Joining networks"):
            fit = fit_joint_head(search, parts)
        search.consider(_candidate_of(fit, "joint linear head", ms, time.monotonic() - started))
        joined = parts
    if joined and search.is_rotated:
        _fit_with_rotations(search, joined, singles)
    export_best(search)


def _fit_with_rotations(search: Search, members: tuple[Member, ...], singles: list[Candidate]) -> None:
    """Their head once more, fitted on pictures turned by quarters as well, as far as there is time."""
    most, allowed = budget.MAX_HEAD_ROWS, budget.ROTATION_SHARE * search.clock.left()
    possible = [views for views in budget.ROTATION_VIEWS if views * len(search.head_rows) <= most]
    in_time = [
        views for views in possible if _estimated_rotations_s(search, members, singles, views) <= allowed
    ]
    search.clock.is_short |= len(in_time) < len(possible)
    if not in_time:
        return
    started = time.monotonic()
    with search.clock.phase("heads", "Turned images: features and head"):
        fit = fit_joint_head(search, members, in_time[0])
    recipe = "joint linear head on turned images" if len(members) > 1 else "linear head on turned images"
    ms, seconds = search.latency_ms(members), time.monotonic() - started
    search.consider(_candidate_of(fit, recipe, ms, seconds))


def _estimated_rotations_s(
    search: Search, members: Sequence[Member], singles: list[Candidate], views: int
) -> float:
    """Seconds for the features of turned pictures that are not there yet, and for a head on all of them."""
    plain_s = {member_key(one.members[0]): one.seconds for one in singles}
    missing = [
        plain_s[member_key(member)]
        for member in members
        for turns in range(1, views)
        if not features_path(search, member, turns).exists()
    ]
    rows, columns = views * len(search.head_rows), sum(sum(member.taps) for member in members)
    return sum(missing) + budget.head_fit_s(rows, columns, len(search.labels))


def _networks_to_try(search: Search) -> list[Member]:
    """What to try: the quickest network, those of the base, then the largest."""
    config, empty = search.config, Head(torch.zeros(1, 1), torch.zeros(1))
    admissible = latency.admissible_networks(config.hardware, config.max_inference_ms)
    if config.hardware == "CPU":  # the estimate is rough, and the measurement decides
        admissible = latency.admissible_networks("CPU", float("inf"))
    elif not admissible:
        network, resolution, ms = latency.fastest_network(config.hardware)
        raise latency.no_network_fits(config.max_inference_ms, network.name, resolution, ms)
    states = _pretrained_states(search, list(dict.fromkeys(network for network, _, _ in admissible)))
    fresh = [Member(one, size, states[one.name], empty) for one, size, _ in admissible if one.name in states]
    tuned = _base_members(search, config.base_bundle) if config.base_bundle else []
    first = min([*tuned, *fresh], key=lambda one: registry.macs_at(one.network, one.resolution))
    return [first, *(one for one in [*tuned, *fresh[::-1]] if one is not first)]


def _pretrained_states(search: Search, wanted: list[Network]) -> dict[str, StateDict]:
    """Pretrained weights by the networks' names. What cannot be read is told and left out, never started
    from random weights; that of packages must be there."""
    states = {}
    for network in wanted:
        try:
            states[network.name] = classifier.pretrained_state(network)
        except EngineError as problem:
            if network.package:
                raise
            search.failed(network.name, network.resolution, "linear head", 0, str(problem))
    return states


def _base_members(search: Search, base: Path) -> list[Member]:
    """The networks of a base whose weights are no longer the pretrained ones, which are tried anyway. One
    whose pretrained weights are not here is told and left out: what is unknown is measured by them."""
    members = [replace(member, is_from_base=True) for member in writer.read_members(base)]
    states = _pretrained_states(search, list(dict.fromkeys(member.network for member in members)))

    def is_tuned(member: Member) -> bool:
        pretrained = states[member.network.name]
        return any(not torch.equal(tensor, pretrained[name]) for name, tensor in member.state.items())

    return [member for member in members if member.network.name in states and is_tuned(member)]


def _finish(
    search: Search | None, clock: RunClock, stop_reason: StopReason, unreadable: tuple[str, ...]
) -> FitResult:
    """Put the best model on disk and say what happened. Raises when there is none."""
    clock.is_closing = True
    if search is None or search.best is None:
        if stop_reason == "user":
            raise StoppedBeforeModel
        raise EngineError("The time limit ended before a first model existed.", "Raise Max. Training Time.")
    with clock.phase("export", "Saving the best model"):
        export_best(search)
        kept = _store_candidates(search)
    reports = search.reports()
    reports = tuple(replace(one, place=at if at in kept else None) for at, one in enumerate(reports))
    result = FitResult(
        bundle=search.workdir / "bundle",
        labels=search.labels,
        best=next(one for one in reports if one.is_best),
        macro_f1=search.best.verdict.macro_f1,
        images_per_second=search.throughput.per_second,
        candidates=reports,
        stop_reason=stop_reason,
        seconds_by_phase={name: round(s, 2) for name, s in clock.seconds_by_phase.items()},
        device=search.device,
        curve=tuple(clock.curve),
        unreadable=unreadable,
        candidates_file=search.workdir / CANDIDATES_FILE if kept else None,
    )
    clock.emit("note", f"Finished: {stop_reason}.", fraction=1)
    return result


def _store_candidates(search: Search) -> frozenset[int]:
    """The other candidates, for later. That they cannot be written is no reason to lose the best one."""
    try:
        return store_candidates(search)
    except (OSError, RuntimeError, EngineError) as problem:
        search.clock.emit("note", f"The other candidates were not kept: {problem}")
        return frozenset()


def _too_slow_error(search: Search) -> EngineError:
    quickest = min(
        (report for report, _ in search.tried if report.inference_ms), key=lambda one: one.inference_ms or 0
    )
    ms = quickest.inference_ms or 0
    return latency.no_network_fits(search.config.max_inference_ms, quickest.network, quickest.resolution, ms)
