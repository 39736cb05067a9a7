"""The job that trains a version. It runs in a fresh interpreter of its own and is safe to run twice."""

from __future__ import annotations

import contextlib
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.utils.translation import gettext_noop
from rq.job import get_current_job
from rq.timeouts import JobTimeoutException, UnixSignalDeathPenalty

from exeml_site.lib import jobs, storage
from exeml_site.lib.files import cache
from exeml_site.lib.job_row import ClaimLost
from exeml_site.lib.outages.database import repeat
from projects.datasets import publish, readiness, statistics
from projects.formats.manifest import GROUP, Entry
from training.assist import find_duplicates
from training.engine import EngineError, FitConfig, FitResult, Hardware, Sample, Split, StoppedBeforeModel
from training.jobs import checkpoint_storage, completion, fit_record, promote
from training.jobs.failures import explain_failure
from training.jobs.reporter import Reporter
from training.jobs.storage_wait import StorageWait
from training.jobs.unlabeled import unlabeled_files
from training.models import Device, Status, StopReason, TrainingVersion
from training.models.version import JOB_SLACK
from training.versions.webhook_events import end_training

logger = logging.getLogger(__name__)

DOWNLOADS = 8  # at once
SPLITS: dict[str, Split] = {"TRAIN": "TRAIN", "EVAL": "EVAL"}  # a sample's by the entry's usage
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
    wait, folder = StorageWait(reporter), work_folder(version.pk)
    cache.hold(folder)
    reporter.begin("dataset", gettext_noop("Publishing the dataset version"))
    wait.read(lambda: _publish(version))
    samples = wait.read(lambda: _samples(version))
    if version.promoted_candidate is not None:
        reporter.begin("", gettext_noop("Exporting the chosen candidate"))
        result = wait.read(lambda: promote.promote(version, samples, folder))
    else:
        result = fit_record.read(folder) or _fit(version, samples, reporter, wait)
    if not reporter.is_ours:
        raise ClaimLost
    completion.complete(
        version, samples, result, reporter, lambda entry: wait.read(lambda: _image_path(entry))
    )
    _delete_work(version)


def _fit(version: TrainingVersion, samples: list[Sample], reporter: Reporter, wait: StorageWait) -> FitResult:
    """Train, from the checkpoint that an earlier attempt left on this machine or in the storage."""
    folder = work_folder(version.pk)
    reporter.begin("start", gettext_noop("Loading the training program"))
    from training.engine.fit import fit  # imports torch, which takes seconds

    reporter.end_step()
    restored = wait.read(lambda: checkpoint_storage.restore(version, folder))
    config = wait.read(lambda: _config(version, reporter.used_s, folder))
    unlabeled = wait.read(
        lambda: unlabeled_files(version.project, publish.read_entries(version.dataset_version))
    )
    with _time_guard(version), checkpoint_storage.CheckpointCopy(version, folder, restored):
        result = fit(samples, config, folder, reporter.report, reporter.should_stop, unlabeled)
    if reporter.is_ours:
        fit_record.write(folder, result)
    return result


def _time_guard(version: TrainingVersion) -> contextlib.AbstractContextManager[object]:
    """Ends a fit that keeps no limit. The job's own time limit leaves a day for a storage that is away."""
    if get_current_job() is None:
        return contextlib.nullcontext()
    seconds = int((version.limit + JOB_SLACK).total_seconds())
    return UnixSignalDeathPenalty(seconds, JobTimeoutException)  # type: ignore[no-untyped-call]


def _delete_work(version: TrainingVersion) -> None:
    """Delete what an attempt leaves for the next one, here and in the storage."""
    shutil.rmtree(work_folder(version.pk), ignore_errors=True)
    checkpoint_storage.delete(version)


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
    entries = [entry for entry in publish.read_entries(version.dataset_version) if entry.usage in SPLITS]
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        paths = list(pool.map(_image_path, entries))
    return [
        Sample(str(entry.image_id), path, entry.labels, SPLITS[entry.usage], entry.properties.get(GROUP))
        for entry, path in zip(entries, paths, strict=True)
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
        finish_seconds=completion.FINISH_S,
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


def _end_with_failure(version: TrainingVersion, problem: Exception) -> None:
    """Set Stopped or Failed, with a sentence for the user and, if unexpected, a traceback for operators."""
    status, fields = Status.FAILED, explain_failure(problem, version)
    if isinstance(problem, StoppedBeforeModel):
        status, fields = Status.STOPPED, {"stop_reason": StopReason.USER}
    if "traceback" in fields:
        logger.error("training version %s failed", version.pk, exc_info=problem)
    end_training(version.held(), version, status, **fields)
    _delete_work(version)
