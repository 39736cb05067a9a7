"""Promotion: exports another candidate of a finished search as a version's model, without training."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.translation import gettext_noop

from exeml_site.lib import storage
from training.engine import EngineError, FitResult, Sample
from training.models import Candidate, TrainingVersion

if TYPE_CHECKING:
    from training.engine.bundle.bundle import Bundle

CANDIDATES_FILE = "candidates.pt"  # in the version's folder, beside bundle/
MAX_EXAMPLES = 8


def promote(version: TrainingVersion, samples: Sequence[Sample], folder: Path) -> FitResult:
    """Export the version's promoted candidate as a bundle in `folder`. Raises EngineError if it is gone."""
    from training.engine.search.candidate_store import restore_candidate

    candidate = version.promoted_candidate
    if candidate is None or candidate.place is None:
        raise EngineError(
            gettext_noop("The candidate that this version was promoted from no longer exists."),
            gettext_noop("Train again."),
        )
    examples = [sample.path for sample in samples if sample.split == "TRAIN" and sample.path.exists()][
        :MAX_EXAMPLES
    ]
    threads = settings.EXEML_ENGINE_THREADS or os.cpu_count() or 1
    began = time.monotonic()
    bundle, report = restore_candidate(
        _candidates_path(candidate), candidate.place, folder / "bundle", examples, threads
    )
    notes = _add_int8(bundle, samples, threads)
    return FitResult(
        bundle=folder / "bundle",
        labels=bundle.labels,
        best=report,
        macro_f1=0.0,
        images_per_second=None,
        candidates=(report,),
        stop_reason="promoted",
        seconds_by_phase={"export": round(time.monotonic() - began, 2)},
        device="cpu",
        curve=(),
        notes=notes,
    )


def _add_int8(bundle: Bundle, samples: Sequence[Sample], threads: int) -> tuple[str, ...]:
    """Add an INT8 network, calibrated on training images; gives why there is none."""
    from training.engine.bundle import quantization
    from training.engine.data.images import UnreadableImage

    train, squares = [sample for sample in samples if sample.split == "TRAIN"], []
    for sample in train[:: max(1, len(train) // quantization.CALIBRATION_IMAGES)]:
        with contextlib.suppress(UnreadableImage, OSError):
            squares.append(bundle.read(sample.path))
    try:
        quantization.add_int8(bundle.path, squares[: quantization.CALIBRATION_IMAGES], threads)
    except EngineError as problem:
        return (quantization.left_out_note(problem),)
    return ()


def _candidates_path(candidate: Candidate) -> Path:
    version = candidate.training_version
    try:
        return storage.local_path(f"{version.folder}/{CANDIDATES_FILE}")
    except FileNotFoundError as problem:
        raise EngineError(
            f"The candidates of {version} no longer exist.",  # not translated: stored with values
            gettext_noop("Train again to choose another one."),
        ) from problem
