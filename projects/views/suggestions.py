"""To Be Confirmed: accept or reject suggestions."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST

from exeml_site.lib.display import count
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
    text = ""
    if result.event:
        confirmed = len(result.event.changes)
        sentence = ngettext("%(count)s image confirmed.", "%(count)s images confirmed.", confirmed)
        text = sentence % {"count": count(confirmed)}
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
        sentence = ngettext(
            "Suggestion rejected for %(count)s image. It will not appear there again.",
            "Suggestions rejected for %(count)s images. They will not appear there again.",
            result.rejected,
        )
        text = sentence % {"count": count(result.rejected)}
    return refreshed_page(request, project, left_notice(text, result.left))


def left_notice(text: str, left: LeftImages, event: LabelEvent | None = None) -> Notice:
    """What an action changed, and what it left because it was not as it was seen."""
    if str(left):
        return Notice(f"{text} {left}".strip(), event, level="warning")
    if not text:
        return Notice(gettext("None of these images has a suggestion any more."), level="info")
    return Notice(text, event)
