"""All Labels: making, renaming and deleting the labels of a project."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import retarget

from exeml_site.pages import PageRequest, page
from projects import labeling
from projects.access import project_page
from projects.forms_labeling import LabelForm
from projects.models import Annotation, Label, Project, Role
from projects.telling import counted
from projects.views.label_data import PAGE, Notice, bench_context, refreshed

PANE = "projects/_label_data_labels.html"


@project_page(Role.VIEWER)
@require_safe
def label_list(request: PageRequest, project: Project) -> HttpResponse:
    return page(request, PAGE, bench_context(request, project), fragment=PANE)


@project_page(Role.LABELER)
@require_POST
def create_label(request: PageRequest, project: Project) -> HttpResponse:
    form = LabelForm(request.POST, project=project)
    if not form.is_valid():
        context = {**bench_context(request, project), "new_label_form": form}
        return retarget(page(request, PAGE, context, fragment=PANE, status=422), "#all-labels")
    [label] = labeling.ensure_labels(project, [form.cleaned_data["name"]])
    return refreshed(request, project, Notice(f"The label “{label}” is ready."))


@project_page(Role.LABELER)
@require_http_methods(["GET", "HEAD", "POST"])
def rename_label(request: PageRequest, project: Project, label_id: int) -> HttpResponse:
    label = get_object_or_404(Label, pk=label_id, project=project)
    old = label.name
    form = LabelForm(request.POST if request.method == "POST" else None, project=project, label=label)
    if form.is_valid():
        try:
            event = labeling.rename_label(label, form.cleaned_data["name"], request.user)
        except ValidationError as error:  # somebody took the name in this moment
            form.add_error("name", error)
        else:
            notice = Notice(f"“{old}” is called “{label}” now.", event) if event else None
            return refreshed(request, project, notice)
    context = {**bench_context(request, project), "renaming": label, "rename_form": form}
    status = 422 if form.is_bound else 200
    return retarget(page(request, PAGE, context, fragment=PANE, status=status), "#all-labels")


@project_page(Role.LABELER)
@require_http_methods(["GET", "HEAD", "POST"])
def delete_label(request: PageRequest, project: Project, label_id: int) -> HttpResponse:
    """Asks first, and says how many images lose the label."""
    label = get_object_or_404(Label, pk=label_id, project=project)
    if request.method == "POST":
        event = labeling.delete_label(label, request.user)
        lost = counted(len(event.changes)) if event else "no image"
        return refreshed(request, project, Notice(f"“{label}” is deleted; {lost} lost it.", event))
    context = {"project": project, "label": label, "here": request.GET.urlencode(), **_losses(label)}
    return page(
        request,
        "projects/label_data_delete_label.html",
        context,
        fragment="projects/_label_data_delete_label.html",
    )


def _losses(label: Label) -> dict[str, int]:
    """How many images carry the label, and how many carry nothing else."""
    carriers = Annotation.objects.filter(label=label, image__deleted_at=None)
    others = Annotation.objects.filter(~Q(label=label), image__annotations__label=label)
    carrying = carriers.count()
    with_others = others.filter(image__deleted_at=None).values("image").distinct().count()
    return {"losing": carrying, "becoming_unlabeled": carrying - with_others}
