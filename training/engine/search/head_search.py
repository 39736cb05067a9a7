"""The first stage of a search: linear heads on frozen features of each network, then of several together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from training.engine.backbones import latency
from training.engine.backbones.classifier import Member
from training.engine.config import EngineError
from training.engine.search import budget
from training.engine.search.augmentation_probe import gains_from_rotation
from training.engine.search.checkpoint import export_best
from training.engine.search.linear_probe import (
    JointFit,
    choose_head_rows,
    features_path,
    fit_joint_head,
    head_left_out,
    member_key,
    with_directions,
)
from training.engine.search.state import FittedCandidate, SearchState, macs_of


def fit_linear_heads(
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
        search.reserve_evaluation([member])
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
    [member] = _affordable(search, (member,))
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
    used_s = sum(candidate.seconds for candidate in before)
    return used_s * macs_of([member]) / macs_of([candidate.members[0] for candidate in before])


def _fit_linear_head(search: SearchState, member: Member) -> FittedCandidate:
    started, is_first = time.monotonic(), not len(search.head_rows)
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


def fit_joint_heads(search: SearchState, singles: list[FittedCandidate]) -> None:
    """Fit one head over the two, then the three best different networks, and write the best to disk."""
    clock = search.run.clock
    worst_first = sorted(singles, key=lambda candidate: -candidate.score.loss)
    best = list({candidate.name: candidate for candidate in worst_first}.values())
    best.sort(key=lambda candidate: candidate.score.loss)
    joined: tuple[Member, ...] = ()
    for count in range(2, min(3, len(best)) + 1):
        started = time.monotonic()
        members = tuple(candidate.members[0] for candidate in best[:count])
        search.reserve_evaluation(members)
        members = _affordable(search, members)
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
    views = affordable[0] if affordable else 1
    if views < budget.ROTATION_VIEWS[0]:
        name = " + ".join(member.network.name for member in members)
        clock.emit("note", f"The head on {name} is fitted on {views} of the 4 quarter turns of each image.")
    if not affordable:
        return
    started, members = time.monotonic(), _affordable(search, members, affordable[0])
    with clock.phase("heads", "Rotated images: features and head"):
        fit = fit_joint_head(search, members, views)
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


def _too_slow_error(search: SearchState) -> EngineError:
    measured = [(report.inference_ms, report) for report, _ in search.candidates if report.inference_ms]
    ms, fastest = min(measured, key=lambda pair: pair[0])
    limit_ms = search.run.config.max_inference_ms
    return latency.no_network_fits(limit_ms, fastest.network, fastest.resolution, ms)
