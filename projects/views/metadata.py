"""Metadata of images: the columns of a project, values of images, and the columns that are never split."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.http import page, redirect_to
from projects.access import PageRequest, project_page
from projects.datasets.never_split import effect_of, set_never_split
from projects.forms.metadata import MetadataForm
from projects.images.query import Query
from projects.labels import metadata
from projects.labels.event_text import describe_event
from projects.models import Image, MetadataColumn, Project, Role
from projects.quality import look_alikes
from projects.views.label_data import Notice, first_error, matching_images, refreshed_page, with_full_stop

SHOWN_VALUES = 12


class ValueLink(NamedTuple):
    """A value of a column, the images that have it, and the query string of Label Data that shows them."""

    column: str
    value: str
    images: int
    address: str


def image_values(image: Image) -> list[ValueLink]:
    values = metadata.load_values([image.pk]).get(image.pk, {})
    return [link for column, value in values.items() for link in _links(column, [(value, 1)])]


def _links(column: str, values: Iterable[tuple[str, int]]) -> list[ValueLink]:
    return [ValueLink(column, value, images, _address(column, value)) for value, images in values]


def _address(column: MetadataColumn | str, value: str = "") -> str:
    return Query(tab="all", metadata=f"{column}:{value}").address()


@project_page(Role.VIEWER)
@require_safe
def metadata_columns(request: PageRequest, project: Project) -> HttpResponse:
    """The columns with their values; a Manager sets which are never split."""
    rows = [
        (
            row,
            _links(row.column.name, metadata.values_by_count(row.column, SHOWN_VALUES)),
            _address(row.column),
        )
        for row in metadata.column_summaries(project)
    ]
    context = {
        "project": project,
        "rows": rows,
        "advice": look_alikes.advice(project),
        "can_manage": request.membership.role >= Role.MANAGER,
        "can_label": request.membership.role >= Role.LABELER,
    }
    return page(request, "label_data/metadata.html", context)


@project_page(Role.MANAGER)
@require_POST
def never_split(request: PageRequest, project: Project, column_id: int) -> HttpResponse:
    """Set whether a column is never split (`on`), say what that changes, and go back to the page `next`."""
    column = get_object_or_404(MetadataColumn, project=project, pk=column_id)
    set_never_split(column, request.POST.get("on") == "1")
    sentence = (
        gettext("“%(column)s” is now never split.")
        if column.is_never_split
        else gettext("“%(column)s” may now be split.")
    )
    messages.success(request, f"{sentence % {'column': column}} {effect_of(project)}".strip())
    back = request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure())
    return redirect_to(request, back if is_ours else reverse("metadata_columns", args=[project.pk]))


@project_page(Role.LABELER)
@require_POST
def remove_column(request: PageRequest, project: Project, column_id: int) -> HttpResponse:
    """Remove a column with its values from all images outside the bin; the history takes it back."""
    column = get_object_or_404(MetadataColumn, project=project, pk=column_id)
    try:
        event = metadata.remove_column(column, request.user)
    except metadata.ColumnRefused as refused:
        messages.error(request, str(refused))
    else:
        message = gettext("Removed.")
        if event:
            undo = gettext("You can undo this in the History.")
            message = f"{with_full_stop(describe_event(event))} {undo}"
        messages.success(request, message)
    return redirect_to(request, reverse("metadata_columns", args=[project.pk]))


@project_page(Role.LABELER)
@require_POST
def set_metadata(request: PageRequest, project: Project) -> HttpResponse:
    """Set the value of a column on the selected images, or remove it."""
    form = MetadataForm(request.POST, matching_ids=matching_images(request, project))
    error = "" if form.is_valid() else first_error(form)
    event = None
    if not error:
        cleaned = form.cleaned_data
        values = {cleaned["column"]: cleaned["value"]}
        error = metadata.room_problem(project, cleaned["column"])
        event = None if error else metadata.set_values(project, cleaned["images"], values, request.user)
    if error:
        return refreshed_page(request, project, Notice(error, level="warning"), status=422)
    notice = Notice(gettext("Nothing to change."), level="info")
    if event:
        notice = Notice(with_full_stop(describe_event(event)), event)
    return refreshed_page(request, project, notice)


@project_page(Role.VIEWER)
@require_safe
def image_metadata(request: PageRequest, project: Project, image_id: int) -> HttpResponse:
    """The values of one image."""
    image = get_object_or_404(Image, pk=image_id, project=project)
    context = {"project": project, "values": image_values(image)}
    return page(request, "label_data/_image_metadata.html", context)
