"""To Be Confirmed: accept or reject suggestions."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_POST

from exeml_site.lib.text import counted
from projects.access import PageRequest, project_page
from projects.forms.label_data import ImagesForm
from projects.labels import suggestions
from projects.models import Project, Role
from projects.views.label_data import Notice, first_error, refreshed_page, refused_page, selected_images


@project_page(Role.LABELER)
@require_POST
def confirm_suggestions(request: PageRequest, project: Project) -> HttpResponse:
    """Give each image its suggested label."""
    form = ImagesForm(request.POST)
    if not form.is_valid():
        return refused_page(request, project, first_error(form))
    event = suggestions.confirm_suggestions(project, selected_images(request, project, form), request.user)
    if event is None:
        return refreshed_page(
            request, project, Notice("None of these images has a suggestion any more.", level="info")
        )
    return refreshed_page(request, project, Notice(f"{counted(len(event.changes))} confirmed.", event))


@project_page(Role.LABELER)
@require_POST
def refuse_suggestions(request: PageRequest, project: Project) -> HttpResponse:
    """Reject the suggestions; the images stay unlabeled."""
    form = ImagesForm(request.POST)
    if not form.is_valid():
        return refused_page(request, project, first_error(form))
    number = suggestions.reject_suggestions(project, selected_images(request, project, form), request.user)
    message = f"Refused for {counted(number)}; the suggestion will not appear there again."
    return refreshed_page(
        request, project, Notice(message if number else "None of these images has a suggestion any more.")
    )
