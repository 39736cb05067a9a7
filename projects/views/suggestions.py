"""To Be Confirmed: taking what is suggested, or refusing it."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_POST

from exeml_site.lib.fair_lock import in_turn
from exeml_site.lib.text import counted
from projects.access import PageRequest, project_page
from projects.forms.label_data import ImagesForm
from projects.labels import suggestions
from projects.models import Project, Role
from projects.views.label_data import Notice, chosen, first_error, refreshed, refused


@project_page(Role.LABELER)
@require_POST
@in_turn
def confirm_suggestions(request: PageRequest, project: Project) -> HttpResponse:
    """Each image gets the label that is suggested for it."""
    form = ImagesForm(request.POST)
    if not form.is_valid():
        return refused(request, project, first_error(form))
    event = suggestions.confirm(project, chosen(request, project, form), request.user)
    if event is None:
        return refreshed(request, project, Notice("None of them has a suggestion any more.", level="info"))
    return refreshed(request, project, Notice(f"{counted(len(event.changes))} confirmed.", event))


@project_page(Role.LABELER)
@require_POST
@in_turn
def refuse_suggestions(request: PageRequest, project: Project) -> HttpResponse:
    """The images wait for another suggestion; nothing is labeled."""
    form = ImagesForm(request.POST)
    if not form.is_valid():
        return refused(request, project, first_error(form))
    number = suggestions.refuse(project, chosen(request, project, form), request.user)
    words = f"Refused for {counted(number)}: it is not suggested there again."
    return refreshed(request, project, Notice(words if number else "None of them has a suggestion any more."))
