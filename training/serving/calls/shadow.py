"""Shadow predictions: images of answered calls are predicted by a second version, too; callers never see it.

The second version is the service's shadow or canary; what the canary answered is predicted by the service's
own version. One thread of each web process predicts while half of the cores have no call. What waits is
bounded: an image that finds no place is counted as skipped. A killed process loses what waits.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.db import Error, IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from exeml_site.lib.outages.parts import is_reported
from training.engine.bundle.decision import AnswerSettings
from training.models import CollectedCall, Service, ShadowAnswer, ShadowCount, TrainingVersion
from training.serving.calls.limits import call_limit
from training.serving.inference import predictor
from training.serving.inference.predictor import Answer
from training.versions.answer_settings import settings_in
from training.versions.number_formats import number_format_in

logger = logging.getLogger(__name__)

MAX_WAITING, MAX_WAITING_BYTES = 64, 64 * 1024 * 1024  # of one process
MAX_UNWRITTEN = 1000  # answers that are kept while the database cannot be written
FLUSH_INTERVAL_S, PAUSE_S = 2.0, 0.02
MAX_CALLS_BESIDE = max(1, len(os.sched_getaffinity(0)) // 2)  # from that many calls on, the thread waits
PairKey = tuple[UUID, int, int]  # service, its version, its shadow version


@dataclass(frozen=True, slots=True)
class WaitingImage:
    """An image whose given answer is known; `version` is the one that has yet to predict it."""

    pair: PairKey
    version: TrainingVersion
    settings: AnswerSettings
    number_format: str
    content: bytes
    given: Answer


@dataclass(slots=True)
class PairCounts:
    images: int = 0
    agreed: int = 0
    skipped: int = 0
    failed: int = 0


@dataclass
class Waiting:
    """What this process has yet to predict and to write."""

    images: deque[WaitingImage] = field(default_factory=deque)
    size: int = 0
    counts: dict[PairKey, PairCounts] = field(default_factory=dict)
    answers: list[ShadowAnswer] = field(default_factory=list)

    def count(self, pair: PairKey) -> PairCounts:
        return self.counts.setdefault(pair, PairCounts())


_lock = threading.Condition()
_waiting = Waiting()


def offer(
    service: Service,
    answered_by: TrainingVersion,
    images: Sequence[UploadedFile[bytes]],
    answers: Sequence[Answer],
) -> None:
    """Take the images of an answered call for the second version, as far as there is room. Never raises."""
    canary_id, main_id = service.canary_version_id, service.training_version_id
    if canary_id is None or answered_by.pk not in (main_id, canary_id):
        return
    try:
        other = service.training_version if answered_by.pk == canary_id else service.canary_version
        assert other is not None
        for image, answer in zip(images, answers, strict=True):
            _take((service.pk, main_id, canary_id), service, other, image, answer)
    except Exception:  # the caller's answer never depends on the second one
        logger.exception("Images of a call of service %s got no second prediction", service.pk)


def _take(
    pair: PairKey,
    service: Service,
    version: TrainingVersion,
    image: UploadedFile[bytes],
    answer: Answer,
) -> None:
    size = image.size or 0
    with _lock:
        if len(_waiting.images) >= MAX_WAITING or _waiting.size + size > MAX_WAITING_BYTES:
            _waiting.count(pair).skipped += 1
            return
    image.seek(0)
    content = image.read()
    settings, number_format = settings_in(service, version), number_format_in(service, version)
    with _lock:
        _waiting.images.append(WaitingImage(pair, version, settings, number_format, content, answer))
        _waiting.size += len(content)
        _lock.notify()


def begin() -> None:
    """Start the thread that predicts and writes; write once more when the process ends."""
    threading.Thread(target=_run, name="shadow-predictions", daemon=True).start()
    atexit.register(flush)


def _run() -> None:
    flushed = time.monotonic()
    while True:
        with _lock:
            if not _waiting.images:
                _lock.wait(FLUSH_INTERVAL_S)
        if has_pause():
            predict_next()
        if time.monotonic() - flushed >= FLUSH_INTERVAL_S:
            if _waiting.counts:
                flush()
                connection.close()
            flushed = time.monotonic()


def has_pause() -> bool:
    """Whether calls leave the cores that a prediction needs, within FLUSH_INTERVAL_S."""
    until = time.monotonic() + FLUSH_INTERVAL_S
    while call_limit.inside >= MAX_CALLS_BESIDE:
        if time.monotonic() > until:
            return False
        time.sleep(PAUSE_S)
    return True


def predict_next() -> bool:
    """Predict the image that waits longest. False if none waits."""
    with _lock:
        if not _waiting.images:
            return False
        image = _waiting.images.popleft()
        _waiting.size -= len(image.content)
    try:
        answer = predictor.predict(image.version, image.content, image.settings, image.number_format)
    except Exception as problem:
        logger.warning("Version %s gave no second prediction: %s", image.version.pk, problem)
        with _lock:
            _waiting.count(image.pair).failed += 1
        return True
    row = _row(image, answer)
    with _lock:
        counts = _waiting.count(image.pair)
        counts.images += 1
        counts.agreed += row.agrees
        if image.given.is_collected or not row.agrees:
            _waiting.answers.append(row)
    return True


def _row(image: WaitingImage, second: Answer) -> ShadowAnswer:
    request_id = image.given.request_id
    assert request_id is not None
    service_id, main_id, shadow_id = image.pair
    is_of_shadow = image.version.pk == shadow_id
    main, shadow = (image.given, second) if is_of_shadow else (second, image.given)
    return ShadowAnswer(
        id=request_id,
        service_id=service_id,
        training_version_id=main_id,
        shadow_version_id=shadow_id,
        predicted=list(main.predicted_labels),
        score=main.scores[0][1],
        shadow_predicted=list(shadow.predicted_labels),
        shadow_score=shadow.scores[0][1],
        agrees=set(main.predicted_labels) == set(shadow.predicted_labels),
        collected_id=request_id if image.given.is_collected else None,
    )


def flush() -> None:
    """Write counts and answers. If the database cannot be written now, they are kept for the next flush."""
    with _lock:
        counts, answers = _waiting.counts, _waiting.answers
        _waiting.counts, _waiting.answers = {}, []
    try:
        _write(counts, answers)
    except IntegrityError:  # a version or a service was deleted meanwhile
        logger.warning("Shadow predictions could not be kept.", exc_info=True)
    except Error as problem:
        if not is_reported(problem):
            logger.warning("Shadow predictions could not be written; trying again.", exc_info=True)
        with _lock:
            _waiting.answers = [*answers, *_waiting.answers][-MAX_UNWRITTEN:]
            for pair, before in counts.items():
                now = _waiting.count(pair)
                for name in PairCounts.__slots__:
                    setattr(now, name, getattr(now, name) + getattr(before, name))


def _write(counts: dict[PairKey, PairCounts], answers: list[ShadowAnswer]) -> None:
    with transaction.atomic():
        for pair, seen in sorted(counts.items()):
            row, _ = ShadowCount.objects.get_or_create(
                service_id=pair[0], training_version_id=pair[1], shadow_version_id=pair[2]
            )
            ShadowCount.objects.filter(pk=row.pk).update(
                images=F("images") + seen.images,
                agreed=F("agreed") + seen.agreed,
                skipped=F("skipped") + seen.skipped,
                failed=F("failed") + seen.failed,
                last_at=timezone.now(),
            )
        wanted = [row.collected_id for row in answers if row.collected_id]
        kept = set(CollectedCall.objects.filter(pk__in=wanted).values_list("pk", flat=True))
        ShadowAnswer.objects.bulk_create(
            row for row in answers if row.collected_id is None or row.collected_id in kept
        )


def forget_old() -> int:
    """Delete answers past their service's days, and all of deleted services; how many. Runs once a day."""
    deleted = 0
    for service in Service.objects.filter(shadow_answers__isnull=False).distinct():
        answers = service.shadow_answers.all()
        if service.deleted_at is None:
            answers = answers.filter(at__lt=timezone.now() - timedelta(days=service.keeps_days))
        deleted += answers.delete()[0]
    return deleted
