"""Downloads of a version: report, JSON, zip and ONNX export."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from exeml_site.lib.http import page, redirect_to, wants_fragment
from projects.access import PageRequest, project_page
from projects.models import Project, Role
from training.evaluation.report import report_html
from training.models import TrainingVersion
from training.serving.download import archive, onnx_export
from training.serving.download.responses import archive_response, as_file, onnx_response


@project_page(Role.VIEWER)
@require_safe
def version_report(request: PageRequest, project: Project, number: int) -> HttpResponseBase:
    version = _get_version(project, number)
    return as_file(version, HttpResponse(report_html(version)), "-report.html")


@project_page(Role.VIEWER)
@require_safe
def version_json(request: PageRequest, project: Project, number: int) -> HttpResponseBase:
    version = _get_version(project, number)
    response = HttpResponse(archive.evaluation_json(version), content_type="application/json")
    return as_file(version, response, ".json")


@project_page(Role.VIEWER)
@require_safe
def version_archive(request: PageRequest, project: Project, number: int) -> HttpResponseBase:
    version = _get_version(project, number)
    return archive_response(version)


@project_page(Role.VIEWER)
@require_http_methods(["GET", "POST"])
@never_cache
def version_export(request: PageRequest, project: Project, number: int) -> HttpResponse:
    """POST enqueues the export; GET shows its state."""
    version = _get_version(project, number)
    if request.method == "POST":
        onnx_export.request_export(version)
        if not wants_fragment(request):
            return redirect_to(request, reverse("training_version", args=[project.pk, number]))
    return page(request, "versions/_export.html", {"project": project, "version": version})


@project_page(Role.VIEWER)
@require_safe
def download_export(request: PageRequest, project: Project, number: int) -> HttpResponseBase:
    version = _get_version(project, number)
    try:
        return onnx_response(version)
    except OSError:
        return redirect_to(request, reverse("training_version", args=[project.pk, number]))


def _get_version(project: Project, number: int) -> TrainingVersion:
    versions = TrainingVersion.objects.completed().select_related(
        "dataset_version", "incremental_version", "promoted_candidate__training_version"
    )
    version: TrainingVersion = get_object_or_404(versions, project=project, number=number)
    version.project = project
    return version
