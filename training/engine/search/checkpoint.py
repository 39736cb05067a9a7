"""Export the best model so far, its INT8 network at the end, and reserve the time that both will take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from training.engine.bundle import quantization, writer
from training.engine.bundle.bundle import Bundle, calibrate
from training.engine.config import EngineError
from training.engine.evaluation.scoring import best_thresholds
from training.engine.search import budget
from training.engine.search.linear_probe import stratified_order
from training.engine.search.novelty_reference import MAX_EXTRACTED, make_reference
from training.engine.search.state import FittedCandidate, SearchState, macs_of

NO_TIME = "There was no time for an INT8 network."


class _OutOfTime(Exception):
    """The time that was left for the INT8 network is over."""


def export_best(search: SearchState) -> None:
    """Write the best model to the bundle on disk, unless it is there already."""
    best = search.best
    if best is None or best is search.exported:
        return
    examples = search.data.paths[:: max(1, len(search.data.paths) // 8)][:8]
    info = bundle_info(search, best)
    began = time.monotonic()
    with search.run.clock.counted("export"):
        bundle = writer.export_bundle(
            best.members,
            info,
            search.run.workdir / "bundle",
            examples,
            search.run.threads,
            make_reference(search, best, info),
            search.data.trained_on,
        )
    _reserve_time(search, best, time.monotonic() - began, _answer_seconds(bundle, examples[:4]))
    search.exported = best


def export_int8(search: SearchState) -> None:
    """Add an INT8 network to the exported bundle, calibrated on training images, in the time that is left."""
    clock, candidate = search.run.clock, search.exported
    if candidate is None:
        return
    clock.reserve_s = search.evaluation_s + search.run.config.finish_seconds
    ends_at = time.monotonic() + clock.left()

    def tick() -> None:
        if time.monotonic() > ends_at:
            raise _OutOfTime
        clock.tick()

    rows = stratified_order(search.data.targets, search.run.config.seed)[: quantization.CALIBRATION_IMAGES]
    if clock.left() < _int8_s(candidate) * clock.slowdown.measure():
        clock.emit("note", NO_TIME)
        return
    clock.emit("phase", "Quantizing the model", fraction=0)
    squares = [np.asarray(search.data.pixels[row]) for row in np.sort(rows)]
    try:
        with clock.counted("export"):
            quantization.add_int8(search.run.workdir / "bundle", squares, search.run.threads, tick)
    except _OutOfTime:
        clock.emit("note", NO_TIME)
    except (EngineError, OSError) as problem:
        clock.emit("note", quantization.left_out_note(problem))


def _int8_s(candidate: FittedCandidate) -> float:
    """Seconds of `export_int8` on an idle machine."""
    return quantization.quantization_s(macs_of(candidate.members) / 1e9, quantization.CALIBRATION_IMAGES)


def bundle_info(search: SearchState, candidate: FittedCandidate) -> writer.BundleInfo:
    """The description of a candidate in its bundle, apart from its networks."""
    temperature = candidate.score.temperature
    return writer.BundleInfo(
        search.data.labels,
        search.run.config.is_multi_label,
        search.data.side,
        candidate.recipe,
        temperature,
        _label_thresholds(search, candidate, temperature),
        candidate.score.accuracy,
        asdict(search.images_used(candidate)),
    )


def _label_thresholds(
    search: SearchState, candidate: FittedCandidate, temperature: float
) -> tuple[float, ...]:
    if not search.run.config.is_multi_label:
        return (0.5,) * len(search.data.labels)
    scores = calibrate(candidate.held_out[candidate.is_held_out], temperature, True)
    return tuple(best_thresholds(scores, search.data.targets[candidate.is_held_out]))


def _answer_seconds(bundle: Bundle, examples: Sequence[Path]) -> float:
    """Seconds of the answer to one image on an idle machine: its processor time, shared by two threads."""
    began = time.process_time()
    for example in examples:
        bundle.answer(example)
    return (time.process_time() - began) / max(2 * len(examples), 1)


def _reserve_time(search: SearchState, best: FittedCandidate, export_s: float, image_s: float) -> None:
    """Reserve time for the last export, for the evaluation and for what the caller does then.

    It is kept for an idle machine, as is `image_s`; `export_s` is as measured. Larger models reserve more
    before they are fitted (`SearchState.reserve_evaluation`). The export of a model of
    fine-tuned networks alone extracts features of training images again. A short fit, or one on a busy
    machine, reserves none for an INT8 network, which is then made only where the search ends early.
    """
    extraction_s = min(MAX_EXTRACTED, len(search.data.paths)) / (search.throughput.per_second or 100)
    clock = search.run.clock
    slowdown = clock.slowdown.measure()
    measured_s = (1.5 * export_s + extraction_s) / slowdown
    images = search.run.eval_images
    search.evaluation_s = budget.evaluation_reserve_s(images, image_s)
    int8_s = _int8_s(best) + budget.number_format_reserve_s(images, image_s)
    if slowdown * int8_s <= budget.INT8_SHARE * search.run.config.max_seconds:
        search.evaluation_s += budget.number_format_reserve_s(images, image_s)
        measured_s += _int8_s(best)
    search.answer_s, search.answer_s_per_mac = image_s, image_s / macs_of(best.members)
    clock.reserve_s = measured_s + search.evaluation_s + search.run.config.finish_seconds
