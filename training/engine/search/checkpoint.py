"""Export the best model so far, and reserve the time that its last export will take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from training.engine.bundle import writer
from training.engine.bundle.bundle import Bundle, calibrate
from training.engine.search import budget
from training.engine.search.novelty_reference import MAX_EXTRACTED, make_reference
from training.engine.search.scoring import best_thresholds
from training.engine.search.state import FittedCandidate, SearchState


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
    _reserve_time(search, time.monotonic() - began, _answer_seconds(bundle, examples[:4]))
    search.exported = best


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


def _reserve_time(search: SearchState, export_s: float, image_s: float) -> None:
    """Reserve time for the last export, for the evaluation and for what the caller does then.

    It is kept for an idle machine, as is `image_s`; `export_s` is as measured. The export of a model of
    fine-tuned networks alone extracts features of training images again.
    """
    extraction_s = min(MAX_EXTRACTED, len(search.data.paths)) / (search.throughput.per_second or 100)
    clock = search.run.clock
    slowdown = clock.slowdown.measure()
    measured_s = (1.5 * export_s + extraction_s) / slowdown
    evaluation_s = budget.evaluation_reserve_s(search.run.eval_images, image_s)
    reserve_s = measured_s + evaluation_s + search.run.config.finish_seconds
    clock.reserve_s = max(clock.reserve_s, reserve_s)
