"""Fit a classifier under a time limit, from top to bottom: decode, heads on frozen features, fine-tuning.

Only TRAIN samples are fitted and chosen on. Once the first head is fitted, `workdir/bundle` always holds a
model. Few validation images are opened after the search, for the cross-validation that chooses nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
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
from training.engine.search.candidate_store import CANDIDATES_FILE, store_candidates
from training.engine.search.checkpoint import export_best, export_int8
from training.engine.search.distillation import distil
from training.engine.search.head_search import fit_joint_heads, fit_linear_heads
from training.engine.search.prepare import choose_device, label_names, load_training_data, prepare_workdir
from training.engine.search.state import Run, SearchState
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
    networks: list[Member] = []
    unreadable: tuple[str, ...] = ()
    stop_reason: StopReason = "converged"
    try:
        data, unreadable = load_training_data(train, labels, run)
        search = SearchState(run, data)
        networks = _networks_to_try(search)
        _run_stages(search, networks)
        stop_reason = "time limit" if clock.is_short else "converged"
    except FitStopped as stopped:
        stop_reason = stopped.reason
    if search is not None and search.best is not None:
        tried = {(report.network, report.resolution) for report, _ in search.candidates}
        left = ((member.network, member.resolution) for member in networks)
        left = (pair for pair in left if (pair[0].name, pair[1]) not in tried)
        _note_networks(search, "Not tried before the training ended", left)
    judged = None
    if search is not None and stop_reason != "user":
        judged = cross_validate(search, [sample for sample in samples if sample.split == "EVAL"])
    return _finish(search, clock, stop_reason, unreadable, judged)


def _run_stages(search: SearchState, networks: list[Member]) -> None:
    """Run the stages in their order. Raises FitStopped when the user or the clock ends the fit."""
    run = search.run
    # 1. Linear heads on frozen features: seconds each, and they rank the networks for what follows.
    singles, left = fit_linear_heads(search, networks, [], budget.HEADS_SHARE * run.config.max_seconds)
    # 2. Joint heads over the best networks: their features are in the checkpoint, so they cost little.
    fit_joint_heads(search, singles)
    # 3. Fine-tuning, then one network from many, then the winner on all rows.
    rounds = run_rounds(search, singles)
    if rounds is not None:
        distil(search, rounds)
        refit_on_all(search, rounds)
    elif left:  # The time is too short for a fine-tuning, but it still suffices for more linear heads.
        more, _ = fit_linear_heads(search, left, singles, budget.LATE_SHARE * run.clock.left())
        if more:
            fit_joint_heads(search, singles + more)


def _note_networks(search: SearchState, why: str, networks: Iterable[tuple[Network, int]]) -> None:
    """Note the networks, at these sizes, that were left out; nothing where there is none."""
    if names := ", ".join(f"{network.name} at {size} px" for network, size in networks):
        search.run.clock.emit("note", f"{why}: {names}.")


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
    slow = latency.admissible_networks(config.hardware, float("inf"))[len(admissible) :]
    _note_networks(search, "Over the limit for an answer by estimate", ((one, size) for one, size, _ in slow))
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
    if stop_reason != "user":
        export_int8(search)
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
