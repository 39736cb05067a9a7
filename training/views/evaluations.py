"""Evaluations of versions on selected images, without training; and the hidden result on test images."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.http import page, redirect_to
from exeml_site.lib.storage import local_path
from projects.access import PageRequest, open_projects, project_page
from projects.models import Project, Role
from training.evaluation.image_query import OUTCOMES, PAGE_SIZE, SORTS, EvaluatedImageQuery
from training.evaluation.selections import lifecycle, looks
from training.evaluation.selections.results import final_test_of, result_of
from training.forms.evaluations import EvaluationForm
from training.models import SelectedImage, TrainingVersion, VersionEvaluation
from training.serving.inference import explain, model_cache, predictor

MAX_EVALUATIONS, MAX_MISTAKES, MAX_CONFUSIONS, TOP_LABELS = 50, 12, 12, 5
FORM, LIST, ONE = (
    "evaluations/evaluate_images.html",
    "evaluations/evaluations.html",
    "evaluations/evaluation.html",
)


# --- asking for an evaluation ---


def _choices_of(request: PageRequest, project: Project) -> dict[str, Any]:
    """The project, the person and the projects that they may choose."""
    return {"project": project, "user": request.user, "others": open_projects(request)}


@project_page(Role.LABELER)
@require_safe
def evaluate_images(request: PageRequest, project: Project) -> HttpResponse:
    """Choose a version for the images of Label Data that the query string selects."""
    form = EvaluationForm(**_choices_of(request, project), query=request.GET.urlencode()[:2000])
    return page(request, FORM, {"project": project, "form": form})


@project_page(Role.LABELER)
@require_POST
def begin_evaluation(request: PageRequest, project: Project) -> HttpResponse:
    form = EvaluationForm(request.POST, **_choices_of(request, project))
    if not form.is_valid():
        return page(request, FORM, {"project": project, "form": form}, status=422)
    try:
        evaluation = lifecycle.create_evaluation(
            form.chosen_version,
            form.source,
            form.image_ids(),
            name=form.name,
            query=form.chosen_query.address(),
            by=request.user,
        )
    except lifecycle.EvaluationRefused as refused:
        form.add_error("images", str(refused))
        return page(request, FORM, {"project": project, "form": form}, status=422)
    return redirect_to(request, _address(evaluation))


# --- evaluations of a version ---


@project_page(Role.VIEWER)
@require_safe
@never_cache
def version_evaluations(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """The evaluations of a version; the list polls while one is active."""
    version = _get_version(project, number)
    kinds = VersionEvaluation.Kind
    evaluations = list(
        version.evaluations.filter(kind=kinds.SELECTION).select_related("source", "created_by")[
            :MAX_EVALUATIONS
        ]
    )
    rows = [(evaluation, _result(version, evaluation)) for evaluation in evaluations]
    can_label = request.membership.role >= Role.LABELER
    context = {
        "project": project,
        "version": version,
        "tab": "evaluations",
        "rows": rows,
        "final_test": final_test_of(version),
        "is_any_active": any(evaluation.is_active for evaluation in evaluations),
        "can_label": can_label,
    }
    if can_label:
        context["form"] = EvaluationForm(**_choices_of(request, project), number=number)
    return page(request, LIST, context, fragment="evaluations/_evaluations.html")


@project_page(Role.VIEWER)
@require_safe
@never_cache
def version_evaluation(
    request: PageRequest, project: Project, number: int, evaluation_id: int
) -> HttpResponse:
    """One evaluation: its progress, then its figures, confusions and mistakes."""
    evaluation = _get_evaluation(project, number, evaluation_id)
    result = _result(evaluation.training_version, evaluation)
    context = _context(request, evaluation) | {"result": result}
    if result is not None:
        figures = result.independent or result.all_images
        context |= {
            "figures": figures,
            "looks": looks.judged_versions(evaluation),
            "confusions": figures.matrix.confusions[:MAX_CONFUSIONS] if figures and figures.matrix else [],
        }
        if context["can_see_images"]:
            wrong = evaluation.images.filter(is_correct=False).defer("scores").select_related("image")
            context["mistakes"] = wrong.order_by("was_trained_on", "-confidence", "pk")[:MAX_MISTAKES]
    return page(request, ONE, context, fragment="evaluations/_evaluation.html")


@project_page(Role.LABELER)
@require_POST
def cancel_evaluation(
    request: PageRequest, project: Project, number: int, evaluation_id: int
) -> HttpResponse:
    """Cancel an active evaluation; delete one that failed or was cancelled."""
    evaluation = _get_evaluation(project, number, evaluation_id)
    if not lifecycle.cancel(evaluation) and not lifecycle.delete(evaluation):
        messages.info(request, gettext("Nothing changed: the evaluation is completed."))
    return redirect_to(request, reverse("version_evaluations", args=[project.pk, number]))


@project_page(Role.LABELER)
@require_POST
def show_test_result(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """Open the hidden result on the test images for everybody, which counts as a look at them."""
    version = _get_version(project, number)
    evaluation = get_object_or_404(version.evaluations, kind=VersionEvaluation.Kind.TEST)
    looks.show_result(evaluation, request.user)
    return redirect_to(request, reverse("training_version", args=[project.pk, number]))


# --- images of an evaluation ---


@project_page(Role.VIEWER)
@require_safe
def selected_images(request: PageRequest, project: Project, number: int, evaluation_id: int) -> HttpResponse:
    """The images of an evaluation with their predictions; wrong ones first, by confidence."""
    evaluation = _evaluation_with_images(request, project, number, evaluation_id)
    query = EvaluatedImageQuery.from_address(request.GET.dict())
    images = query.among(evaluation.images.all())
    total = images.count()
    last = max(1, -(-total // PAGE_SIZE))
    current = min(query.page, last)
    context = _context(request, evaluation) | {
        "query": query,
        "total": total,
        "number": current,
        "last": last,
        "previous": query.address(page=current - 1) if current > 1 else "",
        "next": query.address(page=current + 1) if current < last else "",
        "images": images.select_related("image")[(current - 1) * PAGE_SIZE : current * PAGE_SIZE],
        "outcomes": [
            (text, query.address(outcome=name), name == query.outcome) for name, text in OUTCOMES.items()
        ],
        "sorts": [(name, text, name == query.sort) for name, (text, _) in SORTS.items()],
    }
    return page(request, "evaluations/selected_images.html", context)


@project_page(Role.VIEWER)
@require_safe
def selected_image(
    request: PageRequest, project: Project, number: int, evaluation_id: int, selected_id: int
) -> HttpResponse:
    """One image of an evaluation: its scores, and a heat map of the predicted label."""
    evaluation = _evaluation_with_images(request, project, number, evaluation_id)
    selected = get_object_or_404(evaluation.images.select_related("image"), pk=selected_id)
    query = EvaluatedImageQuery.from_address(request.GET.dict())
    order = list(query.among(evaluation.images.all()).values_list("pk", flat=True))
    index = order.index(selected.pk) if selected.pk in order else None
    context = _context(request, evaluation) | {
        "selected": selected,
        "query": query,
        "total": len(order),
        "scores": _score_rows(evaluation, selected),
    }
    if index is not None:
        context |= {
            "place": index + 1,
            "previous": order[index - 1] if index else None,
            "next": order[index + 1] if index + 1 < len(order) else None,
        }
    return page(request, "evaluations/selected_image.html", context)


@project_page(Role.VIEWER)
@require_safe
@cache_control(private=True, max_age=86_400, immutable=True)
def selected_heat(
    request: PageRequest, project: Project, number: int, evaluation_id: int, selected_id: int
) -> HttpResponse:
    """The heat map of the predicted label as WebP."""
    evaluation = _evaluation_with_images(request, project, number, evaluation_id)
    selected = get_object_or_404(evaluation.images.select_related("image"), pk=selected_id)
    label = next(iter([*selected.predicted, *selected.truth]), "")
    if selected.image is None:
        raise Http404
    version = evaluation.training_version
    try:
        model_cache.load_model(version)  # a missing model is reported before a missing image
        content = explain.heat_map(version, local_path(selected.image.file_name), label)
    except (model_cache.ModelUnavailable, predictor.InvalidImage) as problem:
        return HttpResponse(gettext(str(problem)), content_type="text/plain", status=422)
    except (KeyError, OSError) as problem:
        raise Http404 from problem
    return HttpResponse(content, content_type="image/webp")


# --- finding rows ---


def _get_version(project: Project, number: int) -> TrainingVersion:
    versions = TrainingVersion.objects.completed().select_related("dataset_version")
    version: TrainingVersion = get_object_or_404(versions, project=project, number=number)
    version.project = project
    return version


def _get_evaluation(project: Project, number: int, evaluation_id: int) -> VersionEvaluation:
    version = _get_version(project, number)
    evaluations: QuerySet[VersionEvaluation] = version.evaluations.select_related(
        "source__team", "created_by", "shown_by"
    )
    evaluation = get_object_or_404(evaluations, pk=evaluation_id)
    evaluation.training_version = version
    return evaluation


def _evaluation_with_images(
    request: PageRequest, project: Project, number: int, evaluation_id: int
) -> VersionEvaluation:
    """An evaluation whose images the person may see: not hidden, and of a project of one of their teams."""
    evaluation = _get_evaluation(project, number, evaluation_id)
    if evaluation.is_hidden or not evaluation.is_completed or not _can_see_images(request, evaluation):
        raise Http404
    return evaluation


def _can_see_images(request: PageRequest, evaluation: VersionEvaluation) -> bool:
    return open_projects(request).filter(pk=evaluation.source_id or 0).exists()


def _context(request: PageRequest, evaluation: VersionEvaluation) -> dict[str, Any]:
    version = evaluation.training_version
    return {
        "project": version.project,
        "version": version,
        "tab": "evaluations",
        "evaluation": evaluation,
        "can_label": request.membership.role >= Role.LABELER,
        "can_see_images": _can_see_images(request, evaluation),
    }


def _result(version: TrainingVersion, evaluation: VersionEvaluation) -> Any:
    evaluation.training_version = version
    return None if evaluation.is_hidden else result_of(evaluation)


def _score_rows(evaluation: VersionEvaluation, selected: SelectedImage) -> list[dict[str, Any]]:
    """The five best labels and the true labels, highest score first."""
    figures = evaluation.result.get("all") or evaluation.result.get("independent") or {}
    labels = figures.get("labels", [])
    ranked = sorted(zip(labels, selected.scores, strict=False), key=lambda pair: -pair[1])
    return [
        {
            "label": label,
            "score": score,
            "is_true": label in selected.truth,
            "is_predicted": label in selected.predicted,
        }
        for index, (label, score) in enumerate(ranked)
        if index < TOP_LABELS or label in selected.truth
    ]


def _address(evaluation: VersionEvaluation) -> str:
    version = evaluation.training_version
    return reverse("version_evaluation", args=[version.project_id, version.number, evaluation.pk])
