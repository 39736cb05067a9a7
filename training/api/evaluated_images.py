"""The validation images of a Completed version with their predictions."""

from __future__ import annotations

from enum import StrEnum

from ninja import Field, Query, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.pages import PageParams, slice_of
from projects.models import Project, Role, Scope
from projects.models.metadata import MAX_VALUE
from training.api.versions import VERSION, completed_version_of
from training.evaluation.image_query import MAX_TEXT_LENGTH, OUTCOMES, SORTS, EvaluatedImageQuery
from training.evaluation.slices import column_of
from training.models import EvaluatedImage

router = Router(tags=["Evaluation"])
Outcome = StrEnum("Outcome", list(OUTCOMES))  # type: ignore[misc]
ImageSort = StrEnum("ImageSort", list(SORTS))  # type: ignore[misc]


class EvaluatedImageOut(Schema):
    """A validation image, with the labels that it had when it was evaluated."""

    id: int
    image_id: int | None = Field(description="Null once the image is deleted.")
    name: str | None
    labels: list[str]
    predicted: list[str]
    confidence: float
    is_correct: bool
    is_known: bool | None = Field(description="Whether the model knows this kind of image.")
    familiarity: float | None
    scores: dict[str, float] | None = Field(description="By label, where `with_scores` asks for them.")

    @classmethod
    def of(cls, row: EvaluatedImage, labels: list[str] | None) -> EvaluatedImageOut:
        """`labels`: those of the scores; None leaves the scores out, which are not loaded then."""
        return cls(
            id=row.pk,
            image_id=row.image_id,
            name=row.image.name if row.image else None,
            labels=row.truth,
            predicted=row.predicted,
            confidence=row.confidence,
            is_correct=row.is_correct,
            is_known=row.is_known,
            familiarity=row.familiarity,
            scores=None if labels is None else dict(zip(labels, row.scores, strict=False)),
        )


class EvaluatedImagePage(Schema):
    items: list[EvaluatedImageOut]
    next: str | None


class EvaluatedImageFilters(Schema):
    """The filters of Evaluated images."""

    outcome: Outcome = Field(Outcome("all"), description="Whether the prediction is right.")
    true: str = Field("", max_length=MAX_TEXT_LENGTH, description="Images with this label.")
    predicted: str = Field("", max_length=MAX_TEXT_LENGTH, description="Images predicted as this label.")
    missed: str = Field(
        "", max_length=MAX_TEXT_LENGTH, description="Images with this label that are not predicted as it."
    )
    wrongly: str = Field(
        "", max_length=MAX_TEXT_LENGTH, description="Images predicted as this label that do not have it."
    )
    slice: str = Field("", max_length=MAX_TEXT_LENGTH, description="A column, such as `:person` of metadata.")
    value: str = Field("", max_length=MAX_VALUE, description="In that column; empty for none.")
    q: str = Field("", max_length=MAX_TEXT_LENGTH, description="A part of the file name.")
    sort: ImageSort = ImageSort("surest")


@router.get(VERSION + "/images", response=EvaluatedImagePage)
@project_call(Role.VIEWER, Scope.READ)
def list_evaluated_images(
    request: ApiRequest,
    project: Project,
    number: int,
    params: Query[PageParams],
    filters: Query[EvaluatedImageFilters],
    with_scores: bool = False,
) -> EvaluatedImagePage:
    """The validation images with their predictions, the most confident first."""
    version = completed_version_of(project, number)
    if filters.slice and column_of(version, filters.slice) is None:
        raise problems.invalid_field("slice", f"There is no column “{filters.slice}”.")
    images = EvaluatedImageQuery(**filters.dict()).images(version).select_related("image")
    if with_scores:
        images = images.defer(None)
    rows: list[EvaluatedImage]
    rows, cursor = slice_of(images, params)
    labels = version.confusion.get("labels", []) if with_scores else None
    return EvaluatedImagePage(items=[EvaluatedImageOut.of(row, labels) for row in rows], next=cursor)
