"""What follows a fit: evaluation, charts, the model into the storage, and Completed with every figure."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_noop

from exeml_site.lib import jobs, storage
from exeml_site.lib.job_row import ClaimLost
from projects.datasets.groups import evaluation_groups
from projects.formats.manifest import Entry
from training.engine import EngineError, FitResult, Sample
from training.engine.evaluation.metrics import Report
from training.jobs import final_test, promote, record
from training.jobs.reporter import Reporter
from training.jobs.storage_wait import StorageWait
from training.models import Device, Status, TrainingVersion
from training.versions.webhook_events import raise_training_ended

if TYPE_CHECKING:
    from training.engine.evaluation.number_formats import NumberFormatChoice

logger = logging.getLogger(__name__)

# What follows the evaluation takes on an idle machine: drawing charts, storing the model, writing the rows.
FINISH_S = 2


@dataclass(frozen=True)
class _Completion:
    """All that the row of a Completed version and the rows beside it are written from."""

    result: FitResult
    choice: NumberFormatChoice
    test: final_test.PredictedTest | None
    model_bytes: int
    progress: dict[str, Any]


def complete(
    version: TrainingVersion,
    samples: Sequence[Sample],
    result: FitResult,
    reporter: Reporter,
    path_of: Callable[[Entry], Path],
) -> None:
    """Evaluate on the validation images, store the files, then set Completed together with every metric.

    While the storage or the database is away, the model waits for it.
    """
    wait = StorageWait(reporter)
    groups = wait.read(lambda: groups_of(version, samples))
    held_out, excluded = independent_samples(result.bundle, samples, groups)
    choice = _evaluate(version, held_out, result, reporter)
    test = _predict_test_images(version, result.bundle, reporter, path_of)
    reporter.begin("charts", gettext_noop("Drawing charts"))
    charts = _draw_charts(version, choice.evaluation.report, _curve_until_now(reporter), result)
    reporter.begin("recording", gettext_noop("Storing the model"))
    for name, content in charts.items():
        wait.store(partial(storage.save_whole, f"{version.folder}/charts/{name}.svg", content))
    size = _store_model(version, result, wait)
    reporter.end_step("recording")
    progress = {
        **reporter.state,
        "charts": list(charts),
        "notes": list(result.notes),
        "unreadable": len(choice.evaluation.unreadable),
        "seen_before": excluded,
    }
    completion = _Completion(result, choice, test, size, progress)
    wait.store(lambda: _record(version, completion))


def _evaluate(
    version: TrainingVersion, held_out: list[Sample], result: FitResult, reporter: Reporter
) -> NumberFormatChoice:
    from training.engine.evaluation.evaluate import evaluate
    from training.engine.evaluation.number_formats import choose_number_format

    message = f"Evaluating on {len(held_out):,} validation images"  # not translated: stored with values
    reporter.begin("evaluation", message)
    threads = settings.EXEML_ENGINE_THREADS or None
    exact = evaluate(result.bundle, held_out, reporter.advance, threads)
    reporter.begin("evaluation", gettext_noop("Comparing the number formats of the model"))
    left_s = math.inf  # what was promoted has no limit
    if version.promoted_candidate is None:
        left_s = version.limit.total_seconds() - reporter.used_s - FINISH_S
    return choose_number_format(result.bundle, held_out, exact, threads, left_s, reporter.advance)


def _predict_test_images(
    version: TrainingVersion, bundle: Path, reporter: Reporter, path_of: Callable[[Entry], Path]
) -> final_test.PredictedTest | None:
    """Evaluate the chosen model on the test images, where the dataset version has any."""
    tests = version.dataset_version.test_count
    if not tests:
        return None
    message = f"Evaluating on {tests:,} test image{'' if tests == 1 else 's'}"  # not translated: stored
    reporter.begin("test", message)
    return final_test.predict_test_images(version, bundle, path_of, reporter.advance)


def groups_of(version: TrainingVersion, samples: Sequence[Sample]) -> dict[str, int | None]:
    """The group of each image, by the id of its sample: duplicates, or images that are never split."""
    ids = [sample.id for sample in samples if sample.id.isdecimal()]
    numbers = evaluation_groups(version.project, [int(one) for one in ids])
    return dict(zip(ids, numbers or [], strict=False))


def independent_samples(
    bundle: Path, samples: Sequence[Sample], groups: Mapping[str, int | None]
) -> tuple[list[Sample], int]:
    """The validation images that the model and its ancestors were not trained on, and the number of the
    others.

    An ancestor may have been trained on images that moved to the validation split later; with them goes the
    rest of their group, by the id of the sample. Raises EngineError if no image is left.
    """
    from training.engine.bundle.writer import hash_ids, read_trained_on

    held_out = [sample for sample in samples if sample.split == "EVAL"]
    is_seen = np.isin(hash_ids(sample.id for sample in held_out), read_trained_on(bundle))
    pairs = list(zip(held_out, is_seen.tolist(), strict=True))
    seen_groups = {groups.get(sample.id) for sample, seen in pairs if seen} - {None}
    independent = [sample for sample, seen in pairs if not seen and groups.get(sample.id) not in seen_groups]
    if not independent:
        raise EngineError(
            gettext_noop("The model that this one continues was trained on every validation image."),
            gettext_noop("Label more images, or train with None as Incremental Training Version."),
        )
    return independent, len(held_out) - len(independent)


def _curve_until_now(reporter: Reporter) -> list[list[float]]:
    """The progress curve, its last accuracy extended until now."""
    curve: list[list[float]] = reporter.state.get("curve", [])
    return [*curve, [reporter.used_s, curve[-1][1]]] if curve else []


def _draw_charts(
    version: TrainingVersion, report: Report, curve: list[list[float]], result: FitResult
) -> dict[str, bytes]:
    """The charts as SVG, by their names. A chart that fails must not cost the model."""
    from training.evaluation.plots import charts

    try:
        return charts.render(report, curve, result.candidates, version.max_inference_ms)
    except Exception:
        logger.exception("the charts of training version %s were not drawn", version.pk)
        return {}


def _store_model(version: TrainingVersion, result: FitResult, wait: StorageWait) -> int:
    """Copy bundle and candidates to the storage. Returns the bytes that a service loads: no weights."""
    files = {f"bundle/{path.name}": path for path in sorted(result.bundle.iterdir())}
    size = sum(path.stat().st_size for path in files.values() if path.name != "weights.pt")
    if result.candidates_file is not None:
        files[promote.CANDIDATES_FILE] = result.candidates_file
    for name, path in files.items():
        wait.store(partial(_store_file, f"{version.folder}/{name}", path))
    return size


def _store_file(name: str, path: Path) -> None:
    with path.open("rb") as content:
        storage.save_whole(name, content)


@transaction.atomic
def _record(version: TrainingVersion, completion: _Completion) -> None:
    """Write all rows and the final status, or none."""
    evaluation = completion.choice.evaluation
    _set_completed(version, completion)
    record.record(version, evaluation.labels, evaluation.predictions, completion.result.candidates)
    final_test.record_test(version, completion.test)
    raise_training_ended(version)


def _set_completed(version: TrainingVersion, completion: _Completion) -> None:
    result, choice, progress = completion.result, completion.choice, completion.progress
    is_ended = version.held().end(
        Status.COMPLETED,
        progress=progress,
        stop_reason=result.stop_reason,
        ran_on=describe_device(version, result.device),
        model_name=f"exeML-{version.project.name}-{version.name}",
        model_bytes=completion.model_bytes,
        number_format=choice.default,
        number_formats=[asdict(report) for report in choice.reports],
        images_used=asdict(result.best.images) if result.best.images else {},
        inference_ms=result.best.inference_ms,
        inference_low_ms=result.best.inference_low_ms,
        inference_high_ms=result.best.inference_high_ms,
        is_inference_measured=result.best.is_measured,
        seconds_by_phase=result.seconds_by_phase | progress["seconds_by_step"],
        cross_validation=asdict(result.cross_validation) if result.cross_validation else {},
    )
    if not is_ended:
        raise ClaimLost
    jobs.enqueue("suggest_labels", version.project_id)  # its predictions replace the suggestions
    jobs.enqueue("forecast_gains", version.pk)


def describe_device(version: TrainingVersion, device: str) -> str:
    """The hardware that was used, as in “CPU, 2 threads”, and a remark if a GPU was asked for and missing."""
    if device != "cpu":
        from training.engine.backbones.timm_loader import gpu_name

        return f"GPU, {gpu_name()}"
    threads = settings.EXEML_ENGINE_THREADS or os.cpu_count() or 1
    text = f"CPU, {threads} thread{'' if threads == 1 else 's'}"
    if version.flavor.device == Device.GPU:
        return f"{text} (the flavor asks for a GPU; this machine has none)"  # not translated: stored
    return text
