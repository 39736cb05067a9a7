"""Batches: many images predicted by a worker, with progress, results as files, and their judgement."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from ninja import Field, File, Form, Query, Router, Schema, UploadedFile

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import check_form
from projects.api.core.downloads import file_answer
from projects.api.core.idempotency import once
from projects.api.core.pages import PageParams, page_of
from projects.models import Project, Role, Scope
from training.api.rates import RateOut
from training.api.services import SERVICE, get_service
from training.models import Batch, Service
from training.serving.batches import job, results

router = Router(tags=["Batches"])
BATCHES = SERVICE + "/batches"
BATCH = BATCHES + "/{int:batch_id}"
STATUSES: dict[str, Any] = {"enum": Batch.Status.values}
SELECTIONS: dict[str, Any] = {"enum": ["", *Batch.Selection.values]}


class BatchOut(Schema):
    id: int
    name: str
    status: str = Field(json_schema_extra=STATUSES)
    problem: str = Field(description="Why it failed; else empty.")
    version_number: int
    image_count: int | None = Field(description="Null until the images were listed.")
    done_count: int = Field(description="Images with a result, failed ones too.")
    failed_count: int = Field(description="Images that could not be read.")
    accuracy: float | None = Field(description="Of images with a known label, not trained on; else null.")
    created_at: datetime
    created_by: str | None
    finished_at: datetime | None

    @classmethod
    def of(cls, batch: Batch) -> BatchOut:
        return cls(
            id=batch.pk,
            name=batch.name,
            status=batch.status,
            problem=batch.problem,
            version_number=batch.training_version.number,
            image_count=batch.total,
            done_count=batch.done,
            failed_count=batch.failed,
            accuracy=batch.accuracy,
            created_at=batch.created_at,
            created_by=batch.created_by.get_username() if batch.created_by else None,
            finished_at=batch.finished_at,
        )


class BatchPage(Schema):
    items: list[BatchOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class BatchSource(Schema):
    """One of these, or files."""

    address: str = Field("", description="A folder of the server, or of a bucket, that operators allow.")
    selection: str = Field(
        "",
        json_schema_extra=SELECTIONS,
        description="Images of the project.",
    )


class LabelRatesOut(Schema):
    label: str
    images: int
    recall: RateOut
    precision: RateOut


class TrainedImagesOut(Schema):
    images: int
    hits: int


class BatchReport(Schema):
    """How many answers are right, where the labels of the images are known."""

    batch: str
    version: str
    images: int
    without_answer: int
    accuracy: RateOut
    images_trained_on: TrainedImagesOut
    knows_images_trained_on: bool
    images_without_known_label: int
    images_of_labels_unknown_to_the_version: int
    labels: list[LabelRatesOut]
    confusion: dict[str, Any] = Field(description="`labels` and `matrix`: true labels by predicted ones.")


# --- Operations ---


@router.get(BATCHES, response=BatchPage)
@project_call(Role.VIEWER, Scope.READ)
def list_batches(
    request: ApiRequest, project: Project, service_id: UUID, params: Query[PageParams]
) -> BatchPage:
    """The batches of a service, the newest first."""
    rows, cursor = page_of(_batches(get_service(project, service_id)), params)
    return BatchPage(items=[BatchOut.of(row) for row in rows], next=cursor)


@router.post(BATCHES, response=BatchOut)
@project_call(Role.LABELER, Scope.DEPLOY)
@once
def start_batch(
    request: ApiRequest,
    project: Project,
    service_id: UUID,
    source: Form[BatchSource],
    files: File[list[UploadedFile]] = [],  # noqa: B006  # django-ninja copies it
) -> BatchOut:
    """Predict the images of a zip archive, of a manifest or table, of both, of a folder or of the project."""
    service = get_service(project, service_id)
    check_form(request, BatchSource.model_fields, "files")
    try:
        address = source.address.strip()
        batch = job.create_batch(service, files, address, request.user, source.selection)
    except job.BatchRefused as refused:
        raise problems.invalid_field("", refused) from refused
    return BatchOut.of(batch)


@router.get(BATCH, response=BatchOut)
@project_call(Role.VIEWER, Scope.READ)
def show_batch(request: ApiRequest, project: Project, service_id: UUID, batch_id: int) -> BatchOut:
    """One batch with its progress."""
    return BatchOut.of(_get_batch(project, service_id, batch_id))


@router.post(BATCH + "/cancel", response=BatchOut)
@project_call(Role.LABELER, Scope.DEPLOY)
def cancel_batch(request: ApiRequest, project: Project, service_id: UUID, batch_id: int) -> BatchOut:
    """Cancel an active batch; its results so far stay. One that has ended stays as it is."""
    job.cancel(_get_batch(project, service_id, batch_id))
    return BatchOut.of(_get_batch(project, service_id, batch_id))


@router.delete(BATCH, response={204: None})
@project_call(Role.LABELER, Scope.DEPLOY)
def delete_batch(request: ApiRequest, project: Project, service_id: UUID, batch_id: int) -> None:
    """Delete a batch that has ended, with its results."""
    if not job.delete(_get_batch(project, service_id, batch_id)):
        raise job.BatchRefused("The batch is active. Cancel it first.")


@router.get(BATCH + "/results.csv", openapi_extra=file_answer("text/csv"))
@project_call(Role.VIEWER, Scope.READ)
def download_batch_table(
    request: ApiRequest, project: Project, service_id: UUID, batch_id: int
) -> StreamingHttpResponse:
    """A row for each image: its labels, scores, or why it has none."""
    return _download(_get_batch(project, service_id, batch_id), "results.csv")


@router.get(BATCH + "/results.zip", openapi_extra=file_answer("application/zip"))
@project_call(Role.VIEWER, Scope.READ)
def download_batch_archive(
    request: ApiRequest, project: Project, service_id: UUID, batch_id: int
) -> StreamingHttpResponse:
    """`result.manifest`, and a file with the answer to each image."""
    return _download(_get_batch(project, service_id, batch_id), "results.zip")


@router.get(BATCH + "/report", response=BatchReport)
@project_call(Role.VIEWER, Scope.READ)
def show_batch_report(
    request: ApiRequest, project: Project, service_id: UUID, batch_id: int
) -> dict[str, Any]:
    """Accuracy, recall and precision of each label, confusion matrix. 404 where no label is known."""
    batch = _get_batch(project, service_id, batch_id)
    if not batch.judgement:
        raise problems.not_found("The batch has no report.")
    return results.report(batch)


@router.get(BATCH + "/mistakes/{int:line}", openapi_extra=file_answer("image/webp"))
@project_call(Role.VIEWER, Scope.READ)
def show_batch_mistake(
    request: ApiRequest, project: Project, service_id: UUID, batch_id: int, line: int
) -> HttpResponse:
    """The thumbnail of an image that was answered wrong, by its line in the results."""
    try:
        picture = results.mistake_picture(_get_batch(project, service_id, batch_id), line)
    except FileNotFoundError as error:
        raise problems.not_found() from error
    return HttpResponse(picture, content_type="image/webp")


def _download(batch: Batch, file: str) -> StreamingHttpResponse:
    try:
        download = results.download(batch, file)
    except FileNotFoundError as error:
        raise problems.not_found("The batch has no results.") from error
    content: Iterable[bytes] = download.content
    return StreamingHttpResponse(content, download.content_type, headers=download.headers)


def _batches(service: Service) -> Any:
    return Batch.objects.filter(service=service).select_related("created_by", "training_version")


def _get_batch(project: Project, service_id: UUID, batch_id: int) -> Batch:
    """Raises Problem (404)."""
    service = get_service(project, service_id)
    batch: Batch | None = _batches(service).filter(pk=batch_id).first()
    if batch is None:
        raise problems.not_found()
    batch.service = service
    return batch
