"""Pages of an evaluation: evaluated images, confusion matrix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.http import page, redirect_to
from exeml_site.lib.storage import local_path
from projects.access import PageRequest, project_page
from projects.datasets.compare import version_images
from projects.datasets.publish import ManifestDamaged
from projects.images.similarity import nearest_among
from projects.labels import actions
from projects.models import Annotation, Image, Label, Project, Role, Split
from training.evaluation import confusion_matrix as confusion_matrix_module
from training.evaluation import slices
from training.evaluation.image_query import OUTCOMES, PAGE_SIZE, SORTS, EvaluatedImageQuery
from training.models import EvaluatedImage, TrainingVersion
from training.serving.inference import explain, model_cache, predictor

MAX_NEIGHBOURS = 6
TOP_LABELS = 5
MAX_PAIRS = 300


@project_page(Role.VIEWER)
@require_safe
def evaluated_images(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """The validation images with their predictions; wrong ones first, by confidence."""
    version = _get_version(project, number)
    query = EvaluatedImageQuery.from_address(request.GET.dict())
    images = query.images(version)
    total = images.count()
    last = max(1, -(-total // PAGE_SIZE))
    current = min(query.page, last)
    context = _context(request, version, "images") | {
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
    return page(request, "evaluation/evaluated_images.html", context)


@project_page(Role.VIEWER)
@require_safe
def evaluated_image(request: PageRequest, project: Project, number: int, evaluated_id: int) -> HttpResponse:
    """One evaluated image: scores, heat map, similar training images, and a form to relabel it."""
    version = _get_version(project, number)
    evaluated = get_object_or_404(version.evaluated_images.select_related("image"), pk=evaluated_id)
    query = EvaluatedImageQuery.from_address(request.GET.dict())
    order = list(query.images(version).values_list("pk", flat=True))
    index = order.index(evaluated.pk) if evaluated.pk in order else None
    context = _context(request, version, "images") | {"evaluated": evaluated, "query": query}
    if index is not None:
        context |= {
            "place": index + 1,
            "previous": order[index - 1] if index else None,
            "next": order[index + 1] if index + 1 < len(order) else None,
        }
    context |= {
        "total": len(order),
        "scores": _score_rows(version, evaluated),
        "can_label": request.membership.role >= Role.LABELER,
    }
    if evaluated.image is not None:
        evaluated.image.project = project
        context |= _image_context(version, evaluated.image)
    return page(request, "evaluation/evaluated_image.html", context)


@project_page(Role.VIEWER)
@require_safe
@cache_control(private=True, max_age=86_400, immutable=True)
def evaluated_heat(request: PageRequest, project: Project, number: int, evaluated_id: int) -> HttpResponse:
    """The heat map of a label (`?label=`, by default the predicted one) as WebP."""
    version = _get_version(project, number)
    evaluated = get_object_or_404(version.evaluated_images.select_related("image"), pk=evaluated_id)
    label = request.GET.get("label") or next(iter([*evaluated.predicted, *evaluated.truth]), "")
    if evaluated.image is None:
        raise Http404
    try:
        model_cache.load_model(version)  # a missing model is reported before a missing image
        content = explain.heat_map(version, local_path(evaluated.image.file_name), label)
    except (model_cache.ModelUnavailable, predictor.InvalidImage) as problem:
        return HttpResponse(gettext(str(problem)), content_type="text/plain", status=422)
    except (KeyError, OSError) as problem:
        raise Http404 from problem
    return HttpResponse(content, content_type="image/webp")


@project_page(Role.LABELER)
@require_POST
def relabel_evaluated(request: PageRequest, project: Project, number: int, evaluated_id: int) -> HttpResponse:
    """Relabel the image and go to the next one. The evaluation does not change."""
    version = _get_version(project, number)
    evaluated = get_object_or_404(version.evaluated_images.select_related("image"), pk=evaluated_id)
    query = EvaluatedImageQuery.from_address(request.GET.dict())
    order = list(query.images(version).values_list("pk", flat=True))
    index = order.index(evaluated.pk) if evaluated.pk in order else -1
    label = get_object_or_404(Label, project=project, name=request.POST.get("label", ""))
    if evaluated.image is None or evaluated.image.deleted_at:
        messages.error(request, gettext("The image is in the bin or deleted, so it keeps its labels."))
    else:
        _apply_label(request, project, evaluated.image, label)
    next_id = order[index + 1] if 0 <= index < len(order) - 1 else evaluated.pk
    address = reverse("evaluated_image", args=[project.pk, number, next_id])
    return redirect_to(request, f"{address}?{query.current_address}")


@project_page(Role.VIEWER)
@require_safe
def version_slices(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """The accuracy of the values of a column (`?column=`), the lowest first."""
    version = _get_version(project, number)
    columns = slices.columns_of(version)
    chosen = next((column for column in columns if column.name == request.GET.get("column")), columns[0])
    rows = [
        (
            replace(row, value=slices.text_of(chosen, row.value)),
            row.rate.support - (row.rate.hits or 0),
            _mistakes_address(chosen.name, row.value),
        )
        for row in slices.rates(version, chosen)
    ]
    context = _context(request, version, "slices") | {"columns": columns, "chosen": chosen, "rows": rows}
    context |= {"others": str(slices.OTHERS_TEXT), "worse": sum(row.verdict == "worse" for row, *_ in rows)}
    return page(request, "evaluation/slices.html", context)


@project_page(Role.VIEWER)
@require_safe
def confusion_matrix(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """The matrix, whose cells open their images, and a searchable list of confused pairs."""
    version = _get_version(project, number)
    matrix = confusion_matrix_module.build_matrix(version.confusion)
    search = request.GET.get("search", "").strip()
    context = _context(request, version, "confusion") | {"matrix": matrix, "search": search}
    if matrix:
        needle = search.casefold()
        pairs = [cell for cell in matrix.confusions if needle in f"{cell.true}\n{cell.predicted}".casefold()]
        if not matrix.is_table:
            context["drawn"] = matrix.svg_cells(reverse("evaluated_images", args=[project.pk, number]))
        context |= {"pairs": pairs[:MAX_PAIRS], "more": max(len(pairs) - MAX_PAIRS, 0)}
    fragment = "evaluation/_confused_pairs.html"
    return page(request, "evaluation/confusion_matrix.html", context, fragment=fragment)


def _get_version(project: Project, number: int) -> TrainingVersion:
    version: TrainingVersion = get_object_or_404(
        TrainingVersion.objects.completed().select_related("dataset_version"), project=project, number=number
    )
    version.project = project
    return version


def _mistakes_address(column: str, value: str | None) -> str:
    return EvaluatedImageQuery(slice=column, value=value or "").address()


def _context(request: PageRequest, version: TrainingVersion, tab: str) -> dict[str, Any]:
    return {"project": version.project, "version": version, "tab": tab}


def _score_rows(version: TrainingVersion, evaluated: EvaluatedImage) -> list[dict[str, Any]]:
    """The five best labels and the true labels, highest score first."""
    labels = version.confusion.get("labels", [])
    ranked = sorted(zip(labels, evaluated.scores, strict=False), key=lambda pair: -pair[1])
    chosen = [pair for index, pair in enumerate(ranked) if index < TOP_LABELS or pair[0] in evaluated.truth]
    return [
        {
            "label": label,
            "score": score,
            "is_true": label in evaluated.truth,
            "is_predicted": label in evaluated.predicted,
        }
        for label, score in chosen
    ]


def _image_context(version: TrainingVersion, image: Image) -> dict[str, Any]:
    carried = list(
        Annotation.objects.filter(image=image).select_related("label").values_list("label__name", flat=True)
    )
    return {
        "carried": carried,
        "neighbours": _similar_training_images(version, image),
        "labels": version.project.labels.all(),
    }


def _similar_training_images(
    version: TrainingVersion, image: Image
) -> list[tuple[Image, list[dict[str, Any]]]]:
    """The most similar images that the version was trained on, with the labels that they had then.

    A label that is gone, or has another name now, has no colour.
    """
    try:
        images = version_images(version.dataset_version)
    except ManifestDamaged:
        return []
    labels_of = {pk: entry.labels for pk, entry in images.items() if entry.usage == Split.TRAIN}
    colours = dict(version.project.labels.values_list("name", "colour"))
    return [
        (near, [{"name": name, "colour": colours.get(name)} for name in labels_of[near.pk]])
        for near in nearest_among(image, MAX_NEIGHBOURS, labels_of)
    ]


def _apply_label(request: PageRequest, project: Project, image: Image, label: Label) -> None:
    try:
        event = actions.apply(project, [image.pk], add=[label], by=request.user)
    except ValidationError as problem:
        messages.error(request, problem.messages[0])
        return
    names = {"image": image.name, "label": label.name}
    if event is None:
        messages.info(request, gettext("%(image)s already has the label “%(label)s”.") % names)
    else:
        text = gettext("%(image)s now has the label “%(label)s”. You can undo this in History.")
        messages.success(request, text % names)
