"""Take it along: the report as one file, and the whole version as a zip."""

from __future__ import annotations

import re

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from exeml_site.pages import PageRequest
from projects.access import project_page
from projects.models import Project, Role
from training.models import TrainingVersion
from training.reporting import report_html
from training.services import packing


@project_page(Role.VIEWER)
@require_safe
def version_report(request: PageRequest, project: Project, number: int) -> HttpResponse:
    version = _get(project, number)
    response = HttpResponse(report_html(version))
    response["Content-Disposition"] = f'attachment; filename="{_name(version)}-report.html"'
    return response


@project_page(Role.VIEWER)
@require_safe
def version_archive(request: PageRequest, project: Project, number: int) -> HttpResponseBase:
    version = _get(project, number)
    response = StreamingHttpResponse(packing.pack(version), content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{_name(version)}.zip"'
    return response


def _get(project: Project, number: int) -> TrainingVersion:
    versions = TrainingVersion.objects.completed().select_related(
        "dataset_version", "incremental_version", "promoted_candidate__training_version"
    )
    version: TrainingVersion = get_object_or_404(versions, project=project, number=number)
    version.project = project
    return version


def _name(version: TrainingVersion) -> str:
    """Of letters that every system takes in a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{version.project.name}-{version.name}").strip("-")
