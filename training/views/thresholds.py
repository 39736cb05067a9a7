"""Thresholds of a version: curves, calibration, and the answer settings with their figures."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.http import page, redirect_to
from projects.access import PageRequest, project_page
from projects.models import Project, Role
from training.evaluation import curve_rows
from training.evaluation.answer_figures import StoredPredictions, figures_under, stored_predictions
from training.evaluation.plots import svg_plots
from training.forms.thresholds import AnswerSettingsForm, form_of_version
from training.models import Curve, TrainingVersion
from training.versions import answer_settings
from training.versions.answer_settings import OWN, AnswerSettings, DecisionRule

Kind = Curve.Kind


@project_page(Role.VIEWER)
@require_safe
def thresholds(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """Answer settings, precision and recall of a label, calibration, and accuracy by coverage."""
    return _thresholds_page(request, _get_version(project, number))


@project_page(Role.VIEWER)
@require_POST
def answer_figures(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """The figures under the settings in the form, which are not stored."""
    version = _get_version(project, number)
    predictions = stored_predictions(version)
    form = form_of_version(version, predictions, request.POST)
    context: dict[str, Any] = {"project": project, "version": version, "form": form, "is_refresh": True}
    if form is None or predictions is None or not form.is_valid():
        return page(request, "evaluation/_answer_figures.html", context, status=422)
    context |= _figures(form.rule, predictions, form.settings)
    return page(request, "evaluation/_answer_figures.html", context)


@project_page(Role.REVIEWER)
@require_POST
def save_answer_settings(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """Store the settings with the version; `reset=1` returns to the model's own."""
    version = _get_version(project, number)
    address = reverse("thresholds", args=[project.pk, number])
    if request.POST.get("reset") == "1":
        answer_settings.reset(version, request.user)
        text = gettext("%(version)s answers with the model’s own settings.")
        messages.success(request, text % {"version": str(version)})
        return redirect_to(request, address)
    form = form_of_version(version, stored_predictions(version), request.POST)
    if form is None or not form.is_valid():
        return _thresholds_page(request, version, form, status=422)
    answer_settings.save(version, form.settings, request.user)
    text = gettext("The answer settings of %(version)s are saved. New services use them.")
    messages.success(request, text % {"version": str(version)})
    return redirect_to(request, address)


def _thresholds_page(
    request: PageRequest, version: TrainingVersion, form: AnswerSettingsForm | None = None, status: int = 200
) -> HttpResponse:
    curve_rows.add_missing_curves(version)
    predictions = stored_predictions(version)
    context: dict[str, Any] = {"project": version.project, "version": version, "tab": "thresholds"}
    if predictions is None:
        return page(request, "evaluation/thresholds.html", context, status=status)
    form = form or form_of_version(version, predictions)
    stored = answer_settings.settings_of(version)
    context |= {"predictions": predictions, "form": form, "stored": stored}
    context["can_save"] = request.membership.role >= Role.REVIEWER
    if form is not None:
        shown = form.settings if form.is_bound and form.is_valid() else stored
        context |= _figures(form.rule, predictions, shown)
        if form.rule.is_multi_label:
            context["tuned"] = predictions.tuned_f1
    label = request.GET.get("label", "")
    label = label if label in predictions.labels else predictions.labels[0]
    context |= _label_curve(version, predictions, label, context) | _calibration(version, label, predictions)
    context |= _coverage(version, context)
    return page(request, "evaluation/thresholds.html", context, status=status)


def _figures(rule: DecisionRule, predictions: StoredPredictions, settings: AnswerSettings) -> dict[str, Any]:
    return {
        "figures": figures_under(rule, predictions, settings),
        "own": figures_under(rule, predictions, OWN),
        "is_own": settings == OWN,
        "images": len(predictions),
    }


def _label_curve(
    version: TrainingVersion, predictions: StoredPredictions, label: str, context: dict[str, Any]
) -> dict[str, Any]:
    """Precision over recall of one label, with the points at which the version answers."""
    curve = version.curves.filter(kind=Kind.THRESHOLD, label=label).first()
    scores, truth = predictions.of_label(label)
    number = predictions.labels.index(label)
    return {
        "label": label,
        "curve": curve,
        "line": svg_plots.precision_recall_line(scores, truth),
        "steps": svg_plots.threshold_steps(curve.points) if curve else [],
        "point": context["figures"].labels[number] if "figures" in context else None,
        "own_point": context["own"].labels[number] if "own" in context else None,
    }


def _calibration(version: TrainingVersion, label: str, predictions: StoredPredictions) -> dict[str, Any]:
    curves = {curve.label: curve for curve in version.curves.filter(kind=Kind.CALIBRATION)}
    if "" not in curves:
        return {}
    bins = svg_plots.calibration_bins(curves[""])
    text = svg_plots.calibration_text(bins, curves[""].area, len(predictions), version.project.is_multi_label)
    return {
        "calibration": curves[""],
        "calibration_of_label": curves.get(label),
        "bins": bins,
        "calibration_words": text,
    }


def _coverage(version: TrainingVersion, context: dict[str, Any]) -> dict[str, Any]:
    """Accuracy over coverage, where images carry one label."""
    coverage = version.curves.filter(kind=Kind.COVERAGE).first()
    if coverage is None or "figures" not in context:
        return {}
    return {
        "coverage_line": svg_plots.coverage_line(coverage.points),
        "kept": svg_plots.coverage_steps(coverage.points),
    }


def _get_version(project: Project, number: int) -> TrainingVersion:
    version: TrainingVersion = get_object_or_404(
        TrainingVersion.objects.completed(), project=project, number=number
    )
    version.project = project
    return version
