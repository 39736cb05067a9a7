"""Loaded models of the web process and the batch worker, bounded by number and bytes."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from django.core.files.storage import default_storage

from exeml_site.lib.storage import local_path
from training.models import TrainingVersion

if TYPE_CHECKING:
    from training.engine.bundle.bundle import Bundle


logger = logging.getLogger(__name__)

THREADS = 2  # of OpenVINO, for each model: the process also serves pages
MAX_MODELS = 8
MAX_BYTES = 512 * 1024 * 1024
TRAINING_ONLY_FILES = frozenset({"weights.pt"})  # large, and only for training further


class ModelUnavailable(Exception):
    """The model cannot be loaded or does not answer; the text says why."""


def load_model(version: TrainingVersion) -> Bundle:
    """The version's model, from memory where it was used lately. Raises ModelUnavailable."""
    return _cache.take(version)


def bundle_folder(version: TrainingVersion) -> Path:
    """The version's stored bundle as a folder of this machine. Raises ModelUnavailable."""
    try:
        return _local_folder(f"{version.folder}/bundle")[0]
    except OSError as problem:
        raise ModelUnavailable("The model cannot be loaded. Its files are missing.") from problem


@dataclass(slots=True)
class _Entry:
    """Where one model stands. The lock lets one thread load while the others wait for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    bundle: Bundle | None = None
    size_bytes: int = 0


class _ModelCache:
    """The models used lately, bounded by number and by bytes of their files.

    Kept under the version's job id: unlike a primary key it is never given twice.
    """

    def __init__(self, most_models: int, most_bytes: int) -> None:
        self.most_models, self.most_bytes = most_models, most_bytes
        self._lock = threading.Lock()
        self._places: OrderedDict[UUID, _Entry] = OrderedDict()

    def take(self, version: TrainingVersion) -> Bundle:
        place = self._place_of(version.job_id)
        with place.lock:
            if place.bundle is None:
                place.bundle, place.size_bytes = _load_bundle(version)
                self._make_room(version.job_id)
            return place.bundle

    def _place_of(self, key: UUID) -> _Entry:
        with self._lock:
            place = self._places.setdefault(key, _Entry())
            self._places.move_to_end(key)
            return place

    def _make_room(self, newest: UUID) -> None:
        """Drop what was used longest ago; calls under way keep their own hold on a dropped model."""
        with self._lock:
            while len(self._places) > 1 and self._is_full():
                oldest = next(key for key in self._places if key != newest)
                del self._places[oldest]

    def _is_full(self) -> bool:
        total = sum(place.size_bytes for place in self._places.values())
        return len(self._places) > self.most_models or total > self.most_bytes


def _load_bundle(version: TrainingVersion) -> tuple[Bundle, int]:
    from training.engine.bundle.bundle import Bundle
    from training.engine.config import EngineError

    try:
        folder, size_bytes = _local_folder(f"{version.folder}/bundle")
        return Bundle.load(folder, THREADS), size_bytes
    except (EngineError, OSError) as problem:
        logger.warning("The model of version %s cannot be loaded: %s", version.pk, problem)
        cause = str(problem) if isinstance(problem, EngineError) else "Its files are missing."
        raise ModelUnavailable(f"The model cannot be loaded. {cause}") from problem


def _local_folder(name: str) -> tuple[Path, int]:
    """The folder of the stored bundle on this machine, and the size of its files in bytes."""
    _, names = default_storage.listdir(name)
    paths = [local_path(f"{name}/{file}") for file in names if file not in TRAINING_ONLY_FILES]
    if not paths:
        raise FileNotFoundError(name)
    return paths[0].parent, sum(path.stat().st_size for path in paths)


_cache = _ModelCache(MAX_MODELS, MAX_BYTES)
