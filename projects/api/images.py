"""Images of a project: upload, list, files, history, the bin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from django.contrib.auth.models import User
from django.http import HttpResponseBase
from ninja import Field, Query, Router, Schema
from pydantic import BaseModel

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.downloads import file_answer
from projects.api.core.idempotency import once
from projects.api.core.image_selection import (
    ImageListParams,
    ImageSelection,
    check_names,
    images_page,
    query_of,
    selected,
)
from projects.api.core.uploads import with_paths
from projects.api.uploads import UPLOAD_FORM, UploadOut, store_files
from projects.forms.label_data import ImagesForm
from projects.images.decode import ImageRefused
from projects.images.responses import original_response, shown_response, thumbnail_response
from projects.labels import actions, metadata
from projects.labels.history import ImageHistory, ImageHistoryRow
from projects.labels.parts import count_images
from projects.models import Annotation, Image, Label, LabelEvent, Project, Role, Scope

router = Router(tags=["Images"])

MAX_KNOWN = 1000
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


# Of plain pydantic: a Schema reads each value of a dict by way of Django's models, four times as slowly.
class SuggestionOut(BaseModel):
    """A label that the model suggests, and its probability."""

    label_id: int
    label: str
    confidence: float | None


class ImageOut(BaseModel):
    id: int
    name: str
    sha256: str
    format: str
    width: int
    height: int
    size_bytes: int
    labels: list[str]
    split: str = Field(description="TRAIN, EVAL, TEST; empty: not split yet.")
    suggestion: SuggestionOut | None = Field(description="Of an unlabeled image.")
    suspected: SuggestionOut | None = Field(description="A more probable other label of a labeled image.")
    duplicate_group: int | None = Field(description="The same for all duplicates of an image.")
    is_hard: bool
    opinion: str = Field(description="State of the second opinion.")
    source: str = Field(description="Its path in the data source or archive it was imported from.")
    uploaded_by: str | None
    uploaded_at: datetime
    deleted_at: datetime | None


class AnnotationOut(Schema):
    """A label on an image. `source`: human, auto (a confirmed suggestion), import, sample."""

    label_id: int
    label: str
    by: str | None
    source: str
    confidence: float | None
    annotated_at: datetime

    @classmethod
    def of(cls, annotation: Annotation) -> AnnotationOut:
        return cls(
            label_id=annotation.label_id,
            label=annotation.label.name,
            by=annotation.by.get_username() if annotation.by else None,
            source=annotation.source,
            confidence=annotation.confidence,
            annotated_at=annotation.at,
        )


class ImageDetailOut(ImageOut):
    annotations: list[AnnotationOut]
    metadata: dict[str, str]


class ImagePage(BaseModel):
    items: list[ImageOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class ImageHistoryOut(Schema):
    """An action on the image, with its labels before and after."""

    event_id: int
    kind: str
    text: str
    by: str | None
    at: datetime
    before: list[str]
    after: list[str]

    @classmethod
    def of(cls, row: ImageHistoryRow) -> ImageHistoryOut:
        event = row.event
        return cls(
            event_id=event.pk,
            kind=event.kind,
            text=row.text,
            by=event.by.get_username() if event.by else None,
            at=event.at,
            before=row.before,
            after=row.after,
        )


class ImageHistoryPage(Schema):
    items: list[ImageHistoryOut]


class ActionOut(Schema):
    """What an action changed. With `event_id` it can be undone; null where nothing changed."""

    event_id: int | None
    changed_count: int

    @classmethod
    def of(cls, event: LabelEvent | None) -> ActionOut:
        return cls(event_id=event.pk if event else None, changed_count=count_images(event))


class KnownHashes(Body):
    sha256: list[Sha256] = Field(max_length=MAX_KNOWN)


class KnownHashesOut(Schema):
    known: dict[str, int] = Field(description="sha256 → id of the image that has it, without the bin.")


def image_rows(project: Project, images: Sequence[Image]) -> list[dict[str, Any]]:
    """The fields of ImageOut for each image, in three queries."""
    labels = {label.pk: label.name for label in Label.objects.filter(project=project)}
    carried: dict[int, list[str]] = {image.pk: [] for image in images}
    annotations = Annotation.objects.filter(image_id__in=list(carried)).order_by()
    for image_id, label_id in annotations.values_list("image_id", "label_id"):
        if label_id in labels:  # a label may have been created after the labels were read
            carried[image_id].append(labels[label_id])
    uploaders = {image.uploaded_by_id for image in images if image.uploaded_by_id}
    people = dict(User.objects.filter(pk__in=uploaders).values_list("pk", "username"))
    return [_row(image, sorted(carried[image.pk]), labels, people) for image in images]


COPIED = (
    *("name", "sha256", "format", "width", "height", "size_bytes", "split", "duplicate_group", "is_hard"),
    *("opinion", "source", "uploaded_at", "deleted_at"),
)


def _row(image: Image, carried: list[str], labels: dict[int, str], people: dict[int, str]) -> dict[str, Any]:
    def proposal(label_id: int | None, confidence: float | None) -> dict[str, Any] | None:
        if label_id not in labels:
            return None
        return {"label_id": label_id, "label": labels[label_id], "confidence": confidence}

    return {
        "id": image.pk,
        "labels": carried,
        "suggestion": proposal(image.suggestion_id, image.confidence),
        "suspected": proposal(image.suspected_label_id, image.suspected_confidence),
        "uploaded_by": people.get(image.uploaded_by_id or 0),
        **{name: getattr(image, name) for name in COPIED},
    }


def find_image(project: Project, image_id: int) -> Image:
    """The image of this project, also if it is in the bin. Raises Problem (404)."""
    image = Image.objects.filter(project=project, pk=image_id).first()
    if image is None:
        raise problems.not_found()
    return image


@router.get("/projects/{int:project_id}/images", response=ImagePage)
@project_call(Role.VIEWER, Scope.READ)
def list_images(request: ApiRequest, project: Project, params: Query[ImageListParams]) -> Any:
    """Images by the filters and sorts of Label Data. A list by pages misses and doubles nothing meanwhile."""
    check_names(request, ImageListParams)
    images, cursor = images_page(project, query_of(params), params, request)
    return {"items": image_rows(project, images), "next": cursor}


@router.post("/projects/{int:project_id}/images", response=UploadOut, openapi_extra=UPLOAD_FORM)
@project_call(Role.LABELER, Scope.LABEL)
@with_paths
@once
def upload_images(request: ApiRequest, project: Project) -> UploadOut:
    """Upload 1 to 100 files, each of which has an outcome of its own: a broken one stops no other.

    An image that the project has already, byte by byte, is a duplicate; one in the bin is restored.
    """
    return store_files(request, project)


@router.post("/projects/{int:project_id}/images/known", response=KnownHashesOut)
@project_call(Role.LABELER, Scope.LABEL)
def find_known_images(request: ApiRequest, project: Project, body: KnownHashes) -> KnownHashesOut:
    """Which of these files the project has already: an upload that was interrupted sends only the others."""
    living = Image.objects.alive().filter(project=project, sha256__in=set(body.sha256)).order_by()
    return KnownHashesOut(known=dict(living.values_list("sha256", "pk")))


@router.post("/projects/{int:project_id}/images/delete", response=ActionOut)
@project_call(Role.LABELER, Scope.LABEL)
def delete_images(request: ApiRequest, project: Project, body: ImageSelection) -> ActionOut:
    """Move images with their labels into the bin."""
    chosen = selected(ImagesForm, request, project, body)
    return ActionOut.of(actions.delete_images(project, chosen["images"], request.user))


@router.post("/projects/{int:project_id}/images/restore", response=ActionOut)
@project_call(Role.LABELER, Scope.LABEL)
def restore_images(request: ApiRequest, project: Project, body: ImageSelection) -> ActionOut:
    """Restore images from the bin; a `filter` needs the tab `bin`."""
    chosen = selected(ImagesForm, request, project, body)
    return ActionOut.of(actions.restore_images(project, chosen["images"], request.user))


@router.get("/projects/{int:project_id}/images/{int:image_id}", response=ImageDetailOut)
@project_call(Role.VIEWER, Scope.READ)
def show_image(request: ApiRequest, project: Project, image_id: int) -> Any:
    """One image with its annotations and metadata, also from the bin."""
    image = find_image(project, image_id)
    [row] = image_rows(project, [image])
    annotations = Annotation.objects.filter(image=image).select_related("label", "by")
    return {
        **row,
        "annotations": [AnnotationOut.of(annotation) for annotation in annotations],
        "metadata": metadata.load_values([image.pk]).get(image.pk, {}),
    }


@router.delete("/projects/{int:project_id}/images/{int:image_id}", response={204: None})
@project_call(Role.LABELER, Scope.LABEL)
def delete_image(request: ApiRequest, project: Project, image_id: int) -> None:
    """Move one image with its labels into the bin."""
    actions.delete_images(project, [find_image(project, image_id).pk], request.user)


@router.get("/projects/{int:project_id}/images/{int:image_id}/file", openapi_extra=file_answer("image/*"))
@project_call(Role.VIEWER, Scope.READ)
def show_image_file(
    request: ApiRequest, project: Project, image_id: int, original: bool = False
) -> HttpResponseBase:
    """The picture as every browser shows it; with `original` the uploaded file, byte by byte."""
    image = find_image(project, image_id)
    try:
        return original_response(image) if original else shown_response(image)
    except FileNotFoundError as error:
        raise problems.not_found() from error


@router.get(
    "/projects/{int:project_id}/images/{int:image_id}/thumbnail", openapi_extra=file_answer("image/webp")
)
@project_call(Role.VIEWER, Scope.READ)
def show_image_thumbnail(request: ApiRequest, project: Project, image_id: int) -> HttpResponseBase:
    """The thumbnail, WebP with at most 256 pixels on the longer side."""
    try:
        return thumbnail_response(find_image(project, image_id))
    except (ImageRefused, OSError) as error:
        raise problems.not_found() from error


@router.get("/projects/{int:project_id}/images/{int:image_id}/history", response=ImageHistoryPage)
@project_call(Role.VIEWER, Scope.READ)
def list_image_history(request: ApiRequest, project: Project, image_id: int) -> ImageHistoryPage:
    """The last 200 actions on an image, the newest first."""
    lines = ImageHistory(find_image(project, image_id)).lines
    return ImageHistoryPage(items=[ImageHistoryOut.of(line) for line in lines])
