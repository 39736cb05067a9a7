"""Collaboration: assignments, presence, second opinions and reviews."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.display import count, whole_percent
from exeml_site.lib.http import page, redirect_to
from exeml_site.lib.params import parse_int
from projects.access import PageRequest, project_page
from projects.collaboration import assignments, presence
from projects.collaboration import review as label_review
from projects.collaboration.progress import team_progress
from projects.forms.people import (
    AssignForm,
    OpinionForm,
    OpinionShareForm,
    PresenceForm,
    ResolveForm,
    ReviewForm,
)
from projects.labels import second_opinions
from projects.labels.parts import count_images
from projects.models import Image, Label, OpinionState, Project, Role
from projects.views.label_data import Notice, first_error, matching_images, refreshed_page, refused_page

PAGE = "collaboration/people.html"
OPINION, OPINION_FRAGMENT = "collaboration/opinion.html", "collaboration/_opinion.html"
REVIEW, REVIEW_FRAGMENT = "collaboration/review.html", "collaboration/_review.html"
MAX_DISAGREEMENTS = 12


@project_page(Role.VIEWER)
@require_safe
def people(request: PageRequest, project: Project) -> HttpResponse:
    return _page(request, project)


def _page(request: PageRequest, project: Project, status: int = 200, **more: Any) -> HttpResponse:
    role = request.membership.role
    states = Image.objects.alive().filter(project=project)
    context = {
        "project": project,
        "progress": team_progress(project),
        "agreement": second_opinions.agreement(project),
        "unassigned": assignments.unassigned_images(project).count(),
        "opinions_wanted": states.filter(opinion=OpinionState.WANTED).count(),
        "waiting": second_opinions.images_waiting_for(project, request.user).count()
        if role >= Role.LABELER
        else 0,
        "disputed": states.filter(opinion=OpinionState.DIFFERS).count(),
        "can_label": role >= Role.LABELER,
        "can_review": role >= Role.REVIEWER,
        "can_manage": role >= Role.MANAGER,
        "assign_form": AssignForm(project=project),
        "share_form": OpinionShareForm(initial={"share": project.opinion_share}),
    }
    return page(request, PAGE, {**context, **more}, status=status)


def _done(request: PageRequest, project: Project, message: str) -> HttpResponse:
    messages.success(request, message)
    return redirect_to(request, reverse("people", args=[project.pk]))


# --- assignments ---


@project_page(Role.LABELER)
@require_POST
def assign_next(request: PageRequest, project: Project) -> HttpResponse:
    """Assign the next images to the user and open them."""
    given = assignments.assign_next(project, request.user, request.user)
    if not given and not assignments.count_assigned(project, request.user):
        messages.info(request, gettext("Every image is already labeled or assigned to someone."))
        return redirect_to(request, reverse("people", args=[project.pk]))
    return redirect_to(request, f"{reverse('label_data', args=[project.pk])}?tab=unlabeled&mine=1")


@project_page(Role.MANAGER)
@require_POST
def assign(request: PageRequest, project: Project) -> HttpResponse:
    form = AssignForm(request.POST, project=project)
    if not form.is_valid():
        return _page(request, project, 422, assign_form=form)
    users = list(form.cleaned_data["users"])
    given = assignments.distribute(project, users, request.user, form.cleaned_data["percent"])
    people = ngettext("%(count)s person", "%(count)s people", len(users)) % {"count": count(len(users))}
    sentence = ngettext(
        "%(count)s image assigned to %(people)s.", "%(count)s images assigned to %(people)s.", given
    )
    return _done(request, project, sentence % {"count": count(given), "people": people})


@project_page(Role.MANAGER)
@require_POST
def take_assignments_back(request: PageRequest, project: Project, user_id: int) -> HttpResponse:
    user = get_object_or_404(User.objects.filter(assignments__image__project=project).distinct(), pk=user_id)
    freed = assignments.unassign(project, user)
    sentence = ngettext(
        "%(count)s image is no longer assigned to %(user)s.",
        "%(count)s images are no longer assigned to %(user)s.",
        freed,
    )
    return _done(request, project, sentence % {"count": count(freed), "user": user})


# --- presence ---


@project_page(Role.VIEWER)
@require_POST
def report_presence(request: PageRequest, project: Project) -> HttpResponse:
    """Record that the page is open; answers the other people present and what they changed."""
    form = PresenceForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"error": first_error(form)}, status=422)
    presence.record_presence(project, request.user, form.cleaned_data["image"])
    changes = presence.changes_since(project, request.user, form.cleaned_data["since"])
    others = presence.other_people(project, request.user)
    return JsonResponse(
        {
            "people": [{"name": person.name, "image": person.image_id} for person in others],
            "last": changes.last_event,
            "names": changes.names,
            "touched": changes.image_ids,
            "state": presence.state_of(project),
        }
    )


# --- second opinions ---


@project_page(Role.MANAGER)
@require_POST
def set_opinion_share(request: PageRequest, project: Project) -> HttpResponse:
    form = OpinionShareForm(request.POST)
    if not form.is_valid():
        return _page(request, project, 422, share_form=form)
    second_opinions.set_share(project, form.cleaned_data["share"])
    sentence = gettext("Second opinions are requested for %(share)s of the labeled images.")
    share = whole_percent(form.cleaned_data["share"] / 100)
    return _done(request, project, sentence % {"share": share})


@project_page(Role.LABELER)
@require_safe
def opinion(request: PageRequest, project: Project) -> HttpResponse:
    """The next image that needs this user's second opinion, without its labels."""
    return _next_opinion(request, project, after=request.GET.get("after", ""))


@project_page(Role.LABELER)
@require_POST
def give_opinion(request: PageRequest, project: Project) -> HttpResponse:
    form = OpinionForm(request.POST, project=project)
    if not form.is_valid():
        problem = first_error(form)
        return _next_opinion(request, project, status=422, problem=problem, stay=request.POST.get("image"))
    try:
        second_opinions.give_opinion(
            project, form.cleaned_data["image"], form.cleaned_data["labels"], request.user
        )
    except second_opinions.AlreadyGiven as refusal:
        return _next_opinion(request, project, status=409, problem=str(refusal))
    return _next_opinion(request, project)


def _next_opinion(
    request: PageRequest,
    project: Project,
    *,
    after: str = "",
    stay: str | None = None,
    status: int = 200,
    problem: str = "",
) -> HttpResponse:
    waiting = second_opinions.images_waiting_for(project, request.user)
    image = waiting.filter(pk=parse_int(stay) or 0).first()
    image = image or waiting.filter(sha256__gt=after).first() or waiting.first()
    context = {
        "project": project,
        "image": image,
        "left": waiting.count(),
        "labels": Label.objects.filter(project=project),
        "problem": problem,
    }
    return page(request, OPINION, context, fragment=OPINION_FRAGMENT, status=status)


# --- reviews ---


@project_page(Role.REVIEWER)
@require_safe
def review(request: PageRequest, project: Project) -> HttpResponse:
    """Images whose two opinions differ."""
    return _review(request, project)


def _review(request: PageRequest, project: Project, status: int = 200, **more: Any) -> HttpResponse:
    left = Image.objects.alive().filter(project=project, opinion=OpinionState.DIFFERS).count()
    context = {
        "project": project,
        "disputes": label_review.read_disagreements(project, MAX_DISAGREEMENTS),
        "left": left,
        **more,
    }
    return page(request, REVIEW, context, fragment=REVIEW_FRAGMENT, status=status)


@project_page(Role.REVIEWER)
@require_POST
def settle(request: PageRequest, project: Project) -> HttpResponse:
    form = ResolveForm(request.POST)
    if not form.is_valid():
        return _review(request, project, 422, problem=gettext("Choose one of the three."))
    cleaned = form.cleaned_data
    seen = set(cleaned["first"]), set(cleaned["second"])
    try:
        label_review.settle(project, cleaned["image"], cleaned["verdict"], by=request.user, seen=seen)
    except label_review.OpinionsChanged:
        changed = gettext("The labels of the image have changed. Nothing was decided: look at it again.")
        return _review(request, project, 409, problem=changed)
    return _review(request, project)


@project_page(Role.REVIEWER)
@require_POST
def review_images(request: PageRequest, project: Project) -> HttpResponse:
    """Confirm or reject the labels of selected images, on Label Data."""
    form = ReviewForm(request.POST, matching_ids=matching_images(request, project))
    if not form.is_valid():
        return refused_page(request, project, first_error(form))
    images, seen = form.cleaned_data["images"], form.cleaned_data["seen"]
    if form.cleaned_data["verdict"] == "confirm":
        confirmed, left = label_review.confirm(project, images, request.user, seen)
        sentence = ngettext(
            "Labels of %(count)s image confirmed.", "Labels of %(count)s images confirmed.", confirmed
        )
        notice = Notice(f"{sentence % {'count': count(confirmed)}} {left}".strip())
        return refreshed_page(request, project, notice)
    event, left = label_review.reject(project, images, request.user, seen)
    number = count_images(event)
    sentence = ngettext("Labels of %(count)s image rejected.", "Labels of %(count)s images rejected.", number)
    notice = Notice(f"{sentence % {'count': count(number)}} {left}".strip(), event)
    return refreshed_page(request, project, notice)
