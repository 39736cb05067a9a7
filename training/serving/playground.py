"""The test on a service's page: predictions of uploaded images, heat maps and similar training images."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import django_rq
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext
from redis.exceptions import RedisError
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus

from exeml_site.lib import jobs
from projects.images import decode, similarity
from projects.images.thumbnail import make_thumbnail
from projects.models import Image, Label, Project
from training.models import Service, TrainingVersion
from training.serving.answer import CallFailed, counted_call
from training.serving.inference import explain as explanations
from training.serving.inference import model_cache, predictor

logger = logging.getLogger(__name__)

RESULT_TTL_S = 120
MAX_NEIGHBOURS = 6


@dataclass(frozen=True)
class TestedImage:
    """One uploaded image: its answer, or the reason why it has none."""

    name: str
    answer: predictor.Answer | None = None
    problem: str = ""


def predict_uploads(service: Service, uploads: Sequence[UploadedFile[bytes]]) -> list[TestedImage]:
    """One result per upload, in order. Each counts as a call, and is collected if the service collects."""
    return [_predict_upload(service, upload) for upload in uploads]


def _predict_upload(service: Service, upload: UploadedFile[bytes]) -> TestedImage:
    name = upload.name or gettext("picture")
    try:
        with counted_call(service) as call:
            answers = call.answer([upload])
    except CallFailed as failed:
        return TestedImage(name, problem=gettext(str(failed)))
    return TestedImage(name, answers[0])


def explain(version: TrainingVersion, content: bytes, label: str) -> dict[str, Any]:
    """The heat map of `label`: {"label", "heat": data URL, "search": id for neighbours}, or {"problem"}."""
    try:
        heat = explanations.heat_map(version, content, label)
    except KeyError:
        return {"problem": gettext("The model does not know this label.")}
    except (model_cache.ModelUnavailable, predictor.InvalidImage) as problem:
        return {"problem": gettext(str(problem))}
    address = "data:image/webp;base64," + base64.b64encode(heat).decode()
    return {"label": label, "heat": address, "search": _enqueue_search(version.project, content)}


def find_neighbours(project: Project, search: str) -> list[tuple[Image, list[Label]]] | None:
    """The most similar training images; None while the search runs, empty if it failed or expired."""
    try:
        job = Job.fetch(
            _job_id(project, search), connection=django_rq.get_connection(settings.QUEUE_LABELING)
        )
        status = job.get_status()
    except (NoSuchJobError, RedisError, OSError):
        return []
    if status in (JobStatus.QUEUED, JobStatus.STARTED):
        return None
    ids: list[int] = job.return_value() or []
    return similarity.with_labels(ids[:MAX_NEIGHBOURS])


def _enqueue_search(project: Project, content: bytes) -> str:
    """Enqueue a search for similar images. Returns its id, empty if it could not start.

    The labeling worker has the embedding network loaded. It gets only the thumbnail.
    """
    try:
        thumbnail = make_thumbnail(content).content
    except decode.ImageRefused as problem:
        logger.info("The search for similar images could not start: %s", problem)
        return ""
    search = uuid4().hex
    is_enqueued = jobs.enqueue_now(
        "find_similar",
        project.pk,
        thumbnail,
        job_id=_job_id(project, search),
        ttl=RESULT_TTL_S,
        result_ttl=RESULT_TTL_S,
        failure_ttl=RESULT_TTL_S,
        at_front=True,
    )
    return search if is_enqueued else ""


def _job_id(project: Project, search: str) -> str:
    """The job id contains the project, so that a team cannot read another team's search."""
    return f"near-{project.pk}-{search}"
