"""Answers of deployed versions: the only place where the web process loads a model (by OpenVINO)."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.core.files.storage import default_storage

from exeml_site.lib.storage import local_path
from projects.images import decode
from training.models import Service, TrainingVersion

if TYPE_CHECKING:
    from training.engine.bundle.bundle import Bundle

logger = logging.getLogger(__name__)

TOP_SCORES = 5
THREADS = 2  # of OpenVINO, for each model: the process also serves pages
MOST_MODELS = 8
MOST_BYTES = 512 * 1024 * 1024
# More at once would not be faster, and a large picture takes 200 MB while it is decoded.
_at_work = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
NOT_FOR_ANSWERS = frozenset({"weights.pt"})  # large, and only for training further


class PictureRefused(Exception):
    """The picture cannot be answered; the text says why, for the caller."""


class ModelUnavailable(Exception):
    """The model cannot be loaded or does not answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says about one picture."""

    scores: tuple[tuple[str, float], ...]  # the five best, best first
    predicted_labels: tuple[str, ...]
    is_multi_label: bool
    is_known: bool | None = None  # None: the model cannot tell
    familiarity: float | None = None
    version: str = ""
    request_id: UUID | None = None
    is_collected: bool = False

    @property
    def predicted_label(self) -> str:
        return self.scores[0][0]

    @property
    def percents(self) -> list[tuple[str, str]]:
        """As the page shows them: ("roses", "97.1")."""
        return [(label, f"{100 * score:.1f}") for label, score in self.scores]

    def as_json(self) -> dict[str, Any]:
        """The answer of the API."""
        answer: dict[str, Any] = {"predicted_label": self.predicted_label}
        if self.is_multi_label:
            answer["predicted_labels"] = list(self.predicted_labels)
        return answer | {
            "scores": [[label, round(score, 6)] for label, score in self.scores],
            "is_known": self.is_known,
            "version": self.version,
            "request_id": str(self.request_id),
            "is_collected": self.is_collected,
        }


def version_for_a_call(service: Service) -> TrainingVersion:
    """The version that answers this call: the trial's for its share of them, as long as it can."""
    trial = service.trial_version
    if trial is None or not service.is_running or 100 * random.random() >= service.trial_percent:
        return service.training_version
    try:
        load(trial)
    except ModelUnavailable:  # the log says why; a trial must cost nobody an answer
        return service.training_version
    return trial


def predict(version: TrainingVersion, image: bytes) -> Answer:
    """The answer to one picture, equal to the evaluation's for the same picture.

    The bytes go to the bundle as they are: it decodes them as it did for the evaluation. Raises
    PictureRefused for a picture that does not decode, and ModelUnavailable.
    """
    from training.engine.data.images import UnreadableImage

    bundle = load(version)
    try:
        decode.open_header(image)
        with _at_work:
            found = bundle.answer(image)
    except (decode.Refused, UnreadableImage) as problem:
        raise PictureRefused(str(problem)) from problem
    best = found.scores.argsort(kind="stable")[::-1][:TOP_SCORES]
    return Answer(
        scores=tuple((bundle.labels[index], float(found.scores[index])) for index in best),
        predicted_labels=found.chosen,
        is_multi_label=bundle.is_multi_label,
        is_known=found.judgement.is_known,
        familiarity=found.judgement.familiarity,
        version=version.name,
        request_id=uuid4(),
    )


def load(version: TrainingVersion) -> Bundle:
    """The version's model, from memory where it was used lately. Raises ModelUnavailable."""
    return _shelf.take(version)


def bundle_folder(version: TrainingVersion) -> Path:
    """The version's stored bundle as a folder of this machine. Raises ModelUnavailable."""
    try:
        return _fetch(f"{version.folder}/bundle")[0]
    except OSError as problem:
        raise ModelUnavailable("The model cannot be loaded. Its files are missing.") from problem


def prove(version: TrainingVersion) -> None:
    """Load the model, compare it with its own self-test and answer once. Raises ModelUnavailable."""
    from PIL import Image

    from training.engine.config import EngineError

    try:
        bundle = load(version)
        bundle.self_test()
        bundle.predict_one(Image.new("RGB", (64, 64), "grey"))
    except EngineError as problem:
        raise ModelUnavailable(str(problem)) from problem


@dataclass(slots=True)
class _Place:
    """Where one model stands. The lock lets one thread load while the others wait for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    bundle: Bundle | None = None
    size_bytes: int = 0


class _Shelf:
    """The models used lately, bounded by number and by bytes of their files.

    Kept under the version's job id: unlike a primary key it is never given twice.
    """

    def __init__(self, most_models: int, most_bytes: int) -> None:
        self.most_models, self.most_bytes = most_models, most_bytes
        self._lock = threading.Lock()
        self._places: OrderedDict[UUID, _Place] = OrderedDict()

    def take(self, version: TrainingVersion) -> Bundle:
        place = self._place_of(version.job_id)
        with place.lock:
            if place.bundle is None:
                place.bundle, place.size_bytes = _read(version)
                self._make_room(version.job_id)
            return place.bundle

    def _place_of(self, key: UUID) -> _Place:
        with self._lock:
            place = self._places.setdefault(key, _Place())
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


def _read(version: TrainingVersion) -> tuple[Bundle, int]:
    from training.engine.bundle.bundle import Bundle
    from training.engine.config import EngineError

    try:
        folder, size_bytes = _fetch(f"{version.folder}/bundle")
        return Bundle.load(folder, THREADS), size_bytes
    except (EngineError, OSError) as problem:
        logger.warning("The model of version %s cannot be loaded: %s", version.pk, problem)
        cause = str(problem) if isinstance(problem, EngineError) else "Its files are missing."
        raise ModelUnavailable(f"The model cannot be loaded. {cause}") from problem


def _fetch(name: str) -> tuple[Path, int]:
    """The folder of the stored bundle on this machine, and the size of its files in bytes."""
    _, names = default_storage.listdir(name)
    paths = [local_path(f"{name}/{file}") for file in names if file not in NOT_FOR_ANSWERS]
    if not paths:
        raise FileNotFoundError(name)
    return paths[0].parent, sum(path.stat().st_size for path in paths)


_shelf = _Shelf(MOST_MODELS, MOST_BYTES)
