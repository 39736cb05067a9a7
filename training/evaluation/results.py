"""The evaluation of a version for its page: rows, warnings and the text alternative of each chart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from django.utils.translation import gettext, gettext_lazy, ngettext

from exeml_site.lib.display import count, decimal, percent, three_decimals
from training.engine.backbones import registry
from training.evaluation.confusion_matrix import Cell, build_matrix
from training.evaluation.leaderboard import (
    LeaderboardRow,
    Point,
    choice_note,
    fitted_text,
    leaderboard_rows,
    left_out_texts,
    licences_of,
    points_description,
    points_note,
    points_of,
)
from training.evaluation.uncertainty import (
    Average,
    CrossValidated,
    accuracy_note,
    averages,
    cross_validated,
    label_images_needed,
    recall_note,
)
from training.models import Curve, Metric, TrainingVersion

CHARTS = {
    "confusion-matrix": gettext_lazy("Confusion matrix"),
    "precision-recall": gettext_lazy("Precision and recall of each label"),
    "learning-curve": gettext_lazy("Learning curve"),
    "accuracy-latency": gettext_lazy("Accuracy and single-image time"),
}
SEARCH_CHARTS = ("accuracy-latency", "learning-curve")  # of the search, shown beside its leaderboard
MAX_CONFUSIONS = 12
MAX_CHART_LABELS = 40  # in the chart of precision and recall, which shows the weakest ones
SORTS = ("label", "images", "precision", "recall", "f1")


@dataclass(frozen=True)
class LabelResult:
    """One row of Classification Statistics.

    `accuracy` counts the other labels' images too, so it is near 100 % for every rare label, found or not: it
    is in the archive, and no page shows it.
    """

    label: str
    accuracy: Metric
    precision: Metric
    recall: Metric
    f1: Metric

    @property
    def images(self) -> int:
        return self.recall.support

    @property
    def images_needed(self) -> int:
        """Validation images to add until the recall is known to within ± 10 points."""
        return label_images_needed(self)


@dataclass(frozen=True)
class StoredChart:
    """A stored chart and its text alternative."""

    name: str
    title: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class Results:
    """Everything that the page of a Completed version shows of its evaluation."""

    accuracy: Metric
    precision: Metric
    recall: Metric
    f1: Metric
    rows: list[LabelResult]
    confusions: list[Cell]
    curve: list[list[float]]
    charts: list[StoredChart]
    leaderboard: list[LeaderboardRow]
    choice_note: str  # why another candidate than the most accurate one was chosen
    common_images: int  # on which the candidates are ranked
    points: list[Point]
    averages: list[Average]
    uncertainty_notes: list[str]  # what the validation split is too small for
    fitted_text: str  # how many training images the model was fitted on
    left_out_texts: list[str]
    licences: list[str]  # SPDX, of the pretrained weights in the model
    cross_validated: CrossValidated | None = None
    is_multi_label: bool = False
    hamming: float | None = None
    mean_average_precision: float | None = None

    @property
    def is_noncommercial(self) -> bool:
        """Whether the licence of any weights forbids commercial use."""
        return any(registry.is_noncommercial(licence) for licence in self.licences)

    @property
    def search_charts(self) -> list[StoredChart]:
        return [chart for chart in self.charts if chart.name in SEARCH_CHARTS]


def results_of(version: TrainingVersion) -> Results | None:
    """The evaluation of a Completed version; None if nothing was recorded."""
    by_label: dict[str, dict[str, Metric]] = {}
    for metric in version.metrics.all():
        by_label.setdefault(metric.label, {})[metric.name] = metric
    overall = by_label.pop("", None)
    if not overall or len(overall) < len(Metric.Name):
        return None
    rows = [LabelResult(label, **of_label) for label, of_label in by_label.items()]
    matrix = build_matrix(version.confusion)
    confusions = matrix.confusions[:MAX_CONFUSIONS] if matrix else []
    rows_of_candidates = leaderboard_rows(version.candidates.all())
    candidates = [row.candidate for row in rows_of_candidates]
    points = points_of(candidates)
    accuracy, is_multi = overall[Metric.Name.ACCURACY], version.project.is_multi_label
    notes = [accuracy_note(accuracy, version.training_ratio), recall_note(rows)]
    return Results(
        **overall,
        averages=averages(rows, overall, is_multi),
        uncertainty_notes=[note for note in notes if note],
        cross_validated=cross_validated(version),
        is_multi_label=is_multi,
        hamming=_mean([row.accuracy.value for row in rows]) if is_multi else None,
        mean_average_precision=_mean_average_precision(version) if is_multi else None,
        rows=rows,
        confusions=confusions,
        curve=version.progress.get("curve", []),
        charts=_charts(version, accuracy, confusions, rows, points),
        leaderboard=rows_of_candidates,
        choice_note=choice_note(rows_of_candidates),
        common_images=max((candidate.common_images or 0 for candidate in candidates), default=0),
        points=points,
        fitted_text=fitted_text(version),
        left_out_texts=left_out_texts(version),
        licences=licences_of(candidates),
    )


def _mean_average_precision(version: TrainingVersion) -> float | None:
    """Mean over the labels that validation images carry."""
    curves = version.curves.filter(kind=Curve.Kind.THRESHOLD)
    return _mean(list(curves.values_list("area", flat=True)))


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def filter_and_sort(rows: Iterable[LabelResult], sort: str, search: str) -> list[LabelResult]:
    """Rows whose label contains `search`, ordered by `sort` ("recall", "-recall"); undefined values last."""
    matching = [row for row in rows if search.casefold() in row.label.casefold()]
    field, is_falling = sort.removeprefix("-"), sort.startswith("-")
    if field not in SORTS:
        return matching
    defined = [row for row in matching if _key(row, field) is not None]
    undefined = [row for row in matching if _key(row, field) is None]
    return sorted(defined, key=lambda row: _key(row, field), reverse=is_falling) + undefined


def _key(row: LabelResult, field: str) -> Any:
    if field == "label":
        return row.label.casefold()
    return row.images if field == "images" else getattr(row, field).value


def _charts(
    version: TrainingVersion,
    accuracy: Metric,
    confusions: list[Cell],
    rows: list[LabelResult],
    points: list[Point],
) -> list[StoredChart]:
    """The charts that the worker drew."""
    texts = {
        "confusion-matrix": _matrix_text(accuracy, confusions),
        "precision-recall": _rates_text(rows),
        "learning-curve": _curve_text(accuracy, version.progress),
        "accuracy-latency": points_description(points),
    }
    notes = {"precision-recall": _rates_note(rows), "accuracy-latency": points_note(points, version)}
    drawn = version.progress.get("charts", [])
    return [
        StoredChart(name, str(title), texts[name], notes.get(name, ""))
        for name, title in CHARTS.items()
        if name in drawn and (points or name != "accuracy-latency")
    ]


def _matrix_text(accuracy: Metric, confusions: list[Cell]) -> str:
    text = gettext("Confusion matrix: %(hits)s of %(images)s right.")
    right = text % {"hits": count(accuracy.hits or 0), "images": count(accuracy.support)}
    if not confusions:
        return f"{right} {gettext('No confusions.')}"
    worst = confusions[0]
    text = ngettext(
        "Most frequent confusion: %(label)s predicted as %(predicted)s, %(count)s time.",
        "Most frequent confusion: %(label)s predicted as %(predicted)s, %(count)s times.",
        worst.images,
    )
    names = {"label": worst.true, "predicted": worst.predicted, "count": count(worst.images)}
    return f"{right} {text % names}"


def _rates_text(rows: list[LabelResult]) -> str:
    text = ngettext(
        "Precision and recall of %(count)s label with 95 %% intervals.",
        "Precision and recall of %(count)s labels with 95 %% intervals.",
        len(rows),
    )
    lowest = {
        "precision": gettext("Lowest precision: %(label)s with %(value)s."),
        "recall": gettext("Lowest recall: %(label)s with %(value)s."),
    }
    sentences = [text % {"count": count(len(rows))}]
    for name, sentence in lowest.items():
        values = [(getattr(row, name).value, row.label) for row in rows]
        defined = [pair for pair in values if pair[0] is not None]
        if defined:
            value, label = min(defined, key=itemgetter(0))
            sentences.append(sentence % {"label": label, "value": three_decimals(value)})
    return " ".join(sentences)


def _rates_note(rows: list[LabelResult]) -> str:
    if len(rows) <= MAX_CHART_LABELS:
        return ""
    text = gettext("The %(shown)s weakest of %(labels)s labels, by F1 Score.")
    return text % {"shown": count(MAX_CHART_LABELS), "labels": count(len(rows))}


def _curve_text(accuracy: Metric, progress: dict[str, Any]) -> str:
    curve: list[list[float]] = progress.get("curve", [])
    if not curve:
        return gettext("Learning curve.")
    first, last = curve[0], curve[-1]
    text = gettext(
        "Learning curve: on held-out training images, the best accuracy was %(first)s after %(first_s)s "
        "seconds and %(last)s after %(last_s)s seconds."
    )
    if judged := progress.get("judged"):
        text = ngettext(
            "Learning curve: on the same %(count)s held-out training image, the best accuracy was %(first)s "
            "after %(first_s)s seconds and %(last)s after %(last_s)s seconds.",
            "Learning curve: on the same %(count)s held-out training images, the best accuracy was %(first)s "
            "after %(first_s)s seconds and %(last)s after %(last_s)s seconds.",
            judged,
        )
    values = {"first": percent(first[1]), "first_s": decimal(first[0], 0)}
    values |= {"last": percent(last[1]), "last_s": decimal(last[0], 0), "count": count(judged or 0)}
    sentences = [text % values]
    if accuracy.value is not None:
        sentences.append(gettext("In the evaluation it is %(share)s.") % {"share": percent(accuracy.value)})
    return " ".join(sentences)
