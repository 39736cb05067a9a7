"""Collected calls: stored images, verdicts on their answers, and their import into Label Data."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.utils import timezone
from django.utils.translation import gettext

from exeml_site.lib import storage
from exeml_site.lib.bulk import chunks
from exeml_site.lib.errors import Refused
from projects.images import upload
from projects.images.thumbnail import make_thumbnail
from projects.labels import actions
from projects.models import Image
from training.engine.bundle.decision import AnswerSettings
from training.engine.evaluation.metrics import Rate, wilson
from training.models import CollectedCall, Service, TrainingVersion
from training.serving.inference.predictor import Answer
from training.versions.answer_settings import settings_in

logger = logging.getLogger(__name__)

Verdict = CollectedCall.Verdict
MAX_ADDED = 500
MAX_LABELS, MAX_LABEL_LENGTH = 50, 64


class FeedbackRefused(Refused):
    """The feedback is invalid; the message tells the caller why."""


def store_call(
    service: Service, version: TrainingVersion, request_id: UUID, content: bytes, answer: Answer
) -> None:
    """Store an image with its answer, to be judged and to become a labeled image."""
    name = f"services/{service.pk}/{request_id.hex[:2]}/{request_id}"
    storage.save_whole(name, content)
    CollectedCall.objects.create(
        id=request_id,
        service=service,
        training_version=version,
        file_name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        predicted=list(answer.predicted_labels),
        scores=answer.rounded_scores,
        confidence=answer.scores[0][1],
        is_known=answer.is_known,
        answer_settings=settings_in(service, version).as_json(),
    )


def record_verdict(call: CollectedCall, is_right: bool, true_labels: Sequence[str], by: str) -> None:
    """Store the verdict of a person or program on an answer; the last one counts. Raises FeedbackRefused."""
    labels = list(dict.fromkeys(call.predicted if is_right else true_labels))
    if len(labels) > MAX_LABELS or any(
        len(label) > MAX_LABEL_LENGTH or not label.strip() for label in labels
    ):
        text = gettext("Give at most %(labels)s labels, each of 1 to %(characters)s characters.")
        raise FeedbackRefused(text % {"labels": MAX_LABELS, "characters": MAX_LABEL_LENGTH})
    if not is_right and labels and set(labels) == set(call.predicted):
        raise FeedbackRefused(gettext("These are the predicted labels, so the answer was right."))
    if len(labels) > 1 and not call.service.project.is_multi_label:
        raise FeedbackRefused(gettext("Images of this project have only one label."))
    CollectedCall.objects.filter(pk=call.pk).update(
        verdict=Verdict.RIGHT if is_right else Verdict.WRONG,
        true_labels=labels,
        feedback_at=timezone.now(),
        feedback_by=by[:150],
    )


def calls_to_review(service: Service) -> QuerySet[CollectedCall]:
    """Calls that are neither in Label Data nor dismissed, the most useful first.

    Wrong answers first, then unknown images, then others; right answers last. Lowest confidence first.
    """
    priority = Case(
        When(verdict=Verdict.WRONG, then=Value(0)),
        When(verdict=Verdict.RIGHT, then=Value(3)),
        When(is_known=False, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
    calls = service.collected.filter(image=None, dismissed_at=None)
    return calls.annotate(priority=priority).order_by("priority", "confidence", "-at")


def add_to_project(service: Service, call_ids: Sequence[UUID], by: User) -> dict[str, int]:
    """Add images of calls to the project. Returns the counts {"added", "known", "refused"}.

    An image that the project already has ("known") is linked to its call, too.
    """
    counts = {"added": 0, "known": 0, "refused": 0}
    for call in service.collected.select_related("service__project").filter(
        pk__in=list(call_ids), image=None
    )[:MAX_ADDED]:
        outcome = upload.add_images(service.project, [_as_upload(call)], by)[0]
        if outcome.image is None:
            counts["refused"] += 1
            continue
        counts["added" if outcome.status == "added" else "known"] += 1
        CollectedCall.objects.filter(pk=call.pk).update(image=outcome.image)
        _apply_true_labels(call, outcome.image, by)
    return counts


def _apply_true_labels(call: CollectedCall, image: Image, by: User) -> None:
    """Label an unlabeled image with its call's true labels. Without a verdict it stays unlabeled."""
    labels = call.service.project.labels.filter(name__in=call.true_labels if call.verdict else [])
    if labels and not image.is_labeled:
        actions.apply(call.service.project, [image.pk], add=list(labels), by=by)


def dismiss_calls(service: Service, call_ids: Sequence[UUID]) -> int:
    calls = service.collected.filter(pk__in=list(call_ids), dismissed_at=None)
    return calls.update(dismissed_at=timezone.now())


def forget_old() -> int:
    """Delete calls past their service's days, and all of deleted services; how many. Runs once a day."""
    deleted = 0
    for service in Service.objects.filter(collected__isnull=False).distinct():
        calls = service.collected.all()
        if service.deleted_at is None:
            calls = calls.filter(at__lt=timezone.now() - timedelta(days=service.keeps_days))
        deleted += _delete_calls(calls)
    return deleted


def _delete_calls(calls: QuerySet[CollectedCall]) -> int:
    """The files go first: rows of files that are gone are deleted at the next run, if the storage is away."""
    deleted = 0
    for chunk in chunks(list(calls.order_by().values_list("pk", "file_name"))):
        for _, name in chunk:
            storage.delete_file(name)
        CollectedCall.objects.filter(pk__in=[pk for pk, _ in chunk]).delete()
        deleted += len(chunk)
    return deleted


@dataclass(frozen=True)
class LiveAccuracy:
    """The accuracy of a version under one set of answer settings over its judged calls.

    `calls` counts all collected ones.
    """

    version: TrainingVersion
    settings: AnswerSettings
    judged: Rate
    calls: int


def live_accuracy(service: Service) -> list[LiveAccuracy]:
    """One entry for each version and its settings with collected calls, newest version first."""
    rows = service.collected.order_by("at").values_list("training_version", "answer_settings", "verdict")
    judged: dict[tuple[int, str], list[int]] = {}
    for version_id, stored, verdict in rows:
        hits = judged.setdefault((version_id, json.dumps(stored, sort_keys=True)), [0, 0, 0])
        hits[0] += verdict == Verdict.RIGHT
        hits[1] += bool(verdict)
        hits[2] += 1
    versions = TrainingVersion.objects.in_bulk([version_id for version_id, _ in judged])
    accuracies = [
        LiveAccuracy(
            versions[key], AnswerSettings.from_json(json.loads(stored)), wilson(hits, support), calls
        )
        for (key, stored), (hits, support, calls) in judged.items()
    ]
    return sorted(accuracies, key=lambda accuracy: -accuracy.version.number)


def find_call(service: Service, request_id: UUID) -> CollectedCall | None:
    return service.collected.select_related("service__project").filter(pk=request_id).first()


def thumbnail_of(call: CollectedCall) -> bytes:
    """The thumbnail of the image, as WebP. Raises ImageRefused, OSError."""
    return make_thumbnail(content_of(call)).content


def content_of(call: CollectedCall) -> bytes:
    """The image as it was sent. Raises OSError."""
    return b"".join(storage.read_chunks(call.file_name))


def _as_upload(call: CollectedCall) -> BytesIO:
    content = BytesIO(content_of(call))
    content.name = f"{call.service.name}-{str(call.pk)[:8]}"
    return content
