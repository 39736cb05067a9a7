"""The history of a project and of one image, with undo and redo."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.http import page
from projects.access import PageRequest, project_page
from projects.labels import actions
from projects.labels.history import History, ImageHistory
from projects.models import Image, LabelEvent, Project, Role
from projects.views.label_data import Notice, refreshed_page, undo_text

PAGE, FRAGMENT = "history/history.html", "history/_history.html"


@project_page(Role.VIEWER)
@require_safe
def history(request: PageRequest, project: Project) -> HttpResponse:
    return page(request, PAGE, _context(request, project), fragment=FRAGMENT)


@project_page(Role.LABELER)
@require_POST
def undo_event(request: PageRequest, project: Project, event_id: int) -> HttpResponse:
    """Undo an event of the history, or redo one that was undone."""
    event = get_object_or_404(LabelEvent, project=project, pk=event_id)
    is_undo = event.kind == LabelEvent.Kind.UNDO
    try:
        undone = (actions.redo if is_undo else actions.undo)(event, request.user)
    except actions.CannotUndo as refusal:
        context = {**_context(request, project), "problem": str(refusal)}
        return page(request, PAGE, context, fragment=FRAGMENT, status=409)
    message = undo_text(event, undone, is_redo=is_undo)
    return page(request, PAGE, {**_context(request, project), "message": message}, fragment=FRAGMENT)


def _context(request: PageRequest, project: Project) -> dict[str, Any]:
    can_label = request.membership.role >= Role.LABELER
    return {"project": project, "history": History(project, request.GET.dict()), "can_label": can_label}


@project_page(Role.VIEWER)
@require_safe
def image_history(request: PageRequest, project: Project, image_id: int) -> HttpResponse:
    image = get_object_or_404(Image.objects.select_related("uploaded_by"), pk=image_id, project=project)
    context = {"project": project, "image": image, "lines": ImageHistory(image).lines}
    return page(request, "history/image_history.html", context, fragment="history/_image_history.html")


@project_page(Role.LABELER)
@require_POST
def redo_labeling(request: PageRequest, project: Project) -> HttpResponse:
    """Redo what the user undid last."""
    event = actions.last_undo(project, request.user)
    if event is None:
        return refreshed_page(request, project, Notice(gettext("You have nothing to redo."), level="info"))
    try:
        undone = actions.redo(event, request.user)
    except actions.CannotUndo as refusal:
        return refreshed_page(request, project, Notice(str(refusal), level="warning"), status=409)
    return refreshed_page(request, project, Notice(undo_text(event, undone, is_redo=True), undone.event))
