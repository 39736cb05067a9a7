"""The evaluation of a Completed version: metrics, labels, confusions and candidates."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from ninja import Field, Query, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.pages import PageParams, slice_of
from projects.models import Project, Role, Scope
from training.api.versions import VERSION, completed_version_of
from training.evaluation.advice import advice_for
from training.evaluation.confusion_matrix import build_matrix
from training.evaluation.label_changes import label_changes
from training.evaluation.leaderboard import LeaderboardRow, licences_of, why_it_ended
from training.evaluation.results import SORTS as LABEL_SORTS
from training.evaluation.results import LabelResult, Results, filter_and_sort, results_of
from training.evaluation.selections.results import final_test_of
from training.evaluation.uncertainty import Average, CrossValidated
from training.models import Metric, NumberFormat, TrainingVersion
from training.versions.number_formats import NumberFormatRow, number_format_rows

router = Router(tags=["Evaluation"])
MAX_PAIRS = 300
LabelSort = StrEnum(  # type: ignore[misc]
    "LabelSort", {f"{sign}{name}": f"{sign}{name}" for name in LABEL_SORTS for sign in ("", "-")}
)


class MetricOut(Schema):
    """A share with its 95 % interval; null where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    hit_count: int | None = Field(description="Null for an average, and for F1.")
    image_count: int = Field(description="The images that it was counted on.")

    @classmethod
    def of(cls, metric: Any) -> MetricOut:
        """`metric`: a stored metric, or a rate."""
        return cls(
            value=metric.value,
            low=metric.low,
            high=metric.high,
            hit_count=metric.hits,
            image_count=metric.support,
        )


class OverallOut(Schema):
    """Precision, recall and F1 are macro averages."""

    accuracy: MetricOut
    precision: MetricOut
    recall: MetricOut
    f1: MetricOut

    @classmethod
    def of(cls, figures: Any) -> OverallOut:
        return cls(**{name: MetricOut.of(getattr(figures, name)) for name in Metric.Name.values})


class AverageOut(Schema):
    name: str
    precision: float
    recall: float
    f1: float

    @classmethod
    def of(cls, average: Average) -> AverageOut:
        return cls(name=average.name, precision=average.precision, recall=average.recall, f1=average.f1)


class CrossValidatedOut(Schema):
    """The accuracy of models of this kind, each trained on a part of the images and judged on the rest."""

    value: float
    low: float
    high: float
    image_count: int
    is_chosen: bool = Field(description="Whether the model of the version is of this kind.")
    summary: str

    @classmethod
    def of(cls, judged: CrossValidated) -> CrossValidatedOut:
        return cls(
            value=judged.value,
            low=judged.low,
            high=judged.high,
            image_count=judged.images,
            is_chosen=judged.is_chosen,
            summary=judged.summary,
        )


class NumberFormatOut(Schema):
    number_format: NumberFormat
    is_default: bool
    accuracy: MetricOut
    agreed_count: int = Field(description="The images that it answers as float32 does.")
    p_value: float
    inference_ms: float

    @classmethod
    def of(cls, row: NumberFormatRow) -> NumberFormatOut:
        return cls(
            number_format=row.number_format,
            is_default=row.is_default,
            accuracy=MetricOut.of(row.rate),
            agreed_count=row.agreed,
            p_value=row.p_value,
            inference_ms=row.ms,
        )


class MetricsOut(OverallOut):
    """What Overview says of a version: figures on its validation images, and what to think of them."""

    is_multi_label: bool
    training_image_count: int
    validation_image_count: int
    averages: list[AverageOut]
    hamming: float | None = Field(description="Of several labels: the mean accuracy of the labels.")
    mean_average_precision: float | None = Field(description="Of several labels.")
    cross_validation: CrossValidatedOut | None
    final_test: OverallOut | None = Field(description="On the test images, once somebody opened the result.")
    number_formats: list[NumberFormatOut]
    seconds_by_phase: dict[str, float]
    why_it_ended: str
    notes: list[str] = Field(description="How precise the figures are, and what was changed since.")
    advice: list[str] = Field(description="What to do next, the most useful first.")
    licences: list[str] = Field(description="Of the pretrained weights in the model, as SPDX names.")


class LabelOut(Schema):
    label: str
    image_count: int = Field(description="The validation images with the label.")
    precision: MetricOut
    recall: MetricOut
    f1: MetricOut
    accuracy: MetricOut = Field(description="Counts the images of the other labels, too.")
    needed_image_count: int = Field(
        description="Validation images to add until the recall is known to within ± 10 points."
    )

    @classmethod
    def of(cls, row: LabelResult) -> LabelOut:
        metrics = {name: MetricOut.of(getattr(row, name)) for name in Metric.Name.values}
        return cls(label=row.label, image_count=row.images, needed_image_count=row.images_needed, **metrics)


class LabelResultPage(Schema):
    items: list[LabelOut]
    next: str | None


class ConfusedPair(Schema):
    label: str
    predicted: str
    image_count: int


class ConfusionOut(Schema):
    labels: list[str]
    matrix: list[list[int]] = Field(
        description="Rows are true labels, columns predicted ones; empty where images carry several labels."
    )
    confusions: list[ConfusedPair] = Field(description=f"The {MAX_PAIRS} most frequent, those first.")


class CandidateOut(Schema):
    """A model that the search tried. `accuracy` is on the images that all ranked candidates held out."""

    id: int
    rank: int | None
    network: str
    resolution: int = Field(description="Pixels.")
    recipe: str
    accuracy: MetricOut | None
    own_accuracy: float | None = Field(description="On all images that it held out itself.")
    p_value: float | None = Field(description="Of the difference from the chosen candidate.")
    inference_ms: float | None
    is_measured: bool = Field(description="Whether the time was measured, or else estimated.")
    is_fast_enough: bool
    is_chosen: bool
    is_stored: bool = Field(description="Whether its weights were kept, so that it can be promoted.")
    training_s: float
    error: str

    @classmethod
    def of(cls, row: LeaderboardRow) -> CandidateOut:
        one, rate = row.candidate, row.rate
        return cls(
            id=one.pk,
            rank=row.rank,
            network=one.network,
            resolution=one.resolution,
            recipe=one.recipe,
            accuracy=MetricOut.of(rate) if rate else None,
            own_accuracy=one.accuracy,
            p_value=one.p_value,
            inference_ms=one.inference_ms,
            is_measured=one.is_measured,
            is_fast_enough=one.is_admissible,
            is_chosen=one.is_best,
            is_stored=one.place is not None,
            training_s=one.seconds,
            error=one.error,
        )


class CandidatePage(Schema):
    items: list[CandidateOut]
    next: str | None
    choice_note: str = Field(description="Why another one than the most accurate was chosen; or empty.")


# --- Operations ---


def _results(project: Project, number: int) -> tuple[TrainingVersion, Results]:
    version = completed_version_of(project, number)
    results = results_of(version)
    if results is None:
        raise problems.not_found(f"No evaluation of {version} was recorded.")
    return version, results


@router.get(VERSION + "/metrics", response=MetricsOut)
@project_call(Role.VIEWER, Scope.READ)
def show_metrics(request: ApiRequest, project: Project, number: int, fields: str = "") -> MetricsOut:
    """The figures of a Completed version with their intervals, and what the page says of them."""
    version, results = _results(project, number)
    judged, tested = results.cross_validated, final_test_of(version).figures
    changed = label_changes(version).summary
    advice = advice_for(version, results.confusions, results.uncertainty_notes)
    return MetricsOut(
        **{name: MetricOut.of(getattr(results, name)) for name in Metric.Name.values},
        is_multi_label=results.is_multi_label,
        training_image_count=version.dataset_version.train_count,
        validation_image_count=version.dataset_version.eval_count,
        averages=[AverageOut.of(average) for average in results.averages],
        hamming=results.hamming,
        mean_average_precision=results.mean_average_precision,
        cross_validation=CrossValidatedOut.of(judged) if judged else None,
        final_test=OverallOut.of(tested) if tested else None,
        number_formats=[NumberFormatOut.of(row) for row in number_format_rows(version)],
        seconds_by_phase=version.seconds_by_phase,
        why_it_ended=why_it_ended(version),
        notes=[*results.uncertainty_notes, *([changed] if changed else [])],
        advice=[line.text for line in advice],
        licences=licences_of(row.candidate for row in results.leaderboard),
    )


@router.get(VERSION + "/labels", response=LabelResultPage)
@project_call(Role.VIEWER, Scope.READ)
def list_label_results(
    request: ApiRequest,
    project: Project,
    number: int,
    params: Query[PageParams],
    sort: LabelSort | None = None,
    search: str = "",
) -> LabelResultPage:
    """The figures of each label. `sort`: a minus sign before the name turns the order round."""
    _, results = _results(project, number)
    rows = filter_and_sort(results.rows, sort or "", search.strip())
    chosen, cursor = slice_of(rows, params)
    return LabelResultPage(items=[LabelOut.of(row) for row in chosen], next=cursor)


@router.get(VERSION + "/confusion", response=ConfusionOut)
@project_call(Role.VIEWER, Scope.READ)
def show_confusion(request: ApiRequest, project: Project, number: int, fields: str = "") -> ConfusionOut:
    """The confusion matrix of a Completed version, and its pairs of confused labels."""
    version = completed_version_of(project, number)
    matrix = build_matrix(version.confusion)
    cells = matrix.confusions[:MAX_PAIRS] if matrix else []
    return ConfusionOut(
        labels=version.confusion.get("labels", []),
        matrix=version.confusion.get("matrix", []),
        confusions=[
            ConfusedPair(label=cell.true, predicted=cell.predicted, image_count=cell.images) for cell in cells
        ],
    )


@router.get(VERSION + "/candidates", response=CandidatePage)
@project_call(Role.VIEWER, Scope.READ)
def list_candidates(
    request: ApiRequest, project: Project, number: int, params: Query[PageParams]
) -> CandidatePage:
    """The leaderboard: the chosen candidate, then the others by rank, and those that failed."""
    _, results = _results(project, number)
    rows, cursor = slice_of(results.leaderboard, params)
    return CandidatePage(
        items=[CandidateOut.of(row) for row in rows], next=cursor, choice_note=results.choice_note
    )
