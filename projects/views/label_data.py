"""Label Data: the grid of a project's images, labeling and undo."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.display import count
from exeml_site.lib.http import page, redirect_to, wants_fragment
from exeml_site.lib.params import parse_int
from projects.access import PageRequest, project_page
from projects.collaboration import assignments, presence
from projects.datasets.final_test import count_test_images
from projects.datasets.readiness import readiness
from projects.forms.label_data import LabelForm, LabelImagesForm, filter_fields
from projects.images.query import PAGE_SIZES, matching_ids
from projects.label_data.filter_chips import chips, usernames_of
from projects.label_data.page import LabelDataPage
from projects.labels import actions
from projects.labels.event_text import describe_labeling, root_event
from projects.models import LabelEvent, Project, Role

MAX_ONLY = 500
PAGE, TILES = "label_data/label_data.html", "label_data/_tiles.html"
SUGGESTION_PROGRESS = "label_data/_suggestion_progress.html"
Kind = LabelEvent.Kind


@dataclass(frozen=True)
class Notice:
    """The message after an action; `event` can be undone."""

    text: str = ""
    event: LabelEvent | None = None
    level: str = "success"


@project_page(Role.VIEWER)
@require_safe
def label_data(request: PageRequest, project: Project) -> HttpResponse:
    return page(request, PAGE, page_context(request, project), fragment="label_data/_page.html")


@project_page(Role.VIEWER)
@require_safe
def image_grid(request: PageRequest, project: Project) -> HttpResponse:
    """Refresh grid, counts and labels, which other people and uploads change.

    `part=tiles`: only the tiles of a further page, for endless scrolling. `only`: only these images' tiles.
    `part=progress`: how far the first suggestions are; once there are some, the page refreshes itself.
    """
    if request.GET.get("part") == "progress":
        data_page = LabelDataPage(project, request.GET.dict())
        response = page(request, SUGGESTION_PROGRESS, {"project": project, "page": data_page})
        if data_page.counts["suggested"]:
            response["HX-Trigger"] = "label-data:refresh"
        return response
    if request.GET.get("part") == "tiles":
        return page(request, TILES, page_context(request, project))
    if only := request.GET.get("only"):
        ids = [pk for text in only.split(",")[:MAX_ONLY] if (pk := parse_int(text))]
        return page(request, TILES, {"page": LabelDataPage(project, request.GET.dict(), only=ids)})
    return refreshed_page(request, project)


@project_page(Role.LABELER)
@require_POST
def label_images(request: PageRequest, project: Project) -> HttpResponse:
    form = LabelImagesForm(request.POST, matching_ids=matching_images(request, project), project=project)
    if not form.is_valid():
        return refused_page(request, project, first_error(form))
    cleaned = form.cleaned_data
    images = cleaned["images"]
    try:
        event = actions.apply(project, images, add=cleaned["add"], remove=cleaned["remove"], by=request.user)
    except ValidationError as error:
        return refused_page(request, project, error.messages[0])
    notice = Notice(gettext("Nothing to change."), level="info")
    if event:
        notice = Notice(with_full_stop(describe_labeling(event)), event)
    return refreshed_page(request, project, notice, retain=images if cleaned["stays"] else ())


@project_page(Role.LABELER)
@require_POST
def undo_labeling(request: PageRequest, project: Project) -> HttpResponse:
    """Undo the given event, else the user's last action."""
    event = _event_to_undo(project, request)
    if event is None:
        return refreshed_page(request, project, Notice(gettext("You have nothing to undo."), level="info"))
    try:
        undone = actions.undo(event, request.user)
    except actions.CannotUndo as refusal:
        return refreshed_page(request, project, Notice(str(refusal), level="warning"), status=409)
    return refreshed_page(request, project, Notice(undo_text(event, undone)))


def _event_to_undo(project: Project, request: PageRequest) -> LabelEvent | None:
    event_id = request.POST.get("event", "")
    if not event_id:
        return actions.last_action(project, request.user)
    number = parse_int(event_id) or 0
    return get_object_or_404(LabelEvent, project=project, pk=number)


def matching_images(request: PageRequest, project: Project) -> Callable[[], list[int]]:
    """Reads the ids of all images that match the page's query, for a form that may need them."""
    return lambda: matching_ids(project, request.GET.dict(), request.user)


# --- answering ---


def page_context(request: PageRequest, project: Project, retain: Iterable[int] = ()) -> dict[str, Any]:
    """Context of the page and its fragments, without actions that the user's role does not allow.

    `last_event` is read first: the page shows at least the changes up to this event.
    """
    last_event, state = presence.last_event_id(project), presence.state_of(project)
    can_label = request.membership.role >= Role.LABELER
    data_page = LabelDataPage(project, request.GET.dict(), retain, request.user, can_label=can_label)
    people = usernames_of(project)
    columns = list(project.metadata_columns.values_list("name", flat=True))
    return {
        "project": project,
        "last_event": last_event,
        "state": state,
        "page": data_page,
        "readiness": readiness(project, [(row.label, row.count) for row in data_page.labels]),
        "chips": chips(data_page.query, data_page.labels, people),
        "filter_fields": filter_fields(data_page.query, data_page.labels, people, columns),
        "metadata_columns": columns,
        "page_sizes": PAGE_SIZES,
        "test_count": count_test_images(project) if can_label else 0,
        "can_label": can_label,
        "can_review": request.membership.role >= Role.REVIEWER,
        "assigned_count": assignments.count_assigned(project, request.user) if can_label else 0,
        "new_label_form": LabelForm(project=project) if can_label else None,
    }


def refreshed_page(
    request: PageRequest,
    project: Project,
    notice: Notice | None = None,
    *,
    retain: Iterable[int] = (),
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    """The grid and, out of band, all that changes with it. Without htmx a redirect to the page."""
    if not wants_fragment(request) and request.method == "POST":
        return redirect_to(request, f"{reverse('label_data', args=[project.pk])}?{request.GET.urlencode()}")
    context = {**page_context(request, project, retain), "notice": notice, **more}
    return page(request, PAGE, context, fragment="label_data/_refresh.html", status=status)


def refused_page(request: PageRequest, project: Project, error: str) -> HttpResponse:
    """The unchanged grid with the error at the label field, as 422."""
    context = {**page_context(request, project), "label_error": error}
    return page(request, PAGE, context, fragment="label_data/_refresh.html", status=422)


def first_error(form: Any) -> str:
    return str(next(iter(form.errors.values()))[0])


def with_full_stop(description: str) -> str:
    """The description of an event as a sentence that ends as the language ends one."""
    return gettext("%(sentence)s.") % {"sentence": description}


def moved_to_bin(images: int) -> str:
    sentence = ngettext("%(count)s image moved to the bin.", "%(count)s images moved to the bin.", images)
    return sentence % {"count": count(images)}


def undo_text(event: LabelEvent, undone: actions.UndoResult, *, is_redo: bool = False) -> str:
    """“Undone for 10 images. 2 images were changed since and stay as they are.”"""
    root, details = root_event(event), undone.event.details
    if root.kind == Kind.RENAME_LABEL:
        renamed = (
            gettext("Redone: the label is “%(label)s” again.")
            if is_redo
            else gettext("Undone: the label is “%(label)s” again.")
        )
        return renamed % {"label": details["to"]}
    if root.kind == Kind.EDIT_LABEL:
        edited = (
            gettext("Redone: colour and key of “%(label)s”.")
            if is_redo
            else gettext("Undone: colour and key of “%(label)s”.")
        )
        return edited % {"label": details["name"]}
    if root.kind == Kind.DELETE_LABEL and event.kind != Kind.UNDO:
        text = ngettext(
            "The label “%(label)s” is back on %(count)s image.",
            "The label “%(label)s” is back on %(count)s images.",
            undone.restored,
        ) % {"label": details["name"], "count": count(undone.restored)}
    else:
        text = _undone_images(undone.restored, is_redo)
    return f"{text} {_skipped_images(undone.skipped)}" if undone.skipped else text


def _undone_images(images: int, is_redo: bool) -> str:
    sentence = (
        ngettext("Redone for %(count)s image.", "Redone for %(count)s images.", images)
        if is_redo
        else ngettext("Undone for %(count)s image.", "Undone for %(count)s images.", images)
    )
    return sentence % {"count": count(images)}


def _skipped_images(images: int) -> str:
    sentence = ngettext(
        "%(count)s image was changed since and stays as it is.",
        "%(count)s images were changed since and stay as they are.",
        images,
    )
    return sentence % {"count": count(images)}
