"""Read model of evaluations on selected images: figures, confusion matrix, and what was left out.

`VersionEvaluation.result` is `{"independent": figures, "all": figures, "trained_on": n, "gone": n,
"unreadable": n, "several": n, "unknown": n, "unknown_labels": {name: images}}`, where figures are
`{"labels", "matrix", "metrics": [fields of Metric]}`. `independent` leaves out the `trained_on` images that
the version was trained on; it is null where nothing is left, and `all` is null where none was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext, ngettext, ngettext_lazy

from exeml_site.lib.display import count
from projects.datasets.final_test import count_test_images
from training.evaluation.confusion_matrix import Matrix, build_matrix
from training.evaluation.results import LabelResult
from training.evaluation.selections.looks import judged_versions
from training.evaluation.uncertainty import Average, averages
from training.models import Metric, TrainingVersion, VersionEvaluation

MAX_LABELS_NAMED = 5
# Why no figure counts some of the images, by the keys of `VersionEvaluation.result`.
LEFT_OUT_TEXTS = {
    "unknown": ngettext_lazy(
        "%(count)s image is left out because %(version)s does not know the label.",
        "%(count)s images are left out because %(version)s does not know the label.",
        "images",
    ),
    "several": ngettext_lazy(
        "%(count)s image is left out because it has several labels; %(version)s predicts only one.",
        "%(count)s images are left out because they have several labels; %(version)s predicts only one.",
        "images",
    ),
    "unreadable": ngettext_lazy(
        "%(count)s image is left out because its file could not be read.",
        "%(count)s images are left out because their files could not be read.",
        "images",
    ),
    "gone": ngettext_lazy(
        "%(count)s image is left out because it was deleted or had no label at the time of the evaluation.",
        "%(count)s images are left out because they were deleted or had no label at the time of the "
        "evaluation.",
        "images",
    ),
}
Kind = VersionEvaluation.Kind


@dataclass(frozen=True)
class SelectionFigures:
    """The figures of one evaluation, on all of its images or on the independent ones."""

    accuracy: Metric
    precision: Metric
    recall: Metric
    f1: Metric
    rows: list[LabelResult]
    averages: list[Average]
    matrix: Matrix | None


@dataclass(frozen=True)
class SelectionResult:
    """The result of a Completed evaluation. `independent`: without the images that were trained on."""

    independent: SelectionFigures | None
    all_images: SelectionFigures | None
    trained_on: int
    evaluated: int
    left_out: list[str]  # sentences

    @property
    def is_partly_trained_on(self) -> bool:
        return bool(self.trained_on)


@dataclass(frozen=True)
class FinalTest:
    """The result of a version on the test images of its dataset version, as its page shows it.

    `result` only where somebody opened it. `looks`: versions judged on the same images, this one included if
    it is open. `tests_now`: test images of the project, for a version that has no result.
    """

    evaluation: VersionEvaluation | None
    result: SelectionResult | None
    looks: int
    tests_now: int

    @property
    def figures(self) -> SelectionFigures | None:
        return self.result.independent if self.result else None


def result_of(evaluation: VersionEvaluation) -> SelectionResult | None:
    """The result, None before the end."""
    stored = evaluation.result
    if not evaluation.is_completed or "trained_on" not in stored:
        return None
    is_multi_label = evaluation.training_version.project.is_multi_label
    independent = _figures(stored["independent"], is_multi_label)
    all_images = _figures(stored["all"], is_multi_label)
    counted = all_images or independent
    return SelectionResult(
        independent,
        all_images,
        stored["trained_on"],
        counted.accuracy.support if counted else 0,
        list(_left_out(stored, evaluation.training_version)),
    )


def final_test_of(version: TrainingVersion) -> FinalTest:
    """What the version's page shows of the test images."""
    evaluation = version.evaluations.filter(kind=Kind.TEST).first()
    if evaluation is None:
        return FinalTest(None, None, 0, count_test_images(version.project))
    evaluation.training_version = version
    result = None if evaluation.is_hidden else result_of(evaluation)
    return FinalTest(evaluation, result, judged_versions(evaluation), 0)


def shown_final_tests(versions: Sequence[TrainingVersion]) -> list[SelectionResult | None]:
    """The opened test results of versions side by side, None where there is none or it is hidden."""
    opened = (
        VersionEvaluation.objects.completed().shown().filter(kind=Kind.TEST, training_version__in=versions)
    )
    by_version = {evaluation.training_version_id: evaluation for evaluation in opened}
    results = []
    for version in versions:
        evaluation = by_version.get(version.pk)
        if evaluation is not None:
            evaluation.training_version = version
        results.append(result_of(evaluation) if evaluation else None)
    return results


def _figures(stored: dict[str, Any] | None, is_multi_label: bool) -> SelectionFigures | None:
    if not stored:
        return None
    by_label: dict[str, dict[str, Metric]] = {}
    for fields in stored["metrics"]:
        by_label.setdefault(fields["label"], {})[fields["name"]] = Metric(**fields)
    overall = by_label.pop("")
    rows = [LabelResult(label, **of_label) for label, of_label in by_label.items()]
    matrix = build_matrix({"labels": stored["labels"], "matrix": stored["matrix"]})
    return SelectionFigures(
        **overall, rows=rows, averages=averages(rows, overall, is_multi_label), matrix=matrix
    )


def _left_out(stored: dict[str, Any], version: TrainingVersion) -> Any:
    """Sentences about images that no figure counts."""
    if stored["unknown_labels"]:
        yield _unknown_labels_text(stored["unknown_labels"], version)
    for reason, text in LEFT_OUT_TEXTS.items():
        if images := stored[reason]:
            yield text % {"images": images, "count": count(images), "version": str(version)}


def _unknown_labels_text(images_of: dict[str, int], version: TrainingVersion) -> str:
    names = sorted(images_of.items(), key=lambda pair: (-pair[1], pair[0]))
    named = ", ".join(f"“{name}” ({count(images)})" for name, images in names[:MAX_LABELS_NAMED])
    values = {"version": str(version), "labels": named}
    more = len(names) - MAX_LABELS_NAMED
    if more <= 0:
        return gettext("%(version)s does not know these labels (and their images): %(labels)s.") % values
    text = ngettext(
        "%(version)s does not know these labels (and their images): %(labels)s and %(count)s more.",
        "%(version)s does not know these labels (and their images): %(labels)s and %(count)s more.",
        more,
    )
    return text % {**values, "count": count(more)}
