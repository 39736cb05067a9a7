"""Evaluations that people ask for: create, cancel and delete them, and enqueue those whose job is lost."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Sequence

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext, ngettext

from exeml_site.lib import storage
from exeml_site.lib.display import count
from exeml_site.lib.errors import Refused
from projects import audit
from projects.models import Project
from training.models import TrainingVersion, VersionEvaluation

MAX_IMAGES = 50_000
Status = VersionEvaluation.Status


class EvaluationRefused(Refused):
    """The evaluation cannot start; the text is a sentence for the person."""


def create_evaluation(
    version: TrainingVersion, source: Project, image_ids: Sequence[int], *, name: str, query: str, by: User
) -> VersionEvaluation:
    """Evaluate a Completed version on labeled images of `source`. Raises EvaluationRefused."""
    if not version.is_completed:
        text = gettext("%(version)s is %(status)s: only Completed versions can be evaluated.")
        status = version.get_status_display()
        raise EvaluationRefused(text % {"version": str(version), "status": status})
    if not image_ids:
        raise EvaluationRefused(gettext("None of the selected images has a label. Choose other images."))
    if (images := len(image_ids)) > MAX_IMAGES:
        text = ngettext(
            "%(count)s image is selected. Use a filter to select at most %(limit)s.",
            "%(count)s images are selected. Use a filter to select at most %(limit)s.",
            images,
        )
        raise EvaluationRefused(text % {"count": count(images), "limit": count(MAX_IMAGES)})
    file = f"evaluations/{uuid.uuid4().hex}.json"
    storage.save_whole(file, io.BytesIO(json.dumps(sorted(image_ids)).encode()))
    try:
        with transaction.atomic():
            evaluation = VersionEvaluation.objects.create(
                training_version=version,
                source=source,
                name=name[:255],
                query=query,
                images_file=file,
                total=len(image_ids),
                created_by=by,
            )
            _record(audit.Kind.EVALUATION_STARTED, evaluation)
            evaluation.enqueue()
    except BaseException:
        storage.delete_file(file)
        raise
    return evaluation


def _record(kind: audit.Kind, evaluation: VersionEvaluation) -> None:
    version = evaluation.training_version
    audit.record(kind, project=version.project, target=version, images=evaluation.total)


def read_image_ids(evaluation: VersionEvaluation) -> list[int]:
    """Ids of the selected images, sorted. Raises FileNotFoundError."""
    ids: list[int] = json.loads(storage.local_path(evaluation.images_file).read_bytes())
    return ids


def cancel(evaluation: VersionEvaluation) -> bool:
    """Cancel an evaluation. False if it had ended."""
    was_waiting = evaluation.status == Status.WAITING
    with transaction.atomic():
        is_cancelled = evaluation.cancel(is_cancel_wanted=True)
        if is_cancelled:
            _record(audit.Kind.EVALUATION_CANCELLED, evaluation)
    evaluation.refresh_from_db()
    if was_waiting and evaluation.status == Status.CANCELLED:
        storage.delete_file(evaluation.images_file)
    return is_cancelled


def delete(evaluation: VersionEvaluation) -> bool:
    """Delete an evaluation that failed or was cancelled. False for others.

    Completed ones stay: they tell how many versions were judged on the same test images.
    """
    ended = VersionEvaluation.objects.filter(pk=evaluation.pk, status__in=[Status.CANCELLED, Status.FAILED])
    with transaction.atomic():
        is_deleted = bool(ended.delete()[0])
        if is_deleted:
            _record(audit.Kind.EVALUATION_DELETED, evaluation)
    return is_deleted


def catch_up() -> None:
    """Enqueue evaluations whose job is lost; run every 15 seconds."""
    for evaluation in VersionEvaluation.objects.lost():
        evaluation.enqueue()
