"""What a training version's evaluation says."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from exeml.core.resource import Record


class Metric(Record):
    """A share with its 95 % interval; None where it is undefined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    hit_count: int | None = None
    image_count: int | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        if self.low is None or self.high is None:
            return f"{self.value:.1%}"
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


class Metrics(Record):
    """The figures of the validation images. Precision, recall and F1 are averages of the labels."""

    accuracy: Metric
    precision: Metric
    recall: Metric
    f1: Metric
    training_image_count: int | None = None
    validation_image_count: int | None = None
    notes: list[str] = Field(default_factory=list)
    advice: list[str] = Field(default_factory=list)


class AnswerSettings(Record):
    """The limits by which a version answers; `min_familiarity` None: the model's own."""

    version_number: int
    thresholds: dict[str, float] = Field(default_factory=dict)
    own_thresholds: dict[str, float] = Field(default_factory=dict)
    min_confidence: float | None = None
    min_familiarity: float | None = None
    is_own: bool = True


class LabelResult(Record):
    """The figures of one label."""

    label: str
    image_count: int = 0
    precision: Metric
    recall: Metric
    f1: Metric


class EvaluatedImage(Record):
    """A validation image with its prediction. `labels`: those that it had then."""

    id: int
    image_id: int | None = None
    name: str | None = None
    labels: list[str] = Field(default_factory=list)
    predicted: list[str] = Field(default_factory=list)
    confidence: float | None = None
    is_correct: bool | None = None
    is_known: bool | None = None
    scores: dict[str, float] | None = None


class Candidate(Record):
    """A model that the training compared."""

    id: int
    rank: int | None = None
    network: str = ""
    accuracy: Metric | None = None
    inference_ms: float | None = None
    is_chosen: bool = False
    is_stored: bool = False


class ComparedVersion(Record):
    """A version in a comparison: its accuracy on the images that all of them predicted."""

    number: int
    accuracy: Metric


class ComparedPair(Record):
    """Another version against the base, by McNemar's exact test. `verdict`: empty where it may be chance."""

    base: int
    other: int
    only_base_count: int = 0
    only_other_count: int = 0
    p_value: float | None = None
    verdict: str = ""
    summary: str = ""


class Comparison(Record):
    """Versions on the same images, without those that any of them was trained on."""

    versions: list[ComparedVersion] = Field(default_factory=list)
    pairs: list[ComparedPair] = Field(default_factory=list)
    image_count: int = 0
    difference_count: int = 0
    is_waiting: bool = False


def table_row(values: dict[str, Any]) -> dict[str, Any]:
    """An evaluated image as a row of a table: a column `score_<label>` for each label."""
    scores = values.pop("scores", None) or {}
    return {**values, **{f"score_{label}": score for label, score in scores.items()}}
