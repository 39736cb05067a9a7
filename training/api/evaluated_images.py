"""Images with their predictions: the validation images of a version, and images chosen for an evaluation."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from ninja import Field, Query, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, open_projects, project_call
from projects.api.core.body import Body
from projects.api.core.idempotency import once
from projects.api.core.image_selection import ImageFilter, query_of
from projects.api.core.pages import Key, PageParams, page_of, slice_of
from projects.models import Project, Role, Scope
from projects.models.metadata import MAX_VALUE
from training.api.evaluation import LabelMetricsOut, OverallOut
from training.api.versions import VERSION, completed_version_of
from training.evaluation.image_query import MAX_TEXT_LENGTH, OUTCOMES, SORTS, EvaluatedImageQuery
from training.evaluation.selections import lifecycle, looks
from training.evaluation.selections.results import SelectionFigures, result_of
from training.evaluation.slices import column_of
from training.forms.evaluations import FILTER, OTHER, TEST, EvaluationForm
from training.models import EvaluatedImage, SelectedImage, TrainingVersion, VersionEvaluation

router = Router(tags=["Evaluation"])
EVALUATIONS = VERSION + "/evaluations"
EVALUATION = EVALUATIONS + "/{int:evaluation_id}"
LABELED = ImageFilter.model_validate({"tab": "labeled"})
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
    def of(cls, row: EvaluatedImage | SelectedImage, labels: list[str] | None) -> EvaluatedImageOut:
        """`labels`: those of the scores; None leaves the scores out, which are not loaded then."""
        return cls(**cls._values(row, labels))

    @staticmethod
    def _values(row: EvaluatedImage | SelectedImage, labels: list[str] | None) -> dict[str, Any]:
        return {
            "id": row.pk,
            "image_id": row.image_id,
            "name": row.image.name if row.image else None,
            "labels": row.truth,
            "predicted": row.predicted,
            "confidence": row.confidence,
            "is_correct": row.is_correct,
            "is_known": row.is_known,
            "familiarity": row.familiarity,
            "scores": None if labels is None else dict(zip(labels, row.scores, strict=False)),
        }


class SelectedImageOut(EvaluatedImageOut):
    """An image of an evaluation."""

    was_trained_on: bool = Field(description="The version was trained on it, or on a duplicate of it.")

    @classmethod
    def of(cls, row: EvaluatedImage | SelectedImage, labels: list[str] | None) -> SelectedImageOut:
        assert isinstance(row, SelectedImage)
        return cls(**cls._values(row, labels), was_trained_on=row.was_trained_on)


class EvaluatedImagePage(Schema):
    items: list[EvaluatedImageOut]
    next: str | None


class SelectedImagePage(Schema):
    items: list[SelectedImageOut]
    next: str | None


class PredictionFilters(Schema):
    """The filters of images with predictions."""

    outcome: Outcome = Field(Outcome("all"), description="Whether the prediction is right.")
    true: str = Field("", max_length=MAX_TEXT_LENGTH, description="Images with this label.")
    predicted: str = Field("", max_length=MAX_TEXT_LENGTH, description="Images predicted as this label.")
    missed: str = Field(
        "", max_length=MAX_TEXT_LENGTH, description="Images with this label that are not predicted as it."
    )
    wrongly: str = Field(
        "", max_length=MAX_TEXT_LENGTH, description="Images predicted as this label that do not have it."
    )
    q: str = Field("", max_length=MAX_TEXT_LENGTH, description="A part of the file name.")
    sort: ImageSort = ImageSort("surest")


class EvaluatedImageFilters(PredictionFilters):
    """The filters of Evaluated images."""

    slice: str = Field("", max_length=MAX_TEXT_LENGTH, description="A column, such as `:person` of metadata.")
    value: str = Field("", max_length=MAX_VALUE, description="In that column; empty for none.")


class SelectionFiguresOut(OverallOut):
    """The figures of an evaluation."""

    image_count: int
    labels: list[LabelMetricsOut]

    @classmethod
    def of(cls, figures: SelectionFigures) -> SelectionFiguresOut:
        labels = [LabelMetricsOut.of(row) for row in figures.rows]
        overall = OverallOut.of(figures).dict()
        return cls(**overall, labels=labels, image_count=figures.accuracy.support)


class EvaluationOut(Schema):
    """A version judged on images without training. The result stands there when the status is Completed."""

    id: int
    name: str = Field(description="What was chosen, in words.")
    kind: VersionEvaluation.Kind
    status: VersionEvaluation.Status
    source_project_id: int | None
    image_count: int
    done_count: int
    problem: str
    created_by: str | None
    created_at: datetime
    is_hidden: bool = Field(description="A result on test images that nobody opened: `show_test_result`.")
    trained_on_count: int | None = Field(description="Images that the version was trained on.")
    independent: SelectionFiguresOut | None = Field(description="Without these.")
    all_images: SelectionFiguresOut | None = Field(description="With these; null where there are none.")
    left_out: list[str] = Field(description="Why images do not count, as sentences.")
    judged_version_count: int = Field(description="Versions judged on any of the same test images.")

    @classmethod
    def of(cls, evaluation: VersionEvaluation) -> EvaluationOut:
        result = None if evaluation.is_hidden else result_of(evaluation)
        same = ("name", "kind", "status", "problem", "created_at", "is_hidden")
        figures = {
            name: SelectionFiguresOut.of(found)
            for name in ("independent", "all_images")
            if result is not None and (found := getattr(result, name)) is not None
        }
        return cls(
            id=evaluation.pk,
            source_project_id=evaluation.source_id,
            image_count=evaluation.total,
            done_count=evaluation.done,
            created_by=evaluation.created_by.get_username() if evaluation.created_by else None,
            trained_on_count=result.trained_on if result else None,
            independent=figures.get("independent"),
            all_images=figures.get("all_images"),
            left_out=result.left_out if result else [],
            judged_version_count=looks.judged_versions(evaluation) if result else 0,
            **{name: getattr(evaluation, name) for name in same},
        )


class EvaluationPage(Schema):
    items: list[EvaluationOut]
    next: str | None


class EvaluationCreation(Body):
    """The images to judge a version on."""

    images: str = Field(
        description="filter: images of the project. test: its test images. project: those of another one.",
        json_schema_extra={"enum": [FILTER, TEST, OTHER]},
    )
    filter: ImageFilter | None = Field(None, description="For `filter`; null: all labeled images.")
    project_id: Key | None = Field(None, description="For `project`.")

    def typed(self, number: int) -> dict[str, Any]:
        """The values as the page sends them."""
        query = query_of(self.filter or LABELED) if self.images == FILTER else None
        chosen = {"version": number, "images": self.images, "other": self.project_id}
        return {**chosen, "query": query.address() if query else ""}


# --- Validation images ---


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


# --- Evaluations on other images ---


@router.get(EVALUATIONS, response=EvaluationPage)
@project_call(Role.VIEWER, Scope.READ)
def list_evaluations(
    request: ApiRequest, project: Project, number: int, params: Query[PageParams]
) -> EvaluationPage:
    """The evaluations of a Completed version, the newest first, with that of its test images."""
    version = completed_version_of(project, number)
    rows, cursor = page_of(_evaluations(version), params)
    return EvaluationPage(items=[EvaluationOut.of(_of(version, row)) for row in rows], next=cursor)


@router.post(EVALUATIONS, response=EvaluationOut)
@project_call(Role.LABELER, Scope.TRAIN)
@once
def start_evaluation(
    request: ApiRequest, project: Project, number: int, body: EvaluationCreation
) -> EvaluationOut:
    """Judge a Completed version on labeled images, without training, in a worker."""
    version, others = completed_version_of(project, number), open_projects(request)
    form = EvaluationForm(body.typed(number), project=project, user=request.user, others=others)
    if not form.is_valid():
        raise problems.of_form(form, {"other": "project_id", "query": "filter"})
    evaluation = lifecycle.create_evaluation(
        form.chosen_version,
        form.source,
        form.image_ids(),
        name=form.name,
        query=form.chosen_query.address(),
        by=request.user,
    )
    return EvaluationOut.of(_evaluation(version, evaluation.pk))


@router.get(EVALUATION, response=EvaluationOut)
@project_call(Role.VIEWER, Scope.READ)
def show_evaluation(request: ApiRequest, project: Project, number: int, evaluation_id: int) -> EvaluationOut:
    """One evaluation with its progress, then with its figures."""
    return EvaluationOut.of(_evaluation(completed_version_of(project, number), evaluation_id))


@router.delete(EVALUATION, response={204: None})
@project_call(Role.LABELER, Scope.TRAIN)
def delete_evaluation(request: ApiRequest, project: Project, number: int, evaluation_id: int) -> None:
    """Cancel an active evaluation; delete one that failed or was cancelled. A completed one stays."""
    evaluation = _evaluation(completed_version_of(project, number), evaluation_id)
    if not lifecycle.cancel(evaluation) and not lifecycle.delete(evaluation):
        raise lifecycle.EvaluationRefused("Nothing changed: the evaluation is completed.")


@router.post(VERSION + "/test-result", response=EvaluationOut)
@project_call(Role.LABELER, Scope.TRAIN)
def show_test_result(request: ApiRequest, project: Project, number: int) -> EvaluationOut:
    """Open the hidden result on the test images for everybody, which counts as a look at them."""
    version = completed_version_of(project, number)
    hidden = _evaluations(version).filter(kind=VersionEvaluation.Kind.TEST).first()
    if hidden is None:
        raise problems.not_found(f"{version} has no result on test images.")
    looks.show_result(hidden, request.user)
    return EvaluationOut.of(_evaluation(version, hidden.pk))


@router.get(EVALUATION + "/images", response=SelectedImagePage)
@project_call(Role.VIEWER, Scope.READ)
def list_selected_images(
    request: ApiRequest,
    project: Project,
    number: int,
    evaluation_id: int,
    params: Query[PageParams],
    filters: Query[PredictionFilters],
) -> SelectedImagePage:
    """The images of a completed evaluation with their predictions. 404 where you do not see their project."""
    evaluation = _evaluation(completed_version_of(project, number), evaluation_id)
    is_seen = open_projects(request).filter(pk=evaluation.source_id or 0).exists()
    if evaluation.is_hidden or not evaluation.is_completed or not is_seen:
        raise problems.not_found()
    images = EvaluatedImageQuery(**filters.dict()).among(evaluation.images.all()).select_related("image")
    rows: list[SelectedImage]
    rows, cursor = slice_of(images, params)
    return SelectedImagePage(items=[SelectedImageOut.of(row, None) for row in rows], next=cursor)


def _evaluations(version: TrainingVersion) -> Any:
    return version.evaluations.select_related("source", "created_by")


def _evaluation(version: TrainingVersion, evaluation_id: int) -> VersionEvaluation:
    """Raises Problem (404)."""
    evaluation = _evaluations(version).filter(pk=evaluation_id).first()
    if evaluation is None:
        raise problems.not_found()
    return _of(version, evaluation)


def _of(version: TrainingVersion, evaluation: VersionEvaluation) -> VersionEvaluation:
    evaluation.training_version = version
    return evaluation
