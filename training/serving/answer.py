"""Answers of a service: choose the version, predict, collect, count.

The API, the test on the service page and batches all predict through here. Only calls are collected and
counted; a batch keeps its answers itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from django.core.files.uploadedfile import UploadedFile

from exeml_site.lib.outages.database import drop_broken_connection
from exeml_site.lib.outages.parts import is_reported
from projects.images import decode
from training.engine.bundle.decision import AnswerSettings
from training.models import Service, TrainingVersion
from training.serving.calls import counters, feedback, shadow
from training.serving.inference import model_cache, predictor
from training.serving.inference.predictor import Answer
from training.versions.answer_settings import settings_in
from training.versions.number_formats import number_format_in


class CallFailed(Exception):
    """A call without an answer; the message tells the caller why. `code` is counted with the calls."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Call:
    """One call of a service and the version that answers it. `answers` is empty until all are known."""

    service: Service
    version: TrainingVersion
    answers: list[Answer] = field(default_factory=list)

    def answer(self, images: Sequence[UploadedFile[bytes]]) -> list[Answer]:
        """The answers in the order of the images; collected if the service collects.

        Raises CallFailed with the code IMAGE_UNREADABLE or MODEL_UNAVAILABLE.
        """
        answers, settings = list[Answer](), settings_in(self.service, self.version)
        number_format = number_format_in(self.service, self.version)
        try:
            for image in images:  # read one by one, so that only one of them is in memory
                answers.append(predictor.predict(self.version, image.read(), settings, number_format))
        except predictor.InvalidImage as problem:
            place = f"{len(answers) + 1} of {len(images)}"
            which = f"Picture {place}: " if len(images) > 1 else ""  # not translated: of the API
            raise CallFailed("IMAGE_UNREADABLE", f"{which}{problem}") from problem
        except model_cache.ModelUnavailable as problem:
            raise CallFailed("MODEL_UNAVAILABLE", str(problem)) from problem
        if self.service.collects:
            answers = self._collect(images, answers)
        self.answers = answers
        shadow.offer(self.service, self.version, images, answers)
        return answers

    def _collect(self, images: Sequence[UploadedFile[bytes]], answers: list[Answer]) -> list[Answer]:
        """Store the images once all are answered: the caller of a failed call has no request id for them.

        An answer never waits for a database or a storage that does not respond: its image is not collected.
        """
        kept: list[Answer] = []
        for image, answer in zip(images, answers, strict=True):
            image.seek(0)
            try:
                if answer.request_id:
                    feedback.store_call(self.service, self.version, answer.request_id, image.read(), answer)
            except Exception as problem:
                if not is_reported(problem):
                    raise
                drop_broken_connection()
                return [*kept, *answers[len(kept) :]]
            kept.append(replace(answer, is_collected=True))
        return kept


@contextmanager
def counted_call(service: Service, token_id: int | None = None) -> Iterator[Call]:
    """One call: chooses its version, and counts it when the block ends.

    A CallFailed is counted under its code, any other exception as INTERNAL; both are raised again.
    """
    began = time.monotonic()
    call = Call(service, predictor.version_for_call(service))

    def count(**seen: Any) -> None:
        ms = 1e3 * (time.monotonic() - began)
        counters.record_call(service.pk, call.version.pk, ms, token_id=token_id, **seen)

    try:
        yield call
    except CallFailed as failed:
        count(error=failed.code)
        raise
    except Exception:
        count(error="INTERNAL")
        raise
    labels = [label for answer in call.answers for label in answer.predicted_labels]
    unknown = sum(answer.is_known is False for answer in call.answers)
    count(images=len(call.answers), labels=labels, unknown=unknown)


def batch_line(
    version: TrainingVersion,
    settings: AnswerSettings,
    source: str,
    read: Callable[[], bytes],
    number_format: str = "",
) -> dict[str, Any]:
    """The result line of one image of a batch, as JSON. `read` returns the bytes of the image.

    An image that cannot be read or decoded gets a FAILED line. Raises ModelUnavailable.
    """
    try:
        answer = predictor.predict(version, read(), settings, number_format)
    except (decode.ImageRefused, predictor.InvalidImage, OSError) as problem:
        return {"source": source, "result": "FAILED", "error_message": str(problem)}
    return {
        "source": source,
        "result": "SUCCESSFUL",
        "predicted_label": answer.predicted_label,
        "predicted_labels": list(answer.predicted_labels),
        "scores": answer.rounded_scores,
        "is_known": answer.is_known,
        "settings": answer.settings,
    }
