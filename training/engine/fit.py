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
from training.engine.backbones.classifier import Head, Member, State
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
from training.engine.search.augmentation_probe import gains_from_turns
from training.engine.search.candidate_store import FILE, keep
from training.engine.search.checkpoint import ship_best
from training.engine.search.clock import Halt, Journal
from training.engine.search.linear_probe import JointFit, choose_head_rows, features_path, fit_members, key
from training.engine.search.prepare import label_names, prepare, read
from training.engine.search.state import Contender, Search
from training.engine.search.trials import refine


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
    train = [sample for sample in samples if sample.usage == "TRAIN"]
    evaluations = len(samples) - len(train)
    labels = label_names(train)
    prepare(workdir, train, config)
    journal = Journal.open(workdir, config.max_seconds, report, should_stop)
    journal.reserve_s = min(budget.evaluation_reserve_s(evaluations), config.max_seconds / 3)
    threads = config.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    search: Search | None = None
    stop_reason: StopReason = "converged"
    try:
        search, unreadable = read(train, labels, config, workdir, journal, threads)
        search.eval_images = evaluations
        _search(search, _options(search))
        stop_reason = "time limit" if journal.is_short else "converged"
    except Halt as halt:
        stop_reason = halt.reason
    return _close(search, journal, stop_reason, unreadable if search else ())


def _search(search: Search, options: list[Member]) -> None:
    """The stages in their order. Raises Halt."""
    singles, left = _frozen(search, options, [], budget.HEADS_SHARE * search.config.max_seconds)
    _join(search, singles)
    if not refine(search, singles) and left:  # the time that is too short for a fine-tuning
        more, _ = _frozen(search, left, singles, budget.LATE_SHARE * search.journal.left())
        if more:
            _join(search, singles + more)


def _frozen(
    search: Search, options: list[Member], before: list[Contender], allowed_s: float
) -> tuple[list[Contender], list[Member]]:
    """A linear head for each network whose time is allowed, foretold by those `before`; and what is left."""
    journal, singles, left = search.journal, list[Contender](), list[Member]()
    began = journal.elapsed()
    error: EngineError | None = None
    for member in options:
        used, known = journal.elapsed() - began, before + singles
        if known and used + _foretold_s(member, known) > allowed_s:
            journal.is_short = True
            left.append(member)
            continue
        started = time.monotonic()
        try:
            with journal.phase("heads", f"{member.network.name} at {member.resolution}: features and head"):
                contender = _head(search, member)
        except (RuntimeError, OSError, EngineError) as problem:
            error = problem if isinstance(problem, EngineError) else error
            name, seconds = member.network.name, time.monotonic() - started
            search.failed(name, member.resolution, "linear head", seconds, str(problem))
            continue
        search.consider(contender)
        if contender.inference_ms <= search.config.max_inference_ms:
            singles.append(contender)
        if singles and not known:
            _begin(search, contender)
    if not before + singles:
        raise error or _too_slow(search)
    return singles, left


def _begin(search: Search, first: Contender) -> None:
    """The first model on disk, and whether turned pictures train as well."""
    ship_best(search)
    search.is_turned = gains_from_turns(search, first)
    if search.is_turned:
        search.journal.tell("note", "No side of the images is their top: turned ones train as well.")
        _turn(search, first.members, [first])


def _foretold_s(member: Member, before: list[Contender]) -> float:
    """Seconds that a network's features and head will take: they grow with its operations."""
    members = [one.members[0] for one in before]
    operations = sum(registry.macs(one.network, one.resolution) for one in members)
    return sum(one.seconds for one in before) * registry.macs(member.network, member.resolution) / operations


def _head(search: Search, member: Member) -> Contender:
    started = time.monotonic()
    ms = search.latency_ms([member])
    choose_head_rows(search, member)
    fit = fit_members(search, [replace(member, is_deep=True)])
    return _contender(fit, "linear head", ms, time.monotonic() - started)


def _contender(fit: JointFit, recipe: str, ms: float, seconds: float) -> Contender:
    return Contender(fit.members, recipe, fit.held_out, fit.known, fit.verdict, ms, seconds)


def _join(search: Search, singles: list[Contender]) -> None:
    """Several networks' features side by side: the best of each network, two, then three; then on disk."""
    best = list({one.name: one for one in sorted(singles, key=lambda c: -c.verdict.loss)}.values())
    best.sort(key=lambda contender: contender.verdict.loss)
    joined: tuple[Member, ...] = ()
    for count in range(2, min(3, len(best)) + 1):
        started = time.monotonic()
        parts = tuple(contender.members[0] for contender in best[:count])
        ms = search.latency_ms(parts)
        if ms > search.config.max_inference_ms or search.journal.left() < 30:
            break
        with search.journal.phase("heads", "Joining networks"):
            fit = fit_members(search, parts)
        search.consider(_contender(fit, "joint linear head", ms, time.monotonic() - started))
        joined = parts
    if joined and search.is_turned:
        _turn(search, joined, singles)
    ship_best(search)


def _turn(search: Search, members: tuple[Member, ...], singles: list[Contender]) -> None:
    """Their head once more, fitted on pictures turned by quarters as well, as far as there is time."""
    most, allowed = budget.MOST_HEAD_ROWS, budget.TURNED_SHARE * search.journal.left()
    possible = [views for views in budget.TURNED_VIEWS if views * len(search.head_rows) <= most]
    in_time = [views for views in possible if _turned_s(search, members, singles, views) <= allowed]
    search.journal.is_short |= len(in_time) < len(possible)
    if not in_time:
        return
    started = time.monotonic()
    with search.journal.phase("heads", "Turned images: features and head"):
        fit = fit_members(search, members, in_time[0])
    recipe = "joint linear head on turned images" if len(members) > 1 else "linear head on turned images"
    ms, seconds = search.latency_ms(members), time.monotonic() - started
    search.consider(_contender(fit, recipe, ms, seconds))


def _turned_s(search: Search, members: Sequence[Member], singles: list[Contender], views: int) -> float:
    """Seconds for the features of turned pictures that are not there yet, and for a head on all of them."""
    plain_s = {key(one.members[0]): one.seconds for one in singles}
    missing = [
        plain_s[key(member)]
        for member in members
        for turns in range(1, views)
        if not features_path(search, member, turns).exists()
    ]
    rows, columns = views * len(search.head_rows), sum(sum(member.taps) for member in members)
    return sum(missing) + budget.head_fit_s(rows, columns, len(search.labels))


def _options(search: Search) -> list[Member]:
    """What to try: the quickest network, those of the base, then the largest."""
    config, empty = search.config, Head(torch.zeros(1, 1), torch.zeros(1))
    admissible = latency.admissible(config.hardware, config.max_inference_ms)
    if config.hardware == "CPU":  # the estimate is rough, and the measurement decides
        admissible = latency.admissible("CPU", float("inf"))
    elif not admissible:
        network, resolution, ms = latency.fastest(config.hardware)
        raise latency.nothing_fits(config.max_inference_ms, network.name, resolution, ms)
    states = _states(search, list(dict.fromkeys(network for network, _, _ in admissible)))
    fresh = [Member(one, size, states[one.name], empty) for one, size, _ in admissible if one.name in states]
    tuned = _tuned_members(search, config.base_bundle) if config.base_bundle else []
    first = min([*tuned, *fresh], key=lambda one: registry.macs(one.network, one.resolution))
    return [first, *(one for one in [*tuned, *fresh[::-1]] if one is not first)]


def _states(search: Search, wanted: list[Network]) -> dict[str, State]:
    """Pretrained weights by the networks' names. What cannot be read is told and left out, never started
    from random weights; that of packages must be there."""
    states = {}
    for network in wanted:
        try:
            states[network.name] = classifier.pretrained(network)
        except EngineError as problem:
            if network.package:
                raise
            search.failed(network.name, network.resolution, "linear head", 0, str(problem))
    return states


def _tuned_members(search: Search, base: Path) -> list[Member]:
    """The networks of a base whose weights are no longer the pretrained ones, which are tried anyway. One
    whose pretrained weights are not here is told and left out: what is unknown is measured by them."""
    members = [replace(member, is_from_base=True) for member in writer.read_members(base)]
    states = _states(search, list(dict.fromkeys(member.network for member in members)))

    def is_tuned(member: Member) -> bool:
        pretrained = states[member.network.name]
        return any(not torch.equal(tensor, pretrained[name]) for name, tensor in member.state.items())

    return [member for member in members if member.network.name in states and is_tuned(member)]


def _close(
    search: Search | None, journal: Journal, stop_reason: StopReason, unreadable: tuple[str, ...]
) -> FitResult:
    """Put the best model on disk and say what happened. Raises when there is none."""
    journal.is_closing = True
    if search is None or search.best is None:
        if stop_reason == "user":
            raise StoppedBeforeModel
        raise EngineError("The time limit ended before a first model existed.", "Raise Max. Training Time.")
    with journal.phase("export", "Saving the best model"):
        ship_best(search)
        kept = _keep(search)
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
        seconds_by_phase={name: round(s, 2) for name, s in journal.seconds_by_phase.items()},
        device=search.device,
        curve=tuple(journal.curve),
        unreadable=unreadable,
        kept=search.workdir / FILE if kept else None,
    )
    journal.tell("note", f"Finished: {stop_reason}.", fraction=1)
    return result


def _keep(search: Search) -> frozenset[int]:
    """The other candidates, for later. That they cannot be written is no reason to lose the best one."""
    try:
        return keep(search)
    except (OSError, RuntimeError, EngineError) as problem:
        search.journal.tell("note", f"The other candidates were not kept: {problem}")
        return frozenset()


def _too_slow(search: Search) -> EngineError:
    quickest = min(
        (report for report, _ in search.tried if report.inference_ms), key=lambda one: one.inference_ms or 0
    )
    ms = quickest.inference_ms or 0
    return latency.nothing_fits(search.config.max_inference_ms, quickest.network, quickest.resolution, ms)
