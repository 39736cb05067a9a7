"""The best model so far, put on disk with the time kept back that its last export will need."""

from __future__ import annotations

import time

from training.engine.bundle import writer
from training.engine.bundle.bundle import calibrate
from training.engine.search import budget
from training.engine.search.novelty_reference import MAX_EXTRACTED, make_reference
from training.engine.search.scoring import best_thresholds
from training.engine.search.state import Candidate, Search


def export_best(search: Search) -> None:
    """Put the best model on disk, unless it is there already."""
    best = search.best
    if best is None or best is search.exported:
        return
    examples = search.paths[:: max(1, len(search.paths) // 8)][:8]
    identity = bundle_info(search, best)
    began = time.monotonic()
    known, target = make_reference(search, best, identity), search.workdir / "bundle"
    bundle = writer.export_bundle(
        best.members, identity, target, examples, search.threads, known, search.trained_on
    )
    _reserve_time(search, time.monotonic() - began, bundle.description["inference_ms"]["p50"] / 1e3)
    search.exported = best


def bundle_info(search: Search, best: Candidate) -> writer.BundleInfo:
    """What the bundle of a contender says about itself."""
    temperature = best.verdict.temperature
    return writer.BundleInfo(
        search.labels,
        search.config.is_multi_label,
        search.side,
        best.recipe,
        temperature,
        _label_thresholds(search, best, temperature),
        best.verdict.accuracy,
    )


def _label_thresholds(search: Search, best: Candidate, temperature: float) -> tuple[float, ...]:
    if not search.config.is_multi_label:
        return (0.5,) * len(search.labels)
    scores = calibrate(best.held_out[best.known], temperature, True)
    return tuple(best_thresholds(scores, search.targets[best.known]))


def _reserve_time(search: Search, export_s: float, image_s: float) -> None:
    """Reserve time for the last export and for the evaluation, at the speed measured here.

    A model of fine-tuned networks alone looks at some training images again before it is exported.
    """
    looks_s = min(MAX_EXTRACTED, len(search.paths)) / (search.throughput.per_second or 100)
    reserve = 1.5 * export_s + looks_s + budget.evaluation_reserve_s(search.eval_images, 1.5 * image_s)
    clock = search.clock
    clock.reserve_s = min(max(clock.reserve_s, reserve), search.config.max_seconds / 2)
