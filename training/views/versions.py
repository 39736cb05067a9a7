"""Train Model: the list of versions, the chosen version, and its actions."""

from __future__ import annotations

import uuid
from typing import Any

from csp.decorators import csp
from django.contrib import messages
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from exeml_site.lib.http import page, redirect_to
from exeml_site.lib.params import parse_int
from projects.access import PageRequest, project_page
from projects.models import Project, Role
from training.evaluation.advice import advice_for
from training.evaluation.image_query import EvaluatedImageQuery
from training.evaluation.label_changes import label_changes
from training.evaluation.leaderboard import licences_of, phases_of, why_it_ended
from training.evaluation.results import CHARTS, filter_and_sort, results_of
from training.evaluation.selections.results import final_test_of
from training.forms.configuration import whole_minutes
from training.forms.versions import AddTimeForm, PromoteForm, VersionNoteForm
from training.models import Candidate, TrainingVersion
from training.models.version import TrainingVersionQuerySet
from training.versions import lifecycle
from training.versions.number_formats import number_format_rows
from training.versions.progress_view import progress_of

ACCURACY = gettext_lazy("Share of all validation images predicted correctly.")
ACCURACY_OF_SEVERAL = gettext_lazy("Share of validation images with exactly the right labels predicted.")
MEANINGS = {
    "recall": gettext_lazy(
        "Macro average over the labels. Share of the images with a label that were predicted as it: "
        "TP / (TP + FN)."
    ),
    "precision": gettext_lazy(
        "Macro average over the labels. Share of the images predicted as a label that have it: "
        "TP / (TP + FP)."
    ),
    "f1": gettext_lazy(
        "Macro average over the labels of each label’s harmonic mean of precision and recall."
    ),
}
MISTAKES_SHOWN = 6
# An SVG opened on its own may contain styles, and nothing else is allowed.
CHART_POLICY = {"default-src": "'none'", "style-src": "'unsafe-inline'", "sandbox": ""}


@project_page(Role.VIEWER)
@require_safe
def train_model(request: PageRequest, project: Project) -> HttpResponse:
    """The newest version, or an introduction if there is none."""
    if (newest := _versions(project).first()) is None:
        return page(request, "versions/no_versions.html", {"project": project})
    newest.project = project
    return page(request, "versions/versions.html", _version_context(newest))


@project_page(Role.VIEWER)
@require_safe
def training_version(request: PageRequest, project: Project, number: int) -> HttpResponse:
    version = _get_version(project, number)
    return page(request, "versions/versions.html", _version_context(version))


@project_page(Role.VIEWER)
@require_safe
@never_cache
def training_status(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """The chosen version, polled every two seconds while active; the last response includes the list."""
    version = _get_version(project, number)
    context = _version_context(version)
    context["is_refresh"] = version.is_final
    return page(request, "versions/_version_refresh.html", context)


@project_page(Role.VIEWER)
@require_safe
@never_cache
def version_list(request: PageRequest, project: Project) -> HttpResponse:
    """The list of versions, polled while any version is active."""
    context = {"project": project, "chosen": parse_int(request.GET.get("chosen"))}
    return page(request, "versions/_version_manager.html", context)


@project_page(Role.VIEWER)
@require_safe
def version_labels(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """Classification Statistics; only the table when htmx sorts or searches it."""
    version = _get_completed(project, number)
    context: dict[str, Any] = {"project": project, "version": version, "tab": "labels"}
    if results := results_of(version):
        sort, search = request.GET.get("sort", ""), request.GET.get("search", "").strip()
        rows = filter_and_sort(results.rows, sort, search)
        context |= {"results": results, "rows": rows, "sort": sort, "search": search}
    return page(request, "versions/labels.html", context, fragment="versions/_label_statistics.html")


@project_page(Role.VIEWER)
@require_safe
def version_candidates(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """The search: its candidates, their times, and where the time went."""
    version = _get_completed(project, number)
    context = {"project": project, "version": version, "tab": "candidates"}
    context |= {"results": results_of(version), "phases": phases_of(version)}
    context["number_formats"] = number_format_rows(version)
    return page(request, "versions/candidates.html", context)


@project_page(Role.VIEWER)
@require_safe
def version_details(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """Parameters, model, downloads and the note."""
    version = _get_completed(project, number)
    return page(request, "versions/details.html", _details_context(version))


@project_page(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def stop_training(request: PageRequest, project: Project, number: int) -> HttpResponse:
    version = _get_version(project, number)
    if request.method == "GET":
        return _confirm(request, version, "stop")
    if not lifecycle.stop(version, request.user):
        text = gettext("Nothing changed: %(version)s is %(status)s, or is already stopping.")
        messages.info(request, text % _names(version))
    return redirect_to(request, _version_url(version))


@project_page(Role.MANAGER)
@require_POST
def retry_training(request: PageRequest, project: Project, number: int) -> HttpResponse:
    version = _get_version(project, number)
    try:
        if not lifecycle.retry(version, request.user):
            messages.info(request, lifecycle.unchanged_text(version))
    except lifecycle.TrainingRefused as refused:
        messages.error(request, str(refused))
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
    messages.success(request, gettext("%(version)s was deleted.") % _names(version))
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
    text = gettext("%(new)s continues the training of %(version)s on the same images.")
    messages.success(request, text % {"new": str(more), **_names(version)})
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
    text = gettext("%(new)s is being made from a candidate of %(version)s. No training is needed.")
    messages.success(request, text % {"new": str(made), **_names(version)})
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
        return _note_with_errors(request, version, form)
    lifecycle.set_title_and_note(version, form.cleaned_data["title"], form.cleaned_data["note"])
    messages.success(request, gettext("Name and note of %(version)s are saved.") % _names(version))
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


def _note_with_errors(request: PageRequest, version: TrainingVersion, form: VersionNoteForm) -> HttpResponse:
    """The page with the form of the note, which only Completed versions have on a page of its own."""
    context = _details_context(version) if version.is_completed else _version_context(version)
    template = "versions/details.html" if version.is_completed else "versions/versions.html"
    return page(request, template, context | {"note_form": form}, status=422)


def _version_context(version: TrainingVersion) -> dict[str, Any]:
    """What `versions/_version.html` shows: progress, the Overview of the evaluation, or the failure."""
    context: dict[str, Any] = {
        "project": version.project,
        "version": version,
        "note_form": _note_form(version),
    }
    if version.is_active:
        return context | {"live": progress_of(version)}
    results = results_of(version) if version.is_completed else None
    if results:
        context |= {"results": results, **_shown_images(version)}
        context["label_changes"] = label_changes(version)
        context["advice"] = advice_for(version, results.confusions, results.uncertainty_notes)
        accuracy = ACCURACY_OF_SEVERAL if results.is_multi_label else ACCURACY
        context["meanings"] = MEANINGS | {"accuracy": accuracy}
        context["final_test"] = final_test_of(version)
    return context


def _shown_images(version: TrainingVersion) -> dict[str, Any]:
    """The most confident mistakes, or the least confident images where there are none."""
    query = EvaluatedImageQuery(outcome="wrong", sort="surest")
    count = query.images(version).count()
    if not count:
        query = EvaluatedImageQuery(outcome="all", sort="unsure")
    images = query.images(version).select_related("image")[:MISTAKES_SHOWN]
    return {"shown_images": images, "shown_query": query.current_address, "mistake_count": count}


def _details_context(version: TrainingVersion) -> dict[str, Any]:
    context = {"project": version.project, "version": version, "tab": "details"}
    licences = licences_of(version.candidates.all())
    return context | {
        "licences": licences,
        "note_form": _note_form(version),
        "why_it_ended": why_it_ended(version),
    }


def _note_form(version: TrainingVersion) -> VersionNoteForm:
    return VersionNoteForm(initial={"title": version.title, "note": version.note})


def _versions(project: Project) -> TrainingVersionQuerySet:
    """The versions that are not deleted, newest first."""
    return (
        TrainingVersion.objects.alive()
        .filter(project=project)
        .select_related(
            "flavor",
            "dataset_version",
            "incremental_version",
            "promoted_candidate__training_version",
            "submitted_by",
            "stop_requested_by",
        )
        .order_by("-number")
    )


def _get_version(project: Project, number: int) -> TrainingVersion:
    version: TrainingVersion = get_object_or_404(_versions(project), number=number)
    version.project = project  # which keeps what the page has computed of it
    return version


def _get_completed(project: Project, number: int) -> TrainingVersion:
    version = _get_version(project, number)
    if not version.is_completed:
        raise Http404
    return version


def _names(version: TrainingVersion) -> dict[str, str]:
    return {"version": str(version), "status": version.get_status_display()}


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
        context["blocker"] = lifecycle.nothing_to_stop(version)
    fragment = "versions/_stop_or_delete.html"
    return page(
        request,
        "versions/stop_or_delete.html",
        context,
        fragment=fragment,
        status=409 if error else 200,
    )
