"""All Labels: create, rename, edit, merge and delete the labels of a project."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import reswap, retarget

from exeml_site.lib.display import count
from exeml_site.lib.http import page
from projects.access import PageRequest, project_page
from projects.forms.label_data import LabelForm
from projects.forms.labels import DeleteLabelForm, LabelLookForm, MergeForm
from projects.images import bin
from projects.labels import actions
from projects.labels.parts import count_images
from projects.models import Annotation, Label, Project, Role
from projects.models.label import LABEL_COLOURS
from projects.views.label_data import PAGE, Notice, moved_to_bin, page_context, refreshed_page

PANE = "label_data/_label_list.html"


@project_page(Role.VIEWER)
@require_safe
def label_list(request: PageRequest, project: Project) -> HttpResponse:
    return page(request, PAGE, page_context(request, project), fragment=PANE)


@project_page(Role.LABELER)
@require_POST
def create_label(request: PageRequest, project: Project) -> HttpResponse:
    form = LabelForm(request.POST, project=project)
    if not form.is_valid():
        context = {**page_context(request, project), "new_label_form": form}
        return page(request, PAGE, context, fragment="label_data/_refresh.html", status=422)
    [label] = actions.ensure_labels(project, [form.cleaned_data["name"]])
    message = gettext("Label “%(label)s” added.") % {"label": label}
    return refreshed_page(request, project, Notice(message))


@project_page(Role.LABELER)
@require_http_methods(["GET", "HEAD", "POST"])
def rename_label(request: PageRequest, project: Project, label_id: int) -> HttpResponse:
    label = get_object_or_404(Label, pk=label_id, project=project)
    old = label.name
    form = LabelForm(request.POST if request.method == "POST" else None, project=project, label=label)
    if form.is_valid():
        try:
            event = actions.rename_label(label, form.cleaned_data["name"], request.user)
        except ValidationError as error:  # another user took the name meanwhile
            form.add_error("name", error)
        else:
            message = gettext("“%(old)s” renamed to “%(new)s”.") % {"old": old, "new": label}
            return refreshed_page(request, project, Notice(message, event) if event else None)
    context = {**page_context(request, project), "renaming": label, "rename_form": form}
    status = 422 if form.is_bound else 200
    return retarget(page(request, PAGE, context, fragment=PANE, status=status), "#all-labels")


@project_page(Role.LABELER)
@require_http_methods(["GET", "HEAD", "POST"])
def edit_label(request: PageRequest, project: Project, label_id: int) -> HttpResponse:
    """Change colour and key. The dialog also offers to move or merge the label."""
    label = get_object_or_404(Label, pk=label_id, project=project)
    form = LabelLookForm(request.POST if request.method == "POST" else None, project=project, label=label)
    if form.is_valid():
        look = form.cleaned_data
        try:
            event = actions.edit_label(
                label, request.user, colour=look["colour"], hot_key=look["hot_key"], swap=look["swap"]
            )
        except ValidationError as error:  # another user took the key meanwhile
            form.add_error("hot_key", error)
        else:
            message = gettext("“%(label)s” changed.") % {"label": label}
            return refreshed_page(request, project, Notice(message, event) if event else None)
    return _dialog(request, project, label, look_form=form, status=422 if form.is_bound else 200)


@project_page(Role.LABELER)
@require_POST
def move_label(request: PageRequest, project: Project, label_id: int) -> HttpResponse:
    """Move the label up or down in All Labels."""
    label = get_object_or_404(Label, pk=label_id, project=project)
    actions.move_label(label, -1 if request.POST.get("to") == "up" else 1)
    return refreshed_page(request, project)


@project_page(Role.LABELER)
@require_POST
def merge_label(request: PageRequest, project: Project, label_id: int) -> HttpResponse:
    label = get_object_or_404(Label, pk=label_id, project=project)
    form = MergeForm(request.POST, project=project, label=label)
    if form.is_valid():
        name, into = label.name, form.cleaned_data["into"]
        try:
            event = actions.merge_labels(label, into, request.user)
        except ValidationError as error:
            form.add_error("into", error)
        else:
            message = _merged_text(name, into.name, count_images(event))
            return refreshed_page(request, project, Notice(message, event))
    return _dialog(request, project, label, merge_form=form, status=422)


def _merged_text(name: str, into: str, images: int) -> str:
    sentence = ngettext(
        "“%(label)s” merged into “%(into)s”: %(count)s image.",
        "“%(label)s” merged into “%(into)s”: %(count)s images.",
        images,
    )
    return sentence % {"label": name, "into": into, "count": count(images)}


def _dialog(
    request: PageRequest, project: Project, label: Label, status: int = 200, **forms: Any
) -> HttpResponse:
    context = {
        "project": project,
        "label": label,
        "query_string": request.GET.urlencode(),
        "colours": range(LABEL_COLOURS),
        "look_form": LabelLookForm(None, project=project, label=label),
        "merge_form": MergeForm(None, project=project, label=label),
        **_image_counts(label),
        **forms,
    }
    fragment = "label_data/_edit_label.html"
    answer = page(request, "label_data/edit_label.html", context, fragment=fragment, status=status)
    return reswap(retarget(answer, "#label-dialog-body"), "innerHTML")


@project_page(Role.LABELER)
@require_http_methods(["GET", "HEAD", "POST"])
def delete_label(request: PageRequest, project: Project, label_id: int) -> HttpResponse:
    """GET asks and shows how many images lose the label; POST deletes."""
    label = get_object_or_404(Label, pk=label_id, project=project)
    form = DeleteLabelForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        return _delete_label(request, project, label, form.cleaned_data["mode"])
    context = {
        "project": project,
        "label": label,
        "query_string": request.GET.urlencode(),
        **_image_counts(label),
    }
    context["bin_days"] = settings.EXEML_BIN_DAYS
    context["can_manage"] = request.membership.role >= Role.MANAGER
    return page(
        request,
        "label_data/delete_label.html",
        context,
        fragment="label_data/_delete_label.html",
        status=422 if form.is_bound else 200,
    )


def _delete_label(request: PageRequest, project: Project, label: Label, mode: str) -> HttpResponse:
    deleted = bin.delete_label(label, mode, request.user, request.membership.role)
    if mode != "files" or deleted.event is None:
        return refreshed_page(request, project, Notice(_deleted_text(label, deleted), deleted.event))
    sentence = ngettext(
        "“%(label)s” and %(count)s image with its file were deleted for good.",
        "“%(label)s” and %(count)s images with their files were deleted for good.",
        deleted.purged,
    )
    message = sentence % {"label": label, "count": count(deleted.purged)}
    return refreshed_page(request, project, Notice(message))


def _deleted_text(label: Label, deleted: bin.LabelDeletion) -> str:
    if deleted.event is None:
        return gettext("“%(label)s” deleted. No image had it.") % {"label": label}
    sentence = ngettext(
        "“%(label)s” deleted and removed from %(count)s image.",
        "“%(label)s” deleted and removed from %(count)s images.",
        deleted.changed,
    )
    text = sentence % {"label": label, "count": count(deleted.changed)}
    return f"{text} {moved_to_bin(deleted.binned)}" if deleted.binned else text


def _image_counts(label: Label) -> dict[str, int]:
    """How many images have the label, and how many have no other label."""
    carriers = Annotation.objects.filter(label=label, image__deleted_at=None)
    others = Annotation.objects.filter(~Q(label=label), image__annotations__label=label)
    carrying = carriers.count()
    with_others = others.filter(image__deleted_at=None).values("image").distinct().count()
    return {"losing": carrying, "becoming_unlabeled": carrying - with_others}
