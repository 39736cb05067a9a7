"""The job that trains a version. It runs in a fresh interpreter of its own and is safe to run twice."""

from __future__ import annotations

import errno
import logging
import math
import os
import shutil
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils.translation import gettext_noop

from exeml_site.lib import jobs, storage
from exeml_site.lib.job_row import ClaimLost
from exeml_site.lib.outages.database import repeat
from projects.datasets import publish, readiness, statistics
from projects.datasets.groups import evaluation_groups
from projects.formats.manifest import GROUP, Entry
from training.assist import find_duplicates
from training.engine import EngineError, FitConfig, FitResult, Hardware, Sample, Split, StoppedBeforeModel
from training.engine.evaluation.metrics import Report
from training.jobs import final_test, promote, record
from training.jobs.reporter import Reporter
from training.jobs.unlabeled import unlabeled_files
from training.models import Device, Status, StopReason, TrainingVersion

if TYPE_CHECKING:
    from training.engine.evaluation.number_formats import NumberFormatChoice

logger = logging.getLogger(__name__)

SPLITS: dict[str, Split] = {"TRAIN": "TRAIN", "EVAL": "EVAL"}  # a sample's by the entry's usage
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
OUT_OF_MEMORY = "out of memory"  # not translated: what libraries say
# What follows the evaluation takes on an idle machine: drawing charts, storing the model, writing the rows.
FINISH_S = 2
# An attempt after a crash may use this beyond the limit until it has the model again, or a first one: the
# crash took the time. Within JOB_SLACK, which ends the job.
MAX_OVERTIME_S = 20 * 60


def train(version_id: int, attempt: int) -> None:
    """Publish, fit, evaluate and record. Every ending except the death of the machine is a final state."""
    version = claim(version_id, attempt)
    if version is None:
        logger.info("training version %s, attempt %s: not ours to run", version_id, attempt)
        return
    try:
        _train(version, Reporter(version, jobs.seconds_since_taken()))
    except ClaimLost:
        logger.warning("training version %s was taken away while it ran", version_id)
    except Exception as problem:
        repeat(partial(_end_with_failure, version, problem))


def claim(version_id: int, attempt: int) -> TrainingVersion | None:
    """Claim the attempt for this job by one UPDATE that only one job can win. None for the others."""
    unclaimed = TrainingVersion.objects.active().filter(
        pk=version_id, attempt=attempt, claimed_attempt__lt=attempt
    )
    if not unclaimed.claim(claimed_attempt=attempt):
        return None
    return TrainingVersion.objects.select_related(
        "project",
        "dataset_version",
        "flavor",
        "incremental_version",
        "promoted_candidate__training_version",
    ).get(pk=version_id)


def work_folder(version_id: int) -> Path:
    """Folder where an attempt leaves the state that the next attempt resumes from."""
    return Path(settings.WORK_DIR) / f"training-{version_id}"


def _train(version: TrainingVersion, reporter: Reporter) -> None:
    """What asks the database before and after the fit begins again when the database went away meanwhile."""
    reporter.begin("dataset", gettext_noop("Publishing the dataset version"))
    repeat(partial(_publish, version))
    samples = repeat(partial(_samples, version))
    folder = work_folder(version.pk)
    folder.mkdir(parents=True, exist_ok=True)
    if version.promoted_candidate is not None:
        reporter.begin("", gettext_noop("Exporting the chosen candidate"))
        result = repeat(partial(promote.promote, version, samples, folder))
    else:
        reporter.begin("start", gettext_noop("Loading the training program"))
        from training.engine.fit import fit  # imports torch, which takes seconds

        reporter.end_step()
        config = repeat(partial(_config, version, reporter.used_s, folder))
        entries = publish.read_entries(version.dataset_version)
        unlabeled = repeat(partial(unlabeled_files, version.project, entries))
        result = fit(samples, config, folder, reporter.report, reporter.should_stop, unlabeled)
    if not reporter.is_ours:
        raise ClaimLost
    repeat(partial(_finish, version, samples, result, reporter))
    shutil.rmtree(folder, ignore_errors=True)


def _publish(version: TrainingVersion) -> None:
    """Publish the dataset. Raises EngineError if labels were removed since, so that it is no longer ready."""
    if not version.dataset_version.is_published:
        state = readiness.readiness(version.project)
        if not state.is_ready:
            remedy = gettext_noop("Label the images, then press Retry.")
            raise EngineError(" ".join(state.missing), remedy)
        # Duplicates of images that were added a moment ago must not be split either.
        find_duplicates.update_duplicate_groups(version.project)
    publish.publish(version.dataset_version)
    statistics.statistics_of(version.dataset_version)


def _samples(version: TrainingVersion) -> list[Sample]:
    """The images that are trained and validated on; test images are neither (`jobs.final_test`)."""
    return [
        Sample(str(entry.image_id), _image_path(entry), entry.labels, split, entry.properties.get(GROUP))
        for entry in publish.read_entries(version.dataset_version)
        if (split := SPLITS.get(entry.usage)) is not None
    ]


def _image_path(entry: Entry) -> Path:
    """The file of an entry. A missing file is left to the engine, which skips and names unreadable images."""
    try:
        return storage.local_path(entry.source)
    except FileNotFoundError:
        return Path(settings.WORK_DIR) / "missing" / entry.source


def _config(version: TrainingVersion, used_s: float, folder: Path) -> FitConfig:
    """The configuration of the fit. Its time: the limit less the time used."""
    left_s = version.limit.total_seconds() - used_s
    hardware: Hardware = "CPU" if version.inference_hardware == "CPU" else "NV_P4"
    # The engine counts the time of a killed fit itself, so the limit passed to it includes that time.
    return FitConfig(
        max_seconds=max(left_s, 1) + _used_by_engine(folder),
        finish_seconds=FINISH_S,
        test_images=version.dataset_version.test_count,
        first_model_seconds=MAX_OVERTIME_S if "lost" in version.progress else 0,
        hardware=hardware,
        max_inference_ms=version.max_inference_ms,
        base_bundle=_base_bundle(version),
        is_multi_label=version.project.is_multi_label,
        device="auto" if version.flavor.device == Device.GPU else "cpu",
        threads=settings.EXEML_ENGINE_THREADS or None,
    )


def _used_by_engine(folder: Path) -> float:
    """Seconds that a killed fit noted in its folder; the next fit continues counting from there."""
    from training.engine.search.time_limit import read_json

    return float((read_json(folder / "checkpoint" / "clock.json") or {}).get("used_s", 0))


def _base_bundle(version: TrainingVersion) -> Path | None:
    base = version.incremental_version
    if base is None:
        return None
    try:
        return bundle_path(base)
    except FileNotFoundError as problem:
        raise EngineError(
            f"The model of {base}, which this training continues, no longer exists.",  # not translated: it
            gettext_noop("Train again with another Incremental Training Version, or with None."),
        ) from problem


def bundle_path(version: TrainingVersion) -> Path:
    """The version's stored bundle as a local folder. Raises FileNotFoundError if there is none."""
    folder = f"{version.folder}/bundle"
    _, names = default_storage.listdir(folder)
    paths = [storage.local_path(f"{folder}/{name}") for name in names]
    if not paths:
        raise FileNotFoundError(f"{version} has no stored model.")  # not translated: for logs
    return paths[0].parent


def _finish(
    version: TrainingVersion, samples: Sequence[Sample], result: FitResult, reporter: Reporter
) -> None:
    """Evaluate on the validation images, store the files, then set Completed together with every metric."""
    from training.engine.evaluation.evaluate import evaluate
    from training.engine.evaluation.number_formats import choose_number_format

    held_out, excluded = independent_samples(result.bundle, samples, _groups(version, samples))
    message = f"Evaluating on {len(held_out):,} validation images"  # not translated: stored with values
    reporter.begin("evaluation", message)
    threads = settings.EXEML_ENGINE_THREADS or None
    exact = evaluate(result.bundle, held_out, reporter.advance, threads)
    reporter.begin("evaluation", gettext_noop("Comparing the number formats of the model"))
    left_s = math.inf  # what was promoted has no limit
    if version.promoted_candidate is None:
        left_s = version.limit.total_seconds() - reporter.used_s - FINISH_S
    choice = choose_number_format(result.bundle, held_out, exact, threads, left_s, reporter.advance)
    evaluation = choice.evaluation
    test = _predict_test_images(version, result.bundle, reporter)
    reporter.begin("charts", gettext_noop("Drawing charts"))
    charts = _store_charts(version, evaluation.report, _curve_until_now(reporter), result)
    reporter.begin("recording", gettext_noop("Storing the model"))
    size = _store_bundle(version, result.bundle)
    if result.candidates_file is not None:
        with result.candidates_file.open("rb") as content:
            storage.save_whole(f"{version.folder}/{promote.CANDIDATES_FILE}", content)
    reporter.end_step("recording")
    progress = {
        **reporter.state,
        "charts": charts,
        "notes": list(result.notes),
        "unreadable": len(evaluation.unreadable),
        "seen_before": excluded,
    }
    with transaction.atomic():
        _complete(version, result, choice, size, progress)
        record.record(version, evaluation.labels, evaluation.predictions, result.candidates)
        final_test.record_test(version, test)


def _predict_test_images(
    version: TrainingVersion, bundle: Path, reporter: Reporter
) -> final_test.PredictedTest | None:
    """Evaluate the chosen model on the test images, where the dataset version has any."""
    tests = version.dataset_version.test_count
    if not tests:
        return None
    message = f"Evaluating on {tests:,} test image{'' if tests == 1 else 's'}"  # not translated: stored
    reporter.begin("test", message)
    return final_test.predict_test_images(version, bundle, _image_path, reporter.advance)


def _groups(version: TrainingVersion, samples: Sequence[Sample]) -> dict[str, int | None]:
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


def _store_charts(
    version: TrainingVersion, report: Report, curve: list[list[float]], result: FitResult
) -> list[str]:
    """Draw and store the charts; returns their names. A chart that fails must not cost the model."""
    from training.evaluation.plots import charts

    try:
        svgs = charts.render(report, curve, result.candidates, version.max_inference_ms)
        for name, content in svgs.items():
            storage.save_whole(f"{version.folder}/charts/{name}.svg", content)
    except Exception:
        logger.exception("the charts of training version %s were not drawn", version.pk)
        return []
    return list(svgs)


def _store_bundle(version: TrainingVersion, bundle: Path) -> int:
    """Copy the bundle to the storage. Returns the bytes that a service loads: all except the weights."""
    size = 0
    for path in sorted(bundle.iterdir()):
        with path.open("rb") as content:
            storage.save_whole(f"{version.folder}/bundle/{path.name}", content)
        size += 0 if path.name == "weights.pt" else path.stat().st_size
    return size


def _complete(
    version: TrainingVersion,
    result: FitResult,
    choice: NumberFormatChoice,
    size: int,
    progress: dict[str, Any],
) -> None:
    is_ended = version.held().end(
        Status.COMPLETED,
        progress=progress,
        stop_reason=result.stop_reason,
        ran_on=describe_device(version, result.device),
        model_name=f"exeML-{version.project.name}-{version.name}",
        model_bytes=size,
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


def _end_with_failure(version: TrainingVersion, problem: Exception) -> None:
    """Set Stopped or Failed, with a sentence for the user and, if unexpected, a traceback for operators."""
    status, fields = Status.FAILED, explain_failure(problem, version)
    if isinstance(problem, StoppedBeforeModel):
        status, fields = Status.STOPPED, {"stop_reason": StopReason.USER}
    if "traceback" in fields:
        logger.error("training version %s failed", version.pk, exc_info=problem)
    version.held().end(status, **fields)
    shutil.rmtree(work_folder(version.pk), ignore_errors=True)


def explain_failure(problem: Exception, version: TrainingVersion) -> dict[str, str]:
    """The row's fields with cause and remedy in the user's words."""
    if isinstance(problem, EngineError):
        return _failure_fields(problem.cause, problem.remedy)
    if isinstance(problem, publish.ManifestDamaged):
        remedy = gettext_noop("Press Train: a new version publishes the dataset again.")
        return _failure_fields(str(problem), remedy)
    trace = "".join(traceback.format_exception(problem))[-20_000:]
    return {**_unexpected_failure(problem, version), "traceback": trace}


def _unexpected_failure(problem: Exception, version: TrainingVersion) -> dict[str, str]:
    if isinstance(problem, MemoryError) or OUT_OF_MEMORY in str(problem).lower():
        return _failure_fields(
            gettext_noop("The machine ran out of memory."),
            gettext_noop("Press Retry when fewer trainings run, or ask an operator for more memory."),
        )
    if isinstance(problem, OSError) and problem.errno in DISK_FULL_ERRNOS:
        return _failure_fields(
            gettext_noop("The disk of the machine is full."),
            gettext_noop("Ask an operator to free space, then press Retry."),
        )
    return _failure_fields(
        f"Something unexpected happened ({type(problem).__name__}).",  # not translated: stored with values
        f"Press Retry. If it happens again, give an operator the job id {version.job_id}: "
        "the details are kept for them.",  # not translated: stored with values
    )


def _failure_fields(cause: str, remedy: str) -> dict[str, str]:
    return {"failure_cause": cause, "failure_remedy": remedy}
