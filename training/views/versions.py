"""Train Model: the list of versions, the chosen version, and its actions."""

from __future__ import annotations

import uuid
from typing import Any

from csp.decorators import csp
from django.contrib import messages
from django.core.files.storage import default_storage
from django.db.models import Max, Q, QuerySet
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from exeml_site.lib.http import page, redirect_to
from exeml_site.lib.params import parse_int
from projects.access import PageRequest, project_page
from projects.models import Project, Role
from training.evaluation.advice import advice_for
from training.evaluation.best_version import rank
from training.evaluation.leaderboard import phases_of, why_it_ended
from training.evaluation.results import CHARTS, filter_and_sort, results_of
from training.forms.configuration import whole_minutes
from training.forms.versions import AddTimeForm, PromoteForm, VersionNoteForm
from training.models import Candidate, Metric, TrainingVersion
from training.versions import lifecycle
from training.versions.progress_view import percent_done, progress_of

ACCURACY = "Share of all validation images predicted correctly."
ACCURACY_OF_SEVERAL = "Share of validation images with exactly the right labels predicted."
MEANINGS = {
    "recall": "Macro average over the labels. Of the images that carry a label, the share that was predicted"
    " as it: TP / (TP + FN).",
    "precision": "Macro average over the labels. Of the images predicted as a label, the share that carries"
    " it: TP / (TP + FP).",
    "f1": "Macro average over the labels of each label’s harmonic mean of precision and recall.",
}
DEFERRED_FIELDS = (
    "confusion",
    "learning",
    "traceback",
    "seconds_by_phase",
    "failure_cause",
    "failure_remedy",
)
# An SVG opened on its own may contain styles, and nothing else is allowed.
CHART_POLICY = {"default-src": "'none'", "style-src": "'unsafe-inline'", "sandbox": ""}


@project_page(Role.VIEWER)
@require_safe
def train_model(request: PageRequest, project: Project) -> HttpResponse:
    """The newest version, or an introduction if there is none."""
    return _versions_page(request, project, _versions(project).first())


@project_page(Role.VIEWER)
@require_safe
def training_version(request: PageRequest, project: Project, number: int) -> HttpResponse:
    return _versions_page(request, project, _get_version(project, number))


@project_page(Role.VIEWER)
@require_safe
@never_cache
def training_status(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """The chosen version, polled every two seconds while active; the last response includes the list."""
    version = _get_version(project, number)
    context = _version_context(request, project, version)
    if version.is_final:
        context |= _list_context(project, number) | {"is_refresh": True}
    return page(request, "versions/_version_refresh.html", context)


@project_page(Role.VIEWER)
@require_safe
@never_cache
def version_list(request: PageRequest, project: Project) -> HttpResponse:
    """The list of versions, polled while any version is active."""
    number = parse_int(request.GET.get("chosen"))
    context = {"project": project, "can_manage": _can_manage(request), **_list_context(project, number)}
    return page(request, "versions/_version_list.html", context)


@project_page(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def stop_training(request: PageRequest, project: Project, number: int) -> HttpResponse:
    version = _get_version(project, number)
    if request.method == "GET":
        return _confirm(request, version, "stop")
    if not lifecycle.stop(version, request.user):
        messages.info(
            request, f"Nothing changed: {version} is {version.status}, or was asked to stop before."
        )
    return redirect_to(request, _version_url(version))


@project_page(Role.MANAGER)
@require_POST
def retry_training(request: PageRequest, project: Project, number: int) -> HttpResponse:
    version = _get_version(project, number)
    if not lifecycle.retry(version, request.user):
        messages.info(request, f"Nothing changed: {version} is {version.status}.")
    return redirect_to(request, _version_url(version))


@project_page(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def delete_training_version(request: PageRequest, project: Project, number: int) -> HttpResponse:
    version = _get_version(project, number)
    if request.method == "GET":
        return _confirm(request, version, "delete")
    try:
        lifecycle.delete(version, request.user)
    except lifecycle.TrainingRefused as refused:
        return _confirm(request, version, "delete", error=str(refused))
    messages.success(request, f"{version} is deleted.")
    return redirect_to(request, reverse("train_model", args=[project.pk]))


@project_page(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def add_time(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """GET shows the form; POST adds time, once however often it is pressed."""
    version = _get_version(project, number)
    if request.method == "GET":
        form = AddTimeForm(initial={"more_hours": "1", "submission": uuid.uuid4()})
        return _ask_for_time(request, version, form)
    form = AddTimeForm(request.POST)
    if not form.is_valid():
        return _ask_for_time(request, version, form, status=422)
    minutes = whole_minutes(form.cleaned_data["more_hours"])
    try:
        more = lifecycle.add_time(
            version, minutes, by=request.user, submission=form.cleaned_data["submission"]
        )
    except lifecycle.TrainingRefused as refused:
        form.add_error(None, str(refused))
        return _ask_for_time(request, version, form, status=409)
    messages.success(request, f"{more} goes on from {version}, on the same images.")
    return redirect_to(request, _version_url(more))


@project_page(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def promote_candidate(request: PageRequest, project: Project, number: int, place: int) -> HttpResponse:
    """GET shows the candidate beside the chosen one; POST makes it a version, once however often pressed."""
    version = _get_version(project, number)
    candidate = get_object_or_404(Candidate, training_version=version, place=place)
    if request.method == "GET":
        return _ask_for_promotion(request, candidate, PromoteForm(initial={"submission": uuid.uuid4()}))
    form = PromoteForm(request.POST)
    if not form.is_valid():
        return _ask_for_promotion(request, candidate, form, status=422)
    try:
        made = lifecycle.promote(candidate, by=request.user, submission=form.cleaned_data["submission"])
    except lifecycle.TrainingRefused as refused:
        form.add_error(None, str(refused))
        return _ask_for_promotion(request, candidate, form, status=409)
    messages.success(request, f"{made} is being made from a candidate of {version}. No training is needed.")
    return redirect_to(request, _version_url(made))


@project_page(Role.LABELER)
@require_POST
def star_version(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """Star or unstar the version: `starred=1` or `starred=0`."""
    version = _get_version(project, number)
    lifecycle.set_starred(version, request.POST.get("starred") == "1")
    return redirect_to(request, _version_url(version))


@project_page(Role.LABELER)
@require_POST
def describe_version(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """Save name and note of a version; the page comes back with errors if they are too long."""
    version = _get_version(project, number)
    form = VersionNoteForm(request.POST)
    if not form.is_valid():
        return _versions_page(request, project, version, {"note_form": form}, status=422)
    lifecycle.set_title_and_note(version, form.cleaned_data["title"], form.cleaned_data["note"])
    messages.success(request, f"Name and note of {version} are saved.")
    return redirect_to(request, _version_url(version))


@project_page(Role.VIEWER)
@require_safe
@cache_control(private=True, max_age=86_400, immutable=True)
@csp(CHART_POLICY)  # type: ignore[arg-type]
def training_chart(request: PageRequest, project: Project, number: int, name: str) -> FileResponse:
    """A stored chart. It never changes, as a version is Completed only once."""
    if name not in CHARTS:
        raise Http404
    version = _get_version(project, number)
    try:
        content = default_storage.open(f"{version.folder}/charts/{name}.svg")
    except OSError as problem:
        raise Http404 from problem
    return FileResponse(content, content_type="image/svg+xml")


def _versions_page(
    request: PageRequest,
    project: Project,
    version: TrainingVersion | None,
    more: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page, or only its statistics when htmx sorts or searches them."""
    if version is None:
        context: dict[str, Any] = {"project": project, "can_manage": _can_manage(request)}
        return page(request, "versions/no_versions.html", context)
    context = _version_context(request, project, version) | _list_context(project, version.number)
    context |= more or {}
    fragment = None if more else "versions/_label_statistics.html"
    return page(request, "versions/versions.html", context, fragment=fragment, status=status)


def _version_context(request: PageRequest, project: Project, version: TrainingVersion) -> dict[str, Any]:
    context = {"project": project, "version": version, "can_manage": _can_manage(request)}
    context["can_describe"] = request.membership.role >= Role.LABELER
    context["note_form"] = VersionNoteForm(initial={"title": version.title, "note": version.note})
    if version.is_active:
        return context | {"live": progress_of(version)}
    results = results_of(version) if version.is_completed else None
    if results:
        sort, search = request.GET.get("sort", ""), request.GET.get("search", "").strip()
        rows = filter_and_sort(results.rows, sort, search)
        context |= {"results": results, "rows": rows, "sort": sort, "search": search}
        context["advice"] = advice_for(version, results.confusions)
        accuracy = ACCURACY_OF_SEVERAL if results.is_multi_label else ACCURACY
        context["meanings"] = MEANINGS | {"accuracy": accuracy}
        context |= {"phases": phases_of(version), "why_it_ended": why_it_ended(version)}
    return context


def _list_context(project: Project, number: int | None) -> dict[str, Any]:
    versions = list(_versions(project).defer(*DEFERRED_FIELDS))
    ranking = rank(project)
    for version in versions:
        version.percent = percent_done(version)
        version.mark = ranking.mark(version)
    is_any_active = any(version.is_active for version in versions)
    return {"versions": versions, "chosen": number, "is_any_active": is_any_active}


def _versions(project: Project) -> QuerySet[Any]:
    """The versions that are not deleted, newest first, with their accuracy."""
    is_overall = Q(metrics__label="", metrics__name=Metric.Name.ACCURACY)
    return (
        TrainingVersion.objects.alive()
        .filter(project=project)
        .select_related(
            "project",
            "flavor",
            "dataset_version",
            "incremental_version",
            "promoted_candidate__training_version",
            "submitted_by",
            "stop_requested_by",
        )
        .annotate(accuracy=Max("metrics__value", filter=is_overall))
        .order_by("-number")
    )


def _get_version(project: Project, number: int) -> TrainingVersion:
    version: TrainingVersion = get_object_or_404(_versions(project), number=number)
    return version


def _can_manage(request: PageRequest) -> bool:
    return request.membership.role >= Role.MANAGER


def _version_url(version: TrainingVersion) -> str:
    return reverse("training_version", args=[version.project_id, version.number])


def _ask_for_time(
    request: PageRequest, version: TrainingVersion, form: AddTimeForm, status: int = 200
) -> HttpResponse:
    context = {"project": version.project, "version": version, "form": form}
    fragment = "versions/_add_time.html"
    return page(request, "versions/add_time.html", context, fragment=fragment, status=status)


def _ask_for_promotion(
    request: PageRequest, candidate: Candidate, form: PromoteForm, status: int = 200
) -> HttpResponse:
    version = candidate.training_version
    chosen = version.candidates.filter(is_best=True).first()
    context = {"project": version.project, "version": version, "form": form}
    context |= {"candidate": candidate, "chosen": chosen}
    fragment = "versions/_promote.html"
    return page(request, "versions/promote.html", context, fragment=fragment, status=status)


def _confirm(request: PageRequest, version: TrainingVersion, action: str, error: str = "") -> HttpResponse:
    """Ask before an action, in a dialog, or on a page without JavaScript; offer only what can be done."""
    context = {"project": version.project, "version": version, "action": action}
    if action == "delete":
        context["blocker"] = error or lifecycle.delete_blocker(version)
        context |= {"size": lifecycle.size_on_disk(version), "breaks": lifecycle.delete_consequences(version)}
    elif not version.is_active:
        context["blocker"] = f"{version} is {version.status}. There is nothing to stop."
    fragment = "versions/_stop_or_delete.html"
    return page(
        request,
        "versions/stop_or_delete.html",
        context,
        fragment=fragment,
        status=409 if error else 200,
    )
