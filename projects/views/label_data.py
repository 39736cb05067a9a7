"""Label Data: the grid of a project's images, and labeling them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.http import page, redirect_to, wants_fragment
from exeml_site.lib.text import counted
from projects.access import PageRequest, project_page
from projects.collaboration import assignments
from projects.datasets.readiness import readiness
from projects.forms.label_data import ImagesForm, LabelForm, LabelImagesForm, filter_fields
from projects.images.query import PAGE_SIZES, matching_ids
from projects.label_data.filter_chips import chips, usernames_of
from projects.label_data.page import LabelDataPage
from projects.labels import actions
from projects.labels.event_text import describe_labeling, root_event
from projects.models import LabelEvent, Project, Role

MAX_ONLY = 500
PAGE, TILES = "label_data/label_data.html", "label_data/_tiles.html"
Kind = LabelEvent.Kind


@dataclass(frozen=True)
class Notice:
    """The sentence after a deed; `event` can be taken back."""

    text: str = ""
    event: LabelEvent | None = None
    level: str = "success"


@project_page(Role.VIEWER)
@require_safe
def label_data(request: PageRequest, project: Project) -> HttpResponse:
    last = LabelEvent.objects.filter(project=project).order_by("-pk").values_list("pk", flat=True).first()
    context = {**page_context(request, project), "last_event": last or 0}
    return page(request, PAGE, context, fragment="label_data/_page.html")


@project_page(Role.VIEWER)
@require_safe
def image_grid(request: PageRequest, project: Project) -> HttpResponse:
    """Grid, counts and labels as they are now: other people and uploads change them.

    With `part=tiles` only the images of a further page, for a grid that goes on as one scrolls; with `only`
    those images alone, as they are now.
    """
    if request.GET.get("part") == "tiles":
        return page(request, TILES, page_context(request, project))
    if named := request.GET.get("only"):
        ids = [int(one) for one in named.split(",")[:MAX_ONLY] if one.isdecimal() and len(one) < 19]
        return page(request, TILES, {"page": LabelDataPage(project, request.GET.dict(), only=ids)})
    return refreshed_page(request, project)


@project_page(Role.LABELER)
@require_POST
def label_images(request: PageRequest, project: Project) -> HttpResponse:
    form = LabelImagesForm(request.POST, project=project)
    if not form.is_valid():
        return refused_page(request, project, first_error(form))
    wanted = form.cleaned_data
    images = selected_images(request, project, form)
    try:
        event = actions.apply(project, images, add=wanted["add"], remove=wanted["remove"], by=request.user)
    except ValidationError as error:
        return refused_page(request, project, error.messages[0])
    notice = (
        Notice(f"{describe_labeling(event)}.", event) if event else Notice("Nothing to change.", level="info")
    )
    return refreshed_page(request, project, notice, keep=images if wanted["stays"] else ())


@project_page(Role.LABELER)
@require_POST
def undo_labeling(request: PageRequest, project: Project) -> HttpResponse:
    """Take back the deed that is named, or what the user did last."""
    event = _event_to_undo(project, request)
    if event is None:
        return refreshed_page(
            request, project, Notice("There is nothing of yours to take back.", level="info")
        )
    try:
        undone = actions.undo(event, request.user)
    except actions.CannotUndo as refusal:
        return refreshed_page(request, project, Notice(str(refusal), level="warning"), status=409)
    return refreshed_page(request, project, Notice(undo_text(event, undone)))


def _event_to_undo(project: Project, request: PageRequest) -> LabelEvent | None:
    named = request.POST.get("event", "")
    if not named:
        return actions.last_action(project, request.user)
    number = int(named) if named.isdecimal() and len(named) < 19 else 0
    return get_object_or_404(LabelEvent, project=project, pk=number)


def selected_images(request: PageRequest, project: Project, form: ImagesForm) -> list[int]:
    """The images that a valid form is about: those it names, or all that the page's address matches."""
    if form.cleaned_data["matching"]:
        return matching_ids(project, request.GET.dict(), request.user)
    images: list[int] = form.cleaned_data["images"]
    return images


# --- answering ---


def page_context(request: PageRequest, project: Project, keep: Iterable[int] = ()) -> dict[str, Any]:
    """What the page and its fragments show. What the user may not do is not in it."""
    can_label = request.membership.role >= Role.LABELER
    bench = LabelDataPage(project, request.GET.dict(), keep, request.user, can_label=can_label)
    people = usernames_of(project)
    return {
        "project": project,
        "page": bench,
        "readiness": readiness(project, [(row.label, row.count) for row in bench.labels]),
        "chips": chips(bench.query, bench.labels, people),
        "filter_fields": filter_fields(bench.query, bench.labels, people),
        "page_sizes": PAGE_SIZES,
        "can_label": can_label,
        "can_review": request.membership.role >= Role.REVIEWER,
        "mine": assignments.count_assigned(project, request.user) if can_label else 0,
        "new_label_form": LabelForm(project=project) if can_label else None,
    }


def refreshed_page(
    request: PageRequest,
    project: Project,
    notice: Notice | None = None,
    *,
    keep: Iterable[int] = (),
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    """The grid and, out of band, all that changes with it; without htmx back to the page."""
    if not wants_fragment(request) and request.method == "POST":
        return redirect_to(request, f"{reverse('label_data', args=[project.pk])}?{request.GET.urlencode()}")
    context = {**page_context(request, project, keep), "notice": notice, **more}
    return page(request, PAGE, context, fragment="label_data/_refresh.html", status=status)


def refused_page(request: PageRequest, project: Project, error: str) -> HttpResponse:
    """Nothing was changed: the reason at the field, and the grid as it is."""
    context = {**page_context(request, project), "label_error": error}
    return page(request, PAGE, context, fragment="label_data/_refresh.html", status=422)


def first_error(form: Any) -> str:
    return str(next(iter(form.errors.values()))[0])


def undo_text(event: LabelEvent, undone: actions.UndoResult, deed: str = "Taken back") -> str:
    """“Taken back for 10 images; 2 were changed by somebody since and stay.”"""
    root, details = root_event(event), undone.event.details
    if root.kind == Kind.RENAME_LABEL:
        return f"{deed}: the label is “{details['to']}” again."
    if root.kind == Kind.EDIT_LABEL:
        return f"{deed}: colour and key of “{details['name']}”."
    words = f"{deed} for {counted(undone.restored)}"
    if root.kind == Kind.DELETE_LABEL and event.kind != Kind.UNDO:
        words = f"The label “{details['name']}” is back on {counted(undone.restored)}"
    if not undone.skipped:
        return f"{words}."
    are = "was changed since and stays" if undone.skipped == 1 else "were changed since and stay"
    return f"{words}; {counted(undone.skipped)} {are}."
