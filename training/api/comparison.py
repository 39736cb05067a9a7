"""Versions compared on the same images, with a test of the differences."""

from __future__ import annotations

from typing import Literal

from ninja import Field, Query, Router, Schema

from exeml_site.lib.errors import Refused
from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.pages import Key
from projects.datasets.publish import ManifestDamaged
from projects.models import Project, Role, Scope
from training.api.evaluation import MetricOut
from training.api.versions import VERSION, completed_version_of
from training.evaluation import comparison
from training.models import TrainingVersion

router = Router(tags=["Evaluation"])
MAX_DIFFERENCES = 1000


class ComparedVersion(Schema):
    number: int
    accuracy: MetricOut = Field(description="On the images that all versions predicted.")
    waiting_count: int = Field(description="Images that a worker lets it predict now.")
    relabeled_count: int = Field(
        description="Images that got the label that it predicts after its evaluation, which favours it."
    )

    @classmethod
    def of(cls, column: comparison.VersionColumn) -> ComparedVersion:
        return cls(
            number=column.version.number,
            accuracy=MetricOut.of(column.accuracy),
            waiting_count=column.waiting,
            relabeled_count=column.relabeled,
        )


class ComparedPair(Schema):
    """A version against the base, by the exact test of McNemar; Holm adjusts p for several versions."""

    base: int
    other: int
    only_base_count: int = Field(description="Images that only the base predicts correctly.")
    only_other_count: int
    p_value: float
    verdict: Literal["better", "worse", ""] = Field(
        description="Of the other version; empty where the difference is not reliable."
    )
    summary: str

    @classmethod
    def of(cls, pair: comparison.PairComparison) -> ComparedPair:
        return cls(
            base=pair.base.number,
            other=pair.other.number,
            only_base_count=pair.only_base,
            only_other_count=pair.only_other,
            p_value=pair.p,
            verdict=pair.verdict,
            summary=pair.summary,
        )


class DifferingParameter(Schema):
    name: str
    values: list[str] = Field(description="In the order of `versions`.")


class VersionAnswer(Schema):
    number: int
    predicted: str
    is_correct: bool


class DifferingAnswers(Schema):
    """An image that the versions predict differently."""

    image_id: int
    labels: list[str]
    answers: list[VersionAnswer]

    @classmethod
    def of(cls, row: comparison.AnswerDifference) -> DifferingAnswers:
        answers = [
            VersionAnswer(number=version.number, predicted=text, is_correct=is_right)
            for version, text, is_right in row.answers
        ]
        return cls(image_id=row.image_id, labels=sorted(row.truth), answers=answers)


class ComparisonOut(Schema):
    """Today's validation images with today's labels, without those that any version was trained on."""

    versions: list[ComparedVersion]
    pairs: list[ComparedPair]
    parameters: list[DifferingParameter] = Field(description="Those that differ.")
    image_count: int
    excluded_count: int = Field(description="Validation images that one of the versions was trained on.")
    is_waiting: bool = Field(description="Ask again: a worker predicts images that a version lacks.")
    differences: list[DifferingAnswers] = Field(description=f"The first {MAX_DIFFERENCES} of them.")
    difference_count: int

    @classmethod
    def of(cls, found: comparison.Comparison) -> ComparisonOut:
        return cls(
            versions=[ComparedVersion.of(column) for column in found.columns],
            pairs=[ComparedPair.of(pair) for pair in found.pairs],
            parameters=[DifferingParameter(name=name, values=values) for name, values in found.parameters],
            image_count=found.images,
            excluded_count=found.excluded,
            is_waiting=found.is_waiting,
            differences=[DifferingAnswers.of(row) for row in found.disagreements[:MAX_DIFFERENCES]],
            difference_count=len(found.disagreements),
        )


class ComparisonParams(Schema):
    with_: list[Key] = Field(
        alias="with",
        min_length=1,
        description=f"The numbers of other versions; at most {comparison.MAX_VERSIONS - 1}.",
    )
    fields: str = ""


@router.get(VERSION + "/compare", response=ComparisonOut)
@project_call(Role.VIEWER, Scope.READ)
def compare_versions(
    request: ApiRequest, project: Project, number: int, params: Query[ComparisonParams]
) -> ComparisonOut:
    """Compare Completed versions with this one, the base. A worker predicts what a version lacks."""
    base = completed_version_of(project, number)
    numbers = list(dict.fromkeys(params.with_))
    if len(numbers) >= comparison.MAX_VERSIONS:
        message = f"At most {comparison.MAX_VERSIONS} versions can be compared, this one included."
        raise problems.invalid_field("with", message)
    others = {other.number: other for other in _completed(project, numbers)}
    for other in numbers:
        if other not in others or other == number:
            message = f"Version {other} cannot be compared with this one: name other Completed versions."
            raise problems.invalid_field("with", message)
    try:
        found = comparison.compare(project, [base, *(others[other] for other in numbers)])
    except ManifestDamaged as damaged:
        raise problems.refused(Refused(str(damaged))) from damaged
    comparison.request_predictions(found)
    return ComparisonOut.of(found)


def _completed(project: Project, numbers: list[int]) -> list[TrainingVersion]:
    versions = TrainingVersion.objects.completed().filter(project=project, number__in=numbers)
    related = (
        *("dataset_version", "incremental_version__dataset_version"),
        "promoted_candidate__training_version",
    )
    return list(versions.select_related(*related).prefetch_related("candidates"))
