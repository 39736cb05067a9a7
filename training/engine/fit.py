"""Fit a classifier under a time limit, from top to bottom: decode, heads on frozen features, fine-tuning.

Only TRAIN samples are fitted and chosen on. Once the first head is fitted, `workdir/bundle` always holds a
model. Few validation images are opened after the search, for the cross-validation that chooses nothing.
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
    CandidateReport,
    CrossValidation,
    EngineError,
    Event,
    FitConfig,
    FitResult,
    Sample,
    StoppedBeforeModel,
    StopReason,
)
from training.engine.cross_validation import cross_validate
from training.engine.search import budget
from training.engine.search.augmentation_probe import gains_from_rotation
from training.engine.search.candidate_store import CANDIDATES_FILE, store_candidates
from training.engine.search.checkpoint import export_best
from training.engine.search.distillation import distil
from training.engine.search.linear_probe import (
    JointFit,
    choose_head_rows,
    features_path,
    fit_joint_head,
    head_left_out,
    member_key,
    with_directions,
)
from training.engine.search.prepare import choose_device, label_names, load_training_data, prepare_workdir
from training.engine.search.state import FittedCandidate, Run, SearchState
from training.engine.search.time_limit import FitStopped, RunClock
from training.engine.search.trials import refit_on_all, run_rounds


def fit(
    samples: Sequence[Sample],
    config: FitConfig,
    workdir: Path,
    report: Callable[[Event], None],
    should_stop: Callable[[], bool],
    unlabeled: Sequence[Path] = (),
) -> FitResult:
    """Train on the TRAIN samples; the best model so far is always in `workdir/bundle`.

    `unlabeled`: files of images without labels. One network may learn the answers of many on them.

    Called again with the same workdir it continues; time already used counts. Raises EngineError for an
    expected ending, StoppedBeforeModel when the user stops before a model exists.
    """
    train = [sample for sample in samples if sample.split == "TRAIN"]
    eval_images = len(samples) - len(train) + config.test_images
    labels = label_names(train)
    prepare_workdir(workdir, train, config)
    clock = RunClock.open(workdir, config.max_seconds, report, should_stop)
    clock.first_model_s = config.first_model_seconds
    clock.reserve_s = budget.evaluation_reserve_s(eval_images) + config.finish_seconds
    threads = config.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    run = Run(config, clock, workdir, threads, choose_device(config), eval_images, unlabeled)
    search: SearchState | None = None
    unreadable: tuple[str, ...] = ()
    stop_reason: StopReason = "converged"
    try:
        data, unreadable = load_training_data(train, labels, run)
        search = SearchState(run, data)
        _run_stages(search, _networks_to_try(search))
        stop_reason = "time limit" if clock.is_short else "converged"
    except FitStopped as stopped:
        stop_reason = stopped.reason
    judged = None
    if search is not None and stop_reason != "user":
        judged = cross_validate(search, [sample for sample in samples if sample.split == "EVAL"])
    return _finish(search, clock, stop_reason, unreadable, judged)


def _run_stages(search: SearchState, networks: list[Member]) -> None:
    """Run the stages in their order. Raises FitStopped when the user or the clock ends the fit."""
    run = search.run
    # 1. Linear heads on frozen features: seconds each, and they rank the networks for what follows.
    singles, left = _fit_linear_heads(search, networks, [], budget.HEADS_SHARE * run.config.max_seconds)
    # 2. Joint heads over the best networks: their features are in the checkpoint, so they cost little.
    _fit_joint_heads(search, singles)
    # 3. Fine-tuning, then one network from many, then the winner on all rows.
    rounds = run_rounds(search, singles)
    if rounds is not None:
        distil(search, rounds)
        refit_on_all(search, rounds)
    elif left:  # The time is too short for a fine-tuning, but it still suffices for more linear heads.
        more, _ = _fit_linear_heads(search, left, singles, budget.LATE_SHARE * run.clock.left())
        if more:
            _fit_joint_heads(search, singles + more)


def _fit_linear_heads(
    search: SearchState, networks: list[Member], before: list[FittedCandidate], allowed_s: float
) -> tuple[list[FittedCandidate], list[Member]]:
    """Fit a linear head for each network that fits in `allowed_s`; gives the candidates and what is left.

    The time of a network is estimated from the candidates so far, those `before` this call included.
    Raises EngineError where no candidate exists in the end.
    """
    clock, singles, left = search.run.clock, list[FittedCandidate](), list[Member]()
    began = clock.elapsed()
    error: EngineError | None = None
    for member in networks:
        used, earlier = clock.elapsed() - began, before + singles
        if earlier and used + _estimated_head_s(member, earlier) > allowed_s:
            clock.is_short = True
            left.append(member)
            continue
        started = time.monotonic()
        try:
            with clock.phase("heads", f"{member.network.name} at {member.resolution} px: features and head"):
                candidate = _fit_linear_head(search, member)
        except (RuntimeError, OSError, EngineError) as problem:
            error = problem if isinstance(problem, EngineError) else error
            name, seconds = member.network.name, time.monotonic() - started
            search.add_failed(name, member.resolution, "linear head", seconds, str(problem))
            continue
        search.add(candidate)
        if candidate.inference_ms <= search.run.config.max_inference_ms:
            singles.append(candidate)
        if singles and not earlier:
            singles += _export_first_model(search, candidate)
    if not before + singles:
        raise error or _too_slow_error(search)
    return singles, left


def _export_first_model(search: SearchState, first: FittedCandidate) -> list[FittedCandidate]:
    """Write the first model to disk, and find out what helps beyond it: covariances, rotated images.

    Gives the further candidates of the same network.
    """
    export_best(search)
    clock, better = search.run.clock, first
    clock.check()  # compiling a network, which comes next, cannot be interrupted
    if clock.left() < first.seconds:
        clock.is_short = True
        return []
    second_order = _fit_with_covariance(search, first)
    if second_order is not None and search.best is second_order:
        search.is_second_order, better = True, second_order
    search.is_rotated = gains_from_rotation(search, better)
    if search.is_rotated:
        clock.emit("note", "The images have no fixed orientation: rotated ones are trained on too.")
        _fit_with_rotations(search, better.members, [first])
    return [second_order] if second_order else []


def _fit_with_covariance(search: SearchState, first: FittedCandidate) -> FittedCandidate | None:
    """Fit the first network's head on its covariance as well, whose features are in the checkpoint."""
    started, member = time.monotonic(), with_directions(search, first.members[0])
    ms = search.latency_ms([member])
    if member.directions is None or ms > search.run.config.max_inference_ms:
        return None
    with search.run.clock.phase("heads", "Second-order pooling"):
        fit = fit_joint_head(search, [member])
    seconds = first.seconds + time.monotonic() - started
    candidate = _candidate_of(search, fit, "linear head", ms, seconds)
    search.add(candidate)
    return candidate


def _estimated_head_s(member: Member, before: list[FittedCandidate]) -> float:
    """Seconds for a network's features and head, in proportion to its multiply-adds."""
    members = [candidate.members[0] for candidate in before]
    operations = sum(registry.macs_at(other.network, other.resolution) for other in members)
    used_s = sum(candidate.seconds for candidate in before)
    return used_s * registry.macs_at(member.network, member.resolution) / operations


def _fit_linear_head(search: SearchState, member: Member) -> FittedCandidate:
    started, is_first = time.monotonic(), not search.candidates
    if is_first or search.is_second_order:
        member = with_directions(search, member)
    choose_head_rows(search, member)
    # The first network's features hold the covariance, but its first head does without: a model soon.
    member = replace(member, is_deep=True, directions=None if is_first else member.directions)
    ms = search.latency_ms([member])
    fit = fit_joint_head(search, [member])
    return _candidate_of(search, fit, "linear head", ms, time.monotonic() - started)


def _candidate_of(
    search: SearchState, fit: JointFit, recipe: str, ms: float, seconds: float
) -> FittedCandidate:
    left_out = (head_left_out(search),) * len(fit.members)
    if any(member.directions is not None for member in fit.members):
        recipe = f"second-order {recipe}"
    return FittedCandidate(
        fit.members, recipe, fit.held_out, fit.is_held_out, fit.score, ms, seconds, left_out
    )


def _fit_joint_heads(search: SearchState, singles: list[FittedCandidate]) -> None:
    """Fit one head over the two, then the three best different networks, and write the best to disk."""
    clock = search.run.clock
    worst_first = sorted(singles, key=lambda candidate: -candidate.score.loss)
    best = list({candidate.name: candidate for candidate in worst_first}.values())
    best.sort(key=lambda candidate: candidate.score.loss)
    joined: tuple[Member, ...] = ()
    for count in range(2, min(3, len(best)) + 1):
        started = time.monotonic()
        members = _affordable(search, tuple(candidate.members[0] for candidate in best[:count]))
        ms = search.latency_ms(members)
        if ms > search.run.config.max_inference_ms or clock.left() < 30:
            break
        with clock.phase("heads", "Joining networks"):
            fit = fit_joint_head(search, members)
        search.add(_candidate_of(search, fit, "joint linear head", ms, time.monotonic() - started))
        joined = members
    if joined and search.is_rotated:
        _fit_with_rotations(search, joined, singles)
    export_best(search)


def _affordable(search: SearchState, members: tuple[Member, ...], views: int = 1) -> tuple[Member, ...]:
    """The members, without their covariances where a head on those takes too much time or memory."""
    rows, columns = views * len(search.head_rows), sum(sum(member.taps) for member in members)
    clock = search.run.clock
    fit_s = clock.slowdown.measure() * budget.head_fit_s(rows, columns, len(search.data.labels))
    if fit_s <= budget.JOINT_SHARE * clock.left() and rows * columns <= budget.MAX_CELLS:
        return members
    return tuple(replace(member, directions=None) for member in members)


def _fit_with_rotations(
    search: SearchState, members: tuple[Member, ...], singles: list[FittedCandidate]
) -> None:
    """Fit the members' head again with images rotated by quarter turns, as many as there is time for."""
    clock, allowed_s = search.run.clock, budget.ROTATION_SHARE * search.run.clock.left()
    possible = [
        views for views in budget.ROTATION_VIEWS if views * len(search.head_rows) <= budget.MAX_HEAD_ROWS
    ]
    affordable = [
        views for views in possible if _estimated_rotations_s(search, members, singles, views) <= allowed_s
    ]
    clock.is_short |= len(affordable) < len(possible)
    if not affordable:
        return
    started, members = time.monotonic(), _affordable(search, members, affordable[0])
    with clock.phase("heads", "Rotated images: features and head"):
        fit = fit_joint_head(search, members, affordable[0])
    # Stored with every version, so the wording stays.
    recipe = "joint linear head on turned images" if len(members) > 1 else "linear head on turned images"
    ms, seconds = search.latency_ms(members), time.monotonic() - started
    search.add(_candidate_of(search, fit, recipe, ms, seconds))


def _estimated_rotations_s(
    search: SearchState, members: Sequence[Member], singles: list[FittedCandidate], views: int
) -> float:
    """Seconds for the features of rotated images that are not in the checkpoint, and for a head on all."""
    plain_s = {member_key(candidate.members[0]): candidate.seconds for candidate in singles}
    missing_s = sum(
        plain_s[member_key(member)]
        for member in members
        for quarters in range(1, views)
        if not features_path(search, member, quarters).exists()
    )
    rows, columns = views * len(search.head_rows), sum(sum(member.taps) for member in members)
    fit_s = budget.head_fit_s(rows, columns, len(search.data.labels))
    return missing_s + search.run.clock.slowdown.measure() * fit_s


def _networks_to_try(search: SearchState) -> list[Member]:
    """The fastest network first, then those of the base bundle, then the others, the slowest first.

    Raises EngineError where no network fits the latency limit.
    """
    config, empty = search.run.config, Head(torch.zeros(1, 1), torch.zeros(1))
    admissible = latency.admissible_networks(config.hardware, config.max_inference_ms)
    if config.hardware == "CPU":  # the estimate is rough, and the measurement decides
        admissible = latency.admissible_networks("CPU", float("inf"))
    elif not admissible:
        network, resolution, ms = latency.fastest_network(config.hardware)
        raise latency.no_network_fits(config.max_inference_ms, network.name, resolution, ms)
    states = _pretrained_states(search, list(dict.fromkeys(network for network, _, _ in admissible)))
    fresh = [
        Member(network, size, states[network.name], empty)
        for network, size, _ in admissible
        if network.name in states
    ]
    inherited = _base_members(search, config.base_bundle) if config.base_bundle else []
    first = min([*inherited, *fresh], key=lambda member: registry.macs_at(member.network, member.resolution))
    return [first, *(member for member in [*inherited, *fresh[::-1]] if member is not first)]


def _pretrained_states(search: SearchState, networks: list[Network]) -> dict[str, StateDict]:
    """Pretrained weights by network name.

    A network whose weights cannot be read becomes a failed candidate and is left out: random weights are no
    substitute. Raises EngineError for a network of an installed package, whose weights must be there.
    """
    states = {}
    for network in networks:
        try:
            states[network.name] = classifier.pretrained_state(network)
        except EngineError as problem:
            if network.package:
                raise
            search.add_failed(network.name, network.resolution, "linear head", 0, str(problem))
    return states


def _base_members(search: SearchState, base: Path) -> list[Member]:
    """The base bundle's networks whose weights differ from the pretrained ones, which are tried anyway.

    A network whose pretrained weights are missing is left out: novelty is measured with them.
    """
    members = [replace(member.plain, is_from_base=True) for member in writer.read_members(base)]
    states = _pretrained_states(search, list(dict.fromkeys(member.network for member in members)))

    def is_finetuned(member: Member) -> bool:
        pretrained = states[member.network.name]
        return any(not torch.equal(tensor, pretrained[name]) for name, tensor in member.state.items())

    return [member for member in members if member.network.name in states and is_finetuned(member)]


def _finish(
    search: SearchState | None,
    clock: RunClock,
    stop_reason: StopReason,
    unreadable: tuple[str, ...],
    cross_validation: CrossValidation | None,
) -> FitResult:
    """Write the best model to disk and describe the fit. Raises EngineError where there is no model."""
    clock.is_closing = True
    if search is None or search.best is None:
        if stop_reason == "user":
            raise StoppedBeforeModel
        minutes = clock.elapsed() / 60
        raise EngineError(f"No model existed yet after {minutes:.0f} minutes.", "Raise Max. Training Time.")
    clock.emit("phase", "Saving the best model", fraction=0)
    export_best(search)
    reports = search.reports()
    with clock.counted("export"):
        stored = _store_candidates(search, reports)
    clock.count_rest("search")
    reports = tuple(
        replace(report, place=place if place in stored else None) for place, report in enumerate(reports)
    )
    result = FitResult(
        bundle=search.run.workdir / "bundle",
        labels=search.data.labels,
        best=next(report for report in reports if report.is_best),
        macro_f1=search.best.score.macro_f1,
        images_per_second=search.throughput.per_second,
        candidates=reports,
        stop_reason=stop_reason,
        seconds_by_phase={name: round(s, 2) for name, s in clock.seconds_by_phase.items()},
        device=search.run.device,
        curve=tuple(clock.curve),
        unreadable=unreadable,
        candidates_file=search.run.workdir / CANDIDATES_FILE if stored else None,
        notes=tuple(clock.notes),
        cross_validation=cross_validation,
    )
    clock.emit("phase", f"Finished: {stop_reason}.", fraction=1)
    return result


def _store_candidates(search: SearchState, reports: Sequence[CandidateReport]) -> frozenset[int]:
    """Store all candidates for later; a failure to write them does not lose the best one."""
    try:
        return store_candidates(search, reports)
    except (OSError, RuntimeError, EngineError) as problem:
        search.run.clock.emit("note", f"The other candidates were not stored: {problem}")
        return frozenset()


def _too_slow_error(search: SearchState) -> EngineError:
    measured = [(report.inference_ms, report) for report, _ in search.candidates if report.inference_ms]
    ms, fastest = min(measured, key=lambda pair: pair[0])
    limit_ms = search.run.config.max_inference_ms
    return latency.no_network_fits(limit_ms, fastest.network, fastest.resolution, ms)
