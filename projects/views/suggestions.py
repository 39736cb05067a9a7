"""To Be Confirmed: accept or reject suggestions."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_POST

from exeml_site.lib.text import counted
from projects.access import PageRequest, project_page
from projects.forms.label_data import SeenImagesForm
from projects.labels import suggestions
from projects.labels.seen_images import LeftImages
from projects.models import LabelEvent, Project, Role
from projects.views.label_data import Notice, first_error, matching_images, refreshed_page, refused_page


@project_page(Role.LABELER)
@require_POST
def confirm_suggestions(request: PageRequest, project: Project) -> HttpResponse:
    """Give each image its suggested label, if the suggestion is the one that the page showed."""
    form = SeenImagesForm(request.POST, matching_ids=matching_images(request, project))
    if not form.is_valid():
        return refused_page(request, project, first_error(form))
    cleaned = form.cleaned_data
    result = suggestions.confirm_suggestions(project, cleaned["images"], request.user, cleaned["seen"])
    text = f"{counted(len(result.event.changes))} confirmed." if result.event else ""
    return refreshed_page(request, project, left_notice(text, result.left, result.event))


@project_page(Role.LABELER)
@require_POST
def refuse_suggestions(request: PageRequest, project: Project) -> HttpResponse:
    """Reject the suggestions that the page showed; the images stay unlabeled."""
    form = SeenImagesForm(request.POST, matching_ids=matching_images(request, project))
    if not form.is_valid():
        return refused_page(request, project, first_error(form))
    cleaned = form.cleaned_data
    result = suggestions.reject_suggestions(project, cleaned["images"], request.user, cleaned["seen"])
    text = ""
    if result.rejected:
        text = f"Refused for {counted(result.rejected)}; the suggestion will not appear there again."
    return refreshed_page(request, project, left_notice(text, result.left))


def left_notice(text: str, left: LeftImages, event: LabelEvent | None = None) -> Notice:
    """What an action changed, and what it left because it was not as it was seen."""
    if str(left):
        return Notice(f"{text} {left}".strip(), event, level="warning")
    if not text:
        return Notice("None of these images has a suggestion any more.", level="info")
    return Notice(text, event)
