"""Collected calls of a service: their verdicts, and their import into Label Data."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.display import count
from exeml_site.lib.http import page, redirect_to
from exeml_site.lib.params import parse_int
from projects.access import PageRequest, project_page
from projects.images import decode
from projects.models import Project, Role
from training.forms.collected import CollectingForm
from training.models import CollectedCall, Service
from training.serving import deploy
from training.serving.calls import feedback
from training.serving.shadow_comparison import labels_that_are_right
from training.views.services import get_service

PAGE_SIZE = 60
Verdict = CollectedCall.Verdict


@project_page(Role.VIEWER)
@require_safe
def service_collected(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """The collected images, the most useful first."""
    return _collected_page(request, project, get_service(project, service_id))


@project_page(Role.MANAGER)
@require_POST
def collect_requests(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """Switch collecting on or off, and set how many days images are kept."""
    service = get_service(project, service_id)
    form = CollectingForm(request.POST)
    if not form.is_valid():
        return _collected_page(request, project, service, form, status=422)
    deploy.set_collecting(
        service, form.cleaned_data["collects"], form.cleaned_data["keeps_days"], request.user
    )
    return redirect_to(request, _collected_url(service))


@project_page(Role.LABELER)
@require_POST
def take_collected(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """`operation=add` adds the chosen images (`call`) to Label Data; `operation=dismiss` hides them."""
    service = get_service(project, service_id)
    chosen = [call_id for text in request.POST.getlist("call") if (call_id := _parse_uuid(text))]
    if not chosen:
        messages.info(request, gettext("Choose some images first."))
    elif request.POST.get("operation") == "dismiss":
        images = feedback.dismiss_calls(service, chosen)
        text = ngettext("%(count)s image dismissed.", "%(count)s images dismissed.", images)
        messages.success(request, text % {"count": count(images)})
    else:
        messages.success(request, _added_text(feedback.add_to_project(service, chosen, request.user)))
    return redirect_to(request, _collected_url(service))


@project_page(Role.LABELER)
@require_POST
def judge_call(request: PageRequest, project: Project, service_id: UUID, call_id: UUID) -> HttpResponse:
    """Store a verdict: right, or wrong, with the correct label if known.

    `right_version`: the version whose answer is right, where two versions predicted the image.
    """
    service = get_service(project, service_id)
    call = get_object_or_404(CollectedCall, service=service, pk=call_id)
    verdict, label = request.POST.get("verdict", ""), request.POST.get("label", "")
    labels = [label] if label else []
    if (version_id := parse_int(request.POST.get("right_version"))) is not None:
        labels = labels_that_are_right(call, version_id) or []
        verdict = Verdict.RIGHT if set(labels) == set(call.predicted) else Verdict.WRONG if labels else ""
    context = {
        "project": project,
        "service": service,
        "call_id": call.pk,
        "labels": list(project.labels.values_list("name", flat=True)),
    }
    if verdict not in Verdict.values:
        context["problem"] = gettext("Press Right or Wrong.")
        return page(request, "services/_feedback.html", context, status=422)
    is_right = verdict == Verdict.RIGHT
    try:
        feedback.record_verdict(call, is_right, labels, by=request.user.get_username())
    except feedback.FeedbackRefused as refused:
        return page(request, "services/_feedback.html", context | {"problem": str(refused)}, status=422)
    call.refresh_from_db()
    context |= {"verdict": verdict, "true_labels": call.true_labels}
    return page(request, "services/_feedback.html", context)


@project_page(Role.VIEWER)
@require_safe
@cache_control(private=True, max_age=86_400, immutable=True)
def collected_picture(
    request: PageRequest, project: Project, service_id: UUID, call_id: UUID
) -> HttpResponse:
    """The thumbnail of a collected image."""
    call = get_object_or_404(CollectedCall, service=get_service(project, service_id), pk=call_id)
    try:
        return HttpResponse(feedback.thumbnail_of(call), content_type="image/webp")
    except (OSError, decode.ImageRefused) as problem:
        raise Http404 from problem


def _collected_page(
    request: PageRequest,
    project: Project,
    service: Service,
    form: CollectingForm | None = None,
    status: int = 200,
) -> HttpResponse:
    form = form or CollectingForm(initial={"collects": service.collects, "keeps_days": service.keeps_days})
    calls = Paginator(feedback.calls_to_review(service), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "service": service,
        "tab": "collected",
        "calls": calls,
        "form": form,
        "live": feedback.live_accuracy(service),
        "labels": list(project.labels.values_list("name", flat=True)),
        "can_manage": request.membership.role >= Role.MANAGER,
        "can_label": request.membership.role >= Role.LABELER,
    }
    return page(request, "services/collected.html", context, status=status)


def _added_text(counts: dict[str, int]) -> str:
    texts = {
        "added": ngettext(
            "%(count)s image added to Label Data.", "%(count)s images added to Label Data.", counts["added"]
        ),
        "known": ngettext(
            "%(count)s image was already there.", "%(count)s images were already there.", counts["known"]
        ),
        "refused": ngettext(
            "%(count)s image could not be added.", "%(count)s images could not be added.", counts["refused"]
        ),
    }
    shown = [name for name in texts if counts[name] or name == "added"]
    return " ".join(texts[name] % {"count": count(counts[name])} for name in shown)


def _parse_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _collected_url(service: Service) -> str:
    return reverse("service_collected", args=[service.project_id, service.pk])
